/* One pass over the rows, and the EM loop of passes.
 *
 * Rows are cut into tasks by their number alone, and the tasks' sums merge in index order: the
 * bits do not depend on the number of threads. */
#include "em.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "history.h"
#include "memory.h"
#include "parallel.h"
#include "parameters.h"

#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)

/* Rows per task. Handing over its sums costs a task about as much as fifty rows: a thousand rows
 * pay for it, as long as they leave tasks enough to share out and are done within the time that a
 * user waits for an interrupt. */
static int64_t choose_task_rows(const fg_shape *shape, int64_t n_rows) {
    const double d = (double)shape->n_features, k = (double)shape->n_components;
    const double per_row = shape->layout == FG_FULL ? k * (8 + d * d) : k * (8 + 4 * d) + d * d;
    double rows = fmin(fmax(16e6 / per_row, 1024), 16384);
    rows = fmin(rows, fmax((double)n_rows / 16, 512));
    rows = fmin(rows, fmax(1e9 / per_row, 128));
    return (int64_t)rows / 128 * 128;
}

int64_t fg_task_count(const fg_shape *shape, int64_t n_rows) {
    const int64_t rows = choose_task_rows(shape, n_rows);
    return n_rows / rows + (n_rows % rows != 0);
}

/* float has not the range of double, double not that of weights times squares, and only the
 * weights' ratios matter. The power of two and its inverse are both in range. */
double fg_weight_scale(const fg_data *data) {
    double largest = 0;
    if (data->sample_weight)
        for (int64_t n = 0; n < data->n_rows; n++)
            largest = data->sample_weight[n] > largest ? data->sample_weight[n] : largest;
    int exponent = 0;
    frexp(largest, &exponent);
    return ldexp(1, exponent < -1000 ? 1000 : exponent > 1000 ? -1000 : -exponent);
}

fg_status fg_pass_open(const fg_shape *shape, const fg_data *data, fg_real_type arithmetic,
                       int n_threads, fg_monitor *monitor, fg_pass *out_pass) {
    fg_pass p = {.shape = shape, .data = data, .monitor = monitor};
    p.arithmetic = arithmetic;
    p.kernels = fg_kernels_for(arithmetic);
    p.task_rows = choose_task_rows(shape, data->n_rows);
    p.n_tasks = fg_task_count(shape, data->n_rows);
    p.n_threads = n_threads < p.n_tasks ? n_threads : (int)(p.n_tasks ? p.n_tasks : 1);
    p.weight_scale = fg_weight_scale(data);
    p.sums_scale = 1;
    p.model_bytes = ALIGNED(p.kernels->model_bytes(shape));
    p.scratch_bytes = ALIGNED(p.kernels->scratch_bytes(shape));
    p.thread_bytes = p.scratch_bytes + ALIGNED(fg_statistics_count(shape) * sizeof(double)) +
                     ALIGNED(sizeof(fg_statistics));
    if (p.thread_bytes <= (SIZE_MAX / 2 - p.model_bytes) / (size_t)p.n_threads)
        p.memory = fg_cache_lines(p.model_bytes + (size_t)p.n_threads * p.thread_bytes);
    *out_pass = p;
    return p.memory ? FG_OK : FG_NO_MEMORY;
}

void fg_pass_close(fg_pass *pass) { fg_release(pass->memory); }

static void *thread_memory(const fg_pass *pass, int thread) {
    return (char *)pass->memory + pass->model_bytes + (size_t)thread * pass->thread_bytes;
}

static fg_statistics *thread_statistics(const fg_pass *pass, int thread) {
    return (fg_statistics *)((char *)thread_memory(pass, thread) + pass->scratch_bytes);
}

typedef struct {
    fg_pass *pass;
    uint64_t seed;
    fg_sums sums;
    fg_statistics *total;
    fg_output output;
    void *out;
    atomic_int *bad;
} job;

static int64_t task_end(const fg_pass *pass, int64_t task) {
    const int64_t begin = task * pass->task_rows, left = pass->data->n_rows - begin;
    return begin + (left < pass->task_rows ? left : pass->task_rows);
}

static void accumulate_task(int64_t task, int thread, fg_monitor *monitor, void *context) {
    const job *j = context;
    const fg_pass *p = j->pass;
    fg_statistics *partial = thread_statistics(p, thread);
    *partial = fg_statistics_in(p->shape, (double *)((char *)partial + ALIGNED(sizeof *partial)));
    partial->shift = j->total->shift;
    fg_statistics_reset(p->shape, j->sums, monitor, partial);
    p->kernels->accumulate(&p->model, p->data, task * p->task_rows, task_end(p, task), j->seed,
                           j->sums, thread_memory(p, thread), monitor, partial);
}

