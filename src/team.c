/* The helper threads of the process. See team.h. */
#define _GNU_SOURCE
#include "team.h"

#include <fenv.h>
#include <string.h>

#include "thread.h"

enum {
    MOST_HELPERS = 255,
    STACK_BYTES = 512 << 10,
    /* How often an idle helper polls for an offer, in pauses of about ten nanoseconds, before it
     * sleeps. The gap between two passes of a fit is usually shorter. */
    SPINS = 2000
};

static fg_offer inside_; /* in a helper's mail while the helper is inside an offer */
#define INSIDE (&inside_)

typedef struct {
    _Atomic(fg_offer *) mail; /* NULL: idle; an offer: to be taken or withdrawn; INSIDE */
    atomic_int sleeps;
    atomic_int_fast64_t taken; /* number of offers taken so far */
    fg_signal wake;
    uint64_t cpus[FG_CPU_WORDS]; /* CPUs on which it may run, as last set */
} helper;

static helper helpers[MOST_HELPERS];
static atomic_int n_helpers; /* helpers[0 .. n_helpers - 1] have been started */
static atomic_int starting;  /* some thread is starting one */
static atomic_int_fast64_t n_forks;

void fg_offer_leave(fg_offer *offer) {
    if (atomic_fetch_sub_explicit(&offer->users, 1, memory_order_acq_rel) == 1)
        offer->release(offer);
}

/* ---- CPUs ---- */

#ifdef __linux__
/* A helper started by another thread may be bound to other CPUs than the owner of the offer. */
static void move_to(helper *h, const uint64_t cpus[FG_CPU_WORDS]) {
    cpu_set_t set;
    if (memcmp(h->cpus, cpus, sizeof h->cpus) == 0)
        return;
    CPU_ZERO(&set);
    memcpy(&set, cpus, sizeof set < sizeof h->cpus ? sizeof set : sizeof h->cpus);
    memcpy(h->cpus, cpus, sizeof h->cpus);
    sched_setaffinity(0, sizeof set, &set); /* on failure it keeps its CPUs */
}
#else
static void move_to(helper *h, const uint64_t cpus[FG_CPU_WORDS]) {
    (void)h;
    (void)cpus;
}
#endif

/* ---- a helper's life ---- */

static void take_mail(helper *h) {
    fg_offer *offer = atomic_load_explicit(&h->mail, memory_order_acquire);
    if (offer && atomic_compare_exchange_strong_explicit(
                     &h->mail, &offer, INSIDE, memory_order_acquire, memory_order_relaxed)) {
        move_to(h, offer->cpus);
        atomic_fetch_add_explicit(&h->taken, 1, memory_order_relaxed);
        offer->take_part(offer);
        fg_offer_leave(offer);
        atomic_store_explicit(&h->mail, NULL, memory_order_release);
    }
}

static void help(helper *h) {
    fesetenv(FE_DFL_ENV);
#ifdef __linux__
    pthread_setname_np(pthread_self(), "fusedgmm"); /* the name that ps and debuggers show */
#endif
    for (;;) {
        for (int i = 0; i < SPINS; i++) {
            if (atomic_load_explicit(&h->mail, memory_order_relaxed)) {
                take_mail(h);
                i = 0;
            }
            fg_spin(i);
        }
        atomic_store(&h->sleeps, 1);
        if (!atomic_load(&h->mail)) /* an offer made from now on wakes this helper */
            fg_signal_wait(&h->wake);
        else if (!atomic_exchange(&h->sleeps, 0))
            fg_signal_wait(&h->wake); /* the signal has been sent already */
    }
}

/* ---- starting one ---- */

#ifdef _WIN32
static unsigned __stdcall run_helper(void *context) {
    help(context);
    return 0;
}
static int start_thread(helper *h) {
    const uintptr_t thread =
        _beginthreadex(NULL, STACK_BYTES, run_helper, h, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (thread)
        CloseHandle((HANDLE)thread);
    return thread != 0;
}
#else
static void *run_helper(void *context) {
    help(context);
    return NULL;
}

/* Signals belong to the program's own threads: helpers block them all. */
static int start_thread(helper *h) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    if (pthread_attr_init(&attributes))
        return 0;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    const int failed = pthread_create(&thread, &attributes, run_helper, h);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return !failed;
}
#endif

/* Starts one more helper if possible. Gives up if another thread is starting one. */
static int start_helper(void) {
    int started = 0;
    if (atomic_exchange_explicit(&starting, 1, memory_order_acquire))
        return 0;
    const int n = atomic_load_explicit(&n_helpers, memory_order_relaxed);
    if (n < MOST_HELPERS) {
        helper *h = &helpers[n];
        atomic_store_explicit(&h->mail, NULL, memory_order_relaxed);
        atomic_store_explicit(&h->sleeps, 0, memory_order_relaxed);
        memset(h->cpus, 0, sizeof h->cpus);
        started = fg_signal_open(&h->wake) && start_thread(h);
        if (started)
            atomic_store_explicit(&n_helpers, n + 1, memory_order_release);
    }
    atomic_store_explicit(&starting, 0, memory_order_release);
    return started;
}

/* ---- offers ---- */

static int offer_to(helper *h, fg_offer *offer) {
    fg_offer *idle = NULL;
    atomic_fetch_add_explicit(&offer->users, 1, memory_order_relaxed);
    if (!atomic_compare_exchange_strong(&h->mail, &idle, offer)) {
        atomic_fetch_sub_explicit(&offer->users, 1, memory_order_relaxed); /* not the last user */
        return 0;
    }
    if (atomic_exchange(&h->sleeps, 0))
        fg_signal_send(&h->wake);
    return 1;
}

int fg_team_offer(fg_offer *offer, int n_wanted, int may_start) {
    int made = 0;
    for (int i = 0; i < MOST_HELPERS && made < n_wanted; i++) {
        if (i >= atomic_load_explicit(&n_helpers, memory_order_acquire) &&
            (!may_start || i >= n_wanted || !start_helper()))
            break;
        if (atomic_load_explicit(&helpers[i].mail, memory_order_relaxed))
            continue;
        if (!offer->has_cpus)
            fg_cpus(offer->cpus);
        offer->has_cpus = 1;
        made += offer_to(&helpers[i], offer);
    }
    return made;
}

void fg_team_withdraw(fg_offer *offer) {
    const int n = atomic_load_explicit(&n_helpers, memory_order_acquire);
    for (int i = 0; i < n; i++) {
        fg_offer *there = offer;
        if (atomic_load_explicit(&helpers[i].mail, memory_order_relaxed) == offer &&
            atomic_compare_exchange_strong(&helpers[i].mail, &there, NULL))
            fg_offer_leave(offer);
    }
}

int fg_team_size(void) { return atomic_load_explicit(&n_helpers, memory_order_relaxed); }

int64_t fg_team_taken(int i) {
    return atomic_load_explicit(&helpers[i].taken, memory_order_relaxed);
}

void fg_team_forget(void) {
    atomic_store(&n_helpers, 0);
    atomic_store(&starting, 0);
    atomic_fetch_add(&n_forks, 1);
}

int64_t fg_team_forks(void) { return atomic_load_explicit(&n_forks, memory_order_relaxed); }
