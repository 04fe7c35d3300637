/* The M step: sums -> weights, means, covariances and the factors of the precisions. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "parallel.h"
#include "parameters.h"

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

/* to -= factor from, n numbers in a row: what both halves of the factorisation consist of. */
static void subtract_multiple(double factor, const double *restrict from, int64_t n,
                              double *restrict to) {
    for (int64_t i = 0; i < n; i++)
        to[i] -= factor * from[i];
}

/* Whether to stop, asked where a row of the factorisation takes a while. */
static int interrupted(int64_t d, fg_monitor *monitor) {
    return d >= 128 && fg_parallel_poll(monitor);
}

/* Upper U with A^-1 = U U^T: A = R^T R, U = R^-1, both by rows and in place. FG_SINGULAR where A is
 * not positive definite. */
static fg_status invert_cholesky(const double *a, int64_t d, fg_monitor *monitor, double *out) {
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            out[i * d + j] = j < i ? 0 : a[i * d + j];
    for (int64_t i = 0; i < d; i++) {
        double *row = out + i * d;
        if (!(row[i] > 0) || !isfinite(row[i]))
            return FG_SINGULAR;
        if (interrupted(d, monitor))
            return FG_INTERRUPTED;
        const double root = sqrt(row[i]);
        row[i] = root;
        for (int64_t j = i + 1; j < d; j++)
            row[j] /= root;
        for (int64_t j = i + 1; j < d; j++)
            subtract_multiple(row[j], row + j, d - j, out + j * d + j);
    }
    for (int64_t i = d - 1; i >= 0; i--) {
        double *row = out + i * d;
        const double scale = 1 / row[i];
        if (interrupted(d, monitor))
            return FG_INTERRUPTED;
        for (int64_t l = d - 1; l > i; l--) { /* from the end: row[l] must still be R's */
            const double factor = row[l];
            row[l] = 0;
            subtract_multiple(factor, out + l * d + l, d - l, row + l);
        }
        row[i] = 1;
        for (int64_t j = i; j < d; j++)
            row[j] *= scale;
    }
    return FG_OK;
}

fg_status fg_precision_cholesky(const fg_shape *shape, const double *covariances,
                                fg_monitor *monitor, double *out_precisions_cholesky,
                                int64_t *out_component) {
    const int64_t d = shape->n_features;
    if (shape->layout == FG_FULL || shape->layout == FG_TIED) {
        const int64_t matrices = shape->layout == FG_FULL ? shape->n_components : 1;
        fg_status status = FG_OK;
        for (int64_t k = 0; k < matrices && status == FG_OK; k++) {
            if (fg_parallel_poll_piece(k, d * d * d, monitor))
                return FG_INTERRUPTED;
            status = invert_cholesky(covariances + k * d * d, d, monitor,
                                     out_precisions_cholesky + k * d * d);
            if (status == FG_SINGULAR)
                *out_component = shape->layout == FG_FULL ? k : -1;
        }
        return status;
    }
    const int64_t per_component = shape->layout == FG_DIAG ? d : 1;
    for (int64_t i = 0; i < shape->n_components * per_component; i++) {
        if (i % 4096 == 4095 && fg_parallel_poll(monitor))
            return FG_INTERRUPTED;
        if (!(covariances[i] > 0) || !isfinite(covariances[i])) {
            *out_component = i / per_component;
            return FG_SINGULAR;
        }
        out_precisions_cholesky[i] = 1 / sqrt(covariances[i]);
    }
    return FG_OK;
}

fg_status fg_maximize(const fg_shape *shape, const fg_statistics *statistics, double reg_covar,
                      fg_monitor *monitor, fg_parameters *out, int64_t *out_component) {
    const int64_t k_count = shape->n_components, d = shape->n_features, packed = d * (d + 1) / 2;
    const double total = statistics->weight_sum;
    /* Below a rounding error's share of one row a component holds nothing: its mean stays where it
     * is, its weight is zero and its covariance reg_covar. */
    const double nothing = 10 * DBL_EPSILON * total / (double)(statistics->n_rows + 1);
    double nk_sum = 0;
    for (int64_t k = 0; k < k_count; k++)
        nk_sum += statistics->nk[k];
    if (shape->layout == FG_TIED)
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j <= i; j++)
                out->covariances[i * d + j] = statistics->sxx[i * (i + 1) / 2 + j];
    const int matrix = shape->layout == FG_FULL || shape->layout == FG_TIED;
    for (int64_t k = 0; k < k_count; k++) {
        if (fg_parallel_poll_piece(k, matrix ? d * d : d, monitor))
            return FG_INTERRUPTED;
        const int alive = statistics->nk[k] > nothing;
        const double nk = statistics->nk[k], share = alive ? 1 / nk : 0;
        const double *sx = statistics->sx + k * d, *shift = statistics->shift + k * d;
        out->weights[k] = alive ? nk / nk_sum : 0;
        for (int64_t i = 0; i < d; i++)
            out->means[k * d + i] = shift[i] + sx[i] * share;
        /* S / nk - delta delta^T, delta = the mean's step from the shift. */
        if (shape->layout == FG_FULL) {
            double *covariance = out->covariances + k * d * d;
            const double *sxx = statistics->sxx + k * packed;
            for (int64_t i = 0; i < d; i++)
                for (int64_t j = 0; j <= i; j++) {
                    const double value = *sxx++ * share - (sx[i] * share) * (sx[j] * share);
                    covariance[i * d + j] = covariance[j * d + i] =
                        value + (i == j ? reg_covar : 0);
                }
        } else if (shape->layout == FG_TIED) {
            for (int64_t i = 0; i < d; i++)
                for (int64_t j = 0; j <= i; j++)
                    out->covariances[i * d + j] -= sx[i] * share * sx[j];
        } else if (shape->layout == FG_DIAG) {
            for (int64_t i = 0; i < d; i++) {
                const double delta = sx[i] * share;
                out->covariances[k * d + i] =
                    statistics->sxx[k * d + i] * share - delta * delta + reg_covar;
            }
        } else {
            double square = 0;
            for (int64_t i = 0; i < d; i++)
                square += (sx[i] * share) * (sx[i] * share);
            out->covariances[k] = (statistics->sxx[k] * share - square) / (double)d + reg_covar;
        }
    }
    if (shape->layout == FG_TIED)
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = 0; j <= i; j++) {
                const double value = out->covariances[i * d + j] / nk_sum;
                out->covariances[i * d + j] = out->covariances[j * d + i] =
                    value + (i == j ? reg_covar : 0);
            }
    return fg_precision_cholesky(shape, out->covariances, monitor, out->precisions_cholesky,
                                 out_component);
}
