/* The EM step, a pass plus its M step; and what a single pass tells about the rows. */
#ifndef FG_STEP_H
#define FG_STEP_H

#include "pass.h"

/* A pass, its M step, and their workspace. */
typedef struct {
    fg_pass pass, wide; /* wide: in double, for float data; opened when needed */
    fg_statistics statistics;
    fg_parameters next;        /* result of the M step */
    double *shift;             /* K x d */
    int has_scatter;           /* tied: sxx holds the scatter of the data about shift */
    fg_real_type scatter_type; /* arithmetic of that scatter */
    double *memory;
} fg_step;

fg_status fg_step_open(fg_context *context, const fg_shape *shape, fg_step *out);
void fg_step_close(fg_step *step);
/* The step of a start. If the shift of the first pass cost precision, a second pass takes the sums
 * about the new means. If float keeps too few digits of a covariance, the step is repeated in
 * double. */
fg_status fg_step_assign(fg_step *step, const fg_parameters *parameters, fg_assignment assignment,
                         uint64_t seed, const fg_m_step *options);
/* The same for an iteration of EM; iterations are counted from 1. All passes are in double if float
 * keeps too few digits of the parameters. */
fg_status fg_step_em(fg_step *step, const fg_parameters *parameters, int64_t iteration,
                     const fg_m_step *options);

/* The mean of the rows, and the average variance of the features, 1 if all variances are zero. */
fg_status fg_mean_and_variance(fg_context *context, int64_t n_features, double *out_mean,
                               double *out_variance);
/* The variance of every feature. */
fg_status fg_variances(fg_context *context, int64_t n_features, double *out_variances);
/* The log-likelihood summed over the weighted rows; not finite if a row is not finite or too far
 * from every component. */
fg_status fg_log_likelihood(fg_context *context, const fg_shape *shape,
                            const fg_parameters *parameters, double *out_total,
                            double *out_weight_sum);

#endif
