/* Coverage-guided fuzz test: bytes become a shape, options and rows; every public function runs on
 * them.
 *
 * Built by clang with FG_SANITIZE=fuzzer-no-link,address,undefined. For any bytes, every function
 * must return a status; with FG_OK and finite rows, the results must be finite, the weights sum to
 * one and the variances be positive; and one thread and three threads must give identical results.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "fusedgmm.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

enum { MOST_ROWS = 600, MOST_FEATURES = 20, MOST_COMPONENTS = 6, MOST = 1 << 14 };

#define REQUIRE(ok, what)                                                                          \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            fprintf(stderr, "%s:%d: %s\n", __func__, __LINE__, what);                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- bytes ---- */

typedef struct {
    const uint8_t *at, *end;
} source;

static uint8_t next(source *s) { return s->at < s->end ? *s->at++ : 0; }

static int64_t below(source *s, int64_t n) {
    const int64_t low = next(s), high = n > 256 ? next(s) : 0;
    return (low + 256 * high) % n;
}

/* Mostly moderate numbers; sometimes 64 arbitrary bits. */
static double number(source *s) {
    const uint8_t kind = next(s);
    if (kind >= 8)
        return ((double)kind - 128) / 16;
    if (kind == 0)
        return 0;
    if (kind == 1) {
        uint64_t bits = 0;
        double value;
        for (int i = 0; i < 8; i++)
            bits = bits << 8 | next(s);
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    if (kind == 2)
        return ldexp(1 + next(s) / 256.0, (int)next(s) * 8 - 1024);
    return (double)(int8_t)next(s) * (kind % 2 ? 1 : 1e8);
}

/* ---- one input ---- */

typedef struct {
    fg_shape shape;
    fg_data data;
    fg_fit_options options;
    uint64_t seed;
    int finite;
    double x[MOST_ROWS * MOST_FEATURES], weight[MOST_ROWS];
    float single[MOST_ROWS * MOST_FEATURES];
} input;

static void read_rows(source *s, input *in) {
    const int64_t d = in->shape.n_features, n = in->data.n_rows;
    const int64_t distinct = 1 + below(s, 24); /* rows from bytes; the others are copies, moved */
    const double step = next(s) % 4 ? 0x1p-6 * next(s) : 0, offset = next(s) % 4 ? 0 : number(s);
    const double scale = next(s) % 4 ? 1 : ldexp(1, (int)next(s) * 8 - 1024);
    for (int64_t i = 0; i < n * d; i++) {
        const int64_t row = i / d, from = row % distinct * d + i % d;
        const double value = row < distinct ? (number(s) + offset) * scale
                                            : in->x[from] + step * scale * (double)(i * 7 % 13 - 6);
        in->single[i] = (float)(fabs(value) <= 3e38 || !isfinite(value) ? value : 0);
        in->x[i] = in->data.real_type == FG_FLOAT32 ? (double)in->single[i] : value;
        in->finite &= isfinite(in->x[i]);
    }
}

static void read_input(source *s, input *in) {
    in->data = (fg_data){0};
    in->finite = 1;
    in->shape.layout = (fg_layout)(next(s) % 4);
    in->shape.n_components = 1 + below(s, MOST_COMPONENTS);
    in->shape.n_features = 1 + below(s, MOST_FEATURES);
    in->data.real_type = next(s) % 2 ? FG_FLOAT32 : FG_FLOAT64;
    in->data.n_rows = in->shape.n_components + 1 + below(s, next(s) % 8 ? 40 : MOST_ROWS - 10);
    const uint8_t layout = next(s);
    read_rows(s, in);
    const int64_t d = in->shape.n_features, n = in->data.n_rows;
    in->data.x = in->data.real_type == FG_FLOAT32 ? (void *)in->single : (void *)in->x;
    in->data.row_stride = layout % 4 == 3 ? 1 : d;
    in->data.feature_stride = layout % 4 == 3 ? n : 1;
    if (layout % 4 == 2) { /* negative strides */
        const size_t size = in->data.real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
        in->data.x = (const char *)in->data.x + (size_t)((n - 1) * d) * size;
        in->data.row_stride = -d;
    }
    if (layout & 8) {
        double total = 0;
        for (int64_t i = 0; i < n; i++) {
            const double w = next(s) % 3 ? fabs(number(s)) : 0;
            total += in->weight[i] = isfinite(w) && w < 1e300 ? w : 1;
        }
        in->weight[0] = total == 0 ? 1 : in->weight[0]; /* Python ensures this */
        in->data.sample_weight = in->weight;
    }
    static const double regular[] = {0, 1e-6, 1, 1e-300};
    in->options = (fg_fit_options){.start = (fg_start)(next(s) % 4),
                                   .n_init = 1 + next(s) % 2,
                                   .max_iter = next(s) % 6,
                                   .tol = next(s) % 2 ? 1e-3 : 0,
                                   .m_step.reg_covar = regular[next(s) % 4],
                                   .repair = next(s) % 2,
                                   .stopping = (fg_stopping)(next(s) % 2),
                                   .accelerate = next(s) % 2};
    in->seed = next(s);
}

/* ---- properties ---- */

static int all_finite(const double *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return 0;
    return 1;
}

static double variance(const fg_shape *shape, const double *covariances, int64_t k, int64_t i) {
    const int64_t d = shape->n_features;
    switch (shape->layout) {
    case FG_FULL: return covariances[(k * d + i) * d + i];
    case FG_TIED: return covariances[i * d + i];
    case FG_DIAG: return covariances[k * d + i];
    default: return covariances[k];
    }
}

static void check_mixture(const fg_shape *shape, const fg_parameters *p) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    double total = 0;
    for (int64_t k = 0; k < k_count; k++) {
        REQUIRE(p->weights[k] >= 0, "a weight is negative or NaN");
        total += p->weights[k];
        for (int64_t i = 0; i < d; i++) {
            REQUIRE(isfinite(p->means[k * d + i]), "a mean is not finite");
            REQUIRE(p->weights[k] == 0 || variance(shape, p->covariances, k, i) > 0,
                    "a variance is not positive");
            REQUIRE(p->weights[k] == 0 || variance(shape, p->precisions_cholesky, k, i) > 0,
                    "a precision is not positive");
        }
    }
    REQUIRE(fabs(total - 1) < 1e-9, "weights do not sum to one");
}