static void merge_task(int64_t task, int thread, void *context) {
    (void)task;
    const job *j = context;
    fg_statistics_merge(j->pass->shape, thread_statistics(j->pass, thread), j->sums, j->total);
}

fg_status fg_pass_run(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                      const fg_shift_choice *choice, uint64_t seed, fg_sums sums,
                      fg_statistics *out_statistics) {
    pass->kernels->prepare(pass->shape, parameters, assignment, choice, pass->memory, pass->monitor,
                           out_statistics->shift, &pass->model);
    pass->model.weight_scale = pass->weight_scale;
    pass->model.sums_scale = pass->sums_scale;
    fg_statistics_reset(pass->shape, sums, pass->monitor, out_statistics);
    job j = {.pass = pass, .seed = seed, .sums = sums, .total = out_statistics};
    return fg_parallel_run(pass->n_tasks, pass->n_threads, pass->monitor, accumulate_task,
                           merge_task, &j);
}

static void score_task(int64_t task, int thread, fg_monitor *monitor, void *context) {
    const job *j = context;
    const fg_pass *p = j->pass;
    if (p->kernels->score(&p->model, p->data, task * p->task_rows, task_end(p, task), j->output,
                          thread_memory(p, thread), monitor, j->out))
        atomic_store_explicit(j->bad, 1, memory_order_relaxed);
}

fg_status fg_score(const fg_shape *shape, const fg_data *data, const fg_parameters *parameters,
                   fg_output output, int n_threads, fg_monitor *monitor, void *out) {
    const fg_shift_choice means = {NULL, 0};
    fg_pass pass;
    if (!fg_shape_is_countable(shape))
        return FG_NO_MEMORY;
    fg_status status = fg_pass_open(shape, data, data->real_type, n_threads, monitor, &pass);
    if (status == FG_OK) {
        char *memory = (char *)thread_statistics(&pass, 0) + ALIGNED(sizeof(fg_statistics));
        fg_statistics s = fg_statistics_in(shape, (double *)memory);
        pass.kernels->prepare(shape, parameters, FG_SOFT, &means, pass.memory, monitor, s.shift,
                              &pass.model);
        atomic_int bad = 0;
        job j = {.pass = &pass, .output = output, .out = out, .bad = &bad};
        status = fg_parallel_run(pass.n_tasks, pass.n_threads, monitor, score_task, NULL, &j);
        if (status == FG_OK && bad)
            status = FG_NOT_FINITE;
    }
    fg_pass_close(&pass);
    return status;
}

/* ---- where the sums are taken about ---- */

/* Second moments about a point lose about eps (distance / deviation)^2 to cancellation. These
 * are the squares that still leave nine digits in double, four in float. */
static double bearable(fg_real_type arithmetic) { return arithmetic == FG_FLOAT32 ? 300 : 1e6; }

static double variance_of(const fg_shape *shape, const fg_parameters *p, int64_t k, int64_t i) {
    const int64_t d = shape->n_features;
    switch (shape->layout) {
    case FG_FULL: return p->covariances[k * d * d + i * d + i];
    case FG_TIED: return p->covariances[i * d + i];
    case FG_DIAG: return p->covariances[k * d + i];
    default: return p->covariances[k];
    }
}

/* Tied and spherical: whether the components lie so close to the mixture's mean that sums about it
 * keep the digits of the means and, tied, of the scatter. out_shift, where given, is that mean K
 * times. */
static int close_together(const fg_shape *shape, fg_real_type arithmetic, const fg_parameters *p,
                          double *out_shift) {
    const int64_t d = shape->n_features, k_count = shape->n_components;
    int close = 1;
    for (int64_t i = 0; i < d; i++) {
        double centre = 0, between = 0;
        for (int64_t k = 0; k < k_count; k++)
            centre += p->weights[k] * p->means[k * d + i];
        for (int64_t k = 0; k < k_count; k++) {
            const double step = p->means[k * d + i] - centre;
            between += p->weights[k] * step * step;
            if (out_shift)
                out_shift[k * d + i] = centre;
        }
        close &= between <= bearable(arithmetic) * variance_of(shape, p, 0, i);
    }
    return close;
}

/* Whether some mean moved so far from its shift that its covariance lost digits. */
static int moved_far(const fg_shape *shape, fg_real_type arithmetic, const fg_statistics *s,
                     const fg_parameters *next) {
    const int64_t d = shape->n_features;
    for (int64_t k = 0; k < shape->n_components; k++)
        for (int64_t i = 0; i < d && next->weights[k] > 0; i++) {
            const double step = s->sx[k * d + i] / s->nk[k];
            if (!(step * step <= bearable(arithmetic) * variance_of(shape, next, k, i)))
                return 1;
        }
    return 0;
}

