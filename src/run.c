/* Distributes tasks over the calling thread and helper threads. See run.h. */
#include "run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "parallel.h"
#include "team.h"
#include "thread.h"

#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)

/* A slot for one result. task is written before the task is taken, so the calling thread can see
 * which task a descheduled helper has taken. If another thread takes that task first, BUSY and task
 * are wrong until the helper looks for another one; but they never claim that nobody has a task
 * that the helper has. */
enum { FREE, BUSY, COMMITTING, READY };
typedef struct {
    atomic_int state;
    atomic_int_fast64_t task;
    _Atomic double since; /* when a helper took the task */
    void *memory;
} place;

/* The memory of one thread. With tasks in order, one result can wait to be committed while the next
 * is computed. */
enum { PLACES = 2 };
typedef struct {
    place places[PLACES];
    void *scratch;
    char apart[64]; /* keeps the next seat on another cache line */
} seat;

struct fg_run {
    fg_offer offer; /* first member: a helper casts it to the run */
    fg_tasks tasks;
    fg_lease *lease;
    int n_seats;
    int64_t n_tasks, merged, forks;
    void *shared, *memory;
    void *again; /* the result of a task that the calling thread redoes; allocated when needed */
    /* Not in order: whether a task has been committed; NULL without helpers. */
    atomic_uchar *committed;
    atomic_int_fast64_t taken;
    atomic_int over, seats_taken;
    int wanted, offered; /* helpers that the run can use, and offers made so far */
    int n_late;          /* helpers that were late */
    seat seats[];
};

/* ---- memory ---- */

static void release(fg_offer *offer) {
    fg_run *run = (fg_run *)offer;
    fg_lease *lease = run->lease;
    free(run->committed);
    fg_release(run->again);
    fg_release(run->memory);
    free(run);
    fg_lease_leave(lease);
}

static void take_part(fg_offer *offer);

static void reset(fg_run *run, int64_t n_tasks) {
    free(run->committed);
    run->committed = NULL;
    run->n_tasks = n_tasks;
    run->merged = 0;
    run->offer.has_cpus = 0;
    run->wanted = run->offered = run->n_late = 0;
    run->forks = fg_team_forks();
    atomic_store_explicit(&run->taken, 0, memory_order_relaxed);
    atomic_store_explicit(&run->over, 0, memory_order_relaxed);
    atomic_store_explicit(&run->seats_taken, 1, memory_order_relaxed);
    for (int s = 0; s < run->n_seats; s++)
        for (int i = 0; i < PLACES; i++)
            atomic_store_explicit(&run->seats[s].places[i].state, FREE, memory_order_relaxed);
}

fg_run *fg_run_open(const fg_tasks *tasks, int n_threads, fg_lease *lease) {
    const size_t shared = ALIGNED(tasks->shared_bytes), scratch = ALIGNED(tasks->scratch_bytes);
    const int places = n_threads > 1 && tasks->in_order ? PLACES : 1;
    const size_t result = ALIGNED(tasks->result_bytes), each = scratch + (size_t)places * result;
    if (each > (SIZE_MAX / 2 - shared) / (size_t)n_threads)
        return NULL;
    fg_run *run = calloc(1, sizeof *run + (size_t)n_threads * sizeof(seat));
    char *m = fg_cache_lines(shared + (size_t)n_threads * each);
    if (!run || !m) {
        free(run);
        fg_release(m);
        return NULL;
    }
    run->offer.take_part = take_part;
    run->offer.release = release;
    atomic_store_explicit(&run->offer.users, 1, memory_order_relaxed);
    run->tasks = *tasks;
    run->lease = fg_lease_enter(lease);
    run->forks = fg_team_forks();
    run->n_seats = n_threads;
    run->memory = run->shared = m;
    m += shared;
    for (int s = 0; s < n_threads; s++, m += each) {
        run->seats[s].scratch = m;
        for (int i = 0; i < PLACES; i++) /* with a single place, both point to it */
            run->seats[s].places[i].memory = m + scratch + (size_t)(i % places) * result;
    }
    return run;
}

static int has_forked(const fg_run *run) { return run->forks != fg_team_forks(); }

/* In the child of a fork there are no helpers, so none will leave. */
static void forget_helpers(fg_run *run) {
    if (has_forked(run))
        atomic_store_explicit(&run->offer.users, 1, memory_order_relaxed);
    run->forks = fg_team_forks();
}

void fg_run_close(fg_run *run) {
    if (!run)
        return;
    forget_helpers(run);
    fg_offer_leave(&run->offer);
}

