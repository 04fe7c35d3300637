/* One pass over the rows. See pass.h.
 *
 * How the rows are divided into tasks depends only on their number, and the sums of the tasks are
 * merged in index order; so results are identical for any number of threads. */
#include "pass.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "arithmetic.h"
#include "covariance.h"
#include "memory.h"
#include "parallel.h"
#include "parameters.h"
#include "rows.h"
#include "statistics.h"

#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)

/* ---- tasks ---- */

/* Approximate fused multiply-adds per row; an exponential counts as eight. */
static double work_of_row(const fg_shape *shape) {
    const double d = (double)shape->n_features, k = (double)shape->n_components;
    const int own_matrices = fg_has_matrices(shape) && !fg_is_shared(shape);
    return own_matrices ? k * (8 + d * d) : k * (8 + 4 * d) + d * d;
}

/* A spinning helper starts on its task within microseconds, a sleeping one within tens of
 * microseconds; so a single pass needs more work per thread to benefit than the passes of a fit do.
 * One core does about one multiply-add per lane in half a nanosecond (measured; within a factor of
 * two over all shapes). */
int64_t fg_worth_threads(const fg_shape *shape, int64_t n_rows, int64_t n_passes) {
    static const double ALONE = 200e-6, IN_A_ROW = 80e-6; /* seconds of work per thread and pass */
    const double per_unit = 0.55e-9 / (double)fg_kernels_for(FG_FLOAT64)->lanes;
    const double pass = (double)n_rows * work_of_row(shape) * per_unit;
    const double threads = pass / (n_passes > 1 ? IN_A_ROW : ALONE);
    const int64_t n_tasks = fg_task_count(shape, n_rows);
    return threads < 2 || n_tasks < 2 ? 1 : threads < (double)n_tasks ? (int64_t)threads : n_tasks;
}

/* Rows per task. Merging the sums of a task costs about as much as fifty rows. A thousand rows are
 * enough to make that negligible, provided that there are still enough tasks for all threads and
 * that a task is short compared with the polling interval. */
static int64_t choose_task_rows(const fg_shape *shape, int64_t n_rows) {
    const int64_t multiple = fg_kernels_for(FG_FLOAT64)->rows_multiple; /* the same for float */
    const double per_row = work_of_row(shape);
    double rows = fmin(fmax(16e6 / per_row, 1024), 16384);
    rows = fmin(rows, fmax((double)n_rows / 16, 512));
    rows = fmin(rows, fmax(1e9 / per_row, 512));
    return (int64_t)rows / multiple * multiple;
}

/* ---- what the tasks of a pass share ---- */

/* Read by every helper thread, even a late one. It is followed by the memory of the model, the
 * shift, the shares, and the parts of a stream. */
typedef struct {
    fg_shape shape;
    fg_data data;
    const fg_kernels *kernels;
    int64_t task_rows, first_task;
    fg_part whole;        /* rows in memory */
    const fg_part *parts; /* whole, or a copy of those of the stream */
    int64_t n_parts;
    fg_model model;
    double *shift;
    uint64_t seed;
    fg_sums sums;
    fg_statistics *total; /* written by the calling thread */
    fg_output output;
    size_t row_bytes; /* of one row's output */
    char *out;
    fg_visit visit;
    void *visitor;
    atomic_int bad;
} shared;

static size_t shared_bytes(const fg_kernels *kernels, const fg_shape *shape, int is_stream) {
    const size_t k = (size_t)shape->n_components, means = k * (size_t)shape->n_features;
    return ALIGNED(sizeof(shared)) + ALIGNED(kernels->model_bytes(shape)) +
           ALIGNED((means + k) * sizeof(double)) +
           (is_stream ? FG_MOST_PARTS * sizeof(fg_part) : 0);
}

static int is_stream(const fg_pass *pass) { return pass->context->rows->stream != NULL; }

/* Prepares the model for the kernels; the other shared fields are already set. NULL without
 * memory. */
static shared *prepare(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                       const fg_shift_choice *choice) {
    shared *s = fg_run_prepare(&pass->run, sizeof *s);
    if (!s)
        return NULL;
    char *model = (char *)s + ALIGNED(sizeof *s);
    s->shift = (double *)(model + ALIGNED(pass->kernels->model_bytes(&s->shape)));
    const size_t k = (size_t)s->shape.n_components, means = k * (size_t)s->shape.n_features;
    s->parts = &s->whole;
    if (is_stream(pass))
        s->parts = (fg_part *)((char *)s->shift + ALIGNED((means + k) * sizeof(double)));
    pass->kernels->prepare(&s->shape, parameters, assignment, choice, model, pass->context->monitor,
                           s->shift, &s->model);
    return s;
}

