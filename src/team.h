/* The process's helpers: threads that take part in the work of whoever asks, when the system lets
 * them.
 *
 * Whoever offers work never waits for a helper to come: an offer that was not taken is withdrawn. A
 * helper that has taken it may be off its CPU at any point, and for long. So what it touches has
 * to stay until it has left: the run below is counted, and freed by the last who leaves. */
#ifndef FG_TEAM_H
#define FG_TEAM_H

#include <stdatomic.h>

#include "fusedgmm.h"
#include "openmp.h"

/* What helpers are offered. */
typedef struct fg_offer fg_offer;
struct fg_offer {
    void (*take_part)(fg_offer *offer); /* on the helper */
    void (*release)(fg_offer *offer);   /* by the last who leaves */
    atomic_int users;                   /* the owner, offers that are open, and helpers inside */
    uint64_t cpus[FG_CPU_WORDS];        /* where its owner may run, and so may who helps */
};

void fg_offer_leave(fg_offer *offer);
/* Offers it to so many helpers that are idle, and starts helpers where there are too few. Where one
 * cannot be started there are fewer. Returns how many offers were made. */
int fg_team_offer(fg_offer *offer, int n_wanted);
/* Takes back the offers that no helper has taken. */
void fg_team_withdraw(fg_offer *offer);

int fg_team_size(void);      /* helpers that have been started */
void fg_team_forget(void);   /* in a child of fork, where there are none */
int64_t fg_team_forks(void); /* how often that has happened to this process and its parents */

#endif