void *fg_run_shared(const fg_run *run) { return run->shared; }

int fg_run_is_left(fg_run *run) {
    forget_helpers(run);
    return atomic_load_explicit(&run->offer.users, memory_order_acquire) == 1;
}

void *fg_run_prepare(fg_run **run, size_t keep_bytes) {
    if (!fg_run_is_left(*run)) {
        fg_run *fresh = fg_run_open(&(*run)->tasks, (*run)->n_seats, (*run)->lease);
        if (!fresh)
            return NULL;
        memcpy(fresh->shared, (*run)->shared, keep_bytes);
        fg_run_close(*run);
        *run = fresh;
    }
    return (*run)->shared;
}

/* ---- taking tasks ---- */

/* Takes the next task; returns 0 if there is none. A thread that sees that all tasks are taken also
 * sees who took them. */
static int take(fg_run *run, place *p) {
    int_fast64_t task = atomic_load_explicit(&run->taken, memory_order_acquire);
    while (task < run->n_tasks) {
        atomic_store_explicit(&p->task, task, memory_order_relaxed);
        atomic_store_explicit(&p->state, BUSY, memory_order_release);
        if (atomic_compare_exchange_weak_explicit(&run->taken, &task, task + 1,
                                                  memory_order_acq_rel, memory_order_acquire))
            return 1;
    }
    atomic_store_explicit(&p->state, FREE, memory_order_release);
    return 0;
}

static int is(const place *p, int state) {
    return atomic_load_explicit(&p->state, memory_order_acquire) == state;
}

static void do_task(fg_run *run, const seat *s, int64_t task, fg_monitor *monitor, void *result) {
    run->tasks.work(run->shared, task, s->scratch, monitor, result);
}

/* ---- helpers ---- */

static int is_over(void *run) {
    return atomic_load_explicit(&((fg_run *)run)->over, memory_order_acquire);
}

/* Waits for a place whose result has been committed; NULL if the run is over. */
static place *wait_for_place(fg_run *run, seat *s) {
    enum { SPINS = 2000, NAP = 50 }; /* microseconds */
    for (int spins = 0; !is_over(run); spins++) {
        for (int i = 0; i < PLACES; i++)
            if (is(&s->places[i], FREE))
                return &s->places[i];
        if (spins < SPINS)
            fg_spin(spins);
        else
            fg_sleep(NAP);
    }
    return NULL;
}

/* Not in order: returns whether this thread is the first with a result of the task. */
static int is_first(fg_run *run, int64_t task) {
    return !run->committed || !atomic_exchange(&run->committed[task], 1);
}

/* Nothing is committed after the run is over: either this function sees that it is, or the calling
 * thread sees COMMITTING and waits. */
static void commit_own(fg_run *run, place *p) {
    atomic_store(&p->state, COMMITTING);
    if (!atomic_load(&run->over) && is_first(run, p->task))
        run->tasks.commit(run->shared, p->task, p->memory);
    atomic_store_explicit(&p->state, FREE, memory_order_release);
}

static void take_part(fg_offer *offer) {
    fg_run *run = (fg_run *)offer;
    fg_monitor monitor = {.poll = is_over, .context = run, .eager = 1};
    const int number = atomic_fetch_add_explicit(&run->seats_taken, 1, memory_order_relaxed);
    if (number >= run->n_seats)
        return;
    seat *s = &run->seats[number];
    for (;;) {
        place *p = run->tasks.in_order ? wait_for_place(run, s) : &s->places[0];
        if (p)
            atomic_store_explicit(&p->since, fg_seconds(), memory_order_relaxed);
        if (!p || is_over(run) || !take(run, p))
            return;
        do_task(run, s, p->task, &monitor, p->memory);
        if (is_over(run)) /* the result may be partial; nobody reads the place any more */
            return;
        if (run->tasks.in_order)
            atomic_store_explicit(&p->state, READY, memory_order_release);
        else
            commit_own(run, p);
    }
}

/* ---- offers, and late helpers ---- */

/* A late helper shows that other processes want the CPUs. For a while, tasks are then offered only
 * to as many helpers as were not late; each time for longer. */
static _Atomic double few_until, few_for;
static atomic_int few;                                                  /* helpers until then */
static const double SHORTEST = 0.001, LONGEST = 0.16, FORGOTTEN = 0.01; /* seconds */

static int are_few(double now) {
    return now < atomic_load_explicit(&few_until, memory_order_relaxed);
}

