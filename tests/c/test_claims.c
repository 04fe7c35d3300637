/* Helpers that are held up after announcing the task they are about to take and before taking it:
 * another thread then takes the task, and the place names a task that the helper does not have.
 *
 * run.c is compiled in here under other names, with a stop before a task is taken and one before
 * the calling thread allocates memory to redo a task. */
#include <stdatomic.h>

#include "check.h"
#include "helpers.h"

typedef struct fg_run fg_run;
static void before_taking(fg_run *run, const void *place, int64_t task);
static void *memory_at_last(size_t bytes);
void *fg_cache_lines(size_t bytes);

#define fg_run_open held_run_open
#define fg_run_close held_run_close
#define fg_run_shared held_run_shared
#define fg_run_is_left held_run_is_left
#define fg_run_prepare held_run_prepare
#define fg_run_tasks held_run_tasks
#define fg_cache_lines memory_at_last
#undef atomic_compare_exchange_weak_explicit
#define atomic_compare_exchange_weak_explicit(object, expected, desired, success, failure)         \
    (before_taking(run, p, *(expected)),                                                           \
     atomic_compare_exchange_strong_explicit(object, expected, desired, success, failure))
#include "run.c"
#undef fg_cache_lines

enum { TASKS = 40 };
static _Thread_local int is_caller;

/* Two helpers: the first takes task 0, which the second has announced, too. */
static struct {
    atomic_int second_is_held, second_may_go, second_works, first_works, all_may_go;
    atomic_int commits[TASKS], wrong;
    int is_watched, forks, is_child, no_memory;
} world;

static void wait_until(atomic_int *flag) {
    while (!atomic_load(flag))
        fg_sleep(50);
}

static int seat_of(const fg_run *run, const void *place) {
    for (int s = 0; s < run->n_seats; s++)
        if (place == &run->seats[s].places[0] || place == &run->seats[s].places[1])
            return s;
    return -1;
}

static void before_taking(fg_run *run, const void *place, int64_t task) {
    const int seat = seat_of(run, place);
    if (task == 0 && seat == 2) {
        atomic_store(&world.second_is_held, 1);
        wait_until(&world.second_may_go);
    } else if (task == 0 && seat == 1)
        wait_until(&world.second_is_held);
    else if (task == 0)
        wait_until(&world.first_works);
}

/* When the calling thread is about to redo task 0, the second helper takes another task. */
static void *memory_at_last(size_t bytes) {
    if (world.is_child || world.no_memory)
        return NULL;
    if (world.is_watched) {
        atomic_store(&world.second_may_go, 1);
        wait_until(&world.second_works);
    }
    return fg_cache_lines(bytes);
}

#ifdef _WIN32
static void fork_here(void) {}
#else
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;
static void fork_here(void) {
    child = fork();
    world.is_child = child == 0;
}
#endif

static void work(void *context, int64_t task, void *scratch, fg_monitor *monitor, void *result) {
    (void)context;
    (void)scratch;
    (void)monitor;
    if (!is_caller) {
        atomic_store(task == 0 ? &world.first_works : &world.second_works, 1);
        wait_until(&world.all_may_go);
    }
    if (is_caller && world.forks) {
        world.forks = 0;
        fork_here();
    }
    *(int64_t *)result = task;
}

static void put(void *context, int64_t task, void *result) {
    (void)context;
    if (*(int64_t *)result != task)
        atomic_fetch_add(&world.wrong, 1);
    atomic_fetch_add(&world.commits[task], 1);
}

static void check_once(void) {
    CHECK(atomic_load(&world.wrong) == 0, "%d results of other tasks", atomic_load(&world.wrong));
    for (int i = 0; i < TASKS; i++)
        CHECK(atomic_load(&world.commits[i]) == 1, "task %d was committed %d times", i,
              atomic_load(&world.commits[i]));
}

static void forget_late_helpers(void) {
    atomic_store(&few_until, 0);
    atomic_store(&few_for, 0);
}

/* A call of three threads, and its run. */
typedef struct {
    fg_call call;
    fg_context context;
    fg_run *run;
} session;

static void begin(int in_order, session *out) {
    const fg_tasks tasks = {
        .work = work, .commit = put, .in_order = in_order, .result_bytes = sizeof(int64_t)};
    memset(&world, 0, sizeof world);
    forget_late_helpers();
    fg_call_begin(3, &out->call);
    out->context = (fg_context){.n_threads = 3, .lease = out->call.lease};
    out->run = fg_run_open(&tasks, 3, out->call.lease);
}

/* Lets the helpers continue, and checks that nothing was committed twice. */
static void end(session *s) {
    fg_run_close(s->run);
    atomic_store(&world.second_may_go, 1);
    atomic_store(&world.all_may_go, 1);
    end_call_and_wait(&s->call);
    check_once();
}

static void test_a_task_that_somebody_else_took(int in_order) {
    session s;
    CONTEXT("%s", in_order ? "in order" : "in any order");
    begin(in_order, &s);
    world.is_watched = in_order;
    /* not in order, the second is held until the run is over */
    CHECK(fg_run_tasks(s.run, &s.context, TASKS) == FG_OK, "status");
    check_once();
    CHECK(atomic_load(&few_for) == SHORTEST, "one run of late helpers counts many times");
    /* not in order, only the first has a task that is redone */
    CHECK(atomic_load(&few) == !in_order, "%d helpers in time", atomic_load(&few));
    world.no_memory = 1;
    CHECK(fg_run_prepare(&s.run, 0) == NULL, "the memory of a late helper is used again");
    world.no_memory = world.is_watched = 0;
    end(&s);
}

