/* One pass over the rows: its sums and scores compared with the plain formulas, for every usable
 * instruction set; identical results for any layout and any number of threads. */
#include "calls.h"
#include "check.h"
#include "instruction_sets.h"
#include "memory.h"
#include "mixture.h"
#include "random.h"

static void check_all(const char *what, const double *ours, const bounded *truth, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        CHECK(fabsl((exact)ours[i] - truth[i].value) <= truth[i].error,
              "%s[%lld] is %.17g, not %.17Lg +- %.2g", what, (long long)i, ours[i], truth[i].value,
              truth[i].error);
}

static double at(const void *x, fg_real_type real_type, int64_t i) {
    return real_type == FG_FLOAT32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* A scorer gives a row, alone or with a few others, the bits that it has among all rows. */
static void check_few_rows(const mixture *m, const fg_data *data, const void *of_all) {
    enum { MOST = 40 };
    const size_t size = data->real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
    const int64_t d = m->shape.n_features;
    double scores[MOST];
    fg_scorer *scorer;
    CHECK(fg_scorer_open(ON(NULL, 1, NULL), &m->shape, &m->parameters, data->real_type, &scorer) ==
              FG_OK,
          "scorer");
    for (int64_t few = 1; few <= MOST; few += few < 18 ? 1 : 7)
        for (int64_t n = 0; n + few <= data->n_rows; n += 13 * few) {
            fg_data rows = *data;
            rows.x = (const char *)data->x + (size_t)(n * data->row_stride) * size;
            rows.n_rows = few;
            CHECK(fg_scorer_run(ON(&rows, 1, NULL), scorer, FG_OUTPUT_LOG_LIKELIHOOD, scores) ==
                      FG_OK,
                  "scorer, %lld rows", (long long)few);
            CHECK(memcmp(scores, (const char *)of_all + (size_t)n * size, (size_t)few * size) == 0,
                  "%lld rows from %lld on, d = %lld: other bits", (long long)few, (long long)n,
                  (long long)d);
        }
    fg_scorer_close(scorer);
}

static void check_scores(const mixture *m, const samples *s, const expectation *e) {
    const int64_t n_rows = s->data.n_rows, k_count = m->shape.n_components;
    const size_t room = (size_t)(n_rows * k_count) * sizeof(double);
    fg_data data = s->data;
    data.sample_weight = NULL; /* responsibilities would be multiplied by the weight */
    int64_t *labels = allocate((size_t)n_rows * sizeof *labels);
    void *values = allocate(room);
    double *row = allocate(room);
    CHECK(fg_score(ON(&data, 1, NULL), &m->shape, &m->parameters, FG_OUTPUT_LOG_LIKELIHOOD,
                   values) == FG_OK,
          "score");
    for (int64_t n = 0; n < n_rows; n++)
        row[n] = at(values, s->data.real_type, n);
    check_all("log-likelihood of row", row, e->row, n_rows);
    check_few_rows(m, &data, values);
    CHECK(fg_score(ON(&data, 1, NULL), &m->shape, &m->parameters, FG_OUTPUT_RESPONSIBILITIES,
                   values) == FG_OK,
          "score");
    for (int64_t i = 0; i < n_rows * k_count; i++)
        row[i] = at(values, s->data.real_type, i);
    check_all("responsibility", row, e->responsibility, n_rows * k_count);
    CHECK(fg_score(ON(&data, 1, NULL), &m->shape, &m->parameters, FG_OUTPUT_LABELS, labels) ==
              FG_OK,
          "score");
    for (int64_t n = 0; n < n_rows; n++) {
        const bounded *l = e->log_density + n * k_count;
        CHECK(labels[n] >= 0 && labels[n] < k_count, "label %lld", (long long)labels[n]);
        for (int64_t k = 0; k < k_count; k++) /* the best one, within the error */
            CHECK(l[labels[n]].value + l[labels[n]].error >= l[k].value - l[k].error,
                  "row %lld is of %lld, not %lld", (long long)n, (long long)k,
                  (long long)labels[n]);
    }
    free(labels);
    free(values);
    free(row);
}

/* The shift is close to the mean and exactly representable in the data's type; tied may use one for
 * all. */
static void check_shift(const mixture *m, fg_real_type real_type, const double *shift) {
    const int64_t k_count = m->shape.n_components, d = m->shape.n_features;
    const double u = roundoff(real_type);
    int common = m->shape.layout == FG_TIED;
    for (int64_t i = 0; i < k_count * d; i++)
        common &= shift[i] == shift[i % d];
    for (int64_t i = 0; i < k_count * d; i++) {
        double mean = common ? 0 : m->parameters.means[i], size = fabs(mean);
        for (int64_t k = 0; common && k < k_count; k++) {
            mean += m->parameters.weights[k] * m->parameters.means[k * d + i % d];
            size += fabs(m->parameters.weights[k] * m->parameters.means[k * d + i % d]);
        }
        CHECK(fabs(shift[i] - mean) <= (double)(k_count + 1) * u * size, "shift %.17g at %.17g",
              shift[i], mean);
    }
}

static void check_pass(const mixture *m, const samples *s) {
    const fg_shape *shape = &m->shape;
    const int64_t n_rows = s->data.n_rows, k_count = shape->n_components, d = shape->n_features;
    expectation e = expect(m, s);
    fg_statistics ours = statistics_new(shape);
    double *shift = allocate((size_t)(k_count * d) * sizeof(double));
    sums truth = {0};
    EACH_INSTRUCTION_SET(isa) {
        CONTEXT("%s %s %s N=%lld d=%lld K=%lld%s", fg_isa_name(), real_name(s->data.real_type),
                layout_name(shape->layout), (long long)n_rows, (long long)d, (long long)k_count,
                s->sample_weight ? " weighted" : "");
        CHECK(fg_accumulate(ON(&s->data, 1, NULL), shape, &m->parameters, &ours) == FG_OK,
              "accumulate");
        if (isa == 0) {
            memcpy(shift, ours.shift, (size_t)(k_count * d) * sizeof(double));
            check_shift(m, s->data.real_type, shift);
            truth = sum_up(m, s, &e, shift);
        }
        CHECK(memcmp(shift, ours.shift, (size_t)(k_count * d) * sizeof(double)) == 0, "shift");
        CHECK(ours.n_rows == n_rows, "n_rows is %lld", (long long)ours.n_rows);
        check_all("weight_sum", &ours.weight_sum, &truth.weight_sum, 1);
        check_all("log_likelihood", &ours.log_likelihood, &truth.log_likelihood, 1);
        check_all("nk", ours.nk, truth.nk, k_count);
        check_all("sx", ours.sx, truth.sx, k_count * d);
        check_all("sxx", ours.sxx, truth.sxx, (int64_t)fg_moment_count(shape));
        check_scores(m, s, &e);
    }
    free(shift);
    statistics_free(&ours);
    sums_free(&truth);
    expectation_free(&e);
}

static uint64_t seed = 1;

static void check_size(fg_layout layout, int64_t n_rows, int64_t d, int64_t k, double spread) {
    mixture m = mixture_new((fg_shape){k, d, layout}, spread, seed++);
    EACH_REAL_TYPE(real_type) {
        samples s = samples_new(&m, real_type, n_rows, seed % 2 == 0, seed);
        seed++;
        check_pass(&m, &s);
        samples_free(&s);
    }
    mixture_free(&m);
}

/* Every d with every K, except the largest ones together, which would take long; the numbers of
 * rows vary around the widths of vectors and groups. */
static void test_small_sizes(void) {
    static const int64_t features[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 129};
    static const int64_t components[] = {1, 2, 3, 4, 5, 9};
    static const int64_t rows[] = {1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 31, 33};
    size_t turn = 0;
    for (size_t i = 0; i < sizeof features / sizeof *features; i++)
        for (size_t j = 0; j < sizeof components / sizeof *components; j++)
            EACH_LAYOUT(c)
    if (features[i] * components[j] <= 300)
        check_size(c, rows[turn++ % 13], features[i], components[j], 2);
}

/* Several blocks, several tasks, and float sums that are flushed to double. */
static void test_many_rows(void) {
    static const struct {
        int64_t n, d, k;
    } sizes[] = {{127, 2, 3}, {128, 3, 2},  {129, 5, 4},  {255, 8, 1},  {257, 1, 5},
                 {513, 9, 2}, {1000, 2, 2}, {1000, 7, 3}, {129, 40, 1}, {130, 129, 1}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        EACH_LAYOUT(c) check_size(c, sizes[i].n, sizes[i].d, sizes[i].k, 2);
    check_size(FG_FULL, 35000, 1, 2, 2);
}

/* Too many sums to keep by lane. */
static void test_many_components(void) {
    check_size(FG_DIAG, 5, 129, 140, 2);
    check_size(FG_FULL, 9, 16, 60, 2);
    check_size(FG_FULL, 5, 32, 60, 2);
}

/* The second component equals the first, but is wider: its rows lie where the first has its own,
 * and none has a large responsibility. */
static mixture one_in_another(int64_t d, double nats) {
    mixture m = mixture_new((fg_shape){2, d, FG_FULL}, 0, seed++);
    const double wider = exp(nats / (double)d + 0.5);
    for (int64_t i = 0; i < d * d; i++) {
        m.parameters.covariances[d * d + i] = m.parameters.covariances[i] * wider * wider;
        m.parameters.precisions_cholesky[d * d + i] = m.parameters.precisions_cholesky[i] / wider;
        m.r[d * d + i] = m.r[i] * wider;
        m.u[d * d + i] = m.u[i] / wider;
    }
    return m;
}

/* The second component is next to the first, the last so distant that each uses its own shift. */
static mixture one_beside_another(int64_t d, double deviations, double distance) {
    mixture m = mixture_new((fg_shape){3, d, FG_TIED}, 0, seed++);
    for (int64_t i = 0; i < d; i++)
        m.parameters.means[d + i] = deviations * m.r[i];
    m.parameters.means[2 * d] = distance;
    return m;
}

/* Responsibilities that are negligible relative to a component's weight make up all of its sums if
 * its new weight is that small. */
static void test_new_weights_far_below_the_old(void) {
    static const int64_t features[] = {9, 17, 33, 40};
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        EACH_REAL_TYPE(real_type) for (int tied = 0; tied < 2; tied++) {
            const int single = real_type == FG_FLOAT32;
            mixture m = tied ? one_beside_another(features[f], single ? 12 : 16, single ? 60 : 3000)
                             : one_in_another(features[f], single ? 32 : 60);
            const double second = m.parameters.weights[1];
            m.parameters.weights[0] += second; /* while samples are drawn */
            m.parameters.weights[1] = 0;
            samples s = samples_new(&m, real_type, 700, features[f] % 2, seed++);
            m.parameters.weights[0] -= second;
            m.parameters.weights[1] = second;
            check_pass(&m, &s);
            samples_free(&s);
            mixture_free(&m);
        }
}

/* If components are far apart, tied uses one shift per component. */
static void test_components_far_apart(void) {
    EACH_LAYOUT(c) {
        check_size(c, 40, 3, 3, 5000);
        check_size(c, 40, 17, 2, 5000);
        check_size(c, 20, 33, 2, 5000);
    }
}

/* ---- identical results ---- */

static void check_same(const fg_shape *shape, const fg_statistics *a, const fg_statistics *b,
                       const char *what) {
    const size_t k = (size_t)shape->n_components, kd = k * (size_t)shape->n_features;
    CHECK(memcmp(a->nk, b->nk, k * sizeof(double)) == 0, "nk, %s", what);
    CHECK(memcmp(a->sx, b->sx, kd * sizeof(double)) == 0, "sx, %s", what);
    CHECK(memcmp(a->sxx, b->sxx, fg_moment_count(shape) * sizeof(double)) == 0, "sxx, %s", what);
    CHECK(a->log_likelihood == b->log_likelihood, "log_likelihood, %s", what);
    CHECK(a->weight_sum == b->weight_sum, "weight_sum, %s", what);
}

/* The samples in another memory layout; base: position of row 0, feature 0. */
static void check_layout(const mixture *m, const samples *s, const fg_statistics *plain,
                         int64_t row_stride, int64_t feature_stride, const char *name) {
    const int64_t n_rows = s->data.n_rows, d = m->shape.n_features;
    const int64_t last_row = row_stride * (n_rows - 1), last_feature = feature_stride * (d - 1);
    const int64_t low = (last_row < 0 ? last_row : 0) + (last_feature < 0 ? last_feature : 0);
    const int64_t high = (last_row > 0 ? last_row : 0) + (last_feature > 0 ? last_feature : 0);
    const size_t size = size_of(s->data.real_type), bytes = (size_t)(high - low + 1) * size;
    char *memory = guarded_new(bytes);
    memset(memory, 0xff, bytes); /* NaN between the samples */
    char *base = memory - low * (int64_t)size;
    for (int64_t n = 0; n < n_rows; n++)
        for (int64_t i = 0; i < d; i++)
            memcpy(base + (n * row_stride + i * feature_stride) * (int64_t)size,
                   (char *)s->memory + (size_t)(n * d + i) * size, size);
    fg_data data = s->data;
    data.x = base;
    data.row_stride = row_stride;
    data.feature_stride = feature_stride;
    fg_statistics ours = statistics_new(&m->shape);
    CHECK(fg_accumulate(ON(&data, 1, NULL), &m->shape, &m->parameters, &ours) == FG_OK,
          "accumulate");
    check_same(&m->shape, &ours, plain, name);
    statistics_free(&ours);
    guarded_free(memory, bytes);
}

/* float samples in double arithmetic give the same results as their double copies. */
static void check_mixed(const mixture *m, const samples *s) {
    const fg_shift_choice means = {NULL, 0};
    const fg_data as_double = {.x = s->x,
                               .real_type = FG_FLOAT64,
                               .n_rows = s->data.n_rows,
                               .row_stride = m->shape.n_features,
                               .feature_stride = 1,
                               .sample_weight = s->sample_weight};
    const fg_data *either[2] = {&s->data, &as_double};
    fg_statistics ours[2];
    for (int i = 0; i < 2; i++) {
        fg_pass pass;
        ours[i] = statistics_new(&m->shape);
        CHECK(fg_pass_open(ON(either[i], 1, NULL), &m->shape, FG_FLOAT64, &pass) == FG_OK &&
                  fg_pass_run(&pass, &m->parameters, FG_SOFT, &means, 0, FG_MOMENTS, &ours[i]) ==
                      FG_OK,
              "pass");
        fg_pass_close(&pass);
    }
    check_same(&m->shape, &ours[0], &ours[1], "float in double arithmetic");
    statistics_free(&ours[0]);
    statistics_free(&ours[1]);
}

/* A stream of rows in memory, of which at most `room` parts of `rows` rows are at hand. */
typedef struct {
    const fg_data *all;
    int64_t rows, n_fetches;
} cutter;

static int fetch(fg_stream *stream, int64_t row, int64_t need, int64_t wanted, int is_late) {
    cutter *c = stream->context;
    const size_t size = size_of(c->all->real_type);
    int64_t begin = row / c->rows * c->rows;
    (void)is_late;
    CHECK(need <= wanted && row + wanted <= c->all->n_rows, "rows beyond the last");
    c->n_fetches++;
    stream->n_parts = 0;
    stream->begin = begin;
    for (; begin < row + need; begin += c->rows) {
        fg_part *part = &stream->parts[stream->n_parts++];
        const int64_t left = c->all->n_rows - begin;
        *part = (fg_part){*c->all, begin};
        part->data.n_rows = left < c->rows ? left : c->rows;
        part->data.x = (const char *)c->all->x + (size_t)(begin * c->all->row_stride) * size;
        part->data.sample_weight = c->all->sample_weight + begin;
    }
    stream->end = begin < c->all->n_rows ? begin : c->all->n_rows;
    return 0;
}

/* A stream has the sums of the same rows in memory, however they are divided into parts. */
static void check_stream(const mixture *m, const samples *s, const fg_statistics *plain,
                         int64_t rows, int threads) {
    cutter c = {&s->data, rows, 0};
    static fg_stream stream; /* too large for the stack */
    memset(&stream, 0, sizeof stream);
    stream.fetch = fetch;
    stream.context = &c;
    stream.is_weighted = 1;
    for (int64_t n = 0; n < s->data.n_rows; n++)
        stream.largest_weight = fmax(stream.largest_weight, s->data.sample_weight[n]);
    fg_rows all;
    const fg_data sizes = {.real_type = s->data.real_type, .n_rows = s->data.n_rows};
    fg_context *context = ON(NULL, threads, NULL);
    fg_rows_open_stream(&sizes, &stream, &all);
    context->rows = &all;
    fg_statistics ours = statistics_new(&m->shape);
    CHECK(fg_accumulate(context, &m->shape, &m->parameters, &ours) == FG_OK, "accumulate");
    CHECK(c.n_fetches > 1, "all rows were at hand at once");
    check_same(&m->shape, &ours, plain, "stream");
    statistics_free(&ours);
}

static void test_layouts_and_threads(void) {
    static const int64_t features[] = {1, 2, 3, 5, 9, 18, 34};
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) {
            const int64_t d = features[f], n_rows = 1100;
            mixture m = mixture_new((fg_shape){3, d, c}, 2, seed++);
            samples s = samples_new(&m, real_type, n_rows, 1, seed++);
            fg_statistics plain = statistics_new(&m.shape), ours = statistics_new(&m.shape);
            EACH_INSTRUCTION_SET(isa) {
                CONTEXT("%s %s %s d=%lld", fg_isa_name(), real_name(real_type), layout_name(c),
                        (long long)d);
                CHECK(fg_accumulate(ON(&s.data, 1, NULL), &m.shape, &m.parameters, &plain) == FG_OK,
                      "accumulate");
                check_layout(&m, &s, &plain, d + 3, 1, "rows apart");
                check_layout(&m, &s, &plain, 2 * d, 2, "features apart");
                check_layout(&m, &s, &plain, 1, n_rows, "by columns");
                check_layout(&m, &s, &plain, -d, 1, "rows backwards");
                check_layout(&m, &s, &plain, d, -1, "features backwards");
                if (real_type == FG_FLOAT32)
                    check_mixed(&m, &s);
                for (int threads = 2; threads <= 4; threads++) {
                    CHECK(fg_accumulate(ON(&s.data, threads, NULL), &m.shape, &m.parameters,
                                        &ours) == FG_OK,
                          "accumulate");
                    check_same(&m.shape, &ours, &plain, "threads");
                    check_stream(&m, &s, &plain, 70 * threads - 9, threads);
                }
            }
            statistics_free(&ours);
            statistics_free(&plain);
            samples_free(&s);
            mixture_free(&m);
        }
}

/* ---- equal components ---- */

/* The densities of each row add up to K times the largest, the maximum: their product over a lane's
 * rows must stay in range. The label is the first of equal components. */
static void test_equal_components(void) {
    enum { MANY = 600, ALIKE_ROWS = 700 };
    EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) {
        mixture one = mixture_new((fg_shape){1, 1, c}, 2, seed++);
        mixture m = mixture_new((fg_shape){MANY, 1, c}, 2, seed++);
        samples s = samples_new(&one, real_type, ALIKE_ROWS, 0, seed++);
        fg_statistics alone = statistics_new(&one.shape), ours = statistics_new(&m.shape);
        int64_t *labels = allocate(ALIKE_ROWS * sizeof *labels);
        for (int64_t k = 0; k < MANY; k++) {
            m.parameters.weights[k] = 1.0 / MANY;
            m.parameters.means[k] = one.parameters.means[0];
            const int64_t at = c == FG_TIED ? 0 : k;
            m.parameters.covariances[at] = one.parameters.covariances[0];
            m.parameters.precisions_cholesky[at] = one.parameters.precisions_cholesky[0];
        }
        EACH_INSTRUCTION_SET(isa) {
            CONTEXT("%s %s %s", fg_isa_name(), real_name(real_type), layout_name(c));
            CHECK(fg_accumulate(ON(&s.data, 1, NULL), &one.shape, &one.parameters, &alone) ==
                          FG_OK &&
                      fg_accumulate(ON(&s.data, 1, NULL), &m.shape, &m.parameters, &ours) == FG_OK,
                  "accumulate");
            /* one term per row, each from a log-density and the logarithm of a weight */
            const double l = alone.log_likelihood, terms = fabs(l) + ALIKE_ROWS * log(MANY);
            CHECK(fabs(ours.log_likelihood - l) <= ALIKE_ROWS * roundoff(real_type) * terms,
                  "%.17g, not %.17g", ours.log_likelihood, l);
            CHECK(fg_score(ON(&s.data, 1, NULL), &m.shape, &m.parameters, FG_OUTPUT_LABELS,
                           labels) == FG_OK,
                  "score");
            for (int64_t n = 0; n < ALIKE_ROWS; n++)
                CHECK(labels[n] == 0, "label %lld", (long long)labels[n]);
        }
        free(labels);
        statistics_free(&alone);
        statistics_free(&ours);
        samples_free(&s);
        mixture_free(&m);
        mixture_free(&one);
    }
}

