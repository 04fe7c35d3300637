/* A pass over the rows, as the callers inside the core see it. */
#ifndef FG_EM_H
#define FG_EM_H

#include "kernels/kernels.h"
#include "repair.h"
#include "statistics.h"

/* Everything a pass works in, allocated once for many passes. */
typedef struct {
    const fg_shape *shape;
    const fg_data *data;
    fg_monitor *monitor;
    const fg_kernels *kernels;
    fg_real_type arithmetic;
    int n_threads;
    int64_t task_rows, n_tasks;
    double weight_scale; /* a power of two that makes the largest sample weight about one */
    double sums_scale;   /* 1: of a fit's sums only the ratios count, and these stay in range */
    fg_model model;
    void *memory; /* model | per thread: scratch, statistics */
    size_t model_bytes, scratch_bytes, thread_bytes;
} fg_pass;

/* What sample weights are multiplied by. */
double fg_weight_scale(const fg_data *data);
/* arithmetic: the real type to compute in, as a rule the data's own. */
fg_status fg_pass_open(const fg_shape *shape, const fg_data *data, fg_real_type arithmetic,
                       int n_threads, fg_monitor *monitor, fg_pass *out_pass);
void fg_pass_close(fg_pass *pass);
/* One pass. Sums that were not asked for keep what they hold. */
fg_status fg_pass_run(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                      const fg_shift_choice *choice, uint64_t seed, fg_sums sums,
                      fg_statistics *out_statistics);
/* One pass and its M step. Where the points of the first pass cost digits, once more about the new
 * means (about says which it was); where float sums are singular, once more in double.
 * shift: work, K x d. */
fg_status fg_pass_step(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                       uint64_t seed, fg_shift_choice *choice, fg_sums sums, double reg_covar,
                       fg_statistics *s, fg_parameters *out_next, double *shift,
                       int64_t *out_component);

/* Passes from the parameters on, in place, until they converge; repairer: NULL, or mends. */
fg_status fg_em(const fg_shape *shape, const fg_data *data, const fg_fit_options *options,
                int64_t init, fg_repairer *repairer, int n_threads, fg_monitor *monitor,
                fg_parameters *parameters, fg_history *out_history, fg_fit_result *result);
/* The weighted sum over the rows; not finite where a row is not, or beyond every component. */
fg_status fg_log_likelihood(const fg_shape *shape, const fg_data *data,
                            const fg_parameters *parameters, int n_threads, fg_monitor *monitor,
                            double *out_total, double *out_weight_sum);

#endif
