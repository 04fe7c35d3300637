/* Starting values for EM: k-means, k-means++, rows of the data, random responsibilities. See
 * start.h. */
#include "start.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "covariance.h"
#include "factor.h"
#include "kmeans.h"
#include "memory.h"
#include "parallel.h"
#include "parameters.h"
#include "random.h"
#include "rows.h"

fg_status fg_starter_open(fg_context *context, const fg_shape *shape, fg_start start,
                          const double *records, fg_starter *out) {
    *out = (fg_starter){context, start, fg_doubles((size_t)shape->n_features), 1, records};
    if (!out->centre)
        return FG_NO_MEMORY;
    if (records && !isnan(records[0])) { /* only random responsibilities need the centre */
        out->variance = records[0];
        return FG_OK;
    }
    return fg_mean_and_variance(context, shape->n_features, out->centre, &out->variance);
}

void fg_starter_close(fg_starter *starter) { fg_release(starter->centre); }

/* Draws K distinct rows, with probability proportional to their weights. */
static fg_status draw_rows(const fg_starter *starter, const fg_shape *shape, uint64_t *state,
                           double *out_means) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const fg_context *context = starter->context;
    int64_t *drawn = malloc((size_t)k_count * sizeof *drawn);
    if (!drawn)
        return FG_NO_MEMORY;
    fg_status status = fg_rows_draw(context->rows, k_count, state, context->monitor, drawn);
    if (status == FG_OK)
        status = fg_rows_copy(context->rows, drawn, k_count, d, out_means);
    free(drawn);
    return status;
}

static fg_status choose_means(const fg_starter *starter, const fg_shape *shape, uint64_t *state,
                              double *out) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    switch (starter->start) {
    case FG_START_DATA: return draw_rows(starter, shape, state, out);
    case FG_START_RANDOM:
        for (int64_t k = 0; k < k_count; k++)
            memcpy(out + k * d, starter->centre, (size_t)d * sizeof(double));
        return FG_OK;
    default:
        return fg_kmeans(starter->context, shape, starter->start == FG_START_KMEANS,
                         starter->variance, state, out);
    }
}

/* Restores the given means, sets equal weights, and gives every component the same covariance: that
 * of the rows about their nearest mean, pooled over the components. */
static fg_status pool(fg_context *context, const fg_shape *shape, const double *means,
                      double reg_covar, fg_parameters *p) {
    const int64_t k_count = shape->n_components, parts = fg_covariance_parts(shape);
    memcpy(p->means, means, (size_t)(k_count * shape->n_features) * sizeof(double));
    const size_t bytes = (size_t)fg_covariance_part(shape, p, 0).size * sizeof(double);
    if (!fg_is_shared(shape))
        fg_pool_covariances(shape, p, context->monitor, p->covariances);
    if (fg_stopped(context->monitor)) /* the sum is partial */
        return FG_INTERRUPTED;
    for (int64_t k = 0; k < parts; k++) {
        if (fg_parallel_poll_piece(k, (int64_t)(bytes / sizeof(double)), context->monitor))
            return FG_INTERRUPTED;
        const fg_covariance part = fg_covariance_part(shape, p, k);
        if (k > 0)
            memcpy(part.covariance, p->covariances, bytes);
        else
            for (int64_t i = 0; i < part.n_variances; i++)
                part.covariance[i * part.step] += reg_covar;
    }
    for (int64_t k = 0; k < k_count; k++)
        p->weights[k] = 1 / (double)k_count;
    return fg_precision_cholesky(context, shape, p);
}

/* One pass with hard or random responsibilities about the means, followed by its M step. */
static fg_status assign(const fg_starter *starter, fg_step *step, const double *means,
                        uint64_t seed, const fg_m_step *options) {
    const fg_shape *shape = step->pass.shape;
    fg_monitor *monitor = starter->context->monitor;
    double *memory = fg_doubles(fg_parameters_count(shape));
    if (!memory)
        return FG_NO_MEMORY;
    fg_parameters spheres = fg_parameters_in(shape, memory);
    memcpy(spheres.means, means,
           (size_t)(shape->n_components * shape->n_features) * sizeof(double));
    fg_set_spheres(shape, sqrt(starter->variance), monitor, &spheres);
    const fg_status status = fg_step_assign(
        step, &spheres, starter->start == FG_START_RANDOM ? FG_RANDOM : FG_NEAREST, seed, options);
    fg_release(memory);
    return status;
}

fg_status fg_start_record(fg_context *context, const fg_shape *shape, fg_start start, uint64_t seed,
                          int64_t init, double *out) {
    uint64_t state = fg_random(seed, (uint64_t)init);
    fg_starter starter;
    fg_status status = fg_starter_open(context, shape, start, NULL, &starter);
    if (status == FG_OK)
        status = choose_means(&starter, shape, &state, out + 1);
    out[0] = starter.variance;
    fg_starter_close(&starter);
    return status;
}

fg_status fg_start_parameters(const fg_starter *starter, fg_step *step, uint64_t seed, int64_t init,
                              const fg_m_step *options, fg_parameters *out) {
    const fg_shape *shape = step->pass.shape;
    const fg_m_step bare = {.reg_covar = 0};
    const int pooled = starter->start == FG_START_KMEANS_PP || starter->start == FG_START_DATA;
    const uint64_t own_seed = fg_random(seed, (uint64_t)init);
    uint64_t state = own_seed;
    const int64_t size = fg_start_record_size(shape);
    const double *record = starter->records ? starter->records + init * size : NULL;
    double *means = fg_doubles((size_t)(size - 1));
    if (!means)
        return FG_NO_MEMORY;
    fg_status status = FG_OK;
    if (record && !isnan(record[0]))
        memcpy(means, record + 1, (size_t)(size - 1) * sizeof(double));
    else
        status = choose_means(starter, shape, &state, means);
    if (status == FG_OK) {
        status = assign(starter, step, means, own_seed, pooled ? &bare : options);
        if (status == FG_OK || status == FG_SINGULAR)
            fg_parameters_copy(shape, &step->next, out);
        if (pooled && (status == FG_OK || status == FG_SINGULAR))
            status = pool(starter->context, shape, means, options->reg_covar, out);
    }
    fg_release(means);
    return status;
}
