/* The EM loop: step, repair, test for convergence. See em.h. */
#include "em.h"

#include <math.h>
#include <string.h>

#include "covariance.h"
#include "history.h"

static int has_reseeded(const fg_history *history, int64_t since) {
    for (int64_t i = since; i < history->n_repairs; i++)
        if (history->repairs[i].kind == FG_RESEEDED)
            return 1;
    return 0;
}

/* Copies next into parameters. An empty component keeps its mean. */
static void advance(const fg_shape *shape, const fg_parameters *next, fg_parameters *parameters) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const size_t covariances = fg_covariance_count(shape) * sizeof(double);
    memcpy(parameters->weights, next->weights, (size_t)k_count * sizeof(double));
    for (int64_t k = 0; k < k_count; k++)
        if (next->weights[k] > 0)
            memcpy(parameters->means + k * d, next->means + k * d, (size_t)d * sizeof(double));
    memcpy(parameters->covariances, next->covariances, covariances);
    memcpy(parameters->precisions_cholesky, next->precisions_cholesky, covariances);
}

fg_status fg_em(fg_step *step, const fg_fit_options *options, fg_repairer *repairer, int64_t init,
                fg_parameters *parameters, fg_fit_result *result) {
    fg_monitor *monitor = step->pass.context->monitor;
    fg_history *history = &result->history;
    fg_status status = FG_OK;
    double previous = result->lower_bound;
    while (status == FG_OK && !result->converged && result->n_iter < options->max_iter &&
           !(monitor && monitor->finish)) {
        const int64_t iteration = result->n_iter + 1, repairs = history->n_repairs;
        status = fg_step_em(step, parameters, iteration, &options->m_step);
        if (repairer && (status == FG_OK || status == FG_SINGULAR))
            status = fg_repair_parameters(repairer, iteration, &step->next, history);
        if (status != FG_OK)
            break;
        advance(step->pass.shape, &step->next, parameters);
        const double bound = step->statistics.log_likelihood / step->statistics.weight_sum;
        const double change = bound - previous;
        result->lower_bound = previous = bound;
        result->n_iter = iteration;
        /* this bound does not include a reseeded component yet */
        result->converged = fabs(change) < options->tol && !has_reseeded(history, repairs);
        if (!fg_history_add_bound(history, bound))
            status = FG_NO_MEMORY;
        if (monitor && monitor->report &&
            monitor->report(monitor->context, init, iteration, bound, change))
            status = FG_INTERRUPTED;
    }
    return status;
}
