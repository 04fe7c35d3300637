/* The M step: computes weights, means, covariances and precision factors from the sums. */
#include "parameters.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "covariance.h"
#include "factor.h"
#include "parallel.h"
#include "triangular.h"

size_t fg_parameters_count(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    return k + k * d + 2 * fg_covariance_count(shape);
}

fg_parameters fg_parameters_in(const fg_shape *shape, double *memory) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    double *covariances = memory + k + k * d;
    return (fg_parameters){memory, memory + k, covariances,
                           covariances + fg_covariance_count(shape)};
}

static void copy_part(const double *from, size_t n, double *to) {
    if (from)
        memcpy(to, from, n * sizeof(double));
}

void fg_parameters_copy(const fg_shape *shape, const fg_parameters *from, fg_parameters *to) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    const size_t covariances = fg_covariance_count(shape);
    copy_part(from->weights, k, to->weights);
    copy_part(from->means, k * d, to->means);
    copy_part(from->covariances, covariances, to->covariances);
    copy_part(from->precisions_cholesky, covariances, to->precisions_cholesky);
}

int fg_all_finite(const double *x, size_t n) {
    double poison = 0;
    for (size_t i = 0; i < n; i++)
        poison += x[i] - x[i];
    return poison == 0;
}

/* ---- the M step ---- */

/* One component's sums. delta = sx / nk is the step from its shift to its mean. */
typedef struct {
    double per_nk; /* 1 / nk; 0 where the component is empty */
    const double *sx, *sxx;
    double reg_covar;
} component_sums;

/* sxx / nk - delta delta^T */
static void update_full(const component_sums *s, int64_t d, double *out) {
    const double *sxx = s->sxx, *sx = s->sx, per_nk = s->per_nk;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            const double value = *sxx++ * per_nk - (sx[i] * per_nk) * (sx[j] * per_nk);
            out[i * d + j] = value + (i == j ? s->reg_covar : 0);
        }
    fg_mirror_lower(d, out);
}

static void update_diagonal(const component_sums *s, int64_t d, double *out) {
    for (int64_t i = 0; i < d; i++) {
        const double delta = s->sx[i] * s->per_nk;
        out[i] = s->sxx[i] * s->per_nk - delta * delta + s->reg_covar;
    }
}

static void update_spherical(const component_sums *s, int64_t d, double *out) {
    double square = 0;
    for (int64_t i = 0; i < d; i++)
        square += (s->sx[i] * s->per_nk) * (s->sx[i] * s->per_nk);
    *out = (*s->sxx * s->per_nk - square) / (double)d + s->reg_covar;
}

/* Tied, in three steps: the sums over all components, minus nk delta delta^T of each, divided by
 * the total of nk. */
static void begin_tied(const double *sxx, int64_t d, double *out) {
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++)
            out[i * d + j] = *sxx++;
}

static void update_tied(const component_sums *s, int64_t d, double *out) {
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++)
            out[i * d + j] -= s->sx[i] * s->per_nk * s->sx[j];
}

static void end_tied(double nk_sum, double reg_covar, int64_t d, double *out) {
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) {
            const double value = out[i * d + j] / nk_sum;
            out[i * d + j] = value + (i == j ? reg_covar : 0);
        }
    fg_mirror_lower(d, out);
}

typedef void (*update)(const component_sums *s, int64_t d, double *out);
static const update UPDATES[] = {[FG_FULL] = update_full,
                                 [FG_TIED] = update_tied,
                                 [FG_DIAG] = update_diagonal,
                                 [FG_SPHERICAL] = update_spherical};

fg_status fg_maximize(fg_context *context, const fg_shape *shape, const fg_m_step *options,
                      const fg_statistics *statistics, fg_parameters *out) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const int64_t parts = fg_covariance_parts(shape);
    const int64_t moments = (int64_t)fg_moment_count(shape) / parts;
    /* A component with less weight than the rounding error of one row is empty: its mean does not
     * move, its weight is zero and its covariance is reg_covar. */
    const double nothing =
        10 * DBL_EPSILON * statistics->weight_sum / (double)(statistics->n_rows + 1);
    double nk_sum = 0;
    for (int64_t k = 0; k < k_count; k++)
        nk_sum += statistics->nk[k];
    if (fg_is_shared(shape))
        begin_tied(statistics->sxx, d, out->covariances);
    for (int64_t k = 0; k < k_count; k++) {
        if (fg_parallel_poll_piece(k, fg_has_matrices(shape) ? d * d : d, context->monitor))
            return FG_INTERRUPTED;
        const double nk = statistics->nk[k];
        const int is_empty = !(nk > nothing);
        const component_sums s = {.per_nk = is_empty ? 0 : 1 / nk,
                                  .sx = statistics->sx + k * d,
                                  .sxx = statistics->sxx + (parts > 1 ? k : 0) * moments,
                                  .reg_covar = options->reg_covar};
        out->weights[k] = is_empty ? 0 : nk / nk_sum;
        for (int64_t i = 0; i < d; i++)
            out->means[k * d + i] = statistics->shift[k * d + i] + s.sx[i] * s.per_nk;
        UPDATES[shape->layout](&s, d, fg_covariance_part(shape, out, k).covariance);
    }
    if (fg_is_shared(shape))
        end_tied(nk_sum, options->reg_covar, d, out->covariances);
    return fg_precision_cholesky(context, shape, out);
}
