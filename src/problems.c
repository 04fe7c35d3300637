/* Distributes the problems of a batch over the threads. See problems.h. */
#include "problems.h"

#include <stdatomic.h>
#include <string.h>

#include "memory.h"
#include "parallel.h"
#include "run.h"

int64_t fg_problem_table(const fg_problems *problems, int64_t problem) {
    return problems->copies > 1 ? problem / problems->copies : problem;
}

fg_data fg_problem_data(const fg_problems *problems, int64_t problem) {
    const int64_t i = fg_problem_table(problems, problem);
    const int64_t begin = problems->offsets[i], n_rows = problems->offsets[i + 1] - begin;
    fg_data data = problems->each ? problems->each[i] : problems->rows;
    if (!problems->each) {
        const int64_t size = data.real_type == FG_FLOAT32 ? 4 : 8;
        data.x = (const char *)data.x + (begin * data.row_stride + i * problems->gap) * size;
        if (data.sample_weight)
            data.sample_weight += begin;
    }
    data.n_rows = n_rows;
    return data;
}

/* Followed by the job. */
typedef struct {
    fg_batch_kind kind;
    fg_problems problems;
    int64_t first; /* position in order; earlier problems are done */
    atomic_int failed;
    atomic_int_fast64_t done, not_finite; /* number done; first problem with NaN or infinity */
} shared;

/* Followed by the output of the batch's kind. */
typedef struct {
    fg_status status;
} problem_result;

static fg_status work_on(shared *b, int64_t place, fg_context *context, void *result) {
    return b->kind.work(fg_after(b, sizeof *b), &b->problems, b->problems.order[place], context,
                        result);
}

static void keep_first(atomic_int_fast64_t *first, int64_t problem) {
    int_fast64_t known = atomic_load(first);
    while (problem < known && !atomic_compare_exchange_weak(first, &known, problem))
        ;
}

static void count(shared *b, int64_t place, fg_status status) {
    if (status == FG_NOT_FINITE)
        keep_first(&b->not_finite, b->problems.order[place]);
    if (status == FG_OK || status == FG_NOT_FINITE)
        atomic_fetch_add_explicit(&b->done, 1, memory_order_relaxed);
    else if (status != FG_INTERRUPTED)
        atomic_store_explicit(&b->failed, status, memory_order_relaxed);
}

static void commit_task(void *context, int64_t task, void *result) {
    shared *b = context;
    const problem_result *head = result;
    if (head->status == FG_OK)
        b->kind.commit(fg_after(b, sizeof *b), &b->problems, b->problems.order[b->first + task],
                       fg_after(head, sizeof *head));
    count(b, b->first + task, head->status);
}

static void problem_task(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                         void *result) {
    (void)scratch;
    shared *b = context;
    problem_result *head = result;
    fg_context alone = {.n_threads = 1, .monitor = monitor};
    if (head)
        head->status = work_on(b, b->first + task, &alone, fg_after(head, sizeof *head));
    else
        count(b, b->first + task, work_on(b, b->first + task, &alone, NULL));
}

/* Passes the progress of the batch on to the user's monitor. */
typedef struct {
    shared *b;
    fg_monitor *user;
} teller;

static int poll_user(void *context) {
    const teller *t = context;
    if (!t->b->kind.silent)
        t->user->done = atomic_load_explicit(&t->b->done, memory_order_relaxed);
    return t->user->poll && t->user->poll(t->user->context);
}

/* A problem that is larger than one thread's share of the remaining work would keep one thread busy
 * while the others wait. */
static int is_wide(const fg_shape *shape, int64_t n_rows, double cost, double left, int threads) {
    return threads > 1 && cost > left / (2 * threads) &&
           fg_task_count(shape, n_rows) >= 4 * (int64_t)threads;
}

static double cost_of(const fg_problems *problems, int64_t problem) {
    return problems->cost ? problems->cost[problem]
                          : (double)fg_problem_data(problems, problem).n_rows;
}

/* Fits the wide problems at the beginning one by one, each with all threads. */
static fg_status run_wide(shared *b, fg_context *context, problem_result *result) {
    const fg_problems *problems = &b->problems;
    const int64_t n_problems = problems->n_problems;
    double left = 0;
    for (int64_t i = 0; i < n_problems; i++)
        left += cost_of(problems, i);
    for (; b->first < n_problems && !fg_stopped(context->monitor); b->first++) {
        const int64_t problem = problems->order[b->first];
        const int64_t n_rows = fg_problem_data(problems, problem).n_rows;
        const double cost = cost_of(problems, problem);
        if (!is_wide(&b->kind.largest, n_rows, cost, left, context->n_threads) &&
            (context->n_threads == 1 || n_rows <= b->kind.most_rows))
            return FG_OK;
        if (b->kind.direct)
            count(b, b->first, work_on(b, b->first, context, NULL));
        else {
            result->status = work_on(b, b->first, context, fg_after(result, sizeof *result));
            commit_task(b, 0, result);
        }
        left -= cost;
    }
    return fg_stopped(context->monitor) ? FG_INTERRUPTED : FG_OK;
}

fg_status fg_run_problems(const fg_context *context, const fg_problems *problems,
                          const fg_batch_kind *kind, const void *job, int64_t *out_problem) {
    fg_monitor *user = context->monitor;
    const fg_tasks tasks = {.work = problem_task,
                            .commit = commit_task,
                            .direct = kind->direct,
                            .shared_bytes = FG_ALIGNED(sizeof(shared)) + kind->job_bytes,
                            .result_bytes =
                                FG_ALIGNED(sizeof(problem_result)) + kind->result_bytes};
    fg_run *run = fg_run_open(&tasks, context->n_threads, context->lease);
    if (!run && context->n_threads > 1) /* needs less memory */
        run = fg_run_open(&tasks, 1, context->lease);
    void *result = fg_cache_lines(tasks.result_bytes); /* of wide problems */
    fg_status status = run && result ? FG_OK : FG_NO_MEMORY;
    if (status == FG_OK) {
        shared *b = fg_run_shared(run);
        *b = (shared){.kind = *kind, .problems = *problems, .not_finite = INT64_MAX};
        memcpy(fg_after(b, sizeof *b), job, kind->job_bytes);
        teller t = {b, user};
        fg_monitor monitor = {.poll = poll_user, .context = &t};
        fg_context all = {
            .n_threads = context->n_threads, .monitor = &monitor, .lease = context->lease};
        status = run_wide(b, &all, result);
        if (status == FG_OK)
            status = fg_run_tasks(run, &all, problems->n_problems - b->first);
        if (!kind->silent)
            user->done = b->done;
        *out_problem = b->not_finite;
        if (status == FG_OK)
            status = b->failed                   ? (fg_status)b->failed
                     : b->not_finite < INT64_MAX ? FG_NOT_FINITE
                                                 : FG_OK;
    }
    fg_release(result);
    fg_run_close(run);
    return status;
}
