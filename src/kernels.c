/* The hot loop, written once over the vector vocabulary and compiled once per instruction set
 * and real type (FG_ISA, FG_ISA_HEADER, FG_REAL_f32 or FG_REAL_f64 come from CMake).
 *
 * A block keeps its samples transposed, [feature][row], so that vector lanes run over samples:
 * every sum over components is then lane-wise, and no dimension is too small for a vector. */
#include "kernels.h"

#include <math.h>
#include <string.h>

#ifdef FG_REAL_f64
typedef double real;
#else
typedef float real;
#endif

#include FG_ISA_HEADER
#include "simd/math.h"

#define GROUP_ROWS (FG_GROUP * FG_LANES)
#define BLOCK_ROWS (GROUP_ROWS > 128 ? GROUP_ROWS : 128)
#define TILE 4 /* features per register tile */
#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)
#define INLINE static inline __attribute__((always_inline))

/* The working memory of one thread, cut from one allocation. */
typedef struct {
    real *samples;                  /* d x B */
    real *difference;               /* d x B: x - shift; for tied the transformed samples */
    real *weighted;                 /* d x B: g (x - shift) */
    real *responsibilities;         /* K x B, log-densities first */
    real *weights, *log_likelihood; /* B */
} block;

static block block_in(const fg_shape *shape, void *scratch, size_t *out_bytes) {
    size_t row = ALIGNED(BLOCK_ROWS * sizeof(real)), features = row * (size_t)shape->n_features,
           components = row * (size_t)shape->n_components;
    char *p = scratch;
    block b;
    b.samples = (real *)p;
    b.difference = (real *)(p + features);
    b.weighted = (real *)(p + 2 * features);
    b.responsibilities = (real *)(p + 3 * features);
    b.weights = (real *)(p + 3 * features + components);
    b.log_likelihood = (real *)(p + 3 * features + components + row);
    if (out_bytes)
        *out_bytes = 3 * features + components + 2 * row;
    return b;
}

static size_t scratch_bytes(const fg_shape *shape) {
    size_t bytes;
    real dummy;
    block_in(shape, &dummy, &bytes);
    return bytes;
}

/* Loads rows [begin, begin + rows), transposed. The rows that fill up the last group repeat the
 * first one, with weight zero: finite, and without effect. */
static int64_t load_block(const fg_data *data, int64_t begin, int64_t rows, int64_t d, block *b) {
    const int64_t padded = (rows + GROUP_ROWS - 1) / GROUP_ROWS * GROUP_ROWS;
    const real *x = (const real *)data->x + begin * data->row_stride;
    for (int64_t i = 0; i < d; i++) {
        const real *from = x + i * data->feature_stride;
        real *to = b->samples + i * BLOCK_ROWS;
        for (int64_t n = 0; n < rows; n++)
            to[n] = from[n * data->row_stride];
        for (int64_t n = rows; n < padded; n++)
            to[n] = from[0];
    }
    for (int64_t n = 0; n < rows; n++)
        b->weights[n] = data->sample_weight ? (real)data->sample_weight[begin + n] : 1;
    for (int64_t n = rows; n < padded; n++)
        b->weights[n] = 0;
    return padded;
}

/* ---- the model, laid out for the kernels ---- */

/* U by panels of up to TILE columns: panel j0 holds rows 0 .. j0 + width - 1, zeros below the
 * diagonal. */
static int64_t panels_count(int64_t d) {
    int64_t count = 0;
    for (int64_t j0 = 0; j0 < d; j0 += TILE) {
        int64_t width = d - j0 < TILE ? d - j0 : TILE;
        count += (j0 + width) * width;
    }
    return count;
}

static void pack_panels(const double *u, int64_t d, real *out) {
    for (int64_t j0 = 0; j0 < d; j0 += TILE) {
        int64_t width = d - j0 < TILE ? d - j0 : TILE;
        for (int64_t i = 0; i < j0 + width; i++)
            for (int64_t j = j0; j < j0 + width; j++)
                *out++ = i <= j ? (real)u[i * d + j] : 0;
    }
}