/* Size of a task's sums: the struct, followed by its memory. */
static size_t sums_bytes(const fg_shape *shape) {
    return ALIGNED(sizeof(fg_statistics)) + fg_statistics_count(shape) * sizeof(double);
}

static fg_statistics *sums_in(const shared *s, void *memory) {
    fg_statistics *sums = memory;
    *sums = fg_statistics_in(&s->shape, (double *)((char *)memory + ALIGNED(sizeof *sums)));
    sums->shift = s->shift;
    return sums;
}

static int64_t task_end(const shared *s, int64_t task) {
    const int64_t begin = task * s->task_rows, left = s->data.n_rows - begin;
    return begin + (left < s->task_rows ? left : s->task_rows);
}

static int64_t count_tasks(int64_t n_rows, int64_t task_rows) {
    return n_rows / task_rows + (n_rows % task_rows != 0);
}

int64_t fg_task_count(const fg_shape *shape, int64_t n_rows) {
    return count_tasks(n_rows, choose_task_rows(shape, n_rows));
}

/* The caller has set work, commit and the size of a result; and the sizes of the scratch and of the
 * shared memory, or 0 for those of a pass that takes sums. */
static fg_status open_pass(fg_context *context, const fg_shape *shape, fg_real_type arithmetic,
                           int64_t task_rows, fg_tasks *tasks, fg_pass *out) {
    const fg_data *data = context->rows->data;
    fg_pass p = {.context = context, .shape = shape, .arithmetic = arithmetic, .sums_scale = 1};
    p.kernels = fg_kernels_for(arithmetic);
    p.n_tasks = count_tasks(data->n_rows, task_rows);
    p.task_rows = task_rows;
    const int64_t most = p.n_tasks > 1 ? p.n_tasks : 1;
    const int n_threads = context->n_threads < most ? context->n_threads : (int)most;
    p.n_threads = n_threads;
    if (tasks->shared_bytes == 0)
        tasks->shared_bytes = shared_bytes(p.kernels, shape, is_stream(&p));
    if (tasks->scratch_bytes == 0)
        tasks->scratch_bytes = p.kernels->scratch_bytes(shape);
    if (is_stream(&p)) /* a block whose rows lie in several parts is copied */
        tasks->scratch_bytes = ALIGNED(tasks->scratch_bytes) +
                               FG_BLOCK_ROWS * ((size_t)shape->n_features + 1) * sizeof(double);
    p.run = fg_run_open(tasks, n_threads, context->lease);
    *out = p;
    if (!p.run)
        return FG_NO_MEMORY;
    shared *s = fg_run_shared(p.run);
    *s = (shared){.shape = *shape,
                  .data = *data,
                  .kernels = p.kernels,
                  .task_rows = task_rows,
                  .whole = {*data, 0},
                  .n_parts = 1};
    return FG_OK;
}

void fg_pass_close(fg_pass *pass) {
    fg_run_close(pass->run);
    fg_release(pass->shares);
}

/* ---- sums ---- */

static void accumulate_task(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                            void *result) {
    shared *s = context;
    fg_statistics *partial = sums_in(s, result);
    fg_statistics_reset(&s->shape, s->sums, monitor, partial);
    task += s->first_task;
    s->kernels->accumulate(&s->model, s->parts, task * s->task_rows, task_end(s, task), s->seed,
                           s->sums, scratch, monitor, partial);
}

static void merge_task(void *context, int64_t task, void *result) {
    (void)task;
    const shared *s = context;
    fg_statistics_add(&s->shape, result, s->sums, s->total);
}

fg_status fg_pass_open(fg_context *context, const fg_shape *shape, fg_real_type arithmetic,
                       fg_pass *out) {
    fg_tasks tasks = {.work = accumulate_task,
                      .commit = merge_task,
                      .in_order = 1,
                      .result_bytes = sums_bytes(shape)};
    const int64_t task_rows = choose_task_rows(shape, context->rows->data->n_rows);
    const fg_status status = open_pass(context, shape, arithmetic, task_rows, &tasks, out);
    out->shares = fg_doubles((size_t)shape->n_components);
    return out->shares ? status : FG_NO_MEMORY;
}

