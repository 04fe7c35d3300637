/* Repairs singular covariances and empty components, relative to the data's own scale. */
#ifndef FG_REPAIR_H
#define FG_REPAIR_H

#include "fusedgmm.h"

/* What the repairs of one fit need to know of its data. */
typedef struct {
    fg_context *context;
    const fg_shape *shape;
    double *least_variance; /* d: of a component, given what the features before say */
    int *reseedings;        /* K: how often each was given a new place */
} fg_repairer;

fg_status fg_repairer_open(fg_context *context, const fg_shape *shape, fg_repairer *out);
void fg_repairer_restart(fg_repairer *repairer); /* for another start */
void fg_repairer_close(fg_repairer *repairer);
/* Repairs the parameters in place, precisions' factors included, and appends what was done. Where
 * nothing was to be done, they do not change by a bit. FG_SINGULAR where a covariance cannot be
 * repaired. */
fg_status fg_repair_parameters(fg_repairer *repairer, int64_t iteration, fg_parameters *parameters,
                               fg_history *out_history);

#endif