static int64_t factor_count(const fg_shape *shape) {
    switch (shape->covariance) {
    case FG_FULL: return shape->n_components * panels_count(shape->n_features);
    case FG_TIED: return panels_count(shape->n_features);
    default: return shape->n_components * shape->n_features;
    }
}

static size_t model_bytes(const fg_shape *shape) {
    size_t means = ALIGNED(sizeof(real) * (size_t)(shape->n_components * shape->n_features));
    return 3 * means + ALIGNED(sizeof(real) * (size_t)factor_count(shape)) +
           ALIGNED(sizeof(real) * (size_t)shape->n_components);
}

static void prepare(const fg_shape *shape, const fg_parameters *parameters, const double *centre,
                    void *memory, double *out_shift, fg_model *out_model) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const size_t means = ALIGNED(sizeof(real) * (size_t)(k_count * d));
    char *p = memory;
    real *shift = (real *)p, *offset = (real *)(p + means), *tied_mean = (real *)(p + 2 * means);
    real *factor = (real *)(p + 3 * means);
    real *log_scale = (real *)(p + 3 * means + ALIGNED(sizeof(real) * (size_t)factor_count(shape)));
    const double *u = parameters->precisions_cholesky;
    for (int64_t k = 0; k < k_count; k++) {
        const double *mean = parameters->means + k * d;
        double log_det = 0;
        for (int64_t i = 0; i < d; i++) {
            double about = mean[i];
            if (shape->covariance == FG_TIED && centre)
                about = centre[i];
            else if (shape->covariance == FG_TIED) { /* one point for all: the mixture's mean */
                about = 0;
                for (int64_t c = 0; c < k_count; c++)
                    about += parameters->weights[c] * parameters->means[c * d + i];
            }
            shift[k * d + i] = (real)about;
            out_shift[k * d + i] = (double)(real)about;
        }
        for (int64_t j = 0; j < d; j++) {
            double rest = 0; /* (mean - shift) U, column j */
            const double *s = out_shift + k * d;
            if (shape->covariance == FG_FULL || shape->covariance == FG_TIED) {
                const double *uk = shape->covariance == FG_FULL ? u + k * d * d : u;
                for (int64_t i = 0; i <= j; i++)
                    rest += (mean[i] - s[i]) * uk[i * d + j];
                log_det += log(uk[j * d + j]);
            } else {
                double scale = shape->covariance == FG_DIAG ? u[k * d + j] : u[k];
                rest = (mean[j] - s[j]) * scale;
                factor[k * d + j] = (real)scale;
                log_det += log(scale);
            }
            tied_mean[k * d + j] = (real)rest;
            offset[k * d + j] = (real)-rest;
        }
        if (shape->covariance == FG_FULL)
            pack_panels(u + k * d * d, d, factor + k * panels_count(d));
        log_scale[k] = (real)(log(parameters->weights[k]) + log_det -
                              0.5 * (double)d * 1.8378770664093453 /* log 2 pi */);
    }
    if (shape->covariance == FG_TIED)
        pack_panels(u, d, factor);
    out_model->shape = *shape;
    out_model->shift = shift;
    out_model->factor = factor;
    out_model->offset = offset;
    out_model->log_scale = log_scale;
    out_model->tied_mean = tied_mean;
}

/* ---- log-densities ---- */

INLINE void subtract_shift(const real *samples, const real *shift, int64_t d, int64_t padded,
                           real *out) {
    for (int64_t i = 0; i < d; i++) {
        const vec s = vec_set(shift[i]);
        for (int64_t n = 0; n < padded; n += FG_LANES)
            vec_store(out + i * BLOCK_ROWS + n, vec_sub(vec_load(samples + i * BLOCK_ROWS + n), s));
    }
}