/* Offers tasks to the helpers that are still wanted; some may have been busy until now. */
static void offer(fg_run *run, int may_start) {
    int wanted = run->wanted;
    if (run->offered < wanted && atomic_load_explicit(&few_until, memory_order_relaxed) > 0 &&
        are_few(fg_seconds())) {
        const int most = atomic_load_explicit(&few, memory_order_relaxed);
        wanted = most < wanted ? most : wanted;
    }
    if (run->offered < wanted && !has_forked(run))
        run->offered += fg_team_offer(&run->offer, wanted - run->offered, may_start);
}

/* The calling thread, which began at begin, has redone a task that a helper took at since. A helper
 * on a slower CPU is not late. */
static void count_late(fg_run *run, double since, double begin) {
    enum { SLOWER = 4 };
    const double now = fg_seconds();
    if (now - since < SLOWER * (now - begin))
        return;
    const int seats = atomic_load_explicit(&run->seats_taken, memory_order_relaxed);
    const int in_time = (seats < run->n_seats ? seats : run->n_seats) - 1 - ++run->n_late;
    const int most = in_time > 0 ? in_time : 0;
    if (!are_few(now)) { /* of several helpers late at once, only the first makes it longer */
        double length = atomic_load_explicit(&few_for, memory_order_relaxed);
        const double ago = now - atomic_load_explicit(&few_until, memory_order_relaxed);
        length = ago > fmax(2 * length, FORGOTTEN) ? SHORTEST : fmin(2 * length, LONGEST);
        atomic_store_explicit(&few, most, memory_order_relaxed);
        atomic_store_explicit(&few_for, length, memory_order_relaxed);
        atomic_store_explicit(&few_until, now + length, memory_order_relaxed);
    } else if (most < atomic_load_explicit(&few, memory_order_relaxed))
        atomic_store_explicit(&few, most, memory_order_relaxed);
}

/* ---- the calling thread ---- */

typedef struct {
    const place *theirs;
    int state; /* state of theirs while the task still needs redoing */
    fg_monitor *user;
} again;

static int is_needless(void *context) {
    const again *a = context;
    return !is(a->theirs, a->state) || fg_parallel_poll(a->user);
}

/* Redoes a helper's task into result, unless the helper finishes first. Returns whether it was
 * redone. The task is an argument, because the place may already name another one. */
static int do_again(fg_run *run, const place *theirs, int state, int64_t task, fg_monitor *user,
                    void *result) {
    again a = {theirs, state, user};
    fg_monitor monitor = {.poll = is_needless, .context = &a, .eager = 1};
    const double since = atomic_load_explicit(&theirs->since, memory_order_relaxed);
    const double begin = fg_seconds();
    do_task(run, &run->seats[0], task, &monitor, result);
    const int redone = !monitor.stopped && !is_needless(&a);
    if (redone)
        count_late(run, since, begin);
    return redone;
}

static void commit(fg_run *run, place *p) {
    run->tasks.commit(run->shared, p->task, p->memory);
    atomic_store_explicit(&p->state, FREE, memory_order_release);
}

/* Commits the results that are ready, in order; returns the place that holds the next task, or
 * NULL. */
static place *commit_ready(fg_run *run) {
    const int n_seats = atomic_load_explicit(&run->seats_taken, memory_order_relaxed);
    place *next;
    int found;
    do {
        found = 0;
        next = NULL;
        for (int s = 0; s < n_seats && s < run->n_seats; s++)
            for (int i = 0; i < PLACES; i++) {
                place *p = &run->seats[s].places[i];
                const int state = atomic_load_explicit(&p->state, memory_order_acquire);
                if (state == FREE || p->task > run->merged)
                    continue;
                if (state == READY && p->task < run->merged) /* it was redone */
                    atomic_store_explicit(&p->state, FREE, memory_order_release);
                else if (state == READY) {
                    commit(run, p);
                    run->merged++;
                    found = 1;
                } else if (p->task == run->merged)
                    next = p;
            }
    } while (found);
    return next;
}

static void *memory_for_again(fg_run *run) {
    if (!run->again)
        run->again = fg_cache_lines(ALIGNED(run->tasks.result_bytes));
    return run->again;
}

