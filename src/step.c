/* The EM step: the points that a pass takes its sums about, the M step, and a second pass where the
 * first lost digits. See step.h. */
#include "step.h"

#include <math.h>
#include <string.h>

#include "arithmetic.h"
#include "covariance.h"
#include "memory.h"
#include "parallel.h"
#include "parameters.h"
#include "rows.h"
#include "statistics.h"

/* ---- the shift: the points that the sums are taken about ---- */

/* Whether the components are so close to the common shift, or to the mixture's mean if shift is
 * NULL, that sums about it keep the precision of means and scatter. out_shift, if given, receives
 * that mean K times. */
static int are_close_together(const fg_pass *pass, const fg_parameters *p, const double *shift,
                              double *out_shift) {
    const fg_shape *shape = pass->shape;
    const int64_t d = shape->n_features;
    int close = 1;
    for (int64_t i = 0; i < d; i++) {
        const double point = shift ? shift[i] : fg_mean_of_feature(shape, p, i);
        for (int64_t k = 0; out_shift && k < shape->n_components; k++)
            out_shift[k * d + i] = point;
        const double square = fg_square_from(shape, p, i, point);
        close &= !fg_loses_digits(pass->arithmetic, shape, p, 0, 0, i, square);
    }
    return close;
}

/* Whether a mean moved so far from its shift that its covariance lost precision. */
static int moved_far(const fg_pass *pass, const fg_statistics *s, const fg_parameters *next,
                     int is_singular) {
    const int64_t d = pass->shape->n_features;
    for (int64_t k = 0; k < pass->shape->n_components; k++)
        for (int64_t i = 0; i < d && next->weights[k] > 0; i++) {
            const double step = s->sx[k * d + i] / s->nk[k];
            const double square = step * step;
            if (fg_loses_digits(pass->arithmetic, pass->shape, next, is_singular, k, i, square))
                return 1;
        }
    return 0;
}

/* Chooses the shift of an EM iteration, and which sums it needs. Tied: the scatter of the data is
 * needed only once; the second pass computes it about the data's own mean, since the first M step
 * makes that the mixture's mean for any start. Spherical: about the mixture's mean if that keeps
 * the precision. All others: about the means. */
static fg_sums choose_shift(const fg_step *step, const fg_pass *pass,
                            const fg_parameters *parameters, int64_t iteration,
                            fg_shift_choice *out) {
    const fg_shape *shape = pass->shape;
    *out = FG_AT_MEANS;
    if (fg_is_shared(shape)) {
        const int scatter = iteration <= 2 || !step->has_scatter;
        if (are_close_together(pass, parameters, NULL, scatter ? step->shift : NULL))
            *out = (fg_shift_choice){step->shift, 1};
        return scatter || !out->common ? FG_MOMENTS : FG_FIRST_MOMENTS;
    }
    if (fg_is_isotropic(shape) && !are_close_together(pass, parameters, NULL, NULL)) {
        const size_t means = (size_t)(shape->n_components * shape->n_features);
        memcpy(step->shift, parameters->means, means * sizeof(double));
        *out = (fg_shift_choice){step->shift, 0};
    }
    return FG_MOMENTS;
}

/* ---- steps ---- */

fg_status fg_step_open(fg_context *context, const fg_shape *shape, fg_step *out) {
    const size_t means = (size_t)(shape->n_components * shape->n_features);
    const size_t sums = fg_statistics_count(shape), parameters = fg_parameters_count(shape);
    double *m = fg_doubles(sums + parameters + means);
    *out = (fg_step){.memory = m};
    if (!m)
        return FG_NO_MEMORY;
    out->statistics = fg_statistics_in(shape, m);
    out->next = fg_parameters_in(shape, m + sums);
    out->shift = m + sums + parameters;
    return fg_pass_open(context, shape, context->rows->data->real_type, &out->pass);
}

void fg_step_close(fg_step *step) {
    fg_pass_close(&step->pass);
    fg_pass_close(&step->wide);
    fg_release(step->memory);
}

/* The arguments of a step: those of its pass and of its M step. */
typedef struct {
    const fg_parameters *parameters;
    fg_assignment assignment;
    uint64_t seed;
    fg_shift_choice choice;
    fg_sums sums;
    const fg_m_step *m_step;
} step_plan;

