/* Many independent fits: problems are handed to the threads one by one, and one that is large
 * beside the rest has all the threads inside it. Either way its result is identical to that of its
 * fit alone. */
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "covariance.h"
#include "history.h"
#include "memory.h"
#include "parallel.h"
#include "parameters.h"
#include "pass.h"
#include "random.h"
#include "rows.h"
#include "statistics.h"

/* ---- problems ---- */

static fg_data problem_data(const fg_problems *problems, int64_t i) {
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

/* ---- sharing out ---- */

typedef struct batch batch;
/* context: the threads and the monitor; the rows are the problem's own. */
typedef fg_status (*problem_work)(const batch *b, int64_t problem, fg_context *context);

struct batch {
    const fg_problems *problems;
    problem_work work;
    const void *job;
    int64_t first; /* in order: those before it are done */
    fg_monitor *user;
    fg_monitor caller, others; /* for work on the calling thread, and on the others */
    atomic_int stopped, failed;
    atomic_int_fast64_t done;
};

static int poll_stopped(void *context) {
    return atomic_load_explicit(&((batch *)context)->stopped, memory_order_relaxed);
}

static int poll_user(void *context) {
    batch *b = context;
    if (poll_stopped(b)) /* the user is not asked again */
        return 1;
    b->user->done = atomic_load_explicit(&b->done, memory_order_relaxed);
    if (b->user->poll && b->user->poll(b->user->context))
        atomic_store_explicit(&b->stopped, 1, memory_order_relaxed);
    return poll_stopped(b);
}

static void one_problem(int64_t task, int thread, fg_monitor *monitor, void *context) {
    (void)monitor; /* the batch has its own, which reports too */
    batch *b = context;
    fg_status status = FG_INTERRUPTED;
    fg_monitor others = b->others; /* a monitor's clock is for one thread */
    fg_context alone = {.n_threads = 1, .monitor = thread == 0 ? &b->caller : &others};
    if (!poll_stopped(b))
        status = b->work(b, b->problems->order[b->first + task], &alone);
    if (status == FG_OK)
        atomic_fetch_add_explicit(&b->done, 1, memory_order_relaxed);
    else if (status != FG_INTERRUPTED)
        atomic_store_explicit(&b->failed, status, memory_order_relaxed);
}

/* A problem that alone is more than its share of the work that is left would keep one thread busy
 * while the others wait. */
static int is_wide(const fg_shape *shape, int64_t n_rows, int64_t left, int n_threads) {
    const int64_t threads = n_threads;
    return threads > 1 && n_rows > left / (2 * threads) &&
           fg_task_count(shape, n_rows) >= 4 * threads;
}

/* The job stands for all problems; context has the user's monitor. */
static fg_status run_problems(const fg_context *context, batch *b, const fg_shape *largest) {
    const int64_t *offsets = b->problems->offsets, count = b->problems->n_problems;
    int64_t left = offsets[count] - offsets[0];
    const int n_threads = context->n_threads;
    b->user = context->monitor;
    b->caller = (fg_monitor){.poll = poll_user, .context = b};
    b->others = (fg_monitor){.poll = poll_stopped, .context = b};
    fg_context all_threads = {.n_threads = n_threads, .monitor = &b->caller};
    fg_status status = FG_OK;
    for (; b->first < count; b->first++) {
        const int64_t problem = b->problems->order[b->first];
        const int64_t n_rows = offsets[problem + 1] - offsets[problem];
        if (!is_wide(largest, n_rows, left, n_threads))
            break;
        status = b->work(b, problem, &all_threads);
        if (status != FG_OK)
            break;
        b->done++;
        left -= n_rows;
    }
    if (status == FG_OK)
        status = fg_parallel_run(count - b->first, n_threads, &b->caller, one_problem, NULL, b);
    b->user->done = b->done;
    return b->stopped ? FG_INTERRUPTED : status != FG_OK ? status : (fg_status)b->failed;
}

/* ---- what became of a problem ---- */

static const struct {
    const char *name, *meaning;
} statuses[] = {
#define STATUS(name, meaning) [FG_##name] = {#name, meaning},
    FG_EACH_BATCH_STATUS(STATUS)
#undef STATUS
};

static int is_status(int i) { return i >= 0 && (size_t)i < sizeof statuses / sizeof *statuses; }

const char *fg_batch_status_name(int i) { return is_status(i) ? statuses[i].name : NULL; }

const char *fg_batch_status_meaning(int i) { return is_status(i) ? statuses[i].meaning : NULL; }

static uint64_t hash_row(const fg_rows *rows, int64_t row, int64_t d) {
    uint64_t hash = 0;
    for (int64_t j = 0; j < d; j++) {
        const double value = fg_rows_value(rows, row, j) + 0.0; /* -0 equals 0 */
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        hash = fg_random(hash ^ bits, 0);
    }
    return hash;
}

static int rows_are_equal(const fg_rows *rows, int64_t a, int64_t b, int64_t d) {
    for (int64_t j = 0; j < d; j++)
        if (!(fg_rows_value(rows, a, j) == fg_rows_value(rows, b, j)))
            return 0;
    return 1;
}

/* Of the rows of positive weight, counted up to a limit; the limit, too, where there is no memory
 * to count in, or the user stops it. */
static int64_t count_distinct(const fg_context *context, int64_t d, int64_t limit) {
    const fg_rows *rows = context->rows;
    uint64_t room = 4;
    while (room < 2 * (uint64_t)limit)
        room *= 2;
    int64_t count = 0, *table = calloc(room, sizeof *table); /* row + 1, or 0 */
    if (!table)
        return limit;
    for (int64_t n = 0; n < rows->data->n_rows && count < limit; n++) {
        if (fg_parallel_poll_piece(n, d, context->monitor))
            count = limit;
        if (!fg_rows_counts(rows, n))
            continue;
        uint64_t at = hash_row(rows, n, d) % room;
        while (table[at] && !rows_are_equal(rows, table[at] - 1, n, d))
            at = (at + 1) % room;
        count += !table[at];
        table[at] = n + 1;
    }
    free(table);
    return count;
}

static int rows_are_finite(const fg_context *context, int64_t d) {
    const fg_rows *rows = context->rows;
    double poison = 0;
    for (int64_t n = 0; n < rows->data->n_rows; n++) {
        for (int64_t j = 0; j < d; j++)
            poison += fg_rows_value(rows, n, j) - fg_rows_value(rows, n, j);
        if (fg_parallel_poll_piece(n, d, context->monitor))
            break;
    }
    return poison == 0;
}

static int weights_are_good(const fg_data *data) {
    double total = 0;
    for (int64_t n = 0; data->sample_weight && n < data->n_rows; n++) {
        if (!(data->sample_weight[n] >= 0))
            return 0;
        total += data->sample_weight[n];
    }
    return !data->sample_weight || (total > 0 && isfinite(total));
}

/* Names the fault of the data where that is what a status comes from. */
static fg_batch_status explain(const fg_context *context, const fg_shape *shape,
                               fg_batch_status status) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    if (status == FG_ROWS_OUT_OF_REACH && !rows_are_finite(context, d))
        return FG_ROWS_NOT_FINITE;
    if (status == FG_ROWS_OUT_OF_REACH || status == FG_OUT_OF_MEMORY)
        return status;
    if (count_distinct(context, d, 2) == 1)
        return FG_CONSTANT_ROWS;
    if (status != FG_EMPTY_COMPONENT && status != FG_SINGULAR_COVARIANCE)
        return status;
    return count_distinct(context, d, k_count) < k_count ? FG_TOO_FEW_DISTINCT_ROWS : status;
}