/* One panel of y = difference U + offset for one group of rows, in registers; the squares are
 * added to distance, or y is stored. */
INLINE void panel(const int width, const real *difference, const real *u, const real *offset,
                  int64_t i_end, vec *distance, real *out) {
    vec y[TILE][FG_GROUP];
    for (int j = 0; j < width; j++)
        for (int v = 0; v < FG_GROUP; v++)
            y[j][v] = vec_set(offset ? offset[j] : 0);
    for (int64_t i = 0; i < i_end; i++, u += width)
        for (int v = 0; v < FG_GROUP; v++) {
            const vec x = vec_load(difference + i * BLOCK_ROWS + v * FG_LANES);
            for (int j = 0; j < width; j++)
                y[j][v] = vec_fma(x, vec_set(u[j]), y[j][v]);
        }
    for (int j = 0; j < width; j++)
        for (int v = 0; v < FG_GROUP; v++) {
            if (out)
                vec_store(out + j * BLOCK_ROWS + v * FG_LANES, y[j][v]);
            else
                distance[v] = vec_fma(y[j][v], y[j][v], distance[v]);
        }
}

INLINE void triangular(const real *difference, const real *u, const real *offset, int64_t d,
                       vec *distance, real *out) {
    for (int64_t j0 = 0; j0 < d; j0 += TILE) {
        const int64_t width = d - j0 < TILE ? d - j0 : TILE;
        const real *o = offset ? offset + j0 : NULL;
        real *to = out ? out + j0 * BLOCK_ROWS : NULL;
        switch (width) {
        case 4: panel(4, difference, u, o, j0 + 4, distance, to); break;
        case 3: panel(3, difference, u, o, j0 + 3, distance, to); break;
        case 2: panel(2, difference, u, o, j0 + 2, distance, to); break;
        default: panel(1, difference, u, o, j0 + 1, distance, to);
        }
        u += (j0 + width) * width;
    }
}

/* Fills the block's responsibilities with log-densities, weights of the components included. */
static void log_densities(const fg_model *model, block *b, int64_t padded) {
    const int64_t d = model->shape.n_features;
    const fg_covariance covariance = model->shape.covariance;
    const vec minus_half = vec_set((real)-0.5);
    if (covariance == FG_TIED) {
        subtract_shift(b->samples, model->shift, d, padded, b->samples);
        vec unused[FG_GROUP] = {vec_set(0)};
        for (int64_t n = 0; n < padded; n += GROUP_ROWS)
            triangular(b->samples + n, model->factor, NULL, d, unused, b->difference + n);
    }
    for (int64_t k = 0; k < model->shape.n_components; k++) {
        const real *shift = (const real *)model->shift + k * d;
        const real *offset = (const real *)model->offset + k * d;
        const real *scale = (const real *)model->factor + k * d;
        const real *tied_mean = (const real *)model->tied_mean + k * d;
        const vec log_scale = vec_set(((const real *)model->log_scale)[k]);
        if (covariance == FG_FULL)
            subtract_shift(b->samples, shift, d, padded, b->difference);
        for (int64_t n = 0; n < padded; n += GROUP_ROWS) {
            vec distance[FG_GROUP];
            for (int v = 0; v < FG_GROUP; v++)
                distance[v] = vec_set(0);
            if (covariance == FG_FULL) {
                triangular(b->difference + n, (const real *)model->factor + k * panels_count(d),
                           offset, d, distance, NULL);
            } else {
                for (int64_t i = 0; i < d; i++)
                    for (int v = 0; v < FG_GROUP; v++) {
                        const int64_t at = i * BLOCK_ROWS + n + v * FG_LANES;
                        vec y;
                        if (covariance == FG_TIED)
                            y = vec_sub(vec_load(b->difference + at), vec_set(tied_mean[i]));
                        else
                            y = vec_fma(vec_sub(vec_load(b->samples + at), vec_set(shift[i])),
                                        vec_set(scale[i]), vec_set(offset[i]));
                        distance[v] = vec_fma(y, y, distance[v]);
                    }
            }
            for (int v = 0; v < FG_GROUP; v++)
                vec_store(b->responsibilities + k * BLOCK_ROWS + n + v * FG_LANES,
                          vec_fma(distance[v], minus_half, log_scale));
        }
    }
}