/* ---- float sums are short ---- */

/* Integers whose sum of squares is exact in float for 2048 rows, but not for more. */
static void test_float_sums_are_short(void) {
    static const int64_t features[] = {1, 9, 33};
    enum { MANY_ROWS = 1 << 18, LEAST = 64, MOST = 90 };
    float *x = allocate(MANY_ROWS * sizeof *x);
    double sum = 0, squares = 0;
    for (int64_t n = 0; n < MANY_ROWS; n++) {
        x[n] = (float)(LEAST + (int)(fg_random(7, (uint64_t)n) % (MOST - LEAST + 1)));
        sum += x[n];
        squares += x[n] * x[n];
    }
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        EACH_LAYOUT(c) {
            if (c == FG_SPHERICAL && f > 0) /* d squares per row are too many */
                continue;
            const int64_t d = features[f];
            mixture m = mixture_new((fg_shape){1, d, c}, 2, seed++);
            fg_statistics ours = statistics_new(&m.shape);
            const fg_data data = {x, FG_FLOAT32, MANY_ROWS, 1, 0, NULL}; /* equal features */
            memset(m.parameters.means, 0, (size_t)d * sizeof(double));
            EACH_INSTRUCTION_SET(isa) {
                CONTEXT("%s %s d=%lld", fg_isa_name(), layout_name(c), (long long)d);
                CHECK(fg_accumulate(ON(&data, 1, NULL), &m.shape, &m.parameters, &ours) == FG_OK,
                      "accumulate");
                for (int64_t i = 0; i < d; i++)
                    CHECK(ours.sx[i] == sum, "sum %.17g, not %.17g", ours.sx[i], sum);
                for (size_t i = 0; i < fg_moment_count(&m.shape); i++)
                    CHECK(ours.sxx[i] == squares, "squares %.17g, not %.17g", ours.sxx[i], squares);
            }
            statistics_free(&ours);
            mixture_free(&m);
        }
    free(x);
}