/* ---- fits ---- */

/* Doubles of each part of the parameters of one problem. */
typedef struct {
    size_t weights, means, covariances;
} part_sizes;

static part_sizes sizes_of(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components;
    return (part_sizes){k, k * (size_t)shape->n_features, fg_covariance_count(shape)};
}

/* Those of problem i; each: every problem has its own. A part may be NULL. */
static fg_parameters parameters_of(const fg_parameters *all, const part_sizes *n, int64_t i) {
#define AT(part, count) (all->part ? all->part + (size_t)i * (count) : NULL)
    return (fg_parameters){AT(weights, n->weights), AT(means, n->means),
                           AT(covariances, n->covariances),
                           AT(precisions_cholesky, n->covariances)};
#undef AT
}

static int all_finite(const double *x, size_t n) {
    double poison = 0;
    for (size_t i = 0; i < n; i++)
        poison += x[i] - x[i];
    return poison == 0;
}

typedef struct {
    const fg_batch_options *options;
    fg_shape largest;
    fg_batch_result *out;
} fit_job;

/* One number of components tried on one problem. */
typedef struct {
    fg_shape shape;
    fg_batch_status status;
    int fitted;
    fg_parameters parameters;
    fg_fit_result fit;
    double bic, aic;
} trial;

/* How a fit that ended without a mixture, or with one, came out. */
static fg_batch_status status_of(const trial *t, fg_status status, int repaired) {
    if (status != FG_OK)
        return status == FG_SINGULAR     ? FG_SINGULAR_COVARIANCE
               : status == FG_NOT_FINITE ? FG_ROWS_OUT_OF_REACH
                                         : FG_OUT_OF_MEMORY;
    for (int64_t k = 0; k < t->shape.n_components; k++)
        if (!(t->parameters.weights[k] > 0))
            return FG_EMPTY_COMPONENT;
    return repaired ? FG_REPAIRED : t->fit.converged ? FG_CONVERGED : FG_NOT_CONVERGED;
}

