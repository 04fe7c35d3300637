/* Failing allocations, one at a time: every public function reports the failure, leaks nothing, and
 * gives the same results when it is called again. And sizes that cannot be counted in bytes. */
#include "calls.h"
#include "check.h"
#include "instruction_sets.h"
#include "memory.h"
#include "mixture.h"

#ifdef __linux__
#include <dirent.h>
#endif

/* ---- an allocator that fails ---- */

static long n_calls, fails_at, n_live; /* fails_at: only this call fails; 0: none */

static int refuses(void) { return ++n_calls == fails_at; }

static void *counted(void *memory) {
    n_live += memory != NULL;
    return memory;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
void __wrap_free(void *memory);

void *__wrap_malloc(size_t bytes) { return refuses() ? NULL : counted(__real_malloc(bytes)); }

void *__wrap_calloc(size_t count, size_t bytes) {
    return refuses() ? NULL : counted(__real_calloc(count, bytes));
}

void *__wrap_realloc(void *memory, size_t bytes) {
    if (refuses())
        return NULL;
    n_live -= memory != NULL;
    return counted(__real_realloc(memory, bytes));
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes) {
    return refuses() ? NULL : counted(__real_aligned_alloc(alignment, bytes));
}

void __wrap_free(void *memory) {
    n_live -= memory != NULL;
    __real_free(memory);
}

/* ---- calls ---- */

enum { K = 3, D = 3, ROWS = 700, PROBLEMS = 4, CANDIDATES = 2, ROOM = 6000 };
enum { FITS = PROBLEMS * CANDIDATES, STARTS = 2, RECORD = 1 + K * D };

/* One call with everything it reads and writes. out: all results, one after the other. */
typedef struct {
    fg_shape shape;
    fg_data data;
    fg_parameters parameters;
    fg_fit_options options;
    fg_output output;
    int64_t offsets[PROBLEMS + 1], order[PROBLEMS], n_components[PROBLEMS];
    fg_candidate candidates[CANDIDATES];
    uint32_t seeds[PROBLEMS];
    double out[ROOM];
    int separate; /* a batch keeps the fits of all candidates, which share their starts */
    int8_t status[FITS];
    int64_t n_problems_lost; /* of a batch: problems lost for lack of memory */
} call;

typedef fg_status (*function)(call *c);

static fg_parameters parameters_at(const fg_shape *shape, int64_t count, double *memory) {
    const int64_t k = shape->n_components * count, d = shape->n_features;
    const int64_t covariances = (int64_t)fg_covariance_count(shape) * count;
    return (fg_parameters){memory, memory + k, memory + k + k * d,
                           memory + k + k * d + covariances};
}

static fg_status call_accumulate(call *c) {
    const size_t kd = K * D;
    fg_statistics s = {c->out, c->out + K, c->out + K + kd, c->out + K + 2 * kd, 0, 0, 0};
    const fg_status status = fg_accumulate(ON(&c->data, 1, NULL), &c->shape, &c->parameters, &s);
    c->out[ROOM - 1] = s.log_likelihood;
    return status;
}

static fg_status call_score(call *c) {
    return fg_score(ON(&c->data, 1, NULL), &c->shape, &c->parameters, c->output, c->out);
}

static fg_status call_scorer(call *c) {
    fg_scorer *scorer;
    const fg_status status =
        fg_scorer_open(ON(NULL, 1, NULL), &c->shape, &c->parameters, c->data.real_type, &scorer);
    if (status != FG_OK)
        return status;
    const fg_status run = fg_scorer_run(ON(&c->data, 1, NULL), scorer, c->output, c->out);
    fg_scorer_close(scorer);
    return run;
}

static fg_status call_fit(call *c) {
    const fg_parameters nothing = {NULL, NULL, NULL, NULL};
    fg_parameters out = parameters_at(&c->shape, 1, c->out);
    fg_fit_result result = {.lower_bound = -INFINITY};
    const fg_status status =
        fg_fit(ON(&c->data, 1, NULL), &c->shape, &c->options, &nothing, 3, &out, &result);
    if (status == FG_OK) {
        CHECK(result.history.n_bounds == result.n_iter, "%lld bounds",
              (long long)result.history.n_bounds);
        for (int64_t i = 0; i < result.history.n_bounds; i++)
            c->out[1000 + i] = result.history.lower_bounds[i];
        for (int64_t i = 0; i < result.history.n_repairs; i++)
            c->out[2000 + i] = (double)result.history.repairs[i].row;
    }
    fg_history_free(&result.history);
    return status;
}

static fg_problems problems_of(const call *c) {
    return (fg_problems){PROBLEMS, D, c->offsets, c->data, 0, NULL, c->order, 1, NULL};
}

static int64_t n_fits(const call *c) { return c->separate ? FITS : PROBLEMS; }

/* Both candidates have K components and at most two starts. */
static fg_shared_starts shared_starts(const call *c) {
    static const int64_t n_components[STARTS] = {K, K}, init[STARTS] = {0, 1};
    static const int64_t offset[STARTS] = {0, RECORD}, of_candidate[CANDIDATES] = {0, 0};
    static const int64_t order[PROBLEMS * STARTS] = {0, 1, 2, 3, 4, 5, 6, 7};
    static double records[PROBLEMS * STARTS * RECORD];
    for (int i = 0; i < PROBLEMS * STARTS * RECORD; i++)
        records[i] = NAN;
    return (fg_shared_starts){c->options.n_init,
                              c->options.n_init * RECORD,
                              n_components,
                              init,
                              offset,
                              of_candidate,
                              order,
                              records};
}

static fg_status call_fit_batch(call *c) {
    static const int64_t order_of_fits[FITS] = {7, 6, 0, 1, 2, 3, 4, 5};
    fg_problems problems = problems_of(c);
    if (c->separate) {
        problems.n_problems = FITS;
        problems.copies = CANDIDATES;
        problems.order = order_of_fits;
    }
    for (int i = 0; i < CANDIDATES; i++)
        c->candidates[i].n_init = c->options.n_init;
    const fg_data some = {c->data.x, c->data.real_type, 9, D, 1, NULL};
    const fg_data held_out[PROBLEMS] = {some, some, some, some};
    fg_batch_options options = {.fit = c->options,
                                .candidates = c->candidates,
                                .n_candidates = CANDIDATES,
                                .separate = c->separate,
                                .seeds = c->seeds,
                                .held_out = c->separate ? held_out : NULL};
    if (c->separate)
        options.starts = shared_starts(c);
    double *at = c->out + 2000;
    int64_t n_iter[FITS] = {0}, n_passes[FITS] = {0}, candidate[FITS] = {0};
    uint8_t converged[FITS] = {0};
    fg_batch_result out = {.parameters = parameters_at(&c->shape, n_fits(c), c->out),
                           .lower_bound = at,
                           .bic = at + FITS,
                           .aic = at + 2 * FITS,
                           .log_likelihood = at + 3 * FITS,
                           .held_out = at + 4 * FITS,
                           .criteria = at + 5 * FITS,
                           .n_iter = n_iter,
                           .n_passes = n_passes,
                           .candidate = candidate,
                           .status = c->status,
                           .converged = converged};
    fg_monitor monitor = {0};
    const fg_status status = fg_fit_batch(ON(NULL, 1, &monitor), &problems, &options, &out);
    c->n_problems_lost = 0;
    for (int64_t i = 0; i < n_fits(c); i++)
        c->n_problems_lost += c->status[i] == FG_OUT_OF_MEMORY;
    return status;
}

static fg_status call_score_batch(call *c) {
    const fg_problems problems = problems_of(c);
    static double memory[ROOM];
    const fg_parameters all = parameters_at(&c->shape, PROBLEMS, memory);
    const size_t covariances = fg_covariance_count(&c->shape);
    for (size_t i = 0; i < PROBLEMS; i++) {
        memcpy(all.weights + i * K, c->parameters.weights, K * sizeof(double));
        memcpy(all.means + i * K * D, c->parameters.means, K * D * sizeof(double));
        memcpy(all.precisions_cholesky + i * covariances, c->parameters.precisions_cholesky,
               covariances * sizeof(double));
    }
    int64_t bad;
    fg_monitor monitor = {0};
    const fg_score_batch_options options = {c->shape.layout, K, c->n_components, all, c->output};
    return fg_score_batch(ON(NULL, 1, &monitor), &problems, &options, c->out, &bad);
}

static void clear(call *c) {
    memset(c->out, 0, sizeof c->out);
    memset(c->status, FG_NOT_RUN, sizeof c->status);
}

/* Checks that problem i of the batch has the same result as in the call that had memory. */
static void check_problem(const call *c, const call *whole, int64_t i) {
    const fg_parameters ours = parameters_at(&c->shape, n_fits(c), (double *)c->out),
                        truth = parameters_at(&c->shape, n_fits(c), (double *)whole->out);
    const size_t at = (size_t)i * K * D, bytes = K * D * sizeof(double);
    CHECK(memcmp(ours.means + at, truth.means + at, bytes) == 0, "problem %lld's bits",
          (long long)i);
    CHECK(c->out[2000 + i] == whole->out[2000 + i], "problem %lld's bound", (long long)i);
}

static long n_failures;   /* failing paths taken, over all calls */
static char given_to[80]; /* what the calls are given */
#define ABOUT(...) snprintf(given_to, sizeof given_to, __VA_ARGS__)

/* Fails every allocation of the call in turn. */
static void check_call(function f, call *c, const char *name) {
    static call whole;
    clear(c);
    fails_at = 0;
    CONTEXT("%s, %s", name, given_to);
    const fg_status status = f(c);
    CHECK(status == FG_OK, "with memory: %d", (int)status);
    whole = *c;
    for (long n = 1;; n++) {
        CONTEXT("%s, %s, allocation %ld", name, given_to, n);
        clear(c);
        const long live = n_live;
        n_calls = 0;
        fails_at = n;
        const fg_status failed = f(c);
        const int all_done = n_calls < n;
        fails_at = 0;
        CHECK(n_live == live, "%ld allocations leak", n_live - live);
        if (all_done) { /* identical results again, after all those failures */
            CHECK(failed == FG_OK, "the last: %d", (int)failed);
            CHECK(memcmp(c->out, whole.out, sizeof c->out) == 0, "other bits than before");
            CHECK(n > 1, "no allocation at all");
            break;
        }
        n_failures++;
        if (f != call_fit_batch) {
            CHECK(failed == FG_NO_MEMORY, "ends with %d", (int)failed);
            continue;
        }
        /* All problems are lost if the batch could not begin; otherwise one, or none if only the
         * reason for its status is lost. */
        CHECK(failed == FG_OK && (c->n_problems_lost <= 1 || c->n_problems_lost == n_fits(c)),
              "%d, %lld lost", (int)failed, (long long)c->n_problems_lost);
        for (int64_t i = 0; i < PROBLEMS; i++)
            if (c->status[i] == FG_OUT_OF_MEMORY)
                CHECK(c->out[2000 + i] == 0, "lost, with a bound");
            else
                check_problem(c, &whole, i);
    }
}

static void test_every_failure(void) {
    static call c;
    EACH_LAYOUT(layout) EACH_REAL_TYPE(real_type) {
        mixture m = mixture_new((fg_shape){K, D, layout}, 4, 21);
        samples s = samples_new(&m, real_type, ROWS, 1, 22);
        c = (call){.shape = m.shape,
                   .data = s.data,
                   .parameters = m.parameters,
                   .offsets = {0, 100, 200, 202, ROWS},
                   .order = {3, 0, 1, 2},
                   .candidates = {{2, 1, layout}, {3, 1, layout}},
                   .n_components = {3, 2, 0, 3},
                   .seeds = {1, 2, 3, 4}};
        for (fg_output output = FG_OUTPUT_LABELS; output <= FG_OUTPUT_LOG_LIKELIHOOD; output++) {
            ABOUT("%s %s %d", real_name(real_type), layout_name(layout), (int)output);
            c.output = output;
            c.data.sample_weight = NULL;
            check_call(call_score, &c, "score");
            check_call(call_scorer, &c, "scorer");
            check_call(call_score_batch, &c, "score_batch");
        }
        for (int weighted = 0; weighted <= 1; weighted++) {
            ABOUT("%s %s%s", real_name(real_type), layout_name(layout),
                  weighted ? " weighted" : "");
            c.data.sample_weight = weighted ? s.sample_weight : NULL;
            check_call(call_accumulate, &c, "accumulate");
            for (fg_start start = FG_START_KMEANS; start <= FG_START_DATA; start++) {
                const int repair = start == FG_START_KMEANS_PP;
                c.options = (fg_fit_options){.start = start,
                                             .n_init = 1 + (start == FG_START_DATA),
                                             .max_iter = 6,
                                             .m_step.reg_covar = 1e-6,
                                             .repair = repair,
                                             .accelerate = start != FG_START_RANDOM};
                check_call(call_fit, &c, "fit");
                check_call(call_fit_batch, &c, "fit_batch");
                if (start == FG_START_RANDOM)
                    continue;
                fg_candidate usual[CANDIDATES] = {c.candidates[0], c.candidates[1]};
                c.separate = 1;
                c.candidates[0].n_components = K;
                check_call(call_fit_batch, &c, "fit_batch, separate");
                c.separate = 0;
                memcpy(c.candidates, usual, sizeof usual);
            }
        }
        samples_free(&s);
        mixture_free(&m);
    }
}

/* Constant rows lead to singular covariances and empty components: the code that repairs and
 * explains them. */
static void test_failures_of_repairs(void) {
    static call c;
    static double x[ROWS * D];
    for (int64_t i = 0; i < ROWS * D; i++)
        x[i] = i / D < ROWS - 2 ? 1 : (double)i;
    EACH_LAYOUT(layout) {
        ABOUT("repair %s", layout_name(layout));
        c = (call){.shape = {K, D, layout},
                   .data = {x, FG_FLOAT64, ROWS, D, 1, NULL},
                   .options = {FG_START_DATA, 2, 40, 0, {0}, 1, NULL},
                   .offsets = {0, 100, 200, 202, ROWS},
                   .order = {3, 0, 1, 2},
                   .candidates = {{2, 1, layout}, {3, 1, layout}},
                   .seeds = {1, 2, 3, 4}};
        check_call(call_fit, &c, "fit");
        check_call(call_fit_batch, &c, "fit_batch");
        c.options.repair = 0;
        check_call(call_fit_batch, &c, "fit_batch");
    }
}

/* ---- sizes ---- */

/* Whatever is called with such a shape, no memory is accessed. */
static void test_shapes_that_cannot_be_counted(void) {
    static const int64_t sizes[][2] = {
        {(int64_t)1 << 62, 1},
        {1, (int64_t)1 << 62},
        {INT64_MAX, INT64_MAX},
        {(int64_t)1 << 32, 1LL << 32},
        {3037000500, 3037000500},
        {(int64_t)1 << 31, 1LL << 31},
        {1, (int64_t)1 << 51},
        {(int64_t)1 << 61, 4},
        {(1LL << 60) + 1, 16},
        {0, 1},
        {1, 0},
        {-1, 3},
        {3, -1},
        {INT64_MIN, 2},
        {(int64_t)1 << 50, 1},
        {(int64_t)1 << 31, 1LL << 20},
        {(int64_t)1 << 20, 1LL << 31},
    };
    const double x[2] = {0, 1};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        EACH_LAYOUT(layout) EACH_REAL_TYPE(real_type) {
            const fg_shape shape = {sizes[i][0], sizes[i][1], layout};
            const fg_data data = {x, real_type, INT64_MAX, 0, 0, NULL};
            const fg_parameters none = {NULL, NULL, NULL, NULL};
            fg_parameters out = none;
            fg_statistics s = {0};
            fg_fit_result result = {0};
            fg_monitor monitor = {0};
            int64_t bad;
            CONTEXT("%s %s K=%lld d=%lld", real_name(real_type), layout_name(layout),
                    (long long)shape.n_components, (long long)shape.n_features);
            CHECK(fg_accumulate(ON(&data, 1, NULL), &shape, &none, &s) == FG_NO_MEMORY,
                  "accumulate");
            CHECK(fg_score(ON(&data, 1, NULL), &shape, &none, FG_OUTPUT_LABELS, NULL) ==
                      FG_NO_MEMORY,
                  "score");
            fg_scorer *scorer;
            CHECK(fg_scorer_open(ON(NULL, 1, NULL), &shape, &none, real_type, &scorer) ==
                      FG_NO_MEMORY,
                  "scorer");
            for (int64_t n_init = 1; n_init <= 2; n_init++) {
                const fg_fit_options options = {.start = FG_START_KMEANS,
                                                .n_init = n_init,
                                                .max_iter = 1,
                                                .repair = n_init == 1,
                                                .accelerate = n_init == 2};
                CHECK(fg_fit(ON(&data, 1, NULL), &shape, &options, &none, 0, &out, &result) ==
                          FG_NO_MEMORY,
                      "fit");
            }
            if (shape.n_components < 1) /* a batch has at least one */
                continue;
            const int64_t offsets[2] = {0, 2}, order = 0;
            const fg_problems problems = {1,    shape.n_features, offsets, data, 0,
                                          NULL, &order,           1,       NULL};
            const fg_candidate candidate = {shape.n_components, 1, layout};
            const fg_batch_options options = {.fit = {FG_START_KMEANS, 1, 1, 0, {0}, 0, NULL},
                                              .candidates = &candidate,
                                              .n_candidates = 1};
            fg_batch_result batch = {.parameters = none};
            CHECK(fg_fit_batch(ON(NULL, 1, &monitor), &problems, &options, &batch) == FG_NO_MEMORY,
                  "batch");
            const fg_score_batch_options scores = {layout, shape.n_components, &order, none,
                                                   FG_OUTPUT_LABELS};
            CHECK(fg_score_batch(ON(NULL, 1, &monitor), &problems, &scores, NULL, &bad) ==
                      FG_NO_MEMORY,
                  "score batch");
        }
    CONTEXT("tasks");
    for (int64_t less = 0; less < 20000; less += 999) {
        const fg_shape shape = {2, 1, FG_FULL};
        CHECK(fg_task_count(&shape, INT64_MAX - less) > (INT64_MAX - less) / 16384, "tasks");
    }
}

static int stop_soon(void *context) { return ++*(int *)context > 2; }

/* Far more rows than can be processed, all stored in one row of memory: they are counted, and
 * interrupts still work. */
static void test_rows_without_end(void) {
    static const int64_t rows[] = {1LL << 40, 1LL << 62, INT64_MAX - 1, INT64_MAX};
    const double x[2] = {0.5, 2};
    mixture m = mixture_new((fg_shape){2, 2, FG_FULL}, 1, 1);
    fg_statistics s = statistics_new(&m.shape);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const fg_data data = {x, FG_FLOAT64, rows[i], 0, 1, NULL};
        int polls = 0;
        fg_monitor monitor = {.poll = stop_soon, .context = &polls};
        CONTEXT("%lld rows", (long long)rows[i]);
        CHECK(fg_accumulate(ON(&data, 1, &monitor), &m.shape, &m.parameters, &s) == FG_INTERRUPTED,
              "not stopped");
        for (fg_start start = FG_START_KMEANS; start <= FG_START_DATA; start++) {
            const fg_fit_options options = {
                .start = start, .n_init = 1, .max_iter = 1, .m_step.reg_covar = 1};
            const fg_parameters nothing = {NULL, NULL, NULL, NULL};
            fg_fit_result result = {0};
            polls = 0;
            CHECK(fg_fit(ON(&data, 1, &monitor), &m.shape, &options, &nothing, 0, &m.parameters,
                         &result) == FG_INTERRUPTED,
                  "not stopped");
            fg_history_free(&result.history);
        }
    }
    statistics_free(&s);
    mixture_free(&m);
}