/* Corrects the share of every component that has far fewer rows than assumed: responsibilities that
 * are negligible relative to the old share may matter relative to the new one. Returns whether
 * there is such a component. */
static int correct_shares(const fg_shape *shape, const fg_statistics *s, double *shares) {
    const double still_right = 0x1p-12; /* of the share: leaves a rounding error of the sums */
    int corrected = 0;
    for (int64_t k = 0; k < shape->n_components; k++) {
        const double share = s->nk[k] / s->weight_sum;
        if (share > 0 && share < still_right * shares[k]) {
            shares[k] = share;
            corrected = 1;
        }
    }
    return corrected;
}

/* The arguments of a pass. */
typedef struct {
    const fg_parameters *parameters;
    fg_assignment assignment;
    const fg_shift_choice *choice;
    uint64_t seed;
    fg_sums sums;
    fg_statistics *out;
} pass_plan;

/* NULL without memory. */
static shared *share(fg_pass *pass, const pass_plan *plan) {
    const size_t k = (size_t)pass->shape->n_components;
    const size_t means = k * (size_t)pass->shape->n_features;
    shared *s = prepare(pass, plan->parameters, plan->assignment, plan->choice);
    if (!s)
        return NULL;
    s->model.shares = memcpy(s->shift + means, pass->shares, k * sizeof(double));
    s->model.weight_scale = pass->context->rows->weight_scale;
    s->model.sums_scale = pass->sums_scale;
    s->seed = plan->seed;
    s->sums = plan->sums;
    s->total = plan->out;
    return s;
}

/* Runs tasks that read the rows at hand of a stream. If a helper is late, those rows must stay; so
 * after a few times the call waits for its helpers. */
static fg_status run_parts(fg_pass *pass, int64_t n_tasks) {
    enum { LATE = 4 };
    fg_stream *stream = pass->context->rows->stream;
    fg_context context = *pass->context;
    if (stream->n_late >= LATE)
        context.lease = NULL;
    const fg_status status = fg_run_tasks(pass->run, &context, n_tasks);
    if (!fg_run_is_left(pass->run)) {
        stream->is_late = 1;
        stream->n_late++;
    }
    return status;
}

/* Runs the tasks of a stream, as many at a time as have their rows at hand. They are the tasks that
 * the same rows in memory have, and so are the sums. */
static fg_status run_stream(fg_pass *pass, const pass_plan *plan) {
    enum { TASKS = 4 }; /* of each thread at a time, so that threads rarely wait for each other */
    fg_stream *stream = pass->context->rows->stream;
    const int64_t rows = pass->task_rows, n_rows = pass->context->rows->data->n_rows;
    fg_status status = FG_OK;
    for (int64_t row = 0, n; row < n_rows && status == FG_OK; row += n * rows) {
        status = fg_rows_fetch(pass->context->rows, row, rows, TASKS * pass->n_threads * rows);
        if (status != FG_OK)
            break;
        shared *s = fg_run_shared(pass->run);
        if (!fg_run_is_left(pass->run)) /* a late helper reads the shared part */
            s = share(pass, plan);
        if (!s)
            return FG_NO_MEMORY;
        memcpy((fg_part *)s->parts, stream->parts, (size_t)stream->n_parts * sizeof(fg_part));
        s->first_task = row / rows;
        n = stream->end == n_rows ? count_tasks(n_rows - row, rows) : (stream->end - row) / rows;
        status = run_parts(pass, n);
    }
    return status;
}

fg_status fg_pass_run(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                      const fg_shift_choice *choice, uint64_t seed, fg_sums sums,
                      fg_statistics *out) {
    const pass_plan plan = {parameters, assignment, choice, seed, sums, out};
    const size_t k = (size_t)pass->shape->n_components;
    const size_t means = k * (size_t)pass->shape->n_features;
    fg_status status = FG_OK;
    int again = 0;
    memcpy(pass->shares, parameters->weights, k * sizeof(double));
    do {
        const shared *s = share(pass, &plan);
        if (!s)
            return FG_NO_MEMORY;
        const int leaves_out = s->model.leaves_out;
        memcpy(out->shift, s->shift, means * sizeof(double));
        fg_statistics_reset(pass->shape, sums, pass->context->monitor, out);
        status = is_stream(pass) ? run_stream(pass, &plan)
                                 : fg_run_tasks(pass->run, pass->context, pass->n_tasks);
        again = !again && status == FG_OK && sums == FG_MOMENTS && leaves_out &&
                correct_shares(pass->shape, out, pass->shares);
    } while (again);
    return status;
}