/* ---- responsibilities ---- */

/* g_k = exp(l_k - log sum exp l), times the row's weight. */
static void normalise(int64_t k_count, block *b, int64_t padded) {
    for (int64_t n = 0; n < padded; n += FG_LANES) {
        real *r = b->responsibilities + n;
        /* Never -inf, so that a row beyond the reach of every component gets zeros, not NaN. */
        vec top = vec_set((real)(sizeof(real) == 8 ? -1e300 : -1e37)), sum = vec_set(0);
        for (int64_t k = 0; k < k_count; k++)
            top = vec_max(vec_load(r + k * BLOCK_ROWS), top);
        for (int64_t k = 0; k < k_count; k++) {
            const vec e = vec_exp(vec_sub(vec_load(r + k * BLOCK_ROWS), top));
            vec_store(r + k * BLOCK_ROWS, e);
            sum = vec_add(sum, e);
        }
        vec_store(b->log_likelihood + n, vec_add(top, vec_log(sum)));
        const vec scale =
            vec_div(vec_load(b->weights + n),
                    vec_max(sum, vec_set((real)(sizeof(real) == 8 ? 1e-300 : 1e-37))));
        for (int64_t k = 0; k < k_count; k++)
            vec_store(r + k * BLOCK_ROWS, vec_mul(vec_load(r + k * BLOCK_ROWS), scale));
    }
}

/* The row's most probable component; the first one where several are equal. */
static int64_t row_argmax(const block *b, int64_t k_count, int64_t n) {
    int64_t best = 0;
    for (int64_t k = 1; k < k_count; k++)
        if (b->responsibilities[k * BLOCK_ROWS + n] > b->responsibilities[best * BLOCK_ROWS + n])
            best = k;
    return best;
}

static void choose_nearest(int64_t k_count, block *b, int64_t padded) {
    for (int64_t n = 0; n < padded; n++) {
        const int64_t best = row_argmax(b, k_count, n);
        b->log_likelihood[n] = b->responsibilities[best * BLOCK_ROWS + n];
        for (int64_t k = 0; k < k_count; k++)
            b->responsibilities[k * BLOCK_ROWS + n] = k == best ? b->weights[n] : 0;
    }
}

/* Counter-based (splitmix64's finaliser), so that a row's draw depends on its number alone. */
static void choose_random(int64_t k_count, block *b, int64_t padded, int64_t begin, uint64_t seed) {
    for (int64_t n = 0; n < padded; n++) {
        real sum = 0;
        for (int64_t k = 0; k < k_count; k++) {
            uint64_t z = seed + (uint64_t)((begin + n) * k_count + k + 1) * 0x9e3779b97f4a7c15u;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            const real u = (real)(((z ^ (z >> 31)) >> 40) + 1) * (real)0x1p-24;
            b->responsibilities[k * BLOCK_ROWS + n] = u;
            sum += u;
        }
        for (int64_t k = 0; k < k_count; k++)
            b->responsibilities[k * BLOCK_ROWS + n] *= b->weights[n] / sum;
        b->log_likelihood[n] = 0;
    }
}

/* ---- sums ---- */

