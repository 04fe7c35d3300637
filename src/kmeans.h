/* k-means, to start EM from. */
#ifndef FG_KMEANS_H
#define FG_KMEANS_H

#include "fusedgmm.h"

/* The means of K clusters: seeds from a sample of the rows, and where with_lloyd is set Lloyd's
 * iterations, there and on all rows. variance: of the data, the mean over the features. */
fg_status fg_kmeans(fg_context *context, const fg_shape *shape, int with_lloyd, double variance,
                    uint64_t *state, double *out_means);

#endif