/* ---- interrupts ---- */

static int stop_at_once(void *context) {
    (void)context;
    return 1;
}

/* Interrupts in one task and in many small ones: the last rows are not reached. */
static void test_stops(void) {
    static const struct {
        fg_shape shape;
        int64_t n_rows, n_tasks;
    } works[] = {{{64, 64, FG_FULL}, 512, 1}, {{1, 1, FG_DIAG}, 8192, 16}};
    for (size_t i = 0; i < sizeof works / sizeof *works; i++) {
        const fg_shape *shape = &works[i].shape;
        const int64_t n_rows = works[i].n_rows;
        mixture m = mixture_new(*shape, 2, seed++);
        samples s = samples_new(&m, FG_FLOAT64, n_rows, 0, seed++);
        int64_t *labels = allocate((size_t)n_rows * sizeof *labels);
        CHECK(fg_task_count(shape, n_rows) == works[i].n_tasks, "%lld tasks",
              (long long)fg_task_count(shape, n_rows));
        EACH_INSTRUCTION_SET(isa) {
            fg_monitor monitor = {.poll = stop_at_once};
            CONTEXT("%s %lld tasks", fg_isa_name(), (long long)works[i].n_tasks);
            memset(labels, 0xff, (size_t)n_rows * sizeof *labels);
            CHECK(fg_score(ON(&s.data, 1, &monitor), shape, &m.parameters, FG_OUTPUT_LABELS,
                           labels) == FG_INTERRUPTED,
                  "not interrupted");
            CHECK(labels[n_rows - 1] == -1, "the last row has label %lld",
                  (long long)labels[n_rows - 1]);
        }
        free(labels);
        samples_free(&s);
        mixture_free(&m);
    }
}

