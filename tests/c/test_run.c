/* Tasks distributed over the calling thread and helpers: each counts once, in order, even if a
 * helper is held up in the middle of one and resumes long after the call. If the calling thread
 * waited for such a helper, these tests would not finish. */
#include <stdatomic.h>

#include "calls.h"
#include "check.h"
#include "helpers.h"
#include "parallel.h"
#include "run.h"
#include "team.h"

enum { TASKS = 200, ROUNDS = 100, WORDS = 64 };

/* Outlives all calls: late helpers still read it. */
static struct {
    atomic_int holds_up; /* if set, a helper waits in its task until this is 0 */
    atomic_int held_up;  /* how many wait */
} world;

static _Thread_local int is_caller;

typedef struct {
    int64_t n_tasks, factor;
    int64_t *out;        /* of the calling thread */
    atomic_int *commits; /* per task: memory of this test, never freed */
    atomic_int *wrong;   /* wrong words in results; CHECK is for the calling thread */
    int in_order;
    int64_t last;
} shared;

static uint64_t value_of(const shared *s, int64_t task) {
    uint64_t x = (uint64_t)(task * s->factor + 1);
    for (int i = 0; i < 2000; i++)
        x = x * 6364136223846793005u + 1442695040888963407u;
    return x;
}

static void hold_up(void) {
    if (!is_caller && atomic_load(&world.holds_up)) {
        atomic_fetch_add(&world.held_up, 1);
        while (atomic_load(&world.holds_up))
            fg_sleep(100);
    }
}

static void work_freely(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                        void *result) {
    const shared *s = context;
    uint64_t *words = result, *own = scratch;
    const uint64_t value = value_of(s, task);
    for (int i = 0; i < WORDS; i++)
        own[i] = value + (uint64_t)i;
    if (fg_parallel_poll(monitor))
        return;
    for (int i = 0; i < WORDS; i++)
        words[i] = own[i];
}

static void work(void *context, int64_t task, void *scratch, fg_monitor *monitor, void *result) {
    hold_up();
    work_freely(context, task, scratch, monitor, result);
}

static void commit(void *context, int64_t task, void *result) {
    shared *s = context;
    const uint64_t *words = result, value = value_of(s, task);
    for (int i = 0; i < WORDS; i++)
        if (words[i] != value + (uint64_t)i)
            atomic_fetch_add(s->wrong, 1);
    if (s->in_order) {
        CHECK(is_caller, "committed by a helper");
        CHECK(task == s->last + 1, "task %lld after %lld", (long long)task, (long long)s->last);
        s->last = task;
    }
    s->out[task] = (int64_t)words[0];
    atomic_fetch_add(&s->commits[task], 1);
}

static fg_tasks word_tasks(int in_order) {
    return (fg_tasks){.work = work,
                      .commit = commit,
                      .in_order = in_order,
                      .shared_bytes = sizeof(shared),
                      .scratch_bytes = WORDS * sizeof(uint64_t),
                      .result_bytes = WORDS * sizeof(uint64_t)};
}

static void check_run(fg_run **run, const fg_context *context, int64_t n_tasks, int in_order) {
    static int64_t out[TASKS];
    static atomic_int commits[TASKS], wrong;
    static int64_t factor;
    shared *s = fg_run_prepare(run, 0);
    factor++;
    for (int i = 0; i < TASKS; i++)
        atomic_store(&commits[i], 0);
    *s = (shared){n_tasks, factor, out, commits, &wrong, in_order, -1};
    CHECK(fg_run_tasks(*run, context, n_tasks) == FG_OK, "status");
    CHECK(atomic_load(&wrong) == 0, "%d words are wrong", atomic_load(&wrong));
    for (int64_t i = 0; i < TASKS; i++)
        CHECK(atomic_load(&commits[i]) == (i < n_tasks), "task %lld was committed %d times",
              (long long)i, atomic_load(&commits[i]));
}

