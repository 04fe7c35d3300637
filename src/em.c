/* One pass over the rows, and the EM loop of passes.
 *
 * Rows are cut into tasks by their number alone, and the tasks' sums merge in index order: the
 * bits do not depend on the number of threads. */
#include "em.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parallel.h"

#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)

/* Enough work per task to pay for its merge, few enough rows to share out among many cores. */
static int64_t choose_task_rows(const fg_shape *shape, const fg_kernels *kernels) {
    const double d = (double)shape->n_features, k = (double)shape->n_components;
    const double per_row = shape->covariance == FG_FULL ? k * (8 + d * d) : k * (8 + 4 * d) + d * d;
    double rows = 4e6 / per_row;
    rows = rows < 1024 ? 1024 : rows > 16384 ? 16384 : rows;
    return ((int64_t)rows + kernels->block_rows - 1) / kernels->block_rows * kernels->block_rows;
}

fg_status fg_pass_open(const fg_shape *shape, const fg_data *data, int n_threads,
                       const fg_monitor *monitor, fg_pass *out_pass) {
    fg_pass p = {.shape = shape, .data = data, .monitor = monitor};
    p.kernels = fg_kernels_for(data->real_type);
    p.task_rows = choose_task_rows(shape, p.kernels);
    p.n_tasks = (data->n_rows + p.task_rows - 1) / p.task_rows;
    p.n_threads = n_threads < p.n_tasks ? n_threads : (int)(p.n_tasks ? p.n_tasks : 1);
    p.model_bytes = ALIGNED(p.kernels->model_bytes(shape));
    p.scratch_bytes = ALIGNED(p.kernels->scratch_bytes(shape));
    p.thread_bytes = p.scratch_bytes + ALIGNED(fg_statistics_count(shape) * sizeof(double)) +
                     ALIGNED(sizeof(fg_statistics));
    p.memory = aligned_alloc(64, p.model_bytes + (size_t)p.n_threads * p.thread_bytes);
    *out_pass = p;
    return p.memory ? FG_OK : FG_NO_MEMORY;
}

void fg_pass_close(fg_pass *pass) { free(pass->memory); }

static void *thread_memory(const fg_pass *pass, int thread) {
    return (char *)pass->memory + pass->model_bytes + (size_t)thread * pass->thread_bytes;
}

typedef struct {
    fg_pass *pass;
    fg_mode mode;
    uint64_t seed;
    int with_moments;
    fg_statistics *total;
    fg_want want;
    void *out;
} job;

static fg_statistics *thread_statistics(const fg_pass *pass, int thread) {
    return (fg_statistics *)((char *)thread_memory(pass, thread) + pass->scratch_bytes);
}

static void accumulate_task(int64_t task, int thread, void *context) {
    const job *j = context;
    const fg_pass *p = j->pass;
    fg_statistics *partial = thread_statistics(p, thread);
    *partial = fg_statistics_in(p->shape, (double *)((char *)partial + ALIGNED(sizeof *partial)));
    fg_statistics_reset(p->shape, partial);
    const int64_t begin = task * p->task_rows, end = begin + p->task_rows;
    p->kernels->accumulate(&p->model, p->data, begin, end < p->data->n_rows ? end : p->data->n_rows,
                           j->mode, j->seed, j->with_moments, thread_memory(p, thread), partial);
}

static void merge_task(int64_t task, int thread, void *context) {
    (void)task;
    const job *j = context;
    fg_statistics_merge(j->pass->shape, thread_statistics(j->pass, thread), j->with_moments,
                        j->total);
}

fg_status fg_pass_run(fg_pass *pass, const fg_parameters *parameters, fg_mode mode, uint64_t seed,
                      int with_moments, fg_statistics *out_statistics) {
    const size_t d = (size_t)pass->shape->n_features, k = (size_t)pass->shape->n_components;
    pass->kernels->prepare(pass->shape, parameters, pass->centre, pass->memory,
                           out_statistics->shift, &pass->model);
    if (with_moments)
        fg_statistics_reset(pass->shape, out_statistics);
    else {
        memset(out_statistics->nk, 0, k * sizeof(double));
        memset(out_statistics->sx, 0, k * d * sizeof(double));
        out_statistics->log_likelihood = out_statistics->weight_sum = 0;
        out_statistics->n_rows = 0;
    }
    job j = {.pass = pass,
             .mode = mode,
             .seed = seed,
             .with_moments = with_moments,
             .total = out_statistics};
    return fg_parallel_run(pass->n_tasks, pass->n_threads, pass->monitor, accumulate_task,
                           merge_task, &j);
}