/* On return, choice and sums say which ones were used. */
static fg_status run_plan(fg_step *step, fg_pass *pass, step_plan *plan) {
    const fg_shape *shape = pass->shape;
    fg_statistics *s = &step->statistics;
    fg_status status = fg_pass_run(pass, plan->parameters, plan->assignment, &plan->choice,
                                   plan->seed, plan->sums, s);
    if (status == FG_OK && !isfinite(s->log_likelihood))
        status = FG_NOT_FINITE;
    if (status != FG_OK)
        return status;
    status = fg_maximize(pass->context, shape, plan->m_step, s, &step->next);
    if (status == FG_INTERRUPTED)
        return status;
    const int is_singular = status == FG_SINGULAR;
    const int lossy =
        plan->choice.common
            ? is_singular || !are_close_together(pass, &step->next, plan->choice.shift, NULL)
            : moved_far(pass, s, &step->next, is_singular);
    if (!lossy)
        return status;
    const double log_likelihood = s->log_likelihood; /* that of the first pass is more accurate */
    const size_t means = (size_t)(shape->n_components * shape->n_features);
    memcpy(step->shift, step->next.means, means * sizeof(double));
    plan->choice = (fg_shift_choice){step->shift, 0};
    plan->sums = FG_MOMENTS;
    status = fg_pass_run(pass, plan->parameters, plan->assignment, &plan->choice, plan->seed,
                         plan->sums, s);
    s->log_likelihood = log_likelihood;
    return status == FG_OK ? fg_maximize(pass->context, shape, plan->m_step, s, &step->next)
                           : status;
}

/* Opens the pass in double arithmetic when float data need it for the first time. */
static fg_status open_wide(fg_step *step) {
    if (step->wide.run)
        return FG_OK;
    return fg_pass_open(step->pass.context, step->pass.shape, FG_FLOAT64, &step->wide);
}

/* Runs in the arithmetic of the data, and once more in double if that keeps too few digits. */
static fg_status run_step(fg_step *step, step_plan *plan) {
    const fg_pass *pass = &step->pass;
    fg_status status = run_plan(step, &step->pass, plan);
    if (pass->arithmetic == FG_FLOAT64 || (status != FG_OK && status != FG_SINGULAR))
        return status;
    const int again = status == FG_SINGULAR ||
                      fg_needs_double(pass->shape, &step->next, pass->context->monitor, NULL);
    if (fg_stopped(pass->context->monitor))
        return FG_INTERRUPTED;
    if (!again)
        return status;
    plan->choice = FG_AT_MEANS;
    plan->sums = FG_MOMENTS;
    status = open_wide(step);
    return status == FG_OK ? run_plan(step, &step->wide, plan) : status;
}

fg_status fg_step_assign(fg_step *step, const fg_parameters *parameters, fg_assignment assignment,
                         uint64_t seed, const fg_m_step *options) {
    step_plan plan = {parameters, assignment, seed, FG_AT_MEANS, FG_MOMENTS, options};
    step->has_scatter = 0;
    return run_step(step, &plan);
}

fg_status fg_step_em(fg_step *step, const fg_parameters *parameters, int64_t iteration,
                     const fg_m_step *options) {
    step_plan plan = {.parameters = parameters, .assignment = FG_SOFT, .m_step = options};
    fg_pass *pass = &step->pass;
    fg_real_type arithmetic;
    fg_status status =
        fg_choose_arithmetic_for(pass->context, pass->shape, parameters, &arithmetic);
    if (status == FG_OK && arithmetic != pass->arithmetic) {
        status = open_wide(step);
        pass = &step->wide;
    }
    if (status != FG_OK)
        return status;
    step->has_scatter &= step->scatter_type == pass->arithmetic;
    plan.sums = choose_shift(step, pass, parameters, iteration, &plan.choice);
    status = pass == &step->pass ? run_step(step, &plan) : run_plan(step, pass, &plan);
    step->has_scatter = plan.choice.common;
    step->scatter_type = pass->arithmetic;
    return status;
}

/* ---- what a single pass tells ---- */

/* One step with a single component, about the first row. The scale of the factors does not matter.
 */
