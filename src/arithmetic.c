/* Float or double: how many digits of a covariance an arithmetic keeps. See arithmetic.h. */
#include "arithmetic.h"

#include "covariance.h"
#include "memory.h"
#include "parallel.h"
#include "random.h"

/* A covariance may be far narrower in some direction than in every feature. There, moments and
 * distances lose about eps distance^2 precision. These products still leave six digits in double
 * and three in float; the likelihood is near its maximum, and loses only the squares of the errors.
 */
static double bearable_times_precision(fg_real_type arithmetic) {
    return arithmetic == FG_FLOAT32 ? 3e4 : 1e10;
}

/* The precision of feature i, from the factor of a covariance matrix. */
static double precision_of(const fg_shape *shape, const fg_parameters *p, int64_t k, int64_t i) {
    const int64_t d = shape->n_features;
    const double *row = fg_covariance_part(shape, p, k).factor + i * d;
    double precision = 0;
    for (int64_t j = i; j < d; j++)
        precision += row[j] * row[j];
    return precision;
}

/* Feature i of the mean of the mixture. */
double fg_mean_of_feature(const fg_shape *shape, const fg_parameters *p, int64_t i) {
    double mean = 0;
    for (int64_t k = 0; k < shape->n_components; k++)
        mean += p->weights[k] * p->means[k * shape->n_features + i];
    return mean;
}

/* The mean squared distance of the components from a point, in feature i. */
double fg_square_from(const fg_shape *shape, const fg_parameters *p, int64_t i, double point) {
    double square = 0;
    for (int64_t k = 0; k < shape->n_components; k++) {
        const double step = p->means[k * shape->n_features + i] - point;
        square += p->weights[k] * step * step;
    }
    return square;
}

enum { SIGNS = 4 };

/* Estimates the variances of a component from its factor, within a factor of about two: those of
 * U^-T s for a few vectors s of random signs. memory: (SIGNS + 1) d; the variances come first. */
static void estimate_variances(const fg_shape *shape, const fg_parameters *p, int64_t k,
                               double *memory) {
    const int64_t d = shape->n_features;
    const double *row = fg_covariance_part(shape, p, k).factor;
    double *x = memory + d;
    for (int64_t i = 0; i < SIGNS * d; i++)
        x[i] = fg_random(0, (uint64_t)i) >> 63 ? 1 : -1;
    for (int64_t i = 0; i < d; i++, row += d) {
        double solved[SIGNS];
        memory[i] = 0;
        for (int v = 0; v < SIGNS; v++) {
            solved[v] = x[i * SIGNS + v] / row[i];
            memory[i] += solved[v] * solved[v] / SIGNS;
        }
        for (int64_t j = i + 1; j < d; j++) {
            const double u = row[j];
            for (int v = 0; v < SIGNS; v++)
                x[j * SIGNS + v] -= u * solved[v];
        }
    }
}

/* Whether a covariance is so narrow in some direction that float keeps too few digits of it, for
 * any shift. Tied: the variance between the components counts too, because distances are computed
 * from whitened samples and whitened means. memory: as above, if there are no covariances. */
int fg_needs_double(const fg_shape *shape, const fg_parameters *p, fg_monitor *monitor,
                    double *memory) {
    const double limit = bearable_times_precision(FG_FLOAT32);
    const int64_t d = shape->n_features;
    const int is_shared = fg_is_shared(shape);
    for (int64_t k = 0; fg_has_matrices(shape) && k < fg_covariance_parts(shape); k++) {
        if (fg_parallel_poll_piece(k, d * d, monitor))
            return 0;
        if (!is_shared && !(p->weights[k] > 0))
            continue;
        if (!p->covariances)
            estimate_variances(shape, p, k, memory);
        for (int64_t i = 0; i < d; i++) {
            double square = p->covariances ? fg_variance(shape, p->covariances, k, i) : memory[i];
            if (is_shared)
                square += fg_square_from(shape, p, i, fg_mean_of_feature(shape, p, i));
            if (!(square * precision_of(shape, p, k, i) <= limit))
                return 1;
        }
    }
    return 0;
}

/* Usually the type of the data. */
fg_status fg_choose_arithmetic(fg_real_type real_type, const fg_shape *shape,
                               const fg_parameters *parameters, fg_monitor *monitor,
                               fg_real_type *out) {
    double *memory = NULL;
    *out = real_type;
    if (real_type == FG_FLOAT64)
        return FG_OK;
    if (!parameters->covariances && fg_has_matrices(shape) &&
        !(memory = fg_doubles((SIGNS + 1) * (size_t)shape->n_features)))
        return FG_NO_MEMORY;
    if (fg_needs_double(shape, parameters, monitor, memory))
        *out = FG_FLOAT64;
    fg_release(memory);
    return fg_stopped(monitor) ? FG_INTERRUPTED : FG_OK;
}

fg_status fg_choose_arithmetic_for(const fg_context *context, const fg_shape *shape,
                                   const fg_parameters *parameters, fg_real_type *out) {
    return fg_choose_arithmetic(context->rows->data->real_type, shape, parameters, context->monitor,
                                out);
}

/* Second moments about a point lose about eps (distance / standard deviation)^2 to cancellation.
 * These squared ratios still leave nine digits in double and four in float. */
static double bearable(fg_real_type arithmetic) { return arithmetic == FG_FLOAT32 ? 300 : 1e6; }

/* Whether moments of feature i about a point at this squared distance from the mean lose too many
 * digits, and more than the covariance itself costs. Factors are read only if not singular. */
int fg_loses_digits(fg_real_type arithmetic, const fg_shape *shape, const fg_parameters *p,
                    int is_singular, int64_t k, int64_t i, double square) {
    const double variance = fg_variance(shape, p->covariances, k, i);
    if (!(square <= bearable(arithmetic) * variance))
        return 1;
    return square > variance && fg_has_matrices(shape) && !is_singular &&
           !(square * precision_of(shape, p, k, i) <= bearable_times_precision(arithmetic));
}
