/* Arrays that end directly before an inaccessible page, and arrays that begin directly after one:
 * reading or writing a single byte outside is a crash. Every instruction set, covariance type and
 * real type; numbers of rows and features around the widths of vectors; strides of either sign.
 * Results must be identical wherever the arrays lie. */
#include "calls.h"
#include "check.h"
#include "instruction_sets.h"
#include "memory.h"
#include "mixture.h"

enum { MOST_ROWS = 67, MOST_FEATURES = 17, K = 3, PAGES = 24 };

/* Pages with an inaccessible page on either side. */
typedef struct {
    char *begin;
    size_t bytes;
} region;

static region region_new(void) {
    const size_t page = page_size(), bytes = PAGES * page;
    char *memory = new_pages(bytes + 2 * page);
    if (!memory || forbid(memory, page) != 0 || forbid(memory + page + bytes, page) != 0)
        abort();
    return (region){memory + page, bytes};
}

/* Returns bytes at one end, filled so that they read as NaN. */
static void *place(const region *r, size_t bytes, int at_end) {
    char *memory = at_end ? r->begin + r->bytes - bytes : r->begin;
    if (bytes > r->bytes)
        abort();
    memset(memory, 0xff, bytes);
    return memory;
}

/* The arrays of one call. */
enum {
    X,
    SAMPLE_WEIGHT,
    WEIGHTS,
    MEANS,
    COVARIANCES,
    FACTORS,
    NK,
    SHIFT,
    SX,
    SXX,
    SCORES,
    N_REGIONS
};
static region regions[N_REGIONS];

static double *copy(int which, const double *from, size_t count, int at_end) {
    double *to = place(&regions[which], count * sizeof(double), at_end);
    memcpy(to, from, count * sizeof(double));
    return to;
}

/* Copies the samples with these strides, filling the memory from its first byte to its last. */
static fg_data lay_out(const samples *s, int64_t n_rows, int64_t d, int64_t row_stride,
                       int64_t feature_stride, int weighted, int at_end) {
    const int64_t last_row = row_stride * (n_rows - 1), last_feature = feature_stride * (d - 1);
    const int64_t low = (last_row < 0 ? last_row : 0) + (last_feature < 0 ? last_feature : 0);
    const int64_t high = (last_row > 0 ? last_row : 0) + (last_feature > 0 ? last_feature : 0);
    const int64_t size = (int64_t)size_of(s->data.real_type);
    char *x = (char *)place(&regions[X], (size_t)((high - low + 1) * size), at_end) - low * size;
    for (int64_t n = 0; n < n_rows; n++)
        for (int64_t i = 0; i < d; i++)
            memcpy(x + (n * row_stride + i * feature_stride) * size,
                   (const char *)s->memory + (n * d + i) * size, (size_t)size);
    const double *weight =
        weighted ? copy(SAMPLE_WEIGHT, s->sample_weight, (size_t)n_rows, at_end) : NULL;
    return (fg_data){x, s->data.real_type, n_rows, row_stride, feature_stride, weight};
}

typedef struct {
    double sums[2000], scores[MOST_ROWS * K], log_likelihood;
} results;

static void run(const mixture *m, const fg_data *data, int at_end, results *out) {
    const fg_shape *shape = &m->shape;
    const size_t k = K, kd = k * (size_t)shape->n_features, n = (size_t)data->n_rows;
    const size_t covariances = fg_covariance_count(shape), moments = fg_moment_count(shape);
    const size_t real = size_of(data->real_type);
    const fg_parameters p = {
        copy(WEIGHTS, m->parameters.weights, k, at_end),
        copy(MEANS, m->parameters.means, kd, at_end),
        copy(COVARIANCES, m->parameters.covariances, covariances, at_end),
        copy(FACTORS, m->parameters.precisions_cholesky, covariances, at_end),
    };
    fg_statistics s = {.nk = place(&regions[NK], k * sizeof(double), at_end),
                       .shift = place(&regions[SHIFT], kd * sizeof(double), at_end),
                       .sx = place(&regions[SX], kd * sizeof(double), at_end),
                       .sxx = place(&regions[SXX], moments * sizeof(double), at_end)};
    memset(out, 0, sizeof *out);
    CHECK(fg_accumulate(ON(data, 1, NULL), shape, &p, &s) == FG_OK, "accumulate");
    memcpy(out->sums, s.nk, k * sizeof(double));
    memcpy(out->sums + k, s.sx, kd * sizeof(double));
    memcpy(out->sums + k + kd, s.sxx, moments * sizeof(double));
    out->log_likelihood = s.log_likelihood;
    fg_data plain = *data;
    plain.sample_weight = NULL;
    const size_t bytes[] = {n * sizeof(int64_t), n * k * real, n * real};
    for (fg_output output = FG_OUTPUT_LABELS; output <= FG_OUTPUT_LOG_LIKELIHOOD; output++) {
        void *scores = place(&regions[SCORES], bytes[output], at_end);
        CHECK(fg_score(ON(&plain, 1, NULL), shape, &p, output, scores) == FG_OK, "score");
        if (output == FG_OUTPUT_RESPONSIBILITIES)
            memcpy(out->scores, scores, bytes[output]);
    }
}

