/* Starting values for EM. */
#ifndef FG_START_H
#define FG_START_H

#include "pass.h"

/* What all starts of one fit share. */
typedef struct {
    fg_context *context;
    fg_start start;
    double *centre;  /* d: the data's mean */
    double variance; /* averaged over the features */
} fg_starter;

fg_status fg_starter_open(fg_context *context, const fg_shape *shape, fg_start start,
                          fg_starter *out);
void fg_starter_close(fg_starter *starter);
/* step: workspace for the fit's shape. */
fg_status fg_start_parameters(const fg_starter *starter, fg_step *step, uint64_t seed,
                              const fg_m_step *options, fg_parameters *out);

#endif
