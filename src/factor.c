/* Factors of covariances. See factor.h. */
#include "factor.h"

#include <math.h>

#include "parallel.h"
#include "triangular.h"

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
            ? fg_invert_cholesky(context, part->covariance, shape->n_features, part->factor)
            : invert_roots(part->covariance, part->size, part->factor);
    if (status == FG_SINGULAR)
        context->singular_component = part->component;
    return status;
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

fg_status fg_covariance_root(fg_context *context, const fg_shape *shape, const fg_covariance *part,
                             double *out) {
    for (int64_t i = 0; i < part->size; i++)
        out[i] = fg_has_matrices(shape) ? part->factor[i] : 1 / part->factor[i];
    return fg_has_matrices(shape) ? fg_invert_upper(context, shape->n_features, out) : FG_OK;
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
    const fg_status status = fg_square_upper(context, root, d, part->covariance);
    return status == FG_OK ? fg_invert_upper(context, d, part->factor) : status;
}
