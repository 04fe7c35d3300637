/* The C core's public header: sizes, data, parameters, statistics, status codes.
 *
 * Data flows one way: em -> kernels -> simd, and back by statistics -> parameters.
 * Parameters and statistics are always double; data are float or double. */
#ifndef FUSEDGMM_H
#define FUSEDGMM_H

#include <stddef.h>
#include <stdint.h>

typedef enum { FG_FULL, FG_TIED, FG_DIAG, FG_SPHERICAL } fg_covariance;
typedef enum { FG_FLOAT32, FG_FLOAT64 } fg_real_type;
typedef enum { FG_START_KMEANS, FG_START_KMEANS_PP, FG_START_RANDOM, FG_START_DATA } fg_start;

typedef enum {
    FG_OK = 0,
    FG_NO_MEMORY,
    FG_INTERRUPTED,
    FG_SINGULAR,   /* a covariance is not positive definite; the component is reported */
    FG_NOT_FINITE, /* the data, or the log-likelihood */
} fg_status;

/* The sizes of one mixture. */
typedef struct {
    int64_t n_components, n_features;
    fg_covariance covariance;
} fg_shape;

/* Rows of samples, in place: element (row, feature) is at row * row_stride + feature *
 * feature_stride, counted in elements. */
typedef struct {
    const void *x;
    fg_real_type real_type;
    int64_t n_rows, row_stride, feature_stride;
    const double *sample_weight; /* n_rows, or NULL for ones */
} fg_data;

/* weights K, means K x d; covariances and precisions_cholesky: full K x d x d, tied d x d,
 * diag K x d, spherical K. The precision is U U^T with U upper triangular. */
typedef struct {
    double *weights, *means, *covariances, *precisions_cholesky;
} fg_parameters;

/* Sums about a shift, near each component's mean and known exactly in the data's type.
 * sxx: full K x d(d+1)/2 and tied d(d+1)/2, summed over the components (lower triangle by rows),
 * diag K x d, spherical K. Where tied's shifts are all one point, that is the data's scatter. */
typedef struct {
    double *nk, *shift, *sx, *sxx;
    double log_likelihood, weight_sum;
    int64_t n_rows;
} fg_statistics;

/* How a pass is watched. poll is called on the calling thread every few milliseconds; non-zero
 * stops the pass with FG_INTERRUPTED. report is called after each iteration. Both may be NULL. */
typedef struct {
    int (*poll)(void *context);
    int (*report)(void *context, int64_t iteration, double lower_bound, double change);
    void *context;
    double last_poll; /* seconds; kept here so that many short passes poll as one long one does */
} fg_monitor;

typedef enum { FG_WANT_LABELS, FG_WANT_RESPONSIBILITIES, FG_WANT_LOG_LIKELIHOOD } fg_want;

/* dispatch */
const char *fg_build(void); /* compiler and build type */
const char *fg_isa_name(void);
const char *fg_isa_usable(int i);    /* the i-th in rising order; NULL behind the last */
int fg_isa_choose(const char *name); /* NULL: the best one; 0 if done, -1 if not usable here */
/* The chosen kernels' exp or log of n values, for the tests. */
void fg_vector_exp_log(fg_real_type real_type, const void *x, int64_t n, int want_log, void *out);

/* parallel */
int fg_openmp_max_threads(void); /* the calling thread's limit; 1 without OpenMP */
int fg_openmp_version(void);     /* 0 without OpenMP */
int fg_parallel_install_fork_guard(void);

/* statistics */
size_t fg_moment_count(const fg_shape *shape);     /* doubles in sxx */
size_t fg_covariance_count(const fg_shape *shape); /* doubles in covariances */

/* parameters */
fg_status fg_maximize(const fg_shape *shape, const fg_statistics *statistics, double reg_covar,
                      fg_parameters *out_parameters, int64_t *out_component);
fg_status fg_precision_cholesky(const fg_shape *shape, const double *covariances,
                                double *out_precisions_cholesky, int64_t *out_component);

/* em: one pass, and the loop of passes */
int64_t fg_task_count(const fg_shape *shape, int64_t n_rows); /* more threads find no work */
fg_status fg_accumulate(const fg_shape *shape, const fg_data *data, const fg_parameters *parameters,
                        int n_threads, fg_monitor *monitor, fg_statistics *out_statistics);
fg_status fg_em(const fg_shape *shape, const fg_data *data, fg_parameters *parameters, double tol,
                double reg_covar, int64_t max_iter, double previous_bound, int n_threads,
                fg_monitor *monitor, double *out_lower_bounds, int64_t *out_n_iter,
                int *out_converged, int64_t *out_component);
fg_status fg_score(const fg_shape *shape, const fg_data *data, const fg_parameters *parameters,
                   fg_want want, int n_threads, fg_monitor *monitor, void *out);

/* start */
fg_status fg_start_parameters(const fg_shape *shape, const fg_data *data, fg_start start,
                              uint64_t seed, double reg_covar, int n_threads, fg_monitor *monitor,
                              fg_parameters *out_parameters, int64_t *out_component);

#endif