/* More rows than 32 bits can count, in both types; again all stored in one row of memory. */
static void test_more_rows_than_an_int_counts(void) {
    const int64_t n_rows = (1LL << 31) + 5;
    const float x = 2;
    double weight = 1, mean = 1, one = 1, sums[4];
    const fg_shape shape = {1, 1, FG_SPHERICAL};
    const fg_data data = {&x, FG_FLOAT32, n_rows, 0, 0, NULL};
    const fg_parameters p = {&weight, &mean, &one, &one};
    fg_statistics s = {sums, sums + 1, sums + 2, sums + 3, 0, 0, 0};
    CONTEXT("2^31 + 5 rows");
    CHECK(fg_accumulate(ON(&data, 1, NULL), &shape, &p, &s) == FG_OK, "accumulate");
    CHECK(s.n_rows == n_rows, "%lld rows", (long long)s.n_rows);
    CHECK(s.weight_sum == (double)n_rows && s.nk[0] == (double)n_rows, "nk %.17g", s.nk[0]);
    CHECK(s.sx[0] == (double)n_rows && s.sxx[0] == (double)n_rows, "sx %.17g", s.sx[0]);
    const double each = -0.5 - 0.91893853320467274;
    CHECK(fabs(s.log_likelihood / (double)n_rows - each) < 1e-6, "log-likelihood %.17g",
          s.log_likelihood);
}

/* The threads of this process, where they can be counted. */
static int count_threads(void) {
    int threads = 0;
#ifdef __linux__
    DIR *tasks = opendir("/proc/self/task");
    while (tasks && readdir(tasks))
        threads++;
    if (tasks)
        closedir(tasks);
#endif
    return threads;
}

int main(int count, char **arguments) {
    (void)arguments;
    const int threads = count_threads();
    fg_isa_choose(NULL);
    test_every_failure();
    test_failures_of_repairs();
    test_shapes_that_cannot_be_counted();
    test_rows_without_end();
    if (count == 1) /* with any argument: no billions of rows */
        test_more_rows_than_an_int_counts();
    CONTEXT("memory");
    CHECK(n_failures > 1000, "only %ld allocations failed", n_failures);
    printf("%ld allocations failed\n", n_failures);
    CHECK(count_threads() == threads, "threads, where none was asked for");
    return check_result();
}
