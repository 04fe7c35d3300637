/* Many independent fits. The result of a problem is identical to that of a separate fit, however
 * the problems are distributed over the threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "covariance.h"
#include "history.h"
#include "parallel.h"
#include "parameters.h"
#include "problems.h"
#include "random.h"
#include "rows.h"
#include "start.h"
#include "statistics.h"
#include "step.h"

/* ---- the status of a problem ---- */

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

/* Counts the distinct rows of positive weight, up to limit. Returns limit if there is no memory for
 * the table, or after an interrupt. */
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

/* Replaces the status by the fault of the data that caused it, if there is one. */
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

/* The number of doubles in each part of one problem's parameters. */
typedef struct {
    size_t weights, means, covariances;
} part_sizes;

static part_sizes sizes_of(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components;
    return (part_sizes){k, k * (size_t)shape->n_features, fg_covariance_count(shape)};
}

/* The parameters of problem i. A part may be NULL. */
static fg_parameters parameters_of(const fg_parameters *all, const part_sizes *n, int64_t i) {
#define AT(part, count) (all->part ? all->part + (size_t)i * (count) : NULL)
    return (fg_parameters){AT(weights, n->weights), AT(means, n->means),
                           AT(covariances, n->covariances),
                           AT(precisions_cholesky, n->covariances)};
#undef AT
}

typedef struct {
    fg_batch_options options;
    int64_t n_features;
    part_sizes room; /* of the parameters of any candidate */
    fg_batch_result out;
} fit_job;

static size_t room_count(const part_sizes *room) {
    return room->weights + room->means + 2 * room->covariances;
}

/* The candidates of a problem are first .. first + n - 1. */
typedef struct {
    int64_t first, n;
} candidate_range;

static candidate_range candidates_of(const fg_batch_options *options, int64_t problem) {
    return options->separate ? (candidate_range){problem % options->n_candidates, 1}
                             : (candidate_range){0, options->n_candidates};
}

/* The fit of one problem with one candidate. */
typedef struct {
    int64_t candidate;
    fg_shape shape;
    fg_batch_status status;
    int fitted;
    fg_parameters parameters;
    fg_fit_result fit;
    double log_likelihood, held_out, bic, aic;
} trial;

/* The status of a fit, with or without a mixture. */
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

/* Computes the log-likelihood of the rows that a problem holds out. */
static fg_status score_held_out(const fg_data *held_out, const fg_context *context, trial *t) {
    fg_rows rows;
    double weight_sum;
    fg_rows_open(held_out, &rows);
    fg_context other = *context;
    other.rows = &rows;
    return fg_log_likelihood(&other, &t->shape, &t->parameters, &t->held_out, &weight_sum);
}

static fg_status try_candidate(const fg_batch_options *options, int64_t problem, int64_t table,
                               fg_context *context, trial *t) {
    const fg_shape *shape = &t->shape;
    const part_sizes n = sizes_of(shape);
    const part_sizes step = {options->weights_each ? n.weights : 0,
                             options->means_each ? n.means : 0,
                             options->precisions_each ? n.covariances : 0};
    const fg_parameters given = parameters_of(&options->given, &step, problem);
    const fg_data *held_out = options->held_out ? &options->held_out[table] : NULL;
    fg_fit_options fit_options = options->fit;
    fit_options.n_init = options->candidates[t->candidate].n_init;
    if (options->starts.n > 0)
        fit_options.records = options->starts.records + table * options->starts.size +
                              options->starts.of_candidate[t->candidate];
    double weight_sum = 0;
    fg_status status = fg_fit(context, shape, &fit_options, &given, options->seeds[table],
                              &t->parameters, &t->fit);
    const int repaired = t->fit.history.n_repairs > 0;
    fg_history_free(&t->fit.history);
    if (status == FG_OK)
        status = fg_log_likelihood(context, shape, &t->parameters, &t->log_likelihood, &weight_sum);
    /* with max_iter = 0 this was the first pass over the rows */
    if (status == FG_OK && !isfinite(t->log_likelihood))
        status = FG_NOT_FINITE;
    if (status == FG_OK && held_out && held_out->n_rows > 0)
        status = score_held_out(held_out, context, t);
    if (status == FG_INTERRUPTED)
        return status;
    if (status == FG_OK && !(fg_all_finite(t->parameters.means, n.means) &&
                             fg_all_finite(t->parameters.covariances, n.covariances)))
        status = FG_NOT_FINITE;
    t->fitted = status == FG_OK;
    if (t->fitted) {
        const double penalty = fg_free_parameters(shape);
        t->bic = penalty * log(weight_sum) - 2 * t->log_likelihood;
        t->aic = penalty * 2 - 2 * t->log_likelihood;
    }
    t->status = explain(context, shape, status_of(t, status, repaired));
    return fg_stopped(context->monitor) ? FG_INTERRUPTED : FG_OK;
}