static void test_every_task_counts_once(int in_order) {
    const fg_tasks tasks = word_tasks(in_order);
    for (int n_threads = 1; n_threads <= 5; n_threads++) {
        const fg_context context = {.n_threads = n_threads};
        fg_run *run = fg_run_open(&tasks, n_threads, NULL);
        CONTEXT("%s, %d threads", in_order ? "in order" : "in any order", n_threads);
        for (int round = 0; round < ROUNDS; round++)
            check_run(&run, &context, round % (TASKS + 1), in_order);
        fg_run_close(run);
    }
}

/* Runs until a helper takes a task, a few times: others may have done all tasks. */
static int hold_one_up(fg_run **run, const fg_context *context, int in_order) {
    atomic_store(&world.held_up, 0);
    atomic_store(&world.holds_up, 1);
    for (int i = 0; i < 5000 && !atomic_load(&world.held_up); i++)
        check_run(run, context, TASKS, in_order);
    return atomic_load(&world.held_up);
}

static void test_nobody_waits_for_a_helper_that_is_held_up(int in_order) {
    const fg_tasks tasks = word_tasks(in_order);
    CONTEXT("held up, %s", in_order ? "in order" : "in any order");
    fg_call call;
    fg_call_begin(3, &call);
    const fg_context context = {.n_threads = 3, .lease = call.lease};
    fg_run *run = fg_run_open(&tasks, 3, call.lease);
    const int held_up = hold_one_up(&run, &context, in_order);
    CHECK(held_up > 0, "no helper came to a task");
    for (int round = 0; round < 20; round++) /* they are held up all the time */
        check_run(&run, &context, TASKS, in_order);
    fg_run_close(run);
    fg_lease *lease = fg_call_end(&call);
    CHECK(lease != NULL, "nobody is late");
    CHECK(!lease || fg_lease_keep(lease, &world), "no memory");
    CHECK(fg_lease_let_go() == NULL, "let go while a helper is there");
    atomic_store(&world.holds_up, 0);
    void *gone = NULL;
    for (int i = 0; i < 100000 && !gone; i++, fg_sleep(100))
        gone = fg_lease_let_go();
    CHECK(gone == &world, "the lease does not end");
    CHECK(fg_lease_let_go() == NULL, "let go twice");
}

/* Without a lease the rows may be freed at once, so the call waits for helpers. */
static void test_without_a_lease_all_have_left(void) {
    const fg_tasks tasks = word_tasks(1);
    const fg_context context = {.n_threads = 4};
    CONTEXT("no lease");
    fg_run *run = fg_run_open(&tasks, 4, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        void *before = fg_run_shared(run);
        check_run(&run, &context, TASKS, 1);
        CHECK(fg_run_prepare(&run, 0) == before, "the run moved");
    }
    fg_run_close(run);
}

static int stop(void *context) { return ++*(int *)context > 3; }

static void test_the_user_stops_it(void) {
    const fg_tasks tasks = word_tasks(1);
    static int64_t out[TASKS];
    static atomic_int commits[TASKS], wrong;
    CONTEXT("a stop");
    for (int n_threads = 1; n_threads <= 3; n_threads++) {
        int asked = 0;
        fg_monitor monitor = {.poll = stop, .context = &asked, .eager = 1};
        const fg_context context = {.n_threads = n_threads, .monitor = &monitor};
        fg_run *run = fg_run_open(&tasks, n_threads, NULL);
        shared *s = fg_run_prepare(&run, 0);
        *s = (shared){TASKS, 1, out, commits, &wrong, 1, -1};
        CHECK(fg_run_tasks(run, &context, TASKS) == FG_INTERRUPTED, "not stopped");
        CHECK(asked == 4, "asked %d times", asked);
        CHECK(s->last < TASKS - 1, "all was done");
        fg_run_close(run);
    }
}

/* After a call has returned, its results belong to the caller: no helper commits any more. */
static struct {
    atomic_int is_inside, out;
} committing;

static void commit_slowly(void *context, int64_t task, void *result) {
    (void)context;
    (void)task;
    (void)result;
    if (is_caller)
        return;
    atomic_store(&committing.is_inside, 1);
    fg_sleep(30000);
    atomic_fetch_add(&committing.out, 1);
    atomic_store(&committing.is_inside, 0);
}