static fg_status try_candidate(const fg_batch_options *options, int64_t problem,
                               fg_context *context, trial *t) {
    const fg_shape *shape = &t->shape;
    const part_sizes n = sizes_of(shape);
    const part_sizes step = {options->weights_each ? n.weights : 0,
                             options->means_each ? n.means : 0,
                             options->precisions_each ? n.covariances : 0};
    const fg_parameters given = parameters_of(&options->given, &step, problem);
    double log_likelihood = 0, weight_sum = 0;
    fg_status status = fg_fit(context, shape, &options->fit, &given, options->seeds[problem],
                              &t->parameters, &t->fit);
    const int repaired = t->fit.history.n_repairs > 0;
    fg_history_free(&t->fit.history);
    if (status == FG_OK)
        status = fg_log_likelihood(context, shape, &t->parameters, &log_likelihood, &weight_sum);
    if (status == FG_INTERRUPTED)
        return status;
    /* with max_iter = 0 that was the first pass over the rows */
    if (status == FG_OK && !isfinite(log_likelihood))
        status = FG_NOT_FINITE;
    if (status == FG_OK && !(all_finite(t->parameters.means, n.means) &&
                             all_finite(t->parameters.covariances, n.covariances)))
        status = FG_NOT_FINITE;
    t->fitted = status == FG_OK;
    if (t->fitted) {
        const double penalty = fg_free_parameters(shape);
        t->bic = penalty * log(weight_sum) - 2 * log_likelihood;
        t->aic = penalty * 2 - 2 * log_likelihood;
    }
    t->status = explain(context, shape, status_of(t, status, repaired));
    return fg_stopped(context->monitor) ? FG_INTERRUPTED : FG_OK;
}

/* The best candidate that could be fitted; where there is none, the first one. */
static fg_status try_all(const fit_job *job, int64_t problem, fg_context *context, double *memory,
                         double *out_criteria, trial *out_best) {
    const fg_batch_options *options = job->options;
    const int64_t n_rows = context->rows->data->n_rows;
    double *spare = memory + fg_parameters_count(&job->largest);
    double least = INFINITY;
    for (int64_t c = 0; c < options->n_candidates; c++) {
        trial t = {.shape = job->largest, .status = FG_TOO_FEW_ROWS, .bic = NAN, .aic = NAN};
        t.shape.n_components = options->candidates[c];
        t.parameters = fg_parameters_in(&t.shape, memory);
        t.fit.lower_bound = -INFINITY;
        if (n_rows >= 2 && n_rows >= t.shape.n_components) {
            const fg_status status = try_candidate(options, problem, context, &t);
            if (status != FG_OK)
                return status;
            if (t.status == FG_OUT_OF_MEMORY) { /* it might have been the best */
                *out_best = t;
                return FG_OK;
            }
        }
        out_criteria[c] = options->by_aic ? t.aic : t.bic;
        const double criterion = isnan(out_criteria[c]) ? INFINITY : out_criteria[c];
        if (c == 0 || (t.fitted && (!out_best->fitted || criterion < least))) {
            *out_best = t;
            least = criterion;
            double *swap = memory;
            memory = spare;
            spare = swap;
        }
    }
    return FG_OK;
}

static void write_result(const fit_job *job, int64_t problem, const trial *best,
                         const double *criteria) {
    fg_batch_result *out = job->out;
    const size_t n_candidates = (size_t)job->options->n_candidates;
    out->status[problem] = (int8_t)best->status;
    memcpy(out->criteria + (size_t)problem * n_candidates, criteria, n_candidates * sizeof(double));
    if (!best->fitted)
        return;
    const part_sizes room = sizes_of(&job->largest);
    fg_parameters to = parameters_of(&out->parameters, &room, problem);
    fg_parameters_copy(&best->shape, &best->parameters, &to);
    out->n_components[problem] = best->shape.n_components;
    out->lower_bound[problem] = best->fit.lower_bound;
    out->n_iter[problem] = best->fit.n_iter;
    out->converged[problem] = (uint8_t)best->fit.converged;
    out->bic[problem] = best->bic;
    out->aic[problem] = best->aic;
}

