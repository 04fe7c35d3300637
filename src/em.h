/* The loop of EM. */
#ifndef FG_EM_H
#define FG_EM_H

#include "pass.h"
#include "repair.h"

/* Iterates from the parameters on, in place, until they converge. step: of the fit's shape, to work
 * in; repairer: NULL, or repairs after each iteration. init: the start's number, for reports. */
fg_status fg_em(fg_step *step, const fg_fit_options *options, fg_repairer *repairer, int64_t init,
                fg_parameters *parameters, fg_fit_result *result);

#endif
