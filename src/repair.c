/* Repairs singular covariances and empty components. See repair.h.
 *
 * A covariance counts as singular if the variance of some feature, conditional on the features
 * before it, falls below a small fraction of the data's variance. These conditional variances are
 * the squares of the diagonal of the Cholesky factor. Such a covariance gets that fraction of the
 * data's variances added to its own. A component is empty if it has no rows left: it is reseeded at
 * the row that the mixture explains worst. */
#include "repair.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "covariance.h"
#include "factor.h"
#include "history.h"
#include "parallel.h"
#include "rows.h"
#include "step.h"

/* One thousandth of the data's standard deviation; a component is reseeded at most three times. */
static const double LEAST_SHARE = 1e-6;
enum { RESEEDINGS = 3 };

fg_status fg_repairer_open(fg_context *context, const fg_shape *shape, fg_repairer *out) {
    const size_t d = (size_t)shape->n_features, k_count = (size_t)shape->n_components;
    double *least = malloc(d * sizeof(double));
    *out = (fg_repairer){context, shape, least, calloc(k_count, sizeof(int))};
    if (!least || !out->reseedings)
        return FG_NO_MEMORY;
    const fg_status status = fg_variances(context, shape->n_features, least);
    if (status != FG_OK)
        return status;
    double mean = 0, varying = 0;
    for (size_t i = 0; i < d; i++)
        varying += least[i] > 0;
    for (size_t i = 0; i < d && varying > 0; i++)
        mean += least[i] / varying;
    for (size_t i = 0; i < d; i++) /* a constant column gets the mean variance of the others */
        least[i] = LEAST_SHARE * (least[i] > 0 ? least[i] : mean > 0 ? mean : 1);
    return status;
}

void fg_repairer_restart(fg_repairer *repairer) {
    memset(repairer->reseedings, 0, (size_t)repairer->shape->n_components * sizeof(int));
}

void fg_repairer_close(fg_repairer *repairer) {
    free(repairer->least_variance);
    free(repairer->reseedings);
}

/* ---- singular covariances ---- */

static double least_variance(const fg_repairer *r, int64_t i) {
    if (!fg_is_isotropic(r->shape))
        return r->least_variance[i];
    double mean = 0;
    for (int64_t j = 0; j < r->shape->n_features; j++)
        mean += r->least_variance[j] / (double)r->shape->n_features;
    return mean;
}