static size_t parameters_bytes(const fg_shape *shape, int64_t problems) {
    const size_t k = (size_t)shape->n_components, kd = k * (size_t)shape->n_features;
    return (k + kd + 2 * fg_covariance_count(shape)) * (size_t)problems * sizeof(double);
}

static fg_parameters parameters_in(const fg_shape *shape, double *memory, int64_t problems) {
    const int64_t k = shape->n_components * problems, kd = k * shape->n_features;
    const int64_t covariances = (int64_t)fg_covariance_count(shape) * problems;
    memset(memory, 0, parameters_bytes(shape, problems));
    return (fg_parameters){memory, memory + k, memory + k + kd, memory + k + kd + covariances};
}

static void fuzz_scores(const input *in, const fg_parameters *p) {
    static char out[2][MOST_ROWS * MOST_COMPONENTS * sizeof(double)];
    fg_data data = in->data;
    data.sample_weight = NULL;
    const size_t n = (size_t)data.n_rows, k = (size_t)in->shape.n_components;
    const size_t size = data.real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
    const size_t bytes[] = {n * sizeof(int64_t), n * k * size, n * size};
    for (fg_output output = FG_OUTPUT_LABELS; output <= FG_OUTPUT_LOG_LIKELIHOOD; output++) {
        fg_status status[2];
        for (int i = 0; i < 2; i++)
            status[i] = fg_score(ON(&data, i ? 3 : 1, NULL), &in->shape, p, output, out[i]);
        REQUIRE(status[0] == (in->finite ? FG_OK : FG_NOT_FINITE), "score");
        REQUIRE(status[0] == status[1], "the status depends on the threads");
        REQUIRE(!in->finite || memcmp(out[0], out[1], bytes[output]) == 0, "bits, scores");
        for (size_t i = 0; in->finite && i < (output == FG_OUTPUT_RESPONSIBILITIES ? n * k : n);
             i++) {
            if (output == FG_OUTPUT_LABELS) {
                const int64_t label = ((int64_t *)out[0])[i];
                REQUIRE(label >= 0 && label < in->shape.n_components, "label");
                continue;
            }
            const double value =
                size == sizeof(float) ? (double)((float *)out[0])[i] : ((double *)out[0])[i];
            REQUIRE(!isnan(value) && value < INFINITY, "score of a finite row");
            REQUIRE(output == FG_OUTPUT_LOG_LIKELIHOOD || (value >= 0 && value < 1.0001), "share");
        }
    }
}

