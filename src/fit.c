/* A complete fit: starts, EM iterations until convergence, and the best of several starts. A fit
 * fails with a singular covariance only if all its starts do. */
#include <math.h>
#include <string.h>

#include "em.h"
#include "history.h"
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
    fg_starter starter;          /* unused if all parameters are given */
    fg_repairer *repairer;       /* or NULL */
    fg_accelerator *accelerator; /* or NULL */
    fg_fit_state state;
} fit;

static int all_are_given(const fg_parameters *given) {
    return given->weights && given->means && given->precisions_cholesky;
}

/* Copies the record of a start. */
static int copy_result(const fg_fit_result *from, fg_fit_result *to) {
    int is_complete = 1;
    *to = *from;
    to->history = (fg_history){0};
    for (int64_t i = 0; i < from->history.n_bounds; i++)
        is_complete &= fg_history_add_bound(&to->history, from->history.lower_bounds[i]);
    for (int64_t i = 0; i < from->history.n_repairs; i++)
        is_complete &= fg_history_add_repair(&to->history, from->history.repairs[i]);
    return is_complete;
}

/* Goes on from another fit's state, whose start has made some iterations. */
static fg_status resume_once(fit *f, fg_parameters *parameters, fg_fit_result *result) {
    const fg_fit_state *from = f->options->resume;
    const size_t k_count = (size_t)f->shape->n_components;
    const size_t means = k_count * (size_t)f->shape->n_features;
    fg_parameters_copy(f->shape, from->parameters, parameters);
    f->step.has_scatter = *from->has_scatter;
    f->step.scatter_type = *from->scatter_type;
    memcpy(f->step.shift, from->shift, means * sizeof(double));
    memcpy(f->step.statistics.sxx, from->sxx, fg_moment_count(f->shape) * sizeof(double));
    if (f->repairer)
        memcpy(f->repairer->reseedings, from->reseedings, k_count * sizeof(int));
    if (!copy_result(from->result, result))
        return FG_NO_MEMORY;
    if (f->accelerator)
        fg_accelerator_resume(f->accelerator, from->accelerator);
    return fg_em(&f->step, f->options, f->repairer, f->accelerator, from->init, parameters, result);
}

/* One start and its iterations. */
static fg_status fit_once(fit *f, uint64_t seed, int64_t init, fg_parameters *parameters,
                          fg_fit_result *result) {
    const fg_fit_state *resume = f->options->resume;
    fg_status status = FG_OK;
    f->step.has_scatter = 0; /* the scatter of an earlier start is about another point */
    if (resume && resume->init == init && resume->result->n_iter > 0)
        return resume_once(f, parameters, result);
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
    if (f->accelerator)
        fg_accelerator_restart(f->accelerator);
    if (status == FG_OK && f->options->max_iter > 0)
        status = fg_em(&f->step, f->options, f->repairer, f->accelerator, init, parameters, result);
    return status;
}

/* The best of several starts. */
static fg_status fit_all(fit *f, uint64_t seed, fg_parameters *trial, fg_parameters *out_parameters,
                         fg_fit_result *out_result) {
    const double before = out_result->lower_bound;
    const fg_fit_state *resume = f->options->resume;
    fg_monitor *monitor = f->context->monitor;
    fg_fit_state *state = &f->state;
    fg_status status = FG_OK;
    state->first_singular = -1;
    if (resume) {
        state->init = resume->init;
        state->n_kept = resume->n_kept;
        state->n_failed = resume->n_failed;
        state->first_singular = resume->first_singular;
        if (resume->n_kept > 0) {
            fg_parameters_copy(f->shape, resume->best, out_parameters);
            if (!copy_result(resume->best_result, out_result))
                return FG_NO_MEMORY;
        }
    }
    for (int64_t init = state->init; status == FG_OK && init < f->options->n_init; init++) {
        if (monitor && monitor->finish && state->n_kept > 0)
            break;
        fg_fit_result result = {.lower_bound = before, .change = INFINITY};
        state->init = init;
        state->parameters = trial;
        state->result = &result;
        if (monitor && monitor->report &&
            monitor->report(monitor->context, init, 0, before, INFINITY))
            status = FG_INTERRUPTED;
        if (status == FG_OK)
            status = fit_once(f, seed, init, trial, &result);
        const int is_singular = status == FG_SINGULAR; /* another start may succeed */
        if (is_singular) {
            if (state->n_failed++ == 0)
                state->first_singular = f->context->singular_component;
            status = FG_OK;
        }
        if (!is_singular &&
            (state->n_kept == 0 || result.lower_bound > out_result->lower_bound + MARGIN)) {
            state->n_kept++;
            if (trial != out_parameters)
                fg_parameters_copy(f->shape, trial, out_parameters);
            fg_history_free(&out_result->history);
            *out_result = result;
        } else
            fg_history_free(&result.history);
    }
    if (status == FG_OK && state->n_kept == 0) {
        f->context->singular_component = state->first_singular;
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
    fg_accelerator accelerator = {0};
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
    if (status == FG_OK && options->accelerate) {
        f.accelerator = &accelerator;
        status = fg_accelerator_open(context, shape, &accelerator);
    }
    if (status == FG_OK && !all_are_given(given))
        status = fg_starter_open(context, shape, options->start, options->records, &f.starter);
    if (status == FG_OK) {
        f.state = (fg_fit_state){.has_scatter = &f.step.has_scatter,
                                 .scatter_type = &f.step.scatter_type,
                                 .shift = f.step.shift,
                                 .sxx = f.step.statistics.sxx,
                                 .reseedings = repairer.reseedings,
                                 .accelerator = accelerator.memory,
                                 .best = out_parameters,
                                 .best_result = out_result};
        if (context->monitor)
            context->monitor->state = &f.state;
        status = fit_all(&f, seed, memory ? &trial : out_parameters, out_parameters, out_result);
        if (context->monitor)
            context->monitor->state = NULL;
    }
    fg_starter_close(&f.starter);
    fg_accelerator_close(&accelerator);
    fg_repairer_close(&repairer);
    fg_step_close(&f.step);
    fg_release(memory);
    return status;
}
