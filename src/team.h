/* The helper threads of the process: they take part in the work of any call when the system
 * schedules them.
 *
 * The owner of an offer never waits for a helper to start: it withdraws the offers that nobody
 * took. A helper that has taken an offer may be descheduled at any point, for long. What it uses
 * must stay valid until it has left, so every offer counts its users, and the last one to leave
 * frees it. */
#ifndef FG_TEAM_H
#define FG_TEAM_H

#include <stdatomic.h>

#include "fusedgmm.h"
#include "openmp.h"

/* An offer of work to helpers. */
typedef struct fg_offer fg_offer;
struct fg_offer {
    void (*take_part)(fg_offer *offer); /* called on the helper */
    void (*release)(fg_offer *offer);   /* called by the last user that leaves */
    atomic_int users;                   /* the owner, open offers, and helpers taking part */
    int has_cpus;                       /* cpus is set; it must not change once an offer is made */
    uint64_t cpus[FG_CPU_WORDS];        /* CPUs on which the owner, and so its helpers, may run */
};

void fg_offer_leave(fg_offer *offer);
/* Offers work to n_wanted idle helpers. If there are too few, starts new ones if may_start is set.
 * Returns the number of offers made. */
int fg_team_offer(fg_offer *offer, int n_wanted, int may_start);
/* Withdraws the offers that no helper has taken. */
void fg_team_withdraw(fg_offer *offer);

int fg_team_size(void);      /* number of helpers started */
void fg_team_forget(void);   /* in the child of a fork, which has no helpers */
int64_t fg_team_forks(void); /* number of forks in the ancestry of this process */

#endif