static void fuzz_sums(const input *in, const fg_parameters *p) {
    static double memory[2][MOST];
    const int64_t k = in->shape.n_components, kd = k * in->shape.n_features;
    const size_t bytes =
        (size_t)(k + 2 * kd) * sizeof(double) + fg_moment_count(&in->shape) * sizeof(double);
    fg_status status[2];
    fg_statistics s[2];
    for (int i = 0; i < 2; i++) {
        double *m = memory[i];
        memset(m, 0, bytes);
        s[i] = (fg_statistics){m, m + k, m + k + kd, m + k + 2 * kd, 0, 0, 0};
        status[i] = fg_accumulate(ON(&in->data, i ? 3 : 1, NULL), &in->shape, p, &s[i]);
    }
    REQUIRE(status[0] == status[1], "the status depends on the threads");
    REQUIRE(memcmp(memory[0], memory[1], bytes) == 0, "bits, sums");
    REQUIRE(in->finite || status[0] == FG_NOT_FINITE, "sums of what is no number");
    if (status[0] != FG_OK)
        return;
    REQUIRE(all_finite(s[0].nk, (size_t)k) && isfinite(s[0].log_likelihood), "sums");
}

/* Returns whether the fit's result is finite, which its callers require. */
static int fuzz_fit(const input *in, fg_parameters *out) {
    static double memory[2][MOST];
    const fg_parameters nothing = {NULL, NULL, NULL, NULL};
    fg_status status[2];
    fg_parameters p[2];
    fg_fit_result result[2];
    for (int i = 0; i < 2; i++) {
        p[i] = parameters_in(&in->shape, memory[i], 1);
        result[i] = (fg_fit_result){.lower_bound = -INFINITY};
        status[i] = fg_fit(ON(&in->data, i ? 3 : 1, NULL), &in->shape, &in->options, &nothing,
                           in->seed, &p[i], &result[i]);
        for (int64_t j = 0; j < result[i].history.n_bounds && status[i] == FG_OK; j++)
            REQUIRE(isfinite(result[i].history.lower_bounds[j]), "a bound is not finite");
        fg_history_free(&result[i].history);
    }
    REQUIRE(status[0] == status[1], "the status depends on the threads");
    REQUIRE(status[0] != FG_OK ||
                memcmp(memory[0], memory[1], parameters_bytes(&in->shape, 1)) == 0,
            "bits, fit");
    REQUIRE(in->finite || status[0] != FG_OK || in->options.max_iter == 0,
            "a fit of what is no number");
    *out = p[0];
    const size_t k = (size_t)in->shape.n_components, d = (size_t)in->shape.n_features;
    if (status[0] != FG_OK || !in->finite || !all_finite(p[0].means, k * d) ||
        !all_finite(p[0].covariances, fg_covariance_count(&in->shape)))
        return 0;
    check_mixture(&in->shape, &p[0]);
    return 1;
}

