/* Where EM begins. */
#ifndef FG_START_H
#define FG_START_H

#include "fusedgmm.h"

fg_status fg_start_parameters(const fg_shape *shape, const fg_data *data, fg_start start,
                              uint64_t seed, double reg_covar, int n_threads, fg_monitor *monitor,
                              fg_parameters *out_parameters, int64_t *out_component);
/* Of the data's features, d of them. */
fg_status fg_variances(const fg_data *data, int64_t d, int n_threads, fg_monitor *monitor,
                       double *out_variances);

#endif