/* ---- scores ---- */

/* The kernels write the score of row n to element n. For a separate result, the rows of the task
 * are therefore passed as data of their own. */
static void score_task(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                       void *result) {
    shared *s = context;
    fg_data data = s->data;
    int64_t begin = task * s->task_rows, end = task_end(s, task);
    if (result) {
        const int64_t size = data.real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
        data.x = (const char *)data.x + begin * data.row_stride * size;
        data.n_rows = end - begin;
        begin = 0;
        end = data.n_rows;
    }
    if (s->kernels->score(&s->model, &data, begin, end, s->output, scratch, monitor,
                          result ? result : s->out))
        atomic_store_explicit(&s->bad, 1, memory_order_relaxed);
}

static void write_scores(void *context, int64_t task, void *result) {
    const shared *s = context;
    const int64_t begin = task * s->task_rows, n_rows = task_end(s, task) - begin;
    memcpy(s->out + (size_t)begin * s->row_bytes, result, (size_t)n_rows * s->row_bytes);
}

/* Passes the log-likelihoods to the visitor as double; float values are widened in place, from the
 * end. */
static void visit_task(void *context, int64_t task, void *result) {
    const shared *s = context;
    double *values = result;
    const int64_t begin = task * s->task_rows, end = task_end(s, task);
    const int64_t first = s->whole.begin;
    for (int64_t n = end - begin; s->data.real_type == FG_FLOAT32 && n-- > 0;) {
        float value;
        memcpy(&value, (const char *)result + (size_t)n * sizeof value, sizeof value);
        values[n] = (double)value;
    }
    s->visit(s->visitor, first + begin, first + end, values);
}

static size_t size_of_score(const fg_data *data, const fg_shape *shape, fg_output output) {
    const size_t real = data->real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
    return output == FG_OUTPUT_LABELS             ? sizeof(int64_t)
           : output == FG_OUTPUT_RESPONSIBILITIES ? (size_t)shape->n_components * real
                                                  : real;
}

/* The model is laid out. */
static fg_status run_scores(fg_pass *pass) {
    const shared *s = fg_run_shared(pass->run);
    const fg_status status = fg_run_tasks(pass->run, pass->context, pass->n_tasks);
    return status == FG_OK && s->bad ? FG_NOT_FINITE : status;
}

/* Scores a stream part by part: the score of a row does not depend on the rows beside it. */
static fg_status run_scores_of_stream(fg_pass *pass, const fg_parameters *parameters,
                                      fg_visit visit, void *visitor) {
    const fg_rows *rows = pass->context->rows;
    const int64_t n_rows = rows->data->n_rows;
    fg_status status = FG_OK;
    for (int64_t row = 0; row < n_rows && status == FG_OK; row = rows->stream->end) {
        status = fg_rows_fetch(rows, row, 1, pass->task_rows);
        for (int64_t i = 0; i < rows->stream->n_parts && status == FG_OK; i++) {
            const fg_part *part = &rows->stream->parts[i];
            shared *s = prepare(pass, parameters, FG_SOFT, &FG_AT_MEANS);
            if (!s)
                return FG_NO_MEMORY;
            s->whole = *part;
            s->data = part->data;
            s->visit = visit;
            s->visitor = visitor;
            status = run_parts(pass, count_tasks(part->data.n_rows, pass->task_rows));
            if (status == FG_OK && s->bad)
                status = FG_NOT_FINITE;
        }
    }
    return status;
}

/* What scores are computed from: parameters, or the model of a scorer. */
typedef struct {
    const fg_parameters *parameters; /* or NULL */
    const fg_model *model;
    fg_real_type arithmetic;
} score_source;