static fg_run *watched;
static atomic_int held;
static atomic_int_fast64_t released;

/* Both helpers are held in a task. When the calling thread redoes that of the second, the first is
 * released: its task has been redone and committed. */
static void hold_both(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                      void *result) {
    (void)context;
    (void)scratch;
    (void)monitor;
    const place *first = &watched->seats[1].places[0], *second = &watched->seats[2].places[0];
    if (!is_caller) {
        atomic_fetch_add(&held, 1);
        while (atomic_load(&released) != task && !atomic_load(&world.all_may_go))
            fg_sleep(50);
    }
    for (int i = 0; is_caller && i < 1000 && atomic_load(&held) < 2; i++)
        fg_sleep(50);
    if (is_caller && atomic_load(&held) == 2 && is(second, BUSY) && task == second->task) {
        atomic_store(&released, first->task);
        while (!is(first, FREE))
            fg_sleep(50);
    }
    *(int64_t *)result = task;
}

static void test_a_task_that_was_redone_is_not_committed_again(void) {
    const fg_tasks tasks = {.work = hold_both, .commit = put, .result_bytes = sizeof(int64_t)};
    int both = 0;
    CONTEXT("a helper that ends after its task was redone");
    for (int round = 0; round < 1000 && !both; round++) { /* until both helpers take part */
        memset(&world, 0, sizeof world);
        forget_late_helpers();
        atomic_store(&held, 0);
        atomic_store(&released, -1);
        fg_call call;
        fg_call_begin(3, &call);
        const fg_context context = {.n_threads = 3, .lease = call.lease};
        watched = fg_run_open(&tasks, 3, call.lease);
        atomic_store(&world.second_may_go, 1); /* see before_taking */
        atomic_store(&world.second_is_held, 1);
        atomic_store(&world.first_works, 1);
        CHECK(fg_run_tasks(watched, &context, TASKS) == FG_OK, "status");
        both = atomic_load(&released) >= 0;
        check_once();
        fg_run_close(watched);
        atomic_store(&world.all_may_go, 1);
        fg_lease *lease = fg_call_end(&call);
        while (lease && !fg_lease_try_end(lease))
            fg_sleep(100);
    }
    CHECK(both, "the helpers did not come");
}

static void test_a_slower_helper_is_not_late(void) {
    const fg_tasks tasks = {.work = work, .commit = put, .result_bytes = sizeof(int64_t)};
    CONTEXT("a slower helper");
    forget_late_helpers();
    fg_run *run = fg_run_open(&tasks, 4, NULL);
    atomic_store(&run->seats_taken, 4);
    const double now = fg_seconds();
    count_late(run, now - 30, now - 10);
    CHECK(atomic_load(&few_until) == 0, "three times slower is late");
    count_late(run, now - 50, now - 10);
    CHECK(are_few(now) && atomic_load(&few) == 2, "%d of three in time", atomic_load(&few));
    count_late(run, now - 50, now - 10);
    CHECK(atomic_load(&few_for) == SHORTEST && atomic_load(&few) == 1, "another late one");
    fg_run_close(run);
}

/* few is set during the run: helpers are offered tasks as soon as they may have them. */
static void change_few(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                       void *result) {
    (void)context;
    (void)scratch;
    (void)monitor;
    (void)result;
    if (is_caller && task == 10)
        atomic_store(&few, 1);
    if (is_caller && task == 20)
        atomic_store(&few_until, 0);
}

static int offers_after[TASKS];

static void note_offers(void *context, int64_t task, void *result) {
    (void)context;
    (void)result;
    if (is_caller)
        offers_after[task] = watched->offered;
}

static void test_helpers_come_when_they_may(void) {
    const fg_tasks tasks = {
        .work = change_few, .commit = note_offers, .in_order = 1, .result_bytes = 1};
    CONTEXT("helpers that come later");
    const fg_context context = {.n_threads = 3};
    watched = fg_run_open(&tasks, 3, NULL);
    for (int round = 0; round < 10000 && watched->offered < 2; round++) { /* both may be away */
        atomic_store(&few, 0);
        atomic_store(&few_until, fg_seconds() + 1000);
        CHECK(fg_run_tasks(watched, &context, TASKS) == FG_OK, "status");
        CHECK(offers_after[10] == 0, "%d offers to no helper", offers_after[10]);
        CHECK(offers_after[20] <= 1, "%d offers to one helper", offers_after[20]);
    }
    CHECK(watched->offered == 2, "%d offers", watched->offered);
    fg_run_close(watched);
    forget_late_helpers();
}

#ifndef _WIN32
/* No thread will do the task that a helper had at the fork, and there is no memory to redo it. */
static void test_a_child_without_memory(void) {
    session s;
    CONTEXT("a child without memory");
    begin(1, &s);
    world.is_watched = world.forks = 1;
    fflush(NULL);
    const fg_status status = fg_run_tasks(s.run, &s.context, TASKS);
    if (world.is_child)
        _exit(status == FG_NO_MEMORY ? 0 : 1);
    int found = 0;
    CHECK(waitpid(child, &found, 0) == child && found == 0, "status %d", found);
    CHECK(status == FG_OK, "status");
    end(&s);
}
#endif

int main(void) {
    is_caller = 1;
    fg_parallel_install();
    for (int in_order = 0; in_order <= 1; in_order++)
        test_a_task_that_somebody_else_took(in_order);
    test_a_task_that_was_redone_is_not_committed_again();
    test_a_slower_helper_is_not_late();
    test_helpers_come_when_they_may();
#ifndef _WIN32
    test_a_child_without_memory();
#endif
    return check_result();
}