static void do_nothing(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                       void *result) {
    (void)context;
    (void)task;
    (void)scratch;
    (void)result;
    fg_parallel_poll(monitor);
}

static int stop_when_inside(void *context) {
    (void)context;
    return atomic_load(&committing.is_inside);
}

static void test_no_helper_commits_when_it_is_over(void) {
    const fg_tasks tasks = {.work = do_nothing, .commit = commit_slowly};
    CONTEXT("a stop during a commit");
    for (int round = 0; round < 3; round++) {
        fg_monitor monitor = {.poll = stop_when_inside, .eager = 1};
        fg_call call;
        fg_call_begin(2, &call);
        const fg_context context = {.n_threads = 2, .monitor = &monitor, .lease = call.lease};
        fg_run *run = fg_run_open(&tasks, 2, call.lease);
        fg_status status = FG_OK;
        for (int i = 0; i < 1000 && status == FG_OK; i++) { /* until a helper takes part */
            fg_run_prepare(&run, 0);
            status = fg_run_tasks(run, &context, 1 << 16);
        }
        CHECK(status == FG_INTERRUPTED, "not stopped");
        const int out = atomic_load(&committing.out);
        CHECK(!atomic_load(&committing.is_inside), "a helper is still writing");
        fg_sleep(50000);
        CHECK(atomic_load(&committing.out) == out, "a helper has written later");
        fg_run_close(run);
        end_call_and_wait(&call);
    }
}

/* ---- fork ---- */

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>

static pid_t child;

/* Forks once a helper is held up; in the parent the helper may continue. */
static int fork_then(void *context) {
    (void)context;
    if (child < 0 && atomic_load(&world.held_up)) {
        fflush(NULL);
        child = fork();
        if (child)
            atomic_store(&world.holds_up, 0);
    }
    return 0;
}

static void commit_held_up(void *context, int64_t task, void *result) {
    hold_up();
    commit(context, task, result);
}

/* The child continues the call: it redoes the task of the helper, even if the helper was committing
 * it. */
static void test_a_child_ends_the_run(int in_order, int while_it_commits) {
    fg_tasks tasks = word_tasks(in_order);
    if (while_it_commits) {
        tasks.work = work_freely;
        tasks.commit = commit_held_up;
    }
    CONTEXT("a child%s%s", in_order ? ", in order" : "", while_it_commits ? ", commits" : "");
    fg_call call;
    fg_call_begin(2, &call);
    fg_monitor monitor = {.poll = fork_then, .eager = 1};
    const fg_context context = {.n_threads = 2, .monitor = &monitor, .lease = call.lease};
    fg_run *run = fg_run_open(&tasks, 2, call.lease);
    child = -1;
    atomic_store(&world.held_up, 0);
    atomic_store(&world.holds_up, 1);
    for (int i = 0; i < 5000 && child < 0; i++)
        check_run(&run, &context, TASKS, in_order);
    CHECK(child >= 0, "no helper came to a task");
    if (child == 0) {
        void *shared_before = fg_run_shared(run);
        CHECK(fg_run_prepare(&run, 0) == shared_before, "the run moved");
        fg_run_close(run);
        CHECK(fg_call_end(&call) == NULL, "the child waits for nobody");
        _exit(check_result());
    }
    int status = 0;
    CHECK(child < 0 || (waitpid(child, &status, 0) == child && status == 0), "status %d", status);
    fg_run_close(run);
    end_call_and_wait(&call);
}
#endif

int main(void) {
    is_caller = 1;
    fg_parallel_install();
    for (int in_order = 0; in_order <= 1; in_order++) {
        test_every_task_counts_once(in_order);
        test_nobody_waits_for_a_helper_that_is_held_up(in_order);
    }
    test_without_a_lease_all_have_left();
    test_the_user_stops_it();
    test_no_helper_commits_when_it_is_over();
#ifndef _WIN32
    for (int in_order = 0; in_order <= 1; in_order++)
        test_a_child_ends_the_run(in_order, 0);
    test_a_child_ends_the_run(0, 1);
#endif
    CHECK(fg_team_size() >= 2, "%d helpers", fg_team_size());
    return check_result();
}