/* Each stride at either end, compared with the plain layout. */
static void check_layouts(const mixture *m, const samples *s, int64_t n_rows, int weighted) {
    const int64_t d = m->shape.n_features;
    const int64_t strides[][2] = {
        {d, 1},  {d + 3, 1}, {2 * d, 2}, {1, n_rows},   {1, n_rows + 1},
        {-d, 1}, {d, -1},    {-d, -1},   {-1, -n_rows}, {-2, 2 * n_rows + 1}};
    static results plain, ours;
    for (size_t i = 0; i < sizeof strides / sizeof *strides; i++)
        for (int at_end = 0; at_end <= 1; at_end++) {
            const fg_data data =
                lay_out(s, n_rows, d, strides[i][0], strides[i][1], weighted, at_end);
            CONTEXT("%s %s %s N=%lld d=%lld strides %lld %lld%s", fg_isa_name(),
                    real_name(s->data.real_type), layout_name(m->shape.layout), (long long)n_rows,
                    (long long)d, (long long)strides[i][0], (long long)strides[i][1],
                    at_end ? " at the end" : "");
            results *out = i == 0 && !at_end ? &plain : &ours;
            run(m, &data, at_end, out);
            if (out == &ours)
                CHECK(memcmp(&plain, &ours, sizeof plain) == 0, "other bits than elsewhere");
        }
}

/* step: increment of the numbers of rows and features. */
static void test_passes(int64_t step) {
    uint64_t seed = 1;
    EACH_LAYOUT(c)
    EACH_REAL_TYPE(real_type)
    for (int64_t d = 1; d <= MOST_FEATURES; d += d > 8 && step > 1 ? 4 : 1) {
        mixture m = mixture_new((fg_shape){K, d, c}, 2, seed++);
        samples s = samples_new(&m, real_type, MOST_ROWS, 1, seed++);
        EACH_INSTRUCTION_SET(isa)
        for (int64_t n = 1 + (d + isa) % step; n <= MOST_ROWS; n += step)
            check_layouts(&m, &s, n, n % 2 == 0);
        samples_free(&s);
        mixture_free(&m);
    }
}

/* Starts, passes, M steps and repairs; problems of a batch, contiguous up to the end. */
static void test_fits(int64_t step) {
    static const fg_parameters nothing;
    uint64_t seed = 1000;
    EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) for (int64_t d = 1; d <= MOST_FEATURES; d += 4) {
        mixture m = mixture_new((fg_shape){K, d, c}, 3, seed++);
        samples s = samples_new(&m, real_type, MOST_ROWS, 1, seed++);
        fg_parameters p = parameters_new(&m.shape);
        EACH_INSTRUCTION_SET(isa)
        for (int64_t n = K + isa; n <= MOST_ROWS; n += 4 + step)
            for (int at_end = 0; at_end <= 1; at_end++) {
                const fg_start start = (fg_start)(n % 4);
                const fg_data data = lay_out(&s, n, d, d, 1, n % 2, at_end);
                const fg_fit_options options = {.start = start,
                                                .n_init = 1 + n % 2,
                                                .max_iter = 4,
                                                .m_step.reg_covar = 0.1,
                                                .repair = n % 3 == 0,
                                                .accelerate = n % 5 < 2};
                fg_fit_result result = {.lower_bound = -INFINITY};
                CONTEXT("fit %s %s %s N=%lld d=%lld", fg_isa_name(), real_name(real_type),
                        layout_name(c), (long long)n, (long long)d);
                CHECK(fg_fit(ON(&data, 1, NULL), &m.shape, &options, &nothing, seed, &p, &result) ==
                          FG_OK,
                      "fit");
                fg_history_free(&result.history);
                const int64_t offsets[3] = {0, n / 2, n}, order[2] = {1, 0}, k[2] = {K, K - 1};
                const fg_problems problems = {2, d, offsets, data, 0, NULL, order, 1, NULL};
                fg_monitor monitor = {0};
                const size_t covariances = fg_covariance_count(&m.shape);
                const size_t kd = (size_t)(K * d);
                fg_parameters both = {allocate(2 * K * sizeof(double)),
                                      allocate(2 * kd * sizeof(double)), NULL,
                                      allocate(2 * covariances * sizeof(double))};
                for (size_t i = 0; i < 2; i++) {
                    memcpy(both.weights + i * K, p.weights, K * sizeof(double));
                    memcpy(both.means + i * kd, p.means, kd * sizeof(double));
                    memcpy(both.precisions_cholesky + i * covariances, p.precisions_cholesky,
                           covariances * sizeof(double));
                }
                int64_t bad;
                const size_t bytes[] = {(size_t)n * sizeof(int64_t),
                                        (size_t)(n * K) * size_of(real_type)};
                for (fg_output output = FG_OUTPUT_LABELS; output <= FG_OUTPUT_RESPONSIBILITIES;
                     output++) {
                    const fg_score_batch_options scores = {c, K, k, both, output};
                    CHECK(fg_score_batch(ON(NULL, 1, &monitor), &problems, &scores,
                                         place(&regions[SCORES], bytes[output], at_end),
                                         &bad) == FG_OK,
                          "score %d", (int)output);
                }
                free(both.weights);
                free(both.means);
                free(both.precisions_cholesky);
            }
        parameters_free(&p);
        samples_free(&s);
        mixture_free(&m);
    }
}

/* With the argument all: every number of rows; otherwise some. */
int main(int count, char **arguments) {
    const int64_t step = count > 1 && strcmp(arguments[1], "all") == 0 ? 1 : 7;
    for (int i = 0; i < N_REGIONS; i++)
        regions[i] = region_new();
    test_passes(step);
    test_fits(step);
    return check_result();
}