fg_status fg_accumulate(const fg_shape *shape, const fg_data *data, const fg_parameters *parameters,
                        int n_threads, const fg_monitor *monitor, fg_statistics *out_statistics) {
    fg_pass pass;
    fg_status status = fg_pass_open(shape, data, n_threads, monitor, &pass);
    if (status == FG_OK)
        status = fg_pass_run(&pass, parameters, FG_SOFT, 0, 1, out_statistics);
    fg_pass_close(&pass);
    return status;
}

static void score_task(int64_t task, int thread, void *context) {
    const job *j = context;
    const fg_pass *p = j->pass;
    const int64_t begin = task * p->task_rows, end = begin + p->task_rows;
    p->kernels->score(&p->model, p->data, begin, end < p->data->n_rows ? end : p->data->n_rows,
                      j->want, thread_memory(p, thread), j->out);
}

fg_status fg_score(const fg_shape *shape, const fg_data *data, const fg_parameters *parameters,
                   fg_want want, int n_threads, const fg_monitor *monitor, void *out) {
    fg_pass pass;
    fg_status status = fg_pass_open(shape, data, n_threads, monitor, &pass);
    if (status == FG_OK) {
        fg_statistics s = fg_statistics_in(shape, (double *)((char *)thread_statistics(&pass, 0) +
                                                             ALIGNED(sizeof(fg_statistics))));
        pass.kernels->prepare(shape, parameters, NULL, pass.memory, s.shift, &pass.model);
        job j = {.pass = &pass, .want = want, .out = out};
        status = fg_parallel_run(pass.n_tasks, pass.n_threads, monitor, score_task, NULL, &j);
    }
    fg_pass_close(&pass);
    return status;
}

fg_status fg_em(const fg_shape *shape, const fg_data *data, fg_parameters *parameters, double tol,
                double reg_covar, int64_t max_iter, double previous_bound, int n_threads,
                const fg_monitor *monitor, double *out_lower_bounds, int64_t *out_n_iter,
                int *out_converged, int64_t *out_component) {
    fg_pass pass;
    fg_status status = fg_pass_open(shape, data, n_threads, monitor, &pass);
    const size_t count = fg_statistics_count(shape), d = (size_t)shape->n_features;
    double *memory = malloc((count + d) * sizeof(double));
    if (status == FG_OK && !memory)
        status = FG_NO_MEMORY;
    *out_n_iter = 0;
    *out_converged = 0;
    if (status == FG_OK) {
        fg_statistics s = fg_statistics_in(shape, memory);
        for (int64_t iteration = 1; iteration <= max_iter; iteration++) {
            /* Tied needs the data's scatter only, which the second pass has about the data's own
             * mean: that is where the first M step put the mixture's mean, whatever the start. */
            const int with_moments = shape->covariance != FG_TIED || iteration <= 2;
            status = fg_pass_run(&pass, parameters, FG_SOFT, 0, with_moments, &s);
            if (status != FG_OK)
                break;
            if (shape->covariance == FG_TIED && iteration == 2)
                pass.centre = memcpy(memory + count, s.shift, d * sizeof(double));
            const double bound = s.log_likelihood / s.weight_sum, change = bound - previous_bound;
            if (!isfinite(bound)) {
                status = FG_NOT_FINITE;
                break;
            }
            status = fg_maximize(shape, &s, reg_covar, parameters, out_component);
            if (status != FG_OK)
                break;
            out_lower_bounds[iteration - 1] = bound;
            *out_n_iter = iteration;
            if (monitor &&
                ((monitor->report && monitor->report(monitor->context, iteration, bound, change)) ||
                 (monitor->poll && iteration % 16 == 0 && monitor->poll(monitor->context)))) {
                status = FG_INTERRUPTED;
                break;
            }
            if (fabs(change) < tol) {
                *out_converged = 1;
                break;
            }
            previous_bound = bound;
        }
    }
    free(memory);
    fg_pass_close(&pass);
    return status;
}
