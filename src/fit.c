/* A whole fit: a start, passes until they converge, and the best of several starts. A start that
 * ends in a singular covariance fails the fit only where all do. */
#include <math.h>

#include "em.h"
#include "memory.h"
#include "parameters.h"
#include "repair.h"
#include "start.h"
#include "statistics.h"

/* A later start must be better by this, in nats a row: of two that end in one optimum, rounding
 * should not choose. */
static const double MARGIN = 1e-6;

/* One start, and its passes. */
static fg_status fit_once(const fg_shape *shape, const fg_data *data, const fg_fit_options *options,
                          const fg_parameters *given, uint64_t seed, int64_t init,
                          fg_repairer *repairer, int n_threads, fg_monitor *monitor,
                          fg_parameters *parameters, fg_history *out_history,
                          fg_fit_result *result) {
    const int all_given = given->weights && given->means && given->precisions_cholesky;
    fg_status status = FG_OK;
    if (!all_given)
        status = fg_start_parameters(shape, data, options->start, fg_random(seed, (uint64_t)init),
                                     options->reg_covar, n_threads, monitor, parameters,
                                     &result->component);
    if (status == FG_SINGULAR && given->precisions_cholesky) /* the start's own are not needed */
        status = FG_OK;
    fg_parameters_copy(shape, given, parameters);
    if (repairer && (status == FG_OK || status == FG_SINGULAR)) {
        fg_repairer_restart(shape, repairer);
        status = fg_repair_parameters(shape, data, repairer, 0, n_threads, monitor, parameters,
                                      out_history, &result->component);
    }
    if (status == FG_OK && options->max_iter > 0)
        status = fg_em(shape, data, options, init, repairer, n_threads, monitor, parameters,
                       out_history, result);
    return status;
}

fg_status fg_fit(const fg_shape *shape, const fg_data *data, const fg_fit_options *options,
                 const fg_parameters *given, uint64_t seed, int n_threads, fg_monitor *monitor,
                 fg_parameters *out_parameters, fg_history *out_history,
                 fg_fit_result *out_result) {
    const double before = out_result->lower_bound;
    double *memory = NULL;
    if (!fg_shape_is_countable(shape))
        return FG_NO_MEMORY;
    fg_parameters trial = *out_parameters;
    if (options->n_init > 1) {
        memory = fg_doubles(fg_parameters_count(shape));
        if (!memory)
            return FG_NO_MEMORY;
        trial = fg_parameters_in(shape, memory);
    }
    fg_repairer repairer = {NULL, NULL};
    fg_status status = FG_OK;
    if (options->repair)
        status = fg_repairer_open(shape, data, n_threads, monitor, &repairer);
    fg_fit_result first_failure;
    int64_t kept = 0, failed = 0;
    for (int64_t init = 0; status == FG_OK && init < options->n_init; init++) {
        fg_fit_result result = {.lower_bound = before};
        fg_history history = {0};
        if (monitor && monitor->report &&
            monitor->report(monitor->context, init, 0, before, INFINITY))
            status = FG_INTERRUPTED;
        if (status == FG_OK)
            status = fit_once(shape, data, options, given, seed, init,
                              options->repair ? &repairer : NULL, n_threads, monitor, &trial,
                              &history, &result);
        const int collapsed = status == FG_SINGULAR; /* which another start need not */
        if (collapsed) {
            first_failure = failed++ ? first_failure : result;
            status = FG_OK;
        }
        if (!collapsed && (kept == 0 || result.lower_bound > out_result->lower_bound + MARGIN)) {
            kept++;
            *out_result = result;
            if (memory)
                fg_parameters_copy(shape, &trial, out_parameters);
            fg_history_free(out_history);
            *out_history = history;
        } else
            fg_history_free(&history);
    }
    if (status == FG_OK && kept == 0) {
        *out_result = first_failure;
        status = FG_SINGULAR;
    }
    fg_repairer_close(&repairer);
    fg_release(memory);
    return status;
}