static int is_singular(const fg_repairer *r, const fg_covariance *part) {
    if (fg_covariance_factor(r->context, r->shape, part) != FG_OK)
        return 1;
    for (int64_t i = 0; i < part->n_variances; i++) {
        const double u = part->factor[i * part->step];
        if (u * u * least_variance(r, i) > 1)
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

/* FG_SINGULAR if it cannot be repaired because it is infinite or NaN. */
static fg_status floor_covariance(const fg_repairer *r, const fg_covariance *part) {
    fg_status status = FG_SINGULAR;
    /* rounding may leave a matrix slightly below the least variance */
    for (double times = 1; status != FG_OK && times < 1e6; times *= 2) {
        for (int64_t i = 0; i < part->n_variances; i++)
            part->covariance[i * part->step] += times * least_variance(r, i);
        status = fg_covariance_factor(r->context, r->shape, part);
    }
    return status == FG_OK ? FG_OK : FG_SINGULAR;
}

/* Every component is recorded only once, although it is repaired again in each iteration. */
static fg_status repair_covariances(const fg_repairer *r, int64_t iteration,
                                    const fg_parameters *parameters, fg_history *out_history) {
    const int64_t parts = fg_covariance_parts(r->shape);
    for (int64_t k = 0; k < parts; k++) {
        if (fg_parallel_poll_piece(k, fg_factor_work(r->shape), r->context->monitor))
            return FG_INTERRUPTED;
        if (!(parameters->weights[k] > 0) && parts > 1)
            continue;
        const fg_covariance part = fg_covariance_part(r->shape, parameters, k);
        if (!is_singular(r, &part))
            continue;
        const fg_repair repair = {FG_FLOORED, iteration, part.component, -1};
        if (!was_floored(out_history, part.component) &&
            !fg_history_add_repair(out_history, repair))
            return FG_NO_MEMORY;
        const fg_status status = floor_covariance(r, &part);
        if (status != FG_OK)
            return status;
    }
    return FG_OK;
}

/* ---- empty components ---- */

/* An empty component has no rows to estimate a covariance from, but every component needs one to
 * score rows: it gets the weighted mean of the others'. */
static fg_status pool_for_empty(const fg_repairer *r, const fg_parameters *parameters) {
    const fg_shape *shape = r->shape;
    for (int64_t k = 0; k < shape->n_components && !fg_is_shared(shape); k++) {
        if (parameters->weights[k] > 0)
            continue;
        const fg_covariance part = fg_covariance_part(shape, parameters, k);
        const double total =
            fg_pool_covariances(shape, parameters, r->context->monitor, part.covariance);
        for (int64_t i = 0; i < part.size; i++)
            part.covariance[i] /= total;
        const fg_status status = fg_covariance_factor(r->context, shape, &part);
        if (status != FG_OK)
            return status;
    }
    return FG_OK;
}

typedef struct {
    const fg_rows *rows;
    const fg_history *history;
    double least;
    int64_t row; /* -1: none */
} worst_row;

static int is_taken(const fg_history *history, int64_t row) {
    for (int64_t i = 0; i < history->n_repairs; i++)
        if (history->repairs[i].kind == FG_RESEEDED && history->repairs[i].row == row)
            return 1;
    return 0;
}

/* Keeps the row with the smallest log-likelihood, the first one in a tie, and skips rows that were
 * already used for reseeding. */
static void keep_worst(void *context, int64_t begin, int64_t end, const double *log_likelihood) {
    worst_row *worst = context;
    for (int64_t n = begin; n < end; n++)
        if (log_likelihood[n - begin] < worst->least && fg_rows_counts(worst->rows, n) &&
            !is_taken(worst->history, n)) {
            worst->least = log_likelihood[n - begin];
            worst->row = n;
        }
}

static fg_status reseed(fg_repairer *r, int64_t iteration, int64_t k, fg_parameters *parameters,
                        fg_history *out_history) {
    const int64_t d = r->shape->n_features, k_count = r->shape->n_components;
    worst_row worst = {r->context->rows, out_history, INFINITY, -1};
    fg_status status = fg_pass_visit(r->context, r->shape, parameters, keep_worst, &worst);
    if (status != FG_OK || worst.row < 0)
        return status;
    r->reseedings[k]++;
    const fg_repair repair = {FG_RESEEDED, iteration, k, worst.row};
    if (!fg_history_add_repair(out_history, repair))
        return FG_NO_MEMORY;
    status = fg_rows_copy(r->context->rows, &worst.row, 1, d, parameters->means + k * d);
    if (status != FG_OK)
        return status;
    const double share = 1 / (double)k_count;
    for (int64_t j = 0; j < k_count; j++)
        parameters->weights[j] *= 1 - share;
    parameters->weights[k] = share;
    return FG_OK;
}

fg_status fg_repair_parameters(fg_repairer *r, int64_t iteration, fg_parameters *parameters,
                               fg_history *out_history) {
    fg_status status = repair_covariances(r, iteration, parameters, out_history);
    if (status == FG_OK)
        status = pool_for_empty(r, parameters);
    if (fg_stopped(r->context->monitor)) /* a partial repair is invalid */
        status = FG_INTERRUPTED;
    for (int64_t k = 0; k < r->shape->n_components && status == FG_OK; k++)
        if (!(parameters->weights[k] > 0) && r->reseedings[k] < RESEEDINGS)
            status = reseed(r, iteration, k, parameters, out_history);
    return status;
}
