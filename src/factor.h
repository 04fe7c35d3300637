/* Factors of covariances: of the precisions, which the kernels use, and roots. */
#ifndef FG_FACTOR_H
#define FG_FACTOR_H

#include "covariance.h"

int64_t fg_factor_work(const fg_shape *shape); /* multiply-adds to factor one covariance, roughly */
/* Factors a single covariance; FG_SINGULAR if it is not positive definite. */
fg_status fg_covariance_factor(fg_context *context, const fg_shape *shape,
                               const fg_covariance *part);
/* The root of a single covariance, from its factor: the upper triangular R with covariance R^T R,
 * or standard deviations. The other way, covariance and factor are set from a root. */
fg_status fg_covariance_root(fg_context *context, const fg_shape *shape, const fg_covariance *part,
                             double *out);
fg_status fg_covariance_from_root(fg_context *context, const fg_shape *shape, const double *root,
                                  const fg_covariance *part);

#endif