static void fuzz_batch(const input *in) {
    enum { P = 3 };
    static double memory[2][MOST];
    const int64_t k = in->shape.n_components, n = in->data.n_rows;
    const fg_candidate candidates[2] = {{k, in->options.n_init, in->shape.layout},
                                        {1, in->options.n_init, in->shape.layout}};
    const int64_t offsets[P + 1] = {0, n / 3, n / 3 + n / 4, n}, order[P] = {2, 0, 1};
    const uint32_t seeds[P] = {1, 2, (uint32_t)in->seed};
    const fg_problems problems = {P,   in->shape.n_features, offsets, in->data, 0, NULL, order, 1,
                                  NULL};
    const fg_batch_options options = {.fit = in->options,
                                      .candidates = candidates,
                                      .n_candidates = k > 1 ? 2 : 1,
                                      .seeds = seeds};
    double values[2][P], criteria[2][2 * P], bic[P], aic[P], log_likelihood[P];
    int64_t n_iter[P] = {0}, n_passes[P] = {0}, chosen[2][P] = {{-1, -1, -1}, {-1, -1, -1}};
    int8_t status[2][P];
    uint8_t converged[P];
    fg_parameters p = {0};
    for (int i = 0; i < 2; i++) {
        p = parameters_in(&in->shape, memory[i], P);
        memset(values[i], 0, sizeof values[i]);
        memset(status[i], FG_NOT_RUN, sizeof status[i]);
        fg_batch_result out = {.parameters = p,
                               .lower_bound = values[i],
                               .bic = bic,
                               .aic = aic,
                               .log_likelihood = log_likelihood,
                               .criteria = criteria[i],
                               .n_iter = n_iter,
                               .n_passes = n_passes,
                               .candidate = chosen[i],
                               .status = status[i],
                               .converged = converged};
        fg_monitor monitor = {0};
        REQUIRE(fg_fit_batch(ON(NULL, i ? 3 : 1, &monitor), &problems, &options, &out) == FG_OK,
                "batch");
    }
    REQUIRE(memcmp(status[0], status[1], sizeof status[0]) == 0, "statuses, batch");
    REQUIRE(memcmp(memory[0], memory[1], parameters_bytes(&in->shape, P)) == 0, "bits, batch");
    const size_t room_k = (size_t)k, room_d = room_k * (size_t)in->shape.n_features,
                 room_c = fg_covariance_count(&in->shape);
    int64_t n_components[P];
    for (size_t i = 0; i < P; i++) {
        n_components[i] = chosen[0][i] < 0 ? 0 : candidates[chosen[0][i]].n_components;
        const int8_t outcome = status[0][i];
        REQUIRE(outcome >= 0 &&
                    (outcome < FG_OUT_OF_MEMORY || (outcome == FG_REPAIRED && in->options.repair)),
                "status");
        if (n_components[i] == 0)
            continue;
        const fg_shape shape = {n_components[i], in->shape.n_features, in->shape.layout};
        const fg_parameters own = {p.weights + i * room_k, p.means + i * room_d,
                                   p.covariances + i * room_c, p.precisions_cholesky + i * room_c};
        check_mixture(&shape, &own);
    }
    static char out[MOST_ROWS * MOST_COMPONENTS * sizeof(double)];
    fg_monitor monitor = {0};
    int64_t bad;
    const fg_score_batch_options scores = {in->shape.layout, k, n_components, p,
                                           (fg_output)(in->seed % 3)};
    const fg_status scored = fg_score_batch(ON(NULL, 1, &monitor), &problems, &scores, out, &bad);
    REQUIRE(scored == FG_OK || (scored == FG_NOT_FINITE && !in->finite), "score batch");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
    static input in;
    source s = {bytes, bytes + count};
    const char *isa = NULL;
    for (int i = next(&s) % 3; i >= 0 && !isa; i--)
        isa = fg_isa_usable(i);
    fg_isa_choose(isa);
    read_input(&s, &in);
    fg_parameters p;
    if (fuzz_fit(&in, &p)) {
        fuzz_scores(&in, &p);
        fuzz_sums(&in, &p);
    }
    fuzz_batch(&in);
    return 0;
}
