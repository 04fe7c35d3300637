/* A whole fit: a start, passes until they converge, and the best of several starts. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "em.h"
#include "start.h"

static void copy_doubles(const double *from, size_t n, double *to) {
    if (from)
        memcpy(to, from, n * sizeof(double));
}

static void copy_parameters(const fg_shape *shape, const fg_parameters *from, fg_parameters *to) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    const size_t covariances = fg_covariance_count(shape);
    copy_doubles(from->weights, k, to->weights);
    copy_doubles(from->means, k * d, to->means);
    copy_doubles(from->covariances, covariances, to->covariances);
    copy_doubles(from->precisions_cholesky, covariances, to->precisions_cholesky);
}

fg_status fg_fit(const fg_shape *shape, const fg_data *data, const fg_fit_options *options,
                 const fg_parameters *given, uint64_t seed, int n_threads, fg_monitor *monitor,
                 fg_parameters *out_parameters, fg_bounds *out_bounds, fg_fit_result *out_result) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    const size_t covariances = fg_covariance_count(shape);
    const int all_given = given->weights && given->means && given->precisions_cholesky;
    const double before = out_result->lower_bound;
    double *memory = NULL;
    fg_parameters trial = *out_parameters;
    if (options->n_init > 1) {
        memory = malloc((k + k * d + 2 * covariances) * sizeof(double));
        if (!memory)
            return FG_NO_MEMORY;
        trial = (fg_parameters){memory, memory + k, memory + k + k * d,
                                memory + k + k * d + covariances};
    }
    fg_status status = FG_OK;
    for (int64_t init = 0; status == FG_OK && init < options->n_init; init++) {
        fg_fit_result result = {.lower_bound = before};
        fg_bounds bounds = {NULL, 0, 0};
        if (monitor && monitor->report &&
            monitor->report(monitor->context, init, 0, before, INFINITY))
            status = FG_INTERRUPTED;
        if (status == FG_OK && !all_given)
            status = fg_start_parameters(shape, data, options->start,
                                         fg_random(seed, (uint64_t)init), options->reg_covar,
                                         n_threads, monitor, &trial, &result.component);
        copy_parameters(shape, given, &trial);
        if (status == FG_OK && options->max_iter > 0)
            status = fg_em(shape, data, options, init, n_threads, monitor, &trial,
                           out_bounds ? &bounds : NULL, &result);
        const int better = init == 0 || result.lower_bound > out_result->lower_bound;
        if (status != FG_OK || better) {
            *out_result = result;
            if (memory)
                copy_parameters(shape, &trial, out_parameters);
        }
        if (out_bounds && better) {
            free(out_bounds->values);
            *out_bounds = bounds;
        } else
            free(bounds.values);
    }
    free(memory);
    return status;
}