static fg_status score(fg_context *context, const fg_shape *shape, const score_source *source,
                       fg_output output, void *out) {
    enum { RESULT_BYTES = 256 << 10 }; /* of a helper's task, so that it stays in the L2 cache */
    const fg_data *data = context->rows->data;
    fg_pass pass;
    int64_t task_rows = choose_task_rows(shape, data->n_rows);
    const size_t row_bytes = size_of_score(data, shape, output);
    fg_tasks tasks = {.work = score_task, .commit = write_scores, .direct = 1};
    if (context->n_threads > 1) {
        const int64_t multiple = fg_kernels_for(FG_FLOAT64)->rows_multiple;
        const int64_t rows = (int64_t)(RESULT_BYTES / row_bytes) / multiple * multiple;
        task_rows = rows < multiple ? multiple : rows < task_rows ? rows : task_rows;
        tasks.result_bytes = (size_t)task_rows * row_bytes;
    }
    tasks.shared_bytes = source->model ? sizeof(shared) : 0;
    tasks.scratch_bytes =
        fg_kernels_for(source->arithmetic)
            ->score_scratch_bytes(shape, task_rows < data->n_rows ? task_rows : data->n_rows);
    fg_status status = open_pass(context, shape, source->arithmetic, task_rows, &tasks, &pass);
    if (status == FG_OK) {
        shared *s = fg_run_shared(pass.run);
        s->output = output;
        s->row_bytes = row_bytes;
        s->out = out;
        if (source->model)
            s->model = *source->model;
        else if (!prepare(&pass, source->parameters, FG_SOFT, &FG_AT_MEANS))
            status = FG_NO_MEMORY;
        if (status == FG_OK)
            status = run_scores(&pass);
    }
    fg_pass_close(&pass);
    return status;
}

fg_status fg_score(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                   fg_output output, void *out) {
    score_source source = {.parameters = parameters};
    if (!fg_shape_is_countable(shape))
        return FG_NO_MEMORY;
    const fg_status status =
        fg_choose_arithmetic_for(context, shape, parameters, &source.arithmetic);
    return status == FG_OK ? score(context, shape, &source, output, out) : status;
}

struct fg_scorer {
    fg_real_type arithmetic;
    fg_model model; /* followed by its arrays */
};

fg_status fg_scorer_open(fg_context *context, const fg_shape *shape,
                         const fg_parameters *parameters, fg_real_type real_type, fg_scorer **out) {
    fg_real_type arithmetic;
    *out = NULL;
    if (!fg_shape_is_countable(shape))
        return FG_NO_MEMORY;
    fg_status status =
        fg_choose_arithmetic(real_type, shape, parameters, context->monitor, &arithmetic);
    if (status != FG_OK)
        return status;
    const fg_kernels *kernels = fg_kernels_for(arithmetic);
    double *shift = fg_doubles((size_t)(shape->n_components * shape->n_features));
    char *memory = fg_cache_lines(ALIGNED(sizeof(fg_scorer)) + kernels->model_bytes(shape));
    if (!shift || !memory) {
        fg_release(shift);
        fg_release(memory);
        return FG_NO_MEMORY;
    }
    fg_scorer *scorer = (fg_scorer *)memory;
    scorer->arithmetic = arithmetic;
    kernels->prepare(shape, parameters, FG_SOFT, &FG_AT_MEANS, memory + ALIGNED(sizeof(fg_scorer)),
                     context->monitor, shift, &scorer->model);
    fg_release(shift);
    if (fg_stopped(context->monitor)) {
        fg_scorer_close(scorer);
        return FG_INTERRUPTED;
    }
    *out = scorer;
    return FG_OK;
}

fg_status fg_scorer_run(fg_context *context, const fg_scorer *scorer, fg_output output, void *out) {
    const score_source source = {.model = &scorer->model, .arithmetic = scorer->arithmetic};
    return score(context, &scorer->model.shape, &source, output, out);
}

void fg_scorer_close(fg_scorer *scorer) { fg_release(scorer); }

fg_status fg_pass_visit(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                        fg_visit visit, void *visitor) {
    const fg_data *data = context->rows->data;
    const int64_t task_rows = choose_task_rows(shape, data->n_rows);
    fg_tasks tasks = {.work = score_task,
                      .commit = visit_task,
                      .in_order = 1,
                      .result_bytes = (size_t)task_rows * sizeof(double)};
    fg_pass pass;
    fg_real_type arithmetic;
    fg_status status = fg_choose_arithmetic_for(context, shape, parameters, &arithmetic);
    if (status != FG_OK)
        return status;
    status = open_pass(context, shape, arithmetic, task_rows, &tasks, &pass);
    if (status == FG_OK) {
        shared *s = fg_run_shared(pass.run);
        s->output = FG_OUTPUT_LOG_LIKELIHOOD;
        s->visit = visit;
        s->visitor = visitor;
        if (is_stream(&pass))
            status = run_scores_of_stream(&pass, parameters, visit, visitor);
        else
            status = prepare(&pass, parameters, FG_SOFT, &FG_AT_MEANS) ? run_scores(&pass)
                                                                       : FG_NO_MEMORY;
    }
    fg_pass_close(&pass);
    return status;
}
