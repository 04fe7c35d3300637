/* Starting values for EM. */
#ifndef FG_START_H
#define FG_START_H

#include "step.h"

/* What all starts of one fit share. */
typedef struct {
    fg_context *context;
    fg_start start;
    double *centre;  /* d: the data's mean */
    double variance; /* averaged over the features */
    const double *records;
} fg_starter;

/* The part of a start that does not depend on the layout of covariances, so that fits can share it:
 * the variance and the means, 1 + K d doubles. Not for random responsibilities. seed: of the fit.
 */
static inline int64_t fg_start_record_size(const fg_shape *shape) {
    return 1 + shape->n_components * shape->n_features;
}
fg_status fg_start_record(fg_context *context, const fg_shape *shape, fg_start start, uint64_t seed,
                          int64_t init, double *out);

/* records: one per start, or NULL. Their values are the ones that would be computed otherwise. A
 * NaN stands for a record that does not exist. */
fg_status fg_starter_open(fg_context *context, const fg_shape *shape, fg_start start,
                          const double *records, fg_starter *out);
void fg_starter_close(fg_starter *starter);
/* Start number init of a fit with this seed. step: workspace for the fit's shape. */
fg_status fg_start_parameters(const fg_starter *starter, fg_step *step, uint64_t seed, int64_t init,
                              const fg_m_step *options, fg_parameters *out);

#endif