/* Writes only when all candidates are tried: an interrupt leaves nothing half done. */
static fg_status fit_problem(const batch *b, int64_t problem, fg_context *context) {
    const fit_job *job = b->job;
    const fg_data data = problem_data(b->problems, problem);
    const size_t parameters = fg_parameters_count(&job->largest);
    const size_t n_candidates = (size_t)job->options->n_candidates;
    double *memory = fg_doubles(2 * parameters + n_candidates);
    if (!memory) {
        job->out->status[problem] = FG_OUT_OF_MEMORY;
        return FG_OK;
    }
    double *criteria = memory + 2 * parameters;
    for (size_t c = 0; c < n_candidates; c++)
        criteria[c] = NAN;
    trial best = {.status = data.n_rows < 2 ? FG_TOO_FEW_ROWS : FG_BAD_SAMPLE_WEIGHT};
    fg_status status = FG_OK;
    if (data.n_rows >= 2 && weights_are_good(&data)) {
        fg_rows rows;
        fg_rows_open(&data, &rows);
        context->rows = &rows;
        status = try_all(job, problem, context, memory, criteria, &best);
    }
    if (status == FG_OK)
        write_result(job, problem, &best, criteria);
    fg_release(memory);
    return status;
}

static int64_t largest_of(const int64_t *candidates, int64_t n) {
    int64_t largest = 1;
    for (int64_t c = 0; c < n; c++)
        largest = candidates[c] > largest ? candidates[c] : largest;
    return largest;
}

fg_status fg_fit_batch(fg_context *context, const fg_problems *problems,
                       const fg_batch_options *options, fg_batch_result *out) {
    const int64_t max_components = largest_of(options->candidates, options->n_candidates);
    const fit_job job = {options, {max_components, problems->n_features, options->layout}, out};
    if (!fg_shape_is_countable(&job.largest))
        return FG_NO_MEMORY;
    batch b = {.problems = problems, .work = fit_problem, .job = &job};
    return run_problems(context, &b, &job.largest);
}

/* ---- scores ---- */

typedef struct {
    const fg_score_batch_options *options;
    fg_shape largest;
    char *out;
    _Atomic int64_t *bad_problem;
} score_job;

/* Moves rows apart, to rows of max_components; what is between has no value. */
static void pad_rows(char *rows, int64_t n_rows, size_t k_bytes, size_t padded_bytes) {
    for (size_t n = (size_t)n_rows; n-- > 0;) {
        memmove(rows + n * padded_bytes, rows + n * k_bytes, k_bytes);
        memset(rows + n * padded_bytes + k_bytes, 0xff, padded_bytes - k_bytes);
    }
}

static void keep_first(_Atomic int64_t *bad_problem, int64_t problem) {
    int64_t first = atomic_load(bad_problem);
    while (problem < first && !atomic_compare_exchange_weak(bad_problem, &first, problem))
        ;
}

static fg_status score_problem(const batch *b, int64_t problem, fg_context *context) {
    const score_job *job = b->job;
    const fg_score_batch_options *options = job->options;
    const fg_data data = problem_data(b->problems, problem);
    fg_shape shape = job->largest;
    shape.n_components = options->n_components[problem];
    const part_sizes room = sizes_of(&job->largest);
    const fg_parameters parameters = parameters_of(&options->parameters, &room, problem);
    const size_t real = data.real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
    const size_t columns =
        options->output == FG_OUTPUT_RESPONSIBILITIES ? (size_t)options->max_components : 1;
    const size_t row = options->output == FG_OUTPUT_LABELS ? sizeof(int64_t) : columns * real;
    char *out = job->out + (size_t)(b->problems->offsets[problem] - b->problems->offsets[0]) * row;
    if (shape.n_components == 0) { /* all bits set: NaN, and -1 */
        memset(out, 0xff, (size_t)data.n_rows * row);
        return FG_OK;
    }
    if (data.n_rows == 0)
        return FG_OK;
    const fg_rows rows = {&data, 1};
    context->rows = &rows;
    const fg_status status = fg_score(context, &shape, &parameters, options->output, out);
    if (status == FG_OK && (size_t)shape.n_components < columns)
        pad_rows(out, data.n_rows, (size_t)shape.n_components * real, row);
    if (status == FG_NOT_FINITE) {
        keep_first(job->bad_problem, problem);
        return FG_OK;
    }
    return status;
}

fg_status fg_score_batch(fg_context *context, const fg_problems *problems,
                         const fg_score_batch_options *options, void *out, int64_t *out_problem) {
    _Atomic int64_t bad_problem = INT64_MAX;
    const score_job job = {options,
                           {options->max_components, problems->n_features, options->layout},
                           out,
                           &bad_problem};
    if (!fg_shape_is_countable(&job.largest))
        return FG_NO_MEMORY;
    batch b = {.problems = problems, .work = score_problem, .job = &job};
    const fg_status status = run_problems(context, &b, &job.largest);
    *out_problem = bad_problem;
    return status == FG_OK && bad_problem < INT64_MAX ? FG_NOT_FINITE : status;
}