/* A tile of the lower triangle of sum g x x^T, over the whole block in registers. */
INLINE void scatter_tile(const int height, const int width, const real *weighted,
                         const real *difference, int64_t padded, int64_t i0, int64_t j0,
                         double *out) {
    vec sum[TILE][TILE];
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width; j++)
            sum[i][j] = vec_set(0);
    for (int64_t n = 0; n < padded; n += FG_LANES)
        for (int i = 0; i < height; i++) {
            const vec w = vec_load(weighted + (i0 + i) * BLOCK_ROWS + n);
            for (int j = 0; j < width; j++)
                sum[i][j] = vec_fma(w, vec_load(difference + (j0 + j) * BLOCK_ROWS + n), sum[i][j]);
        }
    for (int i = 0; i < height; i++)
        for (int j = 0; j < width && j0 + j <= i0 + i; j++)
            out[(i0 + i) * (i0 + i + 1) / 2 + j0 + j] += (double)vec_sum(sum[i][j]);
}

/* Adds g (x - shift)(x - shift)^T to a packed lower triangle. */
static void scatter(const block *b, const real *difference, int64_t d, int64_t padded,
                    double *out) {
    for (int64_t i0 = 0; i0 < d; i0 += TILE)
        for (int64_t j0 = 0; j0 <= i0; j0 += TILE) {
            const int height = (int)(d - i0 < TILE ? d - i0 : TILE);
#define CASE(h, w) scatter_tile(h, w, b->weighted, difference, padded, i0, j0, out)
            /* A tile off the diagonal is TILE wide; one on it is as wide as it is high. */
            switch (i0 == j0 ? height : height + TILE) {
            case 1: CASE(1, 1); break;
            case 2: CASE(2, 2); break;
            case 3: CASE(3, 3); break;
            case TILE + 1: CASE(1, TILE); break;
            case TILE + 2: CASE(2, TILE); break;
            case TILE + 3: CASE(3, TILE); break;
            default: CASE(TILE, TILE);
            }
#undef CASE
        }
}

/* weighted = g (x - shift), and its sums by feature. */
INLINE void weigh(const real *difference, const real *g, int64_t d, int64_t padded, real *weighted,
                  double *out_sx) {
    for (int64_t i = 0; i < d; i++) {
        vec sum = vec_set(0);
        for (int64_t n = 0; n < padded; n += FG_LANES) {
            const vec w = vec_mul(vec_load(g + n), vec_load(difference + i * BLOCK_ROWS + n));
            vec_store(weighted + i * BLOCK_ROWS + n, w);
            sum = vec_add(sum, w);
        }
        if (out_sx)
            out_sx[i] += (double)vec_sum(sum);
    }
}

INLINE real row_sum(const real *x, int64_t padded) {
    vec sum = vec_set(0);
    for (int64_t n = 0; n < padded; n += FG_LANES)
        sum = vec_add(sum, vec_load(x + n));
    return vec_sum(sum);
}

static void add_block(const fg_model *model, block *b, int64_t padded, int with_moments,
                      fg_statistics *out) {
    const int64_t d = model->shape.n_features, packed = d * (d + 1) / 2;
    const fg_covariance covariance = model->shape.covariance;
    for (int64_t k = 0; k < model->shape.n_components; k++) {
        const real *g = b->responsibilities + k * BLOCK_ROWS;
        const real nk = row_sum(g, padded);
        if (nk == 0)
            continue;
        out->nk[k] += (double)nk;
        real *difference = b->difference;
        if (covariance == FG_TIED)
            difference = b->samples; /* the shift is gone already */
        else
            subtract_shift(b->samples, (const real *)model->shift + k * d, d, padded, difference);
        weigh(difference, g, d, padded, b->weighted, out->sx + k * d);
        if (!with_moments)
            continue;
        if (covariance == FG_FULL)
            scatter(b, difference, d, padded, out->sxx + k * packed);
        else if (covariance != FG_TIED)
            for (int64_t i = 0; i < d; i++) {
                vec sum = vec_set(0);
                for (int64_t n = 0; n < padded; n += FG_LANES)
                    sum = vec_fma(vec_load(b->weighted + i * BLOCK_ROWS + n),
                                  vec_load(difference + i * BLOCK_ROWS + n), sum);
                out->sxx[covariance == FG_DIAG ? k * d + i : k] += (double)vec_sum(sum);
            }
    }
    if (covariance == FG_TIED && with_moments) {
        weigh(b->samples, b->weights, d, padded, b->weighted, NULL);
        scatter(b, b->samples, d, padded, out->sxx);
    }
    double log_likelihood = 0;
    for (int64_t n = 0; n < padded; n++) /* a row of weight zero may be beyond every component */
        log_likelihood +=
            b->weights[n] > 0 ? (double)b->weights[n] * (double)b->log_likelihood[n] : 0;
    out->log_likelihood += log_likelihood;
    out->weight_sum += (double)row_sum(b->weights, padded);
}