static fg_status step_once(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                           uint64_t seed, fg_shift_choice *choice, fg_sums sums, double reg_covar,
                           fg_statistics *s, fg_parameters *out_next, double *shift,
                           int64_t *out_component) {
    const fg_shape *shape = pass->shape;
    const size_t means = (size_t)(shape->n_components * shape->n_features) * sizeof(double);
    fg_status status = fg_pass_run(pass, parameters, assignment, choice, seed, sums, s);
    if (status == FG_OK && !isfinite(s->log_likelihood))
        status = FG_NOT_FINITE;
    if (status != FG_OK)
        return status;
    status = fg_maximize(shape, s, reg_covar, pass->monitor, out_next, out_component);
    if (status == FG_INTERRUPTED)
        return status;
    const int lossy = choice->common ? status == FG_SINGULAR ||
                                           !close_together(shape, pass->arithmetic, out_next, NULL)
                                     : moved_far(shape, pass->arithmetic, s, out_next);
    if (!lossy)
        return status;
    const double log_likelihood = s->log_likelihood; /* densities are sharper about the means */
    memcpy(shift, out_next->means, means);
    *choice = (fg_shift_choice){shift, 0};
    status = fg_pass_run(pass, parameters, assignment, choice, seed, FG_MOMENTS, s);
    s->log_likelihood = log_likelihood;
    return status == FG_OK
               ? fg_maximize(shape, s, reg_covar, pass->monitor, out_next, out_component)
               : status;
}

fg_status fg_pass_step(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                       uint64_t seed, fg_shift_choice *choice, fg_sums sums, double reg_covar,
                       fg_statistics *s, fg_parameters *out_next, double *shift,
                       int64_t *out_component) {
    fg_status status = step_once(pass, parameters, assignment, seed, choice, sums, reg_covar, s,
                                 out_next, shift, out_component);
    if (status != FG_SINGULAR || pass->arithmetic == FG_FLOAT64)
        return status;
    fg_pass wide;
    *choice = (fg_shift_choice){NULL, 0};
    status =
        fg_pass_open(pass->shape, pass->data, FG_FLOAT64, pass->n_threads, pass->monitor, &wide);
    if (status == FG_OK)
        status = step_once(&wide, parameters, assignment, seed, choice, FG_MOMENTS, reg_covar, s,
                           out_next, shift, out_component);
    fg_pass_close(&wide);
    return status;
}

fg_status fg_accumulate(const fg_shape *shape, const fg_data *data, const fg_parameters *parameters,
                        int n_threads, fg_monitor *monitor, fg_statistics *out_statistics) {
    fg_pass pass;
    if (!fg_shape_is_countable(shape))
        return FG_NO_MEMORY;
    double *shift = fg_doubles((size_t)(shape->n_components * shape->n_features));
    fg_status status = fg_pass_open(shape, data, data->real_type, n_threads, monitor, &pass);
    if (!shift)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_shift_choice choice = {NULL, 0};
        if (shape->layout == FG_TIED && close_together(shape, data->real_type, parameters, shift))
            choice = (fg_shift_choice){shift, 1};
        pass.sums_scale = 1 / pass.weight_scale;
        status = fg_pass_run(&pass, parameters, FG_SOFT, &choice, 0, FG_MOMENTS, out_statistics);
    }
    if (status == FG_OK && !isfinite(out_statistics->log_likelihood))
        status = FG_NOT_FINITE;
    fg_pass_close(&pass);
    fg_release(shift);
    return status;
}

/* ---- the loop ---- */

/* What one fit needs besides its pass. */
typedef struct {
    fg_pass pass;
    fg_statistics statistics;
    fg_parameters next;
    double *shift;
    int has_scatter; /* tied: sxx holds the data's scatter about shift */
} fit;

static fg_status fit_open(const fg_shape *shape, const fg_data *data, int n_threads,
                          fg_monitor *monitor, fit *out, double **out_memory) {
    const size_t means = (size_t)(shape->n_components * shape->n_features);
    const size_t sums = fg_statistics_count(shape), parameters = fg_parameters_count(shape);
    double *m = fg_doubles(sums + parameters + means);
    const fg_status status =
        fg_pass_open(shape, data, data->real_type, n_threads, monitor, &out->pass);
    *out_memory = m;
    if (!m)
        return FG_NO_MEMORY;
    out->statistics = fg_statistics_in(shape, m);
    out->next = fg_parameters_in(shape, m + sums);
    out->shift = m + sums + parameters;
    out->has_scatter = 0;
    return status;
}

/* A pass and its M step. Tied needs the data's scatter only, once: the second pass has it about
 * the data's own mean, where the first M step put the mixture's mean, whatever the start. */
