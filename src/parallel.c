/* Calls: threads, interrupts, and forked processes. See parallel.h. */
#include "parallel.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "openmp.h"
#include "team.h"
#include "thread.h"

/* ---- calls ---- */

static atomic_int callers; /* calls running now, in any thread */

struct fg_lease {
    atomic_int users; /* the call and its runs */
};

fg_lease *fg_lease_enter(fg_lease *lease) {
    if (lease)
        atomic_fetch_add_explicit(&lease->users, 1, memory_order_relaxed);
    return lease;
}

void fg_lease_leave(fg_lease *lease) {
    if (lease)
        atomic_fetch_sub_explicit(&lease->users, 1, memory_order_acq_rel);
}

int fg_lease_try_end(fg_lease *lease) {
    const int over = atomic_load_explicit(&lease->users, memory_order_acquire) == 1;
    if (over)
        free(lease);
    return over;
}

typedef struct kept {
    fg_lease *lease;
    void *what;
    struct kept *next;
} kept;

static _Atomic(kept *) all_kept;

static void push(kept *k) {
    k->next = atomic_load(&all_kept);
    while (!atomic_compare_exchange_weak(&all_kept, &k->next, k))
        ;
}

int fg_lease_keep(fg_lease *lease, void *what) {
    kept *k = malloc(sizeof *k);
    if (!k)
        return 0;
    k->lease = lease;
    k->what = what;
    push(k);
    return 1;
}

void *fg_lease_let_go(void) {
    if (!atomic_load_explicit(&all_kept, memory_order_relaxed))
        return NULL;
    kept *mine = atomic_exchange(&all_kept, NULL); /* those that must stay are pushed back below */
    void *what = NULL;
    while (mine) {
        kept *k = mine;
        mine = k->next;
        if (!what && fg_lease_try_end(k->lease)) {
            what = k->what;
            free(k);
        } else
            push(k);
    }
    return what;
}

void fg_call_begin(int n_threads, fg_call *out_call) {
    const int others = atomic_fetch_add(&callers, 1);
    const int share = others > 0 ? (n_threads + others) / (others + 1) : n_threads;
    out_call->n_threads = share > 1 ? share : 1;
    out_call->lease = NULL;
    if (share > 1) {
        out_call->lease = malloc(sizeof *out_call->lease);
        if (out_call->lease)
            atomic_init(&out_call->lease->users, 1);
    }
    out_call->forks = fg_team_forks();
    fegetenv(&out_call->environment);
    fesetenv(FE_DFL_ENV);
}

fg_lease *fg_call_end(fg_call *call) {
    fesetenv(&call->environment);
    if (call->forks == fg_team_forks()) /* the child of a fork has not counted this call */
        atomic_fetch_sub(&callers, 1);
    return call->lease && !fg_lease_try_end(call->lease) ? call->lease : NULL;
}

/* ---- processes ---- */

#ifndef _WIN32
/* In the child of a fork, neither the helper threads nor the calls of the parent's other threads
 * exist. */
static void in_child(void) {
    atomic_store(&callers, 0);
    fg_team_forget();
}
#endif

int fg_parallel_install(void) {
    fg_openmp_begin();
#ifndef _WIN32
    return pthread_atfork(NULL, NULL, in_child);
#else
    return 0;
#endif
}

/* ---- interrupts ---- */

int fg_parallel_poll(fg_monitor *monitor) {
    if (!monitor || !monitor->poll)
        return 0;
    if (monitor->stopped)
        return 1;
    if (!monitor->eager) {
        const double now = fg_seconds();
        if (now - monitor->last_poll < 0.02)
            return 0;
        monitor->last_poll = now;
    }
    monitor->stopped = monitor->poll(monitor->context) != 0;
    return monitor->stopped;
}