/* ---- the table ---- */

static void accumulate(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                       fg_mode mode, uint64_t seed, int with_moments, void *scratch,
                       fg_statistics *out_statistics) {
    const int64_t k_count = model->shape.n_components;
    block b = block_in(&model->shape, scratch, NULL);
    for (int64_t n = begin; n < end; n += BLOCK_ROWS) {
        const int64_t rows = end - n < BLOCK_ROWS ? end - n : BLOCK_ROWS;
        const int64_t padded = load_block(data, n, rows, model->shape.n_features, &b);
        log_densities(model, &b, padded);
        if (mode == FG_SOFT)
            normalise(k_count, &b, padded);
        else if (mode == FG_NEAREST)
            choose_nearest(k_count, &b, padded);
        else
            choose_random(k_count, &b, padded, n, seed);
        add_block(model, &b, padded, with_moments, out_statistics);
    }
    out_statistics->n_rows += end - begin;
}

static void score(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                  fg_want want, void *scratch, void *out) {
    const int64_t k_count = model->shape.n_components;
    block b = block_in(&model->shape, scratch, NULL);
    for (int64_t n = begin; n < end; n += BLOCK_ROWS) {
        const int64_t rows = end - n < BLOCK_ROWS ? end - n : BLOCK_ROWS;
        const int64_t padded = load_block(data, n, rows, model->shape.n_features, &b);
        log_densities(model, &b, padded);
        if (want == FG_WANT_LABELS) {
            for (int64_t i = 0; i < rows; i++)
                ((int64_t *)out)[n + i] = row_argmax(&b, k_count, i);
            continue;
        }
        normalise(k_count, &b, padded);
        if (want == FG_WANT_LOG_LIKELIHOOD)
            memcpy((real *)out + n, b.log_likelihood, sizeof(real) * (size_t)rows);
        else
            for (int64_t i = 0; i < rows; i++)
                for (int64_t k = 0; k < k_count; k++)
                    ((real *)out)[(n + i) * k_count + k] = b.responsibilities[k * BLOCK_ROWS + i];
    }
}

static void exp_log(const void *x, int64_t n, int want_log, void *out) {
    real lanes[FG_LANES] __attribute__((aligned(64)));
    for (int64_t i = 0; i < n; i++) {
        for (int l = 0; l < FG_LANES; l++)
            lanes[l] = ((const real *)x)[i];
        const vec v = vec_load(lanes);
        vec_store(lanes, want_log ? vec_log(v) : vec_exp(v));
        ((real *)out)[i] = lanes[FG_LANES - 1];
    }
}

#define JOIN_(a, b, c) a##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define NAME_(x) #x
#define NAME(x) NAME_(x)
#ifdef FG_REAL_f64
#define REAL_NAME f64
#else
#define REAL_NAME f32
#endif
extern const fg_kernels JOIN(fg_kernels_, FG_ISA, REAL_NAME);
const fg_kernels JOIN(fg_kernels_, FG_ISA, REAL_NAME) = {
    .isa = NAME(FG_ISA),
    .block_rows = BLOCK_ROWS,
    .model_bytes = model_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_bytes,
    .accumulate = accumulate,
    .score = score,
    .exp_log = exp_log,
};
