/* Components that collapse or die, mended relative to the data's own scale. */
#ifndef FG_REPAIR_H
#define FG_REPAIR_H

#include "fusedgmm.h"

/* What the repairs of one fit need to know of its data. */
typedef struct {
    double *floor;   /* d: the least variance of a component, given what the other features say */
    int *reseedings; /* K: how often each was given a new place */
} fg_repairer;

fg_status fg_repairer_open(const fg_shape *shape, const fg_data *data, int n_threads,
                           fg_monitor *monitor, fg_repairer *out);
void fg_repairer_restart(const fg_shape *shape, fg_repairer *repairer); /* for another start */
void fg_repairer_close(fg_repairer *repairer);
/* Mends the parameters in place, precisions' factors included, and appends what was done. Where
 * nothing was to be done, they keep their bits. FG_SINGULAR where a component is past mending. */
fg_status fg_repair_parameters(const fg_shape *shape, const fg_data *data, fg_repairer *repairer,
                               int64_t iteration, int n_threads, fg_monitor *monitor,
                               fg_parameters *parameters, fg_history *out_history,
                               int64_t *out_component);

#endif