static fg_status run_in_order(fg_run *run, fg_monitor *monitor) {
    seat *own = &run->seats[0];
    const int places = run->n_seats > 1 ? PLACES : 1;
    int spins = 0;
    while (run->merged < run->n_tasks && !fg_stopped(monitor)) {
        place *p = NULL, *next = commit_ready(run);
        for (int i = 0; i < places && !p; i++)
            p = is(&own->places[i], FREE) ? &own->places[i] : NULL;
        if (run->merged == run->n_tasks || fg_parallel_poll(monitor))
            continue;
        if (p && take(run, p)) {
            offer(run, 0);
            do_task(run, own, p->task, monitor, p->memory);
            atomic_store_explicit(&p->state, READY, memory_order_release);
        } else if (next && memory_for_again(run)) {
            if (do_again(run, next, BUSY, run->merged, monitor, run->again))
                run->tasks.commit(run->shared, run->merged++, run->again);
        } else if (next && has_forked(run)) /* no thread will do it */
            return FG_NO_MEMORY;
        else
            fg_spin(spins++);
    }
    return FG_OK;
}

/* Waits while the helper writes to the destination, which does not take long. This also holds after
 * an interrupt: nothing writes to the results of a call that has returned. */
static void wait_for_commit(const fg_run *run, const place *p) {
    for (int spins = 0; atomic_load(&p->state) == COMMITTING && !has_forked(run); spins++)
        if (spins < 1000)
            fg_pause();
        else
            fg_yield();
}

/* Completes the task in a helper's place, if it is not done yet. */
static void finish(fg_run *run, const place *p, fg_monitor *monitor, void *result) {
    for (;;) {
        wait_for_commit(run, p);
        const int state = atomic_load(&p->state);
        const int64_t task = p->task;
        const int is_lost = state == COMMITTING; /* by a fork; perhaps half written */
        if (state == FREE || fg_stopped(monitor) ||
            (!is_lost && atomic_load(&run->committed[task])))
            return;
        if (do_again(run, p, state, task, monitor, result) && (is_first(run, task) || is_lost)) {
            run->tasks.commit(run->shared, task, result);
            return;
        }
    }
}

static void run_in_any_order(fg_run *run, fg_monitor *monitor) {
    seat *own = &run->seats[0];
    place *mine = &own->places[0];
    while (!fg_stopped(monitor) && take(run, mine)) {
        offer(run, 0);
        do_task(run, own, mine->task, monitor, run->tasks.direct ? NULL : mine->memory);
        if (!fg_stopped(monitor) && is_first(run, mine->task) && !run->tasks.direct)
            run->tasks.commit(run->shared, mine->task, mine->memory);
        atomic_store_explicit(&mine->state, FREE, memory_order_relaxed);
        fg_parallel_poll(monitor);
    }
    for (int s = 1; s < run->n_seats && run->committed; s++)
        finish(run, &run->seats[s].places[0], monitor, mine->memory);
}

/* Waits for helpers without work, which leave within moments; for a late one only if for_all. */
static void wait_for_helpers(fg_run *run, int for_all) {
    for (int spins = 0; !fg_run_is_left(run); spins++) {
        int late = 0;
        for (int s = 1; s < run->n_seats; s++)
            for (int i = 0; i < PLACES; i++)
                late |= is(&run->seats[s].places[i], BUSY);
        if (!for_all && (late || spins > 500))
            return;
        if (spins < 1000)
            fg_pause();
        else
            fg_sleep(20);
    }
}

/* Allocates committed; returns 0 without memory, in which case no helper takes part. */
static int open_to_helpers(fg_run *run) {
    if (!run->tasks.in_order)
        run->committed = calloc((size_t)run->n_tasks, sizeof *run->committed);
    return run->tasks.in_order || run->committed;
}

fg_status fg_run_tasks(fg_run *run, const fg_context *context, int64_t n_tasks) {
    fg_monitor *monitor = context->monitor;
    if (fg_stopped(monitor))
        return FG_INTERRUPTED;
    reset(run, n_tasks);
    const int wanted = run->n_seats - 1 < n_tasks - 1 ? run->n_seats - 1 : (int)(n_tasks - 1);
    if (wanted > 0 && open_to_helpers(run))
        run->wanted = wanted;
    offer(run, 1);
    fg_status status = FG_OK;
    if (run->tasks.in_order)
        status = run_in_order(run, monitor);
    else
        run_in_any_order(run, monitor);
    atomic_store(&run->over, 1);
    if (run->offered > 0) {
        for (int s = 1; s < run->n_seats; s++)
            wait_for_commit(run, &run->seats[s].places[0]);
        fg_team_withdraw(&run->offer);
        wait_for_helpers(run, !context->lease);
    }
    return fg_stopped(monitor) || fg_parallel_poll(monitor) ? FG_INTERRUPTED : status;
}
