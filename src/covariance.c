/* The storage layouts of covariances. See covariance.h. */
#include "covariance.h"

#include <math.h>

#include "memory.h"
#include "parallel.h"

/* ---- counts ---- */

size_t fg_moment_count(const fg_shape *shape) {
    const size_t d = (size_t)shape->n_features;
    const size_t parts = (size_t)fg_covariance_parts(shape);
    return fg_has_matrices(shape) ? parts * (d * (d + 1) / 2) : fg_covariance_count(shape);
}

size_t fg_covariance_count(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    switch (shape->layout) {
    case FG_FULL: return k * d * d;
    case FG_TIED: return d * d;
    case FG_DIAG: return k * d;
    default: return k;
    }
}

double fg_free_parameters(const fg_shape *shape) {
    const double k = (double)shape->n_components, d = (double)shape->n_features;
    return (double)fg_moment_count(shape) + k * d + k - 1;
}

/* ---- single covariances ---- */

int64_t fg_covariance_parts(const fg_shape *shape) {
    return fg_is_shared(shape) ? 1 : shape->n_components;
}

fg_covariance fg_covariance_part(const fg_shape *shape, const fg_parameters *p, int64_t k) {
    const int64_t d = shape->n_features, matrix = fg_has_matrices(shape);
    const int64_t width = fg_is_isotropic(shape) ? 1 : d, size = matrix ? d * d : width;
    const int64_t at = fg_is_shared(shape) ? 0 : k * size;
    return (fg_covariance){.covariance = p->covariances ? p->covariances + at : NULL,
                           .factor = p->precisions_cholesky + at,
                           .size = size,
                           .n_variances = width,
                           .step = matrix ? d + 1 : 1,
                           .component = fg_is_shared(shape) ? -1 : k};
}

double fg_variance(const fg_shape *shape, const double *covariances, int64_t k, int64_t i) {
    const int64_t d = shape->n_features;
    switch (shape->layout) {
    case FG_FULL: return covariances[k * d * d + i * d + i];
    case FG_TIED: return covariances[i * d + i];
    case FG_DIAG: return covariances[k * d + i];
    default: return covariances[k];
    }
}

void fg_set_spheres(const fg_shape *shape, double deviation, fg_monitor *monitor,
                    fg_parameters *out) {
    for (int64_t k = 0; k < shape->n_components; k++)
        out->weights[k] = 1 / (double)shape->n_components;
    fg_clear(out->precisions_cholesky, fg_covariance_count(shape) * sizeof(double), monitor);
    for (int64_t k = 0; k < fg_covariance_parts(shape); k++) {
        const fg_covariance part = fg_covariance_part(shape, out, k);
        for (int64_t i = 0; i < part.n_variances; i++)
            part.factor[i * part.step] = 1 / deviation;
    }
}

double fg_pool_covariances(const fg_shape *shape, const fg_parameters *parameters,
                           fg_monitor *monitor, double *out) {
    const int64_t size = fg_covariance_part(shape, parameters, 0).size;
    double total = 0;
    for (int64_t k = 0; k < shape->n_components; k++) {
        if (fg_parallel_poll_piece(k, size, monitor))
            return total;
        const double weight = parameters->weights[k];
        if (!(weight > 0))
            continue;
        const double *from = parameters->covariances + k * size;
        for (int64_t i = 0; i < size; i++)
            out[i] = total > 0 ? out[i] + weight * from[i] : weight * from[i];
        total += weight;
    }
    return total;
}

/* ---- factors ---- */

/* to -= factor * from, for n consecutive numbers: the inner loop of the factorisation. */
static void subtract_multiple(double factor, const double *restrict from, int64_t n,
                              double *restrict to) {
    for (int64_t i = 0; i < n; i++)
        to[i] -= factor * from[i];
}

/* Polls if a row of the factorisation takes long. */
static int interrupted(int64_t d, fg_monitor *monitor) {
    return d >= 128 && fg_parallel_poll(monitor);
}

/* Computes the upper triangular R with A = R^T R, row by row. FG_SINGULAR if A is not positive
 * definite. */
