/* A complete fit: starts, EM iterations until convergence, and the best of several starts. A fit
 * fails with a singular covariance only if all its starts do. */
#include <math.h>

#include "em.h"
#include "memory.h"
#include "parameters.h"
#include "repair.h"
#include "start.h"
#include "statistics.h"

/* A later start must be better by this many nats per row, so that rounding does not decide between
 * two starts that reach the same optimum. */
static const double MARGIN = 1e-6;

/* What the starts of one fit share. */
typedef struct {
    fg_context *context;
    const fg_shape *shape;
    const fg_fit_options *options;
    const fg_parameters *given;
    fg_step step;
    fg_starter starter;    /* unused if all parameters are given */
    fg_repairer *repairer; /* or NULL */
} fit;

static int all_are_given(const fg_parameters *given) {
    return given->weights && given->means && given->precisions_cholesky;
}

/* One start and its iterations. */
static fg_status fit_once(fit *f, uint64_t seed, int64_t init, fg_parameters *parameters,
                          fg_fit_result *result) {
    fg_status status = FG_OK;
    if (!all_are_given(f->given))
        status =
            fg_start_parameters(&f->starter, &f->step, seed, init, &f->options->m_step, parameters);
    if (status == FG_SINGULAR && f->given->precisions_cholesky) /* not needed from the start */
        status = FG_OK;
    fg_parameters_copy(f->shape, f->given, parameters);
    if (f->repairer && (status == FG_OK || status == FG_SINGULAR)) {
        fg_repairer_restart(f->repairer);
        status = fg_repair_parameters(f->repairer, 0, parameters, &result->history);
    }
    if (status == FG_OK && f->options->max_iter > 0)
        status = fg_em(&f->step, f->options, f->repairer, init, parameters, result);
    return status;
}

/* The best of several starts. */
static fg_status fit_all(fit *f, uint64_t seed, fg_parameters *trial, fg_parameters *out_parameters,
                         fg_fit_result *out_result) {
    const double before = out_result->lower_bound;
    fg_monitor *monitor = f->context->monitor;
    fg_status status = FG_OK;
    int64_t kept = 0, failed = 0, first_singular = -1;
    for (int64_t init = 0; status == FG_OK && init < f->options->n_init; init++) {
        fg_fit_result result = {.lower_bound = before};
        if (monitor && monitor->report &&
            monitor->report(monitor->context, init, 0, before, INFINITY))
            status = FG_INTERRUPTED;
        if (status == FG_OK)
            status = fit_once(f, seed, init, trial, &result);
        const int is_singular = status == FG_SINGULAR; /* another start may succeed */
        if (is_singular) {
            first_singular = failed++ ? first_singular : f->context->singular_component;
            status = FG_OK;
        }
        if (!is_singular && (kept == 0 || result.lower_bound > out_result->lower_bound + MARGIN)) {
            kept++;
            if (trial != out_parameters)
                fg_parameters_copy(f->shape, trial, out_parameters);
            fg_history_free(&out_result->history);
            *out_result = result;
        } else
            fg_history_free(&result.history);
    }
    if (status == FG_OK && kept == 0) {
        f->context->singular_component = first_singular;
        status = FG_SINGULAR;
    }
    return status;
}

fg_status fg_fit(fg_context *context, const fg_shape *shape, const fg_fit_options *options,
                 const fg_parameters *given, uint64_t seed, fg_parameters *out_parameters,
                 fg_fit_result *out_result) {
    if (!fg_shape_is_countable(shape))
        return FG_NO_MEMORY;
    fit f = {.context = context, .shape = shape, .options = options, .given = given};
    fg_repairer repairer = {0};
    fg_parameters trial = *out_parameters;
    double *memory = NULL;
    fg_status status = fg_step_open(context, shape, &f.step);
    if (status == FG_OK && options->n_init > 1) {
        memory = fg_doubles(fg_parameters_count(shape));
        trial = fg_parameters_in(shape, memory);
        status = memory ? FG_OK : FG_NO_MEMORY;
    }
    if (status == FG_OK && options->repair) {
        f.repairer = &repairer;
        status = fg_repairer_open(context, shape, &repairer);
    }
    if (status == FG_OK && !all_are_given(given))
        status = fg_starter_open(context, shape, options->start, options->records, &f.starter);
    if (status == FG_OK)
        status = fit_all(&f, seed, memory ? &trial : out_parameters, out_parameters, out_result);
    fg_starter_close(&f.starter);
    fg_repairer_close(&repairer);
    fg_step_close(&f.step);
    fg_release(memory);
    return status;
}
