/* The EM loop: step, repair, extrapolate, test for convergence. See em.h. */
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

/* ---- the stopping rules ---- */

/* What is still to be gained if the changes continue to shrink at the present rate: Aitken's
 * estimate of the limit (McLachlan & Krishnan 2008, section 4.9). */
static double still_to_gain(double change, double last_change) {
    const double rate = change / last_change;
    if (change == 0)
        return 0;
    if (!isfinite(last_change) || !(rate < 1))
        return INFINITY;
    return rate > 0 ? fabs(change) * rate / (1 - rate) : 0;
}

/* Adds the bound of a step. is_jump: the step before it was an extrapolation, whose gain says
 * little about that of an EM step. Returns whether the fit has converged. */
static int follow(double bound, int is_jump, const fg_fit_options *options, fg_fit_result *result) {
    const double change = bound - result->lower_bound, last_change = result->change;
    result->lower_bound = bound;
    result->change = is_jump ? INFINITY : change;
    return !is_jump && fabs(change) < options->tol &&
           (options->stopping == FG_STOP_CHANGE ||
            still_to_gain(change, last_change) < options->tol);
}

/* ---- the loop ---- */

static double bound_of(const fg_step *step) {
    return step->statistics.log_likelihood / step->statistics.weight_sum;
}

/* A trial must not lower the bound, lose a component or its covariance. */
static int is_accepted(const fg_step *step, fg_status status, int repairs, double last_bound,
                       const fg_parameters *parameters) {
    int has_lost = 0;
    for (int64_t k = 0; k < step->pass.shape->n_components; k++)
        has_lost |= parameters->weights[k] > 0 && !(step->next.weights[k] > 0);
    return (status == FG_OK || (status == FG_SINGULAR && repairs)) &&
           bound_of(step) >= last_bound && !has_lost;
}

fg_status fg_em(fg_step *step, const fg_fit_options *options, fg_repairer *repairer,
                fg_accelerator *accelerator, int64_t init, fg_parameters *parameters,
                fg_fit_result *result) {
    fg_monitor *monitor = step->pass.context->monitor;
    fg_history *history = &result->history;
    fg_status status = FG_OK;
    while (status == FG_OK && !result->converged && result->n_iter < options->max_iter &&
           !(monitor && monitor->finish)) {
        const int64_t iteration = result->n_iter + 1, repairs = history->n_repairs;
        const int is_trial = accelerator && accelerator->cycle->has_trial;
        status = fg_step_em(step, is_trial ? &accelerator->trial : parameters, iteration,
                            &options->m_step);
        result->n_passes++;
        if (is_trial && (status == FG_OK || status == FG_SINGULAR || status == FG_NOT_FINITE)) {
            const int accepted =
                is_accepted(step, status, repairer != NULL, result->lower_bound, parameters);
            fg_accelerator_judge(accelerator, accepted);
            if (!accepted) { /* continue from the parameters */
                if (status != FG_OK)
                    step->has_scatter = 0;
                status = FG_OK;
                continue;
            }
        }
        if (repairer && (status == FG_OK || status == FG_SINGULAR))
            status = fg_repair_parameters(repairer, iteration, &step->next, history);
        if (accelerator && !is_trial && status == FG_OK)
            status = fg_accelerator_add(accelerator, parameters, &step->next);
        if (status != FG_OK)
            break;
        advance(step->pass.shape, &step->next, parameters);
        const double bound = bound_of(step), change = bound - result->lower_bound;
        const int reseeded = has_reseeded(history, repairs);
        result->n_iter = iteration;
        /* this bound does not include a reseeded component yet */
        result->converged = follow(bound, is_trial, options, result) && !reseeded;
        if (reseeded) {
            result->change = INFINITY;
            if (accelerator)
                fg_accelerator_renew(accelerator);
        }
        if (!fg_history_add_bound(history, bound))
            status = FG_NO_MEMORY;
        if (monitor && monitor->report &&
            monitor->report(monitor->context, init, iteration, bound, change))
            status = FG_INTERRUPTED;
    }
    return status;
}
