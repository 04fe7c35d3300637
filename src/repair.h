/* Repairs singular covariances and empty components, relative to the data's own scale. */
#ifndef FG_REPAIR_H
#define FG_REPAIR_H

#include "fusedgmm.h"

/* What the repairs of one fit need to know about its data. */
typedef struct {
    fg_context *context;
    const fg_shape *shape;
    double *least_variance; /* d: least conditional variance of each feature */
    int *reseedings;        /* K: how often each component was reseeded */
} fg_repairer;

fg_status fg_repairer_open(fg_context *context, const fg_shape *shape, fg_repairer *out);
void fg_repairer_restart(fg_repairer *repairer); /* for the next start */
void fg_repairer_close(fg_repairer *repairer);
/* Repairs the parameters in place, including the precision factors, and appends the repairs to the
 * history. Without a repair, the parameters do not change (bit for bit). FG_SINGULAR if a
 * covariance cannot be repaired. */
fg_status fg_repair_parameters(fg_repairer *repairer, int64_t iteration, fg_parameters *parameters,
                               fg_history *out_history);

#endif