/* ---- samples that are not finite ---- */

static void test_samples_not_finite(void) {
    static const int64_t features[] = {1, 2, 3, 4, 5, 9, 17, 33};
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) {
            const int64_t d = features[f], n_rows = 9;
            mixture m = mixture_new((fg_shape){2, d, c}, 2, seed++);
            samples s = samples_new(&m, real_type, n_rows, 0, seed++);
            fg_statistics ours = statistics_new(&m.shape);
            fg_parameters start = parameters_new(&m.shape);
            int64_t labels[9];
            EACH_INSTRUCTION_SET(isa) for (int64_t i = 0; i < n_rows * d; i++) {
                CONTEXT("%s %s %s d=%lld sample %lld", fg_isa_name(), real_name(real_type),
                        layout_name(c), (long long)d, (long long)i);
                const double value = bad[i % 3], kept = s.x[i];
                if (real_type == FG_FLOAT32)
                    ((float *)s.memory)[i] = (float)value;
                else
                    ((double *)s.memory)[i] = value;
                CHECK(fg_accumulate(ON(&s.data, 1, NULL), &m.shape, &m.parameters, &ours) ==
                          FG_NOT_FINITE,
                      "accumulate took %g", value);
                CHECK(fg_score(ON(&s.data, 1, NULL), &m.shape, &m.parameters, FG_OUTPUT_LABELS,
                               labels) == FG_NOT_FINITE,
                      "score took %g", value);
                for (fg_start how = FG_START_KMEANS; how <= FG_START_DATA; how++)
                    CHECK(start_once(ON(&s.data, 1, NULL), &m.shape, how, 4, 1e-6, &start) ==
                              FG_NOT_FINITE,
                          "start %d took %g", (int)how, value);
                if (real_type == FG_FLOAT32)
                    ((float *)s.memory)[i] = (float)kept;
                else
                    ((double *)s.memory)[i] = kept;
            }
            parameters_free(&start);
            statistics_free(&ours);
            samples_free(&s);
            mixture_free(&m);
        }
}