static fg_status step(fit *f, const fg_parameters *parameters, int64_t iteration, double reg_covar,
                      int64_t *out_component) {
    const fg_shape *shape = f->pass.shape;
    fg_shift_choice choice = {NULL, 0};
    int scatter = 1;
    if (shape->layout == FG_TIED) {
        scatter = iteration <= 2 || !f->has_scatter;
        if (close_together(shape, f->pass.arithmetic, parameters, scatter ? f->shift : NULL))
            choice = (fg_shift_choice){f->shift, 1};
        scatter |= !choice.common;
    } else if (shape->layout == FG_SPHERICAL &&
               !close_together(shape, f->pass.arithmetic, parameters, NULL)) {
        const size_t means = (size_t)(shape->n_components * shape->n_features) * sizeof(double);
        memcpy(f->shift, parameters->means, means);
        choice = (fg_shift_choice){f->shift, 0};
    }
    const fg_status status = fg_pass_step(&f->pass, parameters, FG_SOFT, 0, &choice,
                                          scatter ? FG_MOMENTS : FG_FIRST_MOMENTS, reg_covar,
                                          &f->statistics, &f->next, f->shift, out_component);
    f->has_scatter = choice.common;
    return status;
}

static int has_reseeded(const fg_history *history, int64_t since) {
    for (int64_t i = since; i < history->n_repairs; i++)
        if (history->repairs[i].kind == FG_RESEEDED)
            return 1;
    return 0;
}

/* next becomes current. A component that lost every row keeps its mean. */
static void advance(const fg_shape *shape, const fg_parameters *next, fg_parameters *parameters) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const size_t covariances = fg_covariance_count(shape) * sizeof(double);
    memcpy(parameters->weights, next->weights, (size_t)k_count * sizeof(double));
    for (int64_t k = 0; k < k_count; k++)
        if (next->weights[k] > 0)
            memcpy(parameters->means + k * d, next->means + k * d, (size_t)d * sizeof(double));
    memcpy(parameters->covariances, next->covariances, covariances);
    memcpy(parameters->precisions_cholesky, next->precisions_cholesky, covariances);
}

fg_status fg_em(const fg_shape *shape, const fg_data *data, const fg_fit_options *options,
                int64_t init, fg_repairer *repairer, int n_threads, fg_monitor *monitor,
                fg_parameters *parameters, fg_history *out_history, fg_fit_result *result) {
    fit f;
    double *memory;
    fg_status status = fit_open(shape, data, n_threads, monitor, &f, &memory);
    double previous = result->lower_bound;
    result->n_iter = 0;
    result->converged = 0;
    while (status == FG_OK && !result->converged && result->n_iter < options->max_iter) {
        const int64_t iteration = result->n_iter + 1, repairs = out_history->n_repairs;
        status = step(&f, parameters, iteration, options->reg_covar, &result->component);
        if (repairer && (status == FG_OK || status == FG_SINGULAR))
            status = fg_repair_parameters(shape, data, repairer, iteration, n_threads, monitor,
                                          &f.next, out_history, &result->component);
        if (status != FG_OK)
            break;
        advance(shape, &f.next, parameters);
        const double bound = f.statistics.log_likelihood / f.statistics.weight_sum;
        const double change = bound - previous;
        result->lower_bound = previous = bound;
        result->n_iter = iteration;
        /* a new place is not in this bound yet */
        result->converged = fabs(change) < options->tol && !has_reseeded(out_history, repairs);
        if (!fg_history_add_bound(out_history, bound))
            status = FG_NO_MEMORY;
        if (monitor && monitor->report &&
            monitor->report(monitor->context, init, iteration, bound, change))
            status = FG_INTERRUPTED;
    }
    fg_release(memory);
    fg_pass_close(&f.pass);
    return status;
}

fg_status fg_log_likelihood(const fg_shape *shape, const fg_data *data,
                            const fg_parameters *parameters, int n_threads, fg_monitor *monitor,
                            double *out_total, double *out_weight_sum) {
    fg_pass pass;
    double *memory = fg_doubles(fg_statistics_count(shape));
    fg_status status = fg_pass_open(shape, data, data->real_type, n_threads, monitor, &pass);
    if (!memory)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        const fg_shift_choice means = {NULL, 0};
        fg_statistics s = fg_statistics_in(shape, memory);
        pass.sums_scale = 1 / pass.weight_scale;
        status = fg_pass_run(&pass, parameters, FG_SOFT, &means, 0, FG_LIKELIHOOD, &s);
        *out_total = s.log_likelihood;
        *out_weight_sum = s.weight_sum;
    }
    fg_pass_close(&pass);
    fg_release(memory);
    return status;
}