static fg_status step_as_one(fg_context *context, const fg_shape *one, fg_step *out) {
    const fg_m_step options = {.reg_covar = 0};
    double *memory = fg_doubles(fg_parameters_count(one));
    fg_status status = fg_step_open(context, one, out);
    if (!memory)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_parameters p = fg_parameters_in(one, memory);
        const int64_t first = 0;
        status = fg_rows_copy(context->rows, &first, 1, one->n_features, p.means);
        fg_set_spheres(one, 1, context->monitor, &p);
        if (status == FG_OK)
            status = fg_step_assign(out, &p, FG_NEAREST, 0, &options);
    }
    fg_release(memory);
    return status;
}

fg_status fg_mean_and_variance(fg_context *context, int64_t n_features, double *out_mean,
                               double *out_variance) {
    const fg_shape one = {1, n_features, FG_SPHERICAL};
    fg_step step;
    const fg_status status = step_as_one(context, &one, &step);
    if (status == FG_OK || status == FG_SINGULAR) {
        memcpy(out_mean, step.next.means, (size_t)n_features * sizeof(double));
        /* Only a scale is needed, so constant data are not an error here. */
        *out_variance = status == FG_OK ? step.next.covariances[0] : 1;
    }
    fg_step_close(&step);
    return status == FG_SINGULAR ? FG_OK : status;
}

fg_status fg_variances(fg_context *context, int64_t n_features, double *out_variances) {
    const fg_shape one = {1, n_features, FG_DIAG};
    fg_step step;
    const fg_status status = step_as_one(context, &one, &step);
    if (status == FG_OK || status == FG_SINGULAR) /* a constant column is no error */
        memcpy(out_variances, step.next.covariances, (size_t)n_features * sizeof(double));
    fg_step_close(&step);
    return status == FG_SINGULAR ? FG_OK : status;
}

static fg_status accumulate_rows(fg_context *context, const fg_shape *shape,
                                 const fg_parameters *parameters, fg_real_type arithmetic,
                                 fg_statistics *out) {
    fg_pass pass;
    double *shift = fg_doubles((size_t)(shape->n_components * shape->n_features));
    fg_status status = fg_pass_open(context, shape, arithmetic, &pass);
    if (!shift)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_shift_choice choice = FG_AT_MEANS;
        if (fg_is_shared(shape) && are_close_together(&pass, parameters, NULL, shift))
            choice = (fg_shift_choice){shift, 1};
        pass.sums_scale = 1 / context->rows->weight_scale;
        status = fg_pass_run(&pass, parameters, FG_SOFT, &choice, 0, FG_MOMENTS, out);
    }
    if (status == FG_OK && !isfinite(out->log_likelihood))
        status = FG_NOT_FINITE;
    fg_pass_close(&pass);
    fg_release(shift);
    return status;
}

fg_status fg_accumulate(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                        fg_statistics *out) {
    fg_real_type arithmetic;
    if (!fg_shape_is_countable(shape))
        return FG_NO_MEMORY;
    const fg_status status = fg_choose_arithmetic_for(context, shape, parameters, &arithmetic);
    return status == FG_OK ? accumulate_rows(context, shape, parameters, arithmetic, out) : status;
}

fg_status fg_accumulate_in_double(fg_context *context, const fg_shape *shape,
                                  const fg_parameters *parameters, fg_statistics *out) {
    return fg_shape_is_countable(shape)
               ? accumulate_rows(context, shape, parameters, FG_FLOAT64, out)
               : FG_NO_MEMORY;
}

fg_status fg_log_likelihood(fg_context *context, const fg_shape *shape,
                            const fg_parameters *parameters, double *out_total,
                            double *out_weight_sum) {
    fg_pass pass;
    fg_real_type arithmetic;
    fg_status status = fg_choose_arithmetic_for(context, shape, parameters, &arithmetic);
    if (status != FG_OK)
        return status;
    double *memory = fg_doubles(fg_statistics_count(shape));
    status = fg_pass_open(context, shape, arithmetic, &pass);
    if (!memory)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_statistics s = fg_statistics_in(shape, memory);
        pass.sums_scale = 1 / context->rows->weight_scale;
        status = fg_pass_run(&pass, parameters, FG_SOFT, &FG_AT_MEANS, 0, FG_LIKELIHOOD, &s);
        *out_total = s.log_likelihood;
        *out_weight_sum = s.weight_sum;
    }
    fg_pass_close(&pass);
    fg_release(memory);
    return status;
}