/* ---- precisions beyond float ---- */

/* The second component is concentrated at a single point, the last row. With weight zero it does
 * not exist; with a positive weight it takes no row but that one. Columns of U beyond the range, of
 * either sign, put rows too far from every component. Never NaN. */
static void check_narrow(const mixture *m, const samples *s, double weight, double *u) {
    const int64_t n_rows = s->data.n_rows, d = m->shape.n_features;
    const fg_parameters p = {(double[]){1 - weight, weight}, m->parameters.means, NULL, u};
    double values[2 * 20], row[20];
    CHECK(n_rows <= 20, "room");
    CHECK(fg_score(ON(&s->data, 1, NULL), &m->shape, &p, FG_OUTPUT_RESPONSIBILITIES, values) ==
                  FG_OK &&
              fg_score(ON(&s->data, 1, NULL), &m->shape, &p, FG_OUTPUT_LOG_LIKELIHOOD, row) ==
                  FG_OK,
          "score");
    for (int64_t n = 0; n < n_rows; n++) {
        const double first = at(values, s->data.real_type, 2 * n),
                     second = at(values, s->data.real_type, 2 * n + 1);
        const double l = at(row, s->data.real_type, n);
        CHECK(!isnan(l) && l < INFINITY, "row %lld has %g", (long long)n, l);
        CHECK(fabs(first + second - (l > -INFINITY)) < 1e-6, "shares %g and %g", first, second);
        if (m->shape.layout != FG_TIED && n < n_rows - 1)
            CHECK(first == 1 && second == 0, "row %lld, d=%lld: shares %g and %g", (long long)n,
                  (long long)d, first, second);
    }
}

