/* Components that collapse or die, mended relative to the data's own scale. See repair.h.
 *
 * A component has collapsed where some feature's variance, given the features before it, falls
 * below a small part of the data's: the squares of the Cholesky factor's diagonal. It gets that
 * part of the data's variances added to its own. A component has died where no row is left to it:
 * it starts again at the row that the mixture explains worst. */
#include "repair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "history.h"
#include "parallel.h"
#include "start.h"

/* A deviation of a thousandth of the data's; a dead component may come back three times. */
static const double LEAST_SHARE = 1e-6;
enum { RESEEDINGS = 3, CHUNK = 4096 };

fg_status fg_repairer_open(const fg_shape *shape, const fg_data *data, int n_threads,
                           fg_monitor *monitor, fg_repairer *out) {
    const size_t d = (size_t)shape->n_features, k_count = (size_t)shape->n_components;
    out->floor = malloc(d * sizeof(double));
    out->reseedings = calloc(k_count, sizeof(int));
    if (!out->floor || !out->reseedings)
        return FG_NO_MEMORY;
    const fg_status status = fg_variances(data, shape->n_features, n_threads, monitor, out->floor);
    if (status != FG_OK)
        return status;
    double mean = 0, varying = 0;
    for (size_t i = 0; i < d; i++)
        varying += out->floor[i] > 0;
    for (size_t i = 0; i < d && varying > 0; i++)
        mean += out->floor[i] / varying;
    for (size_t i = 0; i < d; i++) /* a constant column is as wide as the others */
        out->floor[i] = LEAST_SHARE * (out->floor[i] > 0 ? out->floor[i] : mean > 0 ? mean : 1);
    return status;
}

void fg_repairer_restart(const fg_shape *shape, fg_repairer *repairer) {
    memset(repairer->reseedings, 0, (size_t)shape->n_components * sizeof(int));
}

void fg_repairer_close(fg_repairer *repairer) {
    free(repairer->floor);
    free(repairer->reseedings);
}

/* Of part k of the covariances (tied: the only one), in the layout of its type. */
typedef struct {
    double *covariance, *factor;
    int64_t width, diagonal; /* entries of the diagonal, and elements from one to the next */
} part;

static part part_of(const fg_shape *shape, const fg_parameters *p, int64_t k) {
    const int64_t d = shape->n_features;
    const int matrix = shape->layout == FG_FULL || shape->layout == FG_TIED;
    const int64_t width = shape->layout == FG_SPHERICAL ? 1 : d;
    const int64_t size = matrix ? d * d : width, at = shape->layout == FG_TIED ? 0 : k * size;
    return (part){p->covariances + at, p->precisions_cholesky + at, width, matrix ? d + 1 : 1};
}

static double floor_of(const fg_shape *shape, const fg_repairer *repairer, int64_t i) {
    if (shape->layout != FG_SPHERICAL)
        return repairer->floor[i];
    double mean = 0;
    for (int64_t j = 0; j < shape->n_features; j++)
        mean += repairer->floor[j] / (double)shape->n_features;
    return mean;
}

/* 0: not positive definite, or the user stops it. */
static int factorise(const fg_shape *shape, const part *p, fg_monitor *monitor) {
    const fg_shape one = {1, shape->n_features, shape->layout};
    int64_t component;
    return fg_precision_cholesky(&one, p->covariance, monitor, p->factor, &component) == FG_OK;
}

static int has_collapsed(const fg_shape *shape, const fg_repairer *repairer, fg_monitor *monitor,
                         const part *p) {
    if (!factorise(shape, p, monitor))
        return 1;
    for (int64_t i = 0; i < p->width; i++) {
        const double u = p->factor[i * p->diagonal];
        if (u * u * floor_of(shape, repairer, i) > 1)
            return 1;
    }
    return 0;
}

static int was_floored(const fg_history *history, int64_t component) {
    for (int64_t i = 0; i < history->n_repairs; i++)
        if (history->repairs[i].kind == FG_FLOORED && history->repairs[i].component == component)
            return 1;
    return 0;
}

/* The weighted mean of the living components' covariances, into component k, which is dead. */
static void pool_covariance(const fg_shape *shape, const fg_parameters *parameters, int64_t k,
                            fg_monitor *monitor) {
    const size_t size = fg_covariance_count(shape) / (size_t)shape->n_components;
    double *to = parameters->covariances + (size_t)k * size, total = 0;
    memset(to, 0, size * sizeof(double));
    for (int64_t j = 0; j < shape->n_components; j++) {
        if (fg_parallel_poll_piece(j, (int64_t)size, monitor))
            return;
        if (!(parameters->weights[j] > 0))
            continue;
        total += parameters->weights[j];
        for (size_t i = 0; i < size; i++)
            to[i] += parameters->weights[j] * parameters->covariances[(size_t)j * size + i];
    }
    for (size_t i = 0; i < size; i++)
        to[i] /= total;
}

/* Recorded once for each component: it is mended again in every iteration. FG_SINGULAR: it cannot
 * be mended, for it is infinite or no number. */