static fg_status cholesky(const double *a, int64_t d, fg_monitor *monitor, double *out) {
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
    return FG_OK;
}

/* Inverts an upper triangular matrix in place. */
static fg_status invert_upper(int64_t d, fg_monitor *monitor, double *out) {
    for (int64_t i = d - 1; i >= 0; i--) {
        double *row = out + i * d;
        const double scale = 1 / row[i];
        if (interrupted(d, monitor))
            return FG_INTERRUPTED;
        for (int64_t l = d - 1; l > i; l--) { /* from the end: row[l] must still belong to R */
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

/* Computes the upper triangular U with A^-1 = U U^T: A = R^T R, U = R^-1. */
static fg_status invert_cholesky(const double *a, int64_t d, fg_monitor *monitor, double *out) {
    const fg_status status = cholesky(a, d, monitor, out);
    return status == FG_OK ? invert_upper(d, monitor, out) : status;
}

static fg_status invert_roots(const double *variances, int64_t n, double *out) {
    for (int64_t i = 0; i < n; i++) {
        if (!(variances[i] > 0) || !isfinite(variances[i]))
            return FG_SINGULAR;
        out[i] = 1 / sqrt(variances[i]);
    }
    return FG_OK;
}

int64_t fg_factor_work(const fg_shape *shape) {
    const int64_t d = shape->n_features;
    return fg_has_matrices(shape) ? d * d * d : d;
}

fg_status fg_covariance_factor(fg_context *context, const fg_shape *shape,
                               const fg_covariance *part) {
    const fg_status status =
        fg_has_matrices(shape)
            ? invert_cholesky(part->covariance, shape->n_features, context->monitor, part->factor)
            : invert_roots(part->covariance, part->size, part->factor);
    if (status == FG_SINGULAR)
        context->singular_component = part->component;
    return status;
}

/* ---- roots ---- */

/* out = R^T R for an upper triangular R. */
static fg_status square_upper(const double *r, int64_t d, fg_monitor *monitor, double *out) {
    for (int64_t i = 0; i < d; i++) {
        double *row = out + i * d;
        if (interrupted(d, monitor))
            return FG_INTERRUPTED;
        for (int64_t j = i; j < d; j++)
            row[j] = 0;
        for (int64_t l = 0; l <= i; l++)
            subtract_multiple(-r[l * d + i], r + l * d + i, d - i, row + i);
        for (int64_t j = i; j < d; j++)
            out[j * d + i] = row[j];
    }
    return FG_OK;
}

fg_status fg_covariance_root(fg_context *context, const fg_shape *shape, const fg_covariance *part,
                             double *out) {
    const int64_t d = shape->n_features;
    for (int64_t i = 0; i < part->size; i++)
        out[i] = fg_has_matrices(shape) ? part->factor[i] : 1 / part->factor[i];
    return fg_has_matrices(shape) ? invert_upper(d, context->monitor, out) : FG_OK;
}

fg_status fg_covariance_from_root(fg_context *context, const fg_shape *shape, const double *root,
                                  const fg_covariance *part) {
    const int64_t d = shape->n_features;
    for (int64_t i = 0; i < part->size; i++)
        part->factor[i] = fg_has_matrices(shape) ? root[i] : 1 / root[i];
    for (int64_t i = 0; i < part->size && !fg_has_matrices(shape); i++)
        part->covariance[i] = root[i] * root[i];
    if (!fg_has_matrices(shape))
        return FG_OK;
    const fg_status status = square_upper(root, d, context->monitor, part->covariance);
    return status == FG_OK ? invert_upper(d, context->monitor, part->factor) : status;
}

fg_status fg_precision_cholesky(fg_context *context, const fg_shape *shape,
                                const fg_parameters *parameters) {
    for (int64_t k = 0; k < fg_covariance_parts(shape); k++) {
        if (fg_parallel_poll_piece(k, fg_factor_work(shape), context->monitor))
            return FG_INTERRUPTED;
        const fg_covariance part = fg_covariance_part(shape, parameters, k);
        const fg_status status = fg_covariance_factor(context, shape, &part);
        if (status != FG_OK)
            return status;
    }
    return FG_OK;
}
