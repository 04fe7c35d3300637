/* The storage layouts of covariances. Everything that depends only on the layout of covariances and
 * their factors is here. */
#ifndef FG_COVARIANCE_H
#define FG_COVARIANCE_H

#include "fusedgmm.h"

/* Whether covariances are matrices (full, tied) or variances (diag, spherical). */
static inline int fg_has_matrices(const fg_shape *shape) {
    return shape->layout == FG_FULL || shape->layout == FG_TIED;
}

/* Tied: all components share one covariance; a singular one is reported as component -1. */
static inline int fg_is_shared(const fg_shape *shape) { return shape->layout == FG_TIED; }

/* Spherical: a component has one variance, the same for all features. */
static inline int fg_is_isotropic(const fg_shape *shape) { return shape->layout == FG_SPHERICAL; }

double fg_free_parameters(const fg_shape *shape); /* of the whole mixture */

/* One covariance and its factor. Variance i is at covariance[i * step]; isotropic covariances have
 * only one. */
typedef struct {
    double *covariance, *factor;
    int64_t size, n_variances, step;
    int64_t component; /* -1: shared by all */
} fg_covariance;

int64_t fg_covariance_parts(const fg_shape *shape); /* n_components, or 1 if shared */
fg_covariance fg_covariance_part(const fg_shape *shape, const fg_parameters *parameters, int64_t k);
/* The variance of feature i in component k. */
double fg_variance(const fg_shape *shape, const double *covariances, int64_t k, int64_t i);
/* Sets equal weights and spherical factors with one standard deviation for all components.
 * Distances are then Euclidean, in units of that standard deviation, so data of any scale keep
 * their precision. */
void fg_set_spheres(const fg_shape *shape, double deviation, fg_monitor *monitor,
                    fg_parameters *out);

/* Sums weight times covariance over the components of positive weight into out, which may be the
 * first component's covariance; returns the sum of these weights. Not for shared covariances. */
double fg_pool_covariances(const fg_shape *shape, const fg_parameters *parameters,
                           fg_monitor *monitor, double *out);

#endif
