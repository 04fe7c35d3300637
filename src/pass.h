/* One pass over the rows, which yields sums or scores; and the EM step, a pass plus its M step. */
#ifndef FG_PASS_H
#define FG_PASS_H

#include "kernels/kernels.h"
#include "run.h"

/* The workspace of a pass, allocated once for many passes. */
typedef struct {
    fg_context *context;
    const fg_shape *shape;
    const fg_kernels *kernels;
    fg_real_type arithmetic;
    int64_t n_tasks, task_rows;
    int n_threads;
    double sums_scale; /* 1 in a fit: only ratios of sums matter, and they stay in range */
    double *shares;    /* K: approximate shares of the rows; see fg_model */
    fg_run *run;
} fg_pass;

/* arithmetic: the real type to compute in, usually that of the data. */
fg_status fg_pass_open(fg_context *context, const fg_shape *shape, fg_real_type arithmetic,
                       fg_pass *out);
void fg_pass_close(fg_pass *pass);
/* Sums that are not requested are left unchanged. seed: for random assignments. */
fg_status fg_pass_run(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                      const fg_shift_choice *choice, uint64_t seed, fg_sums sums,
                      fg_statistics *out);

/* Called with the log-likelihood of each row of a task, as double; tasks come in order. */
typedef void (*fg_visit)(void *context, int64_t begin, int64_t end, const double *log_likelihood);
/* Scores all rows and passes the scores to visit, without storing them. */
fg_status fg_pass_visit(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                        fg_visit visit, void *visitor);

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
