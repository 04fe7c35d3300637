/* k-means, as a start for EM. */
#ifndef FG_KMEANS_H
#define FG_KMEANS_H

#include "fusedgmm.h"

/* Computes the means of K clusters: seeds from a sample of the rows and, if with_lloyd is set,
 * Lloyd's iterations on the sample and then on all rows. variance: the variance of the data,
 * averaged over the features. */
fg_status fg_kmeans(fg_context *context, const fg_shape *shape, int with_lloyd, double variance,
                    uint64_t *state, double *out_means);

#endif
