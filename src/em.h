/* The EM loop. */
#ifndef FG_EM_H
#define FG_EM_H

#include "accelerate.h"
#include "repair.h"
#include "step.h"

/* Iterates from the given parameters, in place, until convergence. result, and has_scatter of step,
 * are those of the iterations before, or zero. step: workspace for the fit's shape. repairer:
 * repairs after each iteration, or NULL. accelerator: extrapolates, or NULL. init: the number of
 * the start, for reports. */
fg_status fg_em(fg_step *step, const fg_fit_options *options, fg_repairer *repairer,
                fg_accelerator *accelerator, int64_t init, fg_parameters *parameters,
                fg_fit_result *result);

#endif
