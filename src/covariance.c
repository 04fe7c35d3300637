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