/* Returns the best candidate that could be fitted, or the first one if none could. */
static fg_status try_all(const fit_job *job, int64_t problem, int64_t table, fg_context *context,
                         double *memory, double *out_criteria, trial *out_best) {
    const fg_batch_options *options = &job->options;
    const int64_t n_rows = context->rows->data->n_rows;
    const candidate_range range = candidates_of(options, problem);
    double *spare = memory + room_count(&job->room);
    double least = INFINITY;
    for (int64_t c = 0; c < range.n; c++) {
        const fg_candidate *candidate = &options->candidates[range.first + c];
        trial t = {.candidate = range.first + c,
                   .shape = {candidate->n_components, job->n_features, candidate->layout},
                   .status = FG_TOO_FEW_ROWS,
                   .bic = NAN,
                   .aic = NAN};
        t.parameters = fg_parameters_in(&t.shape, memory);
        t.fit.lower_bound = -INFINITY;
        if (n_rows >= 2 && n_rows >= t.shape.n_components) {
            const fg_status status = try_candidate(options, problem, table, context, &t);
            if (status != FG_OK)
                return status;
            if (t.status == FG_OUT_OF_MEMORY) { /* this candidate might have been the best */
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

/* The result of a problem's fit, followed by two sets of parameters and the criteria. */
typedef struct {
    trial best;
} fit_result;

static size_t fit_result_bytes(const fit_job *job) {
    return FG_ALIGNED(sizeof(fit_result)) +
           (2 * room_count(&job->room) + (size_t)candidates_of(&job->options, 0).n) *
               sizeof(double);
}

static fg_status fit_problem(const void *context_of_job, const fg_problems *problems,
                             int64_t problem, fg_context *context, void *result) {
    const fit_job *job = context_of_job;
    const fg_data data = fg_problem_data(problems, problem);
    fit_result *found = result;
    double *memory = fg_after(found, sizeof *found);
    double *criteria = memory + 2 * room_count(&job->room);
    for (int64_t c = 0; c < candidates_of(&job->options, problem).n; c++)
        criteria[c] = NAN;
    found->best = (trial){.status = data.n_rows < 2 ? FG_TOO_FEW_ROWS : FG_BAD_SAMPLE_WEIGHT};
    if (data.n_rows < 2 || !weights_are_good(&data))
        return FG_OK;
    fg_rows rows;
    fg_rows_open(&data, &rows);
    context->rows = &rows;
    return try_all(job, problem, fg_problem_table(problems, problem), context, memory, criteria,
                   &found->best);
}

/* ---- the starts that candidates share ---- */

static fg_status make_start(const void *context_of_job, const fg_problems *problems,
                            int64_t problem, fg_context *context, void *result) {
    const fit_job *job = context_of_job;
    const fg_shared_starts *starts = &job->options.starts;
    const int64_t table = problem / starts->n, start = problem % starts->n;
    const fg_data data = fg_problem_data(problems, problem);
    const fg_shape shape = {starts->n_components[start], job->n_features, FG_SPHERICAL};
    double *record = result;
    record[0] = NAN;
    if (data.n_rows < 2 || data.n_rows < shape.n_components || !weights_are_good(&data))
        return FG_OK; /* no fit will need it */
    fg_rows rows;
    fg_rows_open(&data, &rows);
    context->rows = &rows;
    const fg_status status =
        fg_start_record(context, &shape, job->options.fit.start, job->options.seeds[table],
                        starts->init[start], record);
    if (status != FG_OK) /* the fits find out why */
        record[0] = NAN;
    return status == FG_INTERRUPTED ? status : FG_OK;
}

static void write_start(const void *context_of_job, const fg_problems *problems, int64_t problem,
                        const void *result) {
    (void)problems;
    const fit_job *job = context_of_job;
    const fg_shared_starts *starts = &job->options.starts;
    const int64_t start = problem % starts->n;
    const fg_shape shape = {starts->n_components[start], job->n_features, FG_SPHERICAL};
    memcpy(starts->records + problem / starts->n * starts->size + starts->offset[start], result,
           (size_t)fg_start_record_size(&shape) * sizeof(double));
}

static fg_status make_starts(fg_context *context, const fg_problems *problems, const fit_job *job,
                             const fg_shape *largest) {
    const int64_t n = job->options.starts.n;
    fg_problems each = *problems;
    each.n_problems = fg_problem_table(problems, problems->n_problems) * n;
    each.copies = n;
    each.order = job->options.starts.order;
    each.cost = NULL;
    const fg_batch_kind kind = {.work = make_start,
                                .commit = write_start,
                                .silent = 1,
                                .job_bytes = sizeof *job,
                                .result_bytes =
                                    (size_t)fg_start_record_size(largest) * sizeof(double),
                                .most_rows = INT64_MAX,
                                .largest = *largest};
    int64_t unused;
    const fg_status status = fg_run_problems(context, &each, &kind, job, &unused);
    return status == FG_NO_MEMORY ? FG_OK : status; /* each fit then makes its own */
}

/* Called only after all candidates are tried: an interrupt leaves no partial results. */
static void write_fit(const void *context, const fg_problems *problems, int64_t problem,
                      const void *result) {
    (void)problems;
    const fit_job *job = context;
    const fg_batch_result *out = &job->out;
    const trial *best = &((const fit_result *)result)->best;
    const double *memory = fg_after(result, sizeof(fit_result));
    const double *criteria = memory + 2 * room_count(&job->room);
    const size_t n_tried = (size_t)candidates_of(&job->options, problem).n;
    out->status[problem] = (int8_t)best->status;
    memcpy(out->criteria + (size_t)problem * n_tried, criteria, n_tried * sizeof(double));
    if (!best->fitted)
        return;
    fg_parameters to = parameters_of(&out->parameters, &job->room, problem);
    fg_parameters_copy(&best->shape, &best->parameters, &to);
    out->candidate[problem] = best->candidate;
    out->log_likelihood[problem] = best->log_likelihood;
    if (job->options.held_out)
        out->held_out[problem] = best->held_out;
    out->lower_bound[problem] = best->fit.lower_bound;
    out->n_iter[problem] = best->fit.n_iter;
    out->n_passes[problem] = best->fit.n_passes;
    out->converged[problem] = (uint8_t)best->fit.converged;
    out->bic[problem] = best->bic;
    out->aic[problem] = best->aic;
}

static void raise_to(size_t *size, size_t other) { *size = other > *size ? other : *size; }

/* Computes the room for any candidate, and the shape of the costliest one. Returns 0 if a candidate
 * is too large. */
static int measure(const fg_batch_options *options, int64_t n_features, part_sizes *out_room,
                   fg_shape *out_largest) {
    *out_room = (part_sizes){0, 0, 0};
    *out_largest = (fg_shape){0, n_features, options->candidates[0].layout};
    for (int64_t c = 0; c < options->n_candidates; c++) {
        const fg_candidate *candidate = &options->candidates[c];
        const fg_shape shape = {candidate->n_components, n_features, candidate->layout};
        if (!fg_shape_is_countable(&shape))
            return 0;
        const part_sizes sizes = sizes_of(&shape);
        raise_to(&out_room->weights, sizes.weights);
        raise_to(&out_room->means, sizes.means);
        raise_to(&out_room->covariances, sizes.covariances);
        if (shape.n_components > out_largest->n_components)
            *out_largest = shape;
    }
    return 1;
}

fg_status fg_fit_batch(fg_context *context, const fg_problems *problems,
                       const fg_batch_options *options, fg_batch_result *out) {
    fit_job job = {.options = *options, .n_features = problems->n_features, .out = *out};
    fg_shape largest;
    if (!measure(options, problems->n_features, &job.room, &largest))
        return FG_NO_MEMORY;
    const fg_batch_kind kind = {.work = fit_problem,
                                .commit = write_fit,
                                .job_bytes = sizeof job,
                                .result_bytes = fit_result_bytes(&job),
                                .most_rows = INT64_MAX,
                                .largest = largest};
    int64_t unused;
    fg_status status = FG_OK;
    if (options->starts.n > 0)
        status = make_starts(context, problems, &job, &largest);
    if (status == FG_OK)
        status = fg_run_problems(context, problems, &kind, &job, &unused);
    if (status != FG_NO_MEMORY)
        return status;
    for (int64_t i = 0; i < problems->n_problems; i++) /* each needs the same memory */
        if (out->status[i] == FG_NOT_RUN)
            out->status[i] = FG_OUT_OF_MEMORY;
    return FG_OK;
}

/* ---- scores ---- */

typedef struct {
    fg_score_batch_options options;
    fg_shape largest;
    size_t real_bytes, row_bytes; /* of one number, and of one row of output */
    char *out;
} score_job;

static size_t output_bytes(const fg_problems *problems, int64_t problem, const score_job *job) {
    return (size_t)(problems->offsets[problem + 1] - problems->offsets[problem]) * job->row_bytes;
}

/* The destination of a problem's scores. */
static char *output_of(const fg_problems *problems, int64_t problem, const score_job *job) {
    return job->out + (size_t)(problems->offsets[problem] - problems->offsets[0]) * job->row_bytes;
}

/* Pads the rows in place to max_components entries; the padding has all bits set: no value. */
static void pad_rows(char *rows, int64_t n_rows, size_t k_bytes, size_t padded_bytes) {
    for (size_t n = (size_t)n_rows; n-- > 0;) {
        memmove(rows + n * padded_bytes, rows + n * k_bytes, k_bytes);
        memset(rows + n * padded_bytes + k_bytes, 0xff, padded_bytes - k_bytes);
    }
}

static fg_status score_problem(const void *context_of_job, const fg_problems *problems,
                               int64_t problem, fg_context *context, void *result) {
    const score_job *job = context_of_job;
    const fg_score_batch_options *options = &job->options;
    const fg_data data = fg_problem_data(problems, problem);
    const part_sizes room = sizes_of(&job->largest);
    const fg_parameters parameters = parameters_of(&options->parameters, &room, problem);
    char *out = result ? result : output_of(problems, problem, job);
    fg_shape shape = job->largest;
    shape.n_components = options->n_components[problem];
    if (shape.n_components == 0) { /* all bits set: NaN or -1 */
        memset(out, 0xff, output_bytes(problems, problem, job));
        return FG_OK;
    }
    if (data.n_rows == 0)
        return FG_OK;
    const fg_rows rows = {.data = &data, .weight_scale = 1};
    context->rows = &rows;
    const fg_status status = fg_score(context, &shape, &parameters, options->output, out);
    if (status == FG_OK && options->output == FG_OUTPUT_RESPONSIBILITIES &&
        shape.n_components < options->max_components)
        pad_rows(out, data.n_rows, (size_t)shape.n_components * job->real_bytes, job->row_bytes);
    return status;
}

static void write_scores(const void *context, const fg_problems *problems, int64_t problem,
                         const void *result) {
    const score_job *job = context;
    memcpy(output_of(problems, problem, job), result, output_bytes(problems, problem, job));
}

static fg_real_type real_type_of(const fg_problems *problems) {
    return problems->each && problems->n_problems > 0 ? problems->each[0].real_type
                                                      : problems->rows.real_type;
}

fg_status fg_score_batch(fg_context *context, const fg_problems *problems,
                         const fg_score_batch_options *options, void *out, int64_t *out_problem) {
    enum { RESULT_BYTES = 256 << 10 }; /* problems with larger results are scored by all threads */
    score_job job = {.options = *options,
                     .largest = {options->max_components, problems->n_features, options->layout},
                     .out = out};
    if (!fg_shape_is_countable(&job.largest))
        return FG_NO_MEMORY;
    job.real_bytes = real_type_of(problems) == FG_FLOAT32 ? sizeof(float) : sizeof(double);
    job.row_bytes = options->output == FG_OUTPUT_LABELS ? sizeof(int64_t)
                    : options->output == FG_OUTPUT_RESPONSIBILITIES
                        ? (size_t)options->max_components * job.real_bytes
                        : job.real_bytes;
    const fg_batch_kind kind = {.work = score_problem,
                                .commit = write_scores,
                                .direct = 1,
                                .job_bytes = sizeof job,
                                .result_bytes = context->n_threads > 1 ? RESULT_BYTES : 0,
                                .most_rows = (int64_t)(RESULT_BYTES / job.row_bytes),
                                .largest = job.largest};
    return fg_run_problems(context, problems, &kind, &job, out_problem);
}