static void test_precisions_beyond_float(void) {
    static const int64_t features[] = {1, 2, 8, 9, 17, 33};
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) {
            const int64_t d = features[f], n_rows = 19;
            mixture m = mixture_new((fg_shape){2, d, c}, 2, seed++);
            samples s = samples_new(&m, real_type, n_rows, 0, seed++);
            memcpy(m.parameters.means + d, s.x + (n_rows - 1) * d, (size_t)d * sizeof(double));
            double *u = m.parameters.precisions_cholesky;
            const int64_t count = (int64_t)fg_covariance_count(&m.shape);
            if (c == FG_TIED)
                for (int64_t i = 0; i < d; i++)
                    for (int64_t j = i + 1; j < d; j++)
                        u[i * d + j] = i % 2 ? 1e200 : -1e200;
            else
                for (int64_t i = count / 2; i < count; i++)
                    u[i] = u[i] == 0 ? 0 : 1e150;
            EACH_INSTRUCTION_SET(isa) for (int weight = 0; weight <= 1; weight++) {
                CONTEXT("%s %s %s d=%lld", fg_isa_name(), real_name(real_type), layout_name(c),
                        (long long)d);
                check_narrow(&m, &s, 0.25 * weight, u);
            }
            samples_free(&s);
            mixture_free(&m);
        }
}

int main(void) {
    test_precisions_beyond_float();
    test_small_sizes();
    test_many_rows();
    test_many_components();
    test_components_far_apart();
    test_new_weights_far_below_the_old();
    test_layouts_and_threads();
    test_equal_components();
    test_float_sums_are_short();
    test_stops();
    test_samples_not_finite();
    return check_result();
}