static fg_status mend_collapsed(const fg_shape *shape, const fg_repairer *repairer,
                                int64_t iteration, fg_monitor *monitor,
                                const fg_parameters *parameters, fg_history *out_history,
                                int64_t *out_component) {
    const int64_t parts = shape->layout == FG_TIED ? 1 : shape->n_components;
    for (int64_t k = 0; k < parts; k++) {
        if (fg_parallel_poll_piece(k, 0, monitor))
            return FG_INTERRUPTED;
        const part p = part_of(shape, parameters, k);
        if (!(parameters->weights[k] > 0) && parts > 1)
            continue;
        if (!has_collapsed(shape, repairer, monitor, &p))
            continue;
        const int64_t component = shape->layout == FG_TIED ? -1 : k;
        const fg_repair repair = {FG_FLOORED, iteration, component, -1};
        if (!was_floored(out_history, component) && !fg_history_add_repair(out_history, repair))
            return FG_NO_MEMORY;
        /* rounding may leave a matrix short of its floor, by little */
        int mended = 0;
        for (double times = 1; !mended && times < 1e6; times *= 2) {
            for (int64_t i = 0; i < p.width; i++)
                p.covariance[i * p.diagonal] += times * floor_of(shape, repairer, i);
            mended = factorise(shape, &p, monitor);
        }
        if (!mended) {
            *out_component = component;
            return FG_SINGULAR;
        }
    }
    return FG_OK;
}

/* A dead component has no rows to take a width from, and without one no row could be scored. */
static fg_status widen_dead(const fg_shape *shape, const fg_parameters *parameters,
                            fg_monitor *monitor, int64_t *out_component) {
    for (int64_t k = 0; k < shape->n_components && shape->layout != FG_TIED; k++) {
        if (parameters->weights[k] > 0)
            continue;
        pool_covariance(shape, parameters, k, monitor);
        const part p = part_of(shape, parameters, k);
        if (!factorise(shape, &p, monitor)) {
            *out_component = k;
            return FG_SINGULAR;
        }
    }
    return FG_OK;
}

static int is_taken(const fg_history *history, int64_t row) {
    for (int64_t i = 0; i < history->n_repairs; i++)
        if (history->repairs[i].kind == FG_RESEEDED && history->repairs[i].row == row)
            return 1;
    return 0;
}

/* The row of least log-likelihood, the first of several; not one that was taken before. -1: none.
 */
static fg_status worst_row(const fg_shape *shape, const fg_data *data,
                           const fg_parameters *parameters, int n_threads, fg_monitor *monitor,
                           const fg_history *history, int64_t *out_row) {
    const int64_t size = data->real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
    void *buffer = malloc(CHUNK * sizeof(double));
    double least = INFINITY;
    fg_status status = buffer ? FG_OK : FG_NO_MEMORY;
    *out_row = -1;
    for (int64_t n = 0; n < data->n_rows && status == FG_OK; n += CHUNK) {
        fg_data chunk = *data;
        chunk.x = (const char *)data->x + n * data->row_stride * size;
        chunk.n_rows = data->n_rows - n < CHUNK ? data->n_rows - n : CHUNK;
        chunk.sample_weight = NULL;
        status = fg_score(shape, &chunk, parameters, FG_OUTPUT_LOG_LIKELIHOOD, n_threads, monitor,
                          buffer);
        for (int64_t i = 0; i < chunk.n_rows && status == FG_OK; i++) {
            const double value = data->real_type == FG_FLOAT32 ? (double)((float *)buffer)[i]
                                                               : ((double *)buffer)[i];
            const int counts = !data->sample_weight || data->sample_weight[n + i] > 0;
            if (value < least && counts && !is_taken(history, n + i)) {
                least = value;
                *out_row = n + i;
            }
        }
    }
    free(buffer);
    return status;
}

static fg_status reseed(const fg_shape *shape, const fg_data *data, fg_repairer *repairer,
                        int64_t iteration, int64_t k, int n_threads, fg_monitor *monitor,
                        fg_parameters *parameters, fg_history *out_history) {
    const int64_t d = shape->n_features, k_count = shape->n_components;
    int64_t row;
    const fg_status status =
        worst_row(shape, data, parameters, n_threads, monitor, out_history, &row);
    if (status != FG_OK || row < 0)
        return status;
    repairer->reseedings[k]++;
    if (!fg_history_add_repair(out_history, (fg_repair){FG_RESEEDED, iteration, k, row}))
        return FG_NO_MEMORY;
    for (int64_t j = 0; j < d; j++)
        parameters->means[k * d + j] = fg_data_value(data, row, j);
    const double share = 1 / (double)k_count;
    for (int64_t j = 0; j < k_count; j++)
        parameters->weights[j] *= 1 - share;
    parameters->weights[k] = share;
    return FG_OK;
}

fg_status fg_repair_parameters(const fg_shape *shape, const fg_data *data, fg_repairer *repairer,
                               int64_t iteration, int n_threads, fg_monitor *monitor,
                               fg_parameters *parameters, fg_history *out_history,
                               int64_t *out_component) {
    fg_status status =
        mend_collapsed(shape, repairer, iteration, monitor, parameters, out_history, out_component);
    if (status == FG_OK)
        status = widen_dead(shape, parameters, monitor, out_component);
    if (monitor && monitor->stopped) /* what was half mended is worthless */
        status = FG_INTERRUPTED;
    for (int64_t k = 0; k < shape->n_components && status == FG_OK; k++)
        if (!(parameters->weights[k] > 0) && repairer->reseedings[k] < RESEEDINGS)
            status = reseed(shape, data, repairer, iteration, k, n_threads, monitor, parameters,
                            out_history);
    return status;
}
