/* Accelerates EM by extrapolation. See accelerate.h.
 *
 * SQUAREM (Varadhan & Roland 2008, scheme S3): from two EM steps x0 -> x1 -> x2, with r = x1 - x0
 * and v = x2 - 2 x1 + x0, extrapolate to x0 + 2 a r + a^2 v with a = |r| / |v|. The coordinates x
 * are unconstrained, so every extrapolation is a mixture: log weights, means, and the Cholesky
 * factor of each covariance with the logarithm of its diagonal. The norm is the one that the
 * information of the complete data defines at t1, so it does not depend on the units of the data.
 *
 * The caller evaluates the trial by a step of its own and keeps it only if the likelihood has not
 * fallen; otherwise it continues from t2. */
#include "accelerate.h"

#include <math.h>
#include <string.h>

#include "covariance.h"
#include "factor.h"
#include "memory.h"
#include "parallel.h"
#include "parameters.h"

/* The length a of a trial is at most max_length: a limit that becomes LONGER if a trial of that
 * length is accepted and SHORTER than any rejected trial. Without the latter, all trials are
 * rejected on a plateau, where |r| / |v| stays too long. Up to SHORTEST, a trial gains nothing on
 * t2. The values are the best of some that were tried on 192 cases other than those of
 * bench/acceleration.py. */
static const double FIRST_MAX = 4, LEAST_MAX = 2, LONGER = 20, SHORTER = 0.05, SHORTEST = 1.0001;

enum { CYCLE = sizeof(fg_cycle) / sizeof(double) };
enum { ROWS = 16 }; /* of a matrix, multiplied at a time: another is read d / 16 times */

static size_t coordinate_count(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    return k + k * d + fg_covariance_count(shape);
}

/* Coordinates are stored like parameters, with roots in place of covariances; the precision factors
 * are not used. */
static fg_parameters coordinates_in(const fg_shape *shape, double *memory) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    double *roots = memory + k + k * d;
    return (fg_parameters){memory, memory + k, roots, roots};
}

size_t fg_accelerator_count(const fg_shape *shape) {
    return CYCLE + coordinate_count(shape) + fg_parameters_count(shape);
}

fg_status fg_accelerator_open(fg_context *context, const fg_shape *shape, fg_accelerator *out) {
    const size_t count = coordinate_count(shape), parameters = fg_parameters_count(shape);
    const size_t rows = 2 * ROWS * (size_t)shape->n_features;
    double *m = fg_doubles(CYCLE + 3 * count + parameters + rows);
    *out = (fg_accelerator){.context = context, .shape = shape, .memory = m};
    if (!m)
        return FG_NO_MEMORY;
    memset(m, 0, fg_accelerator_count(shape) * sizeof(double));
    out->cycle = (fg_cycle *)m;
    out->x[0] = coordinates_in(shape, m + CYCLE);
    out->trial = fg_parameters_in(shape, m + CYCLE + count);
    out->x[1] = coordinates_in(shape, m + CYCLE + count + parameters);
    out->x[2] = coordinates_in(shape, m + CYCLE + 2 * count + parameters);
    out->rows = m + CYCLE + 3 * count + parameters;
    fg_accelerator_restart(out);
    return FG_OK;
}

void fg_accelerator_close(fg_accelerator *accelerator) { fg_release(accelerator->memory); }

void fg_accelerator_renew(fg_accelerator *accelerator) {
    accelerator->cycle->n_steps = 0;
    accelerator->cycle->has_trial = 0;
}

void fg_accelerator_restart(fg_accelerator *accelerator) {
    accelerator->cycle->max_length = FIRST_MAX;
    fg_accelerator_renew(accelerator);
}

void fg_accelerator_resume(fg_accelerator *accelerator, const double *memory) {
    memcpy(accelerator->memory, memory, fg_accelerator_count(accelerator->shape) * sizeof(double));
}

void fg_accelerator_judge(fg_accelerator *a, int accepted) {
    fg_cycle *cycle = a->cycle;
    if (!accepted)
        cycle->max_length = fmax(cycle->length * SHORTER, LEAST_MAX);
    else if (cycle->length == cycle->max_length)
        cycle->max_length *= LONGER;
    fg_accelerator_renew(a);
}

/* ---- coordinates ---- */

/* An empty component does not move, and its weight has no logarithm. */
static int is_empty(const fg_parameters *p, int64_t k) { return !(p->weights[k] > 0); }

static int is_unused(const fg_shape *shape, const fg_parameters *p, int64_t part) {
    return !fg_is_shared(shape) && is_empty(p, part);
}

static fg_status to_coordinates(const fg_accelerator *a, const fg_parameters *p,
                                fg_parameters *out) {
    const fg_shape *shape = a->shape;
    const size_t means = (size_t)(shape->n_components * shape->n_features);
    for (int64_t k = 0; k < shape->n_components; k++)
        out->weights[k] = log(p->weights[k]);
    memcpy(out->means, p->means, means * sizeof(double));
    for (int64_t k = 0; k < fg_covariance_parts(shape); k++) {
        const fg_covariance part = fg_covariance_part(shape, p, k);
        const fg_covariance root = fg_covariance_part(shape, out, k);
        const fg_status status = fg_covariance_root(a->context, shape, &part, root.factor);
        if (status != FG_OK)
            return status;
        for (int64_t i = 0; i < root.n_variances; i++)
            root.factor[i * root.step] = log(root.factor[i * root.step]);
    }
    return FG_OK;
}

/* Turns the coordinates x, which it overwrites, into the trial. Empty components are those of like.
 * FG_SINGULAR if it is no mixture in floating-point numbers. */
static fg_status from_coordinates(fg_accelerator *a, fg_parameters *x, const fg_parameters *like) {
    const fg_shape *shape = a->shape;
    const fg_parameters *out = &a->trial;
    const size_t means = (size_t)(shape->n_components * shape->n_features);
    double largest = -INFINITY, total = 0;
    int is_valid = 1;
    fg_parameters_copy(shape, like, &a->trial);
    for (int64_t k = 0; k < shape->n_components; k++)
        if (!is_empty(like, k))
            largest = fmax(largest, x->weights[k]);
    for (int64_t k = 0; k < shape->n_components; k++)
        if (!is_empty(like, k))
            total += out->weights[k] = exp(x->weights[k] - largest);
    for (int64_t k = 0; k < shape->n_components; k++) {
        if (is_empty(like, k))
            continue;
        out->weights[k] /= total;
        is_valid &= out->weights[k] > 0;
        const size_t row = (size_t)(k * shape->n_features);
        memcpy(out->means + row, x->means + row, (size_t)shape->n_features * sizeof(double));
    }
    is_valid = is_valid && fg_all_finite(out->means, means);
    for (int64_t k = 0; is_valid && k < fg_covariance_parts(shape); k++) {
        const fg_covariance part = fg_covariance_part(shape, out, k);
        const fg_covariance root = fg_covariance_part(shape, x, k);
        if (is_unused(shape, like, k))
            continue;
        for (int64_t i = 0; i < root.n_variances; i++)
            root.factor[i * root.step] = exp(root.factor[i * root.step]);
        const fg_status status = fg_covariance_from_root(a->context, shape, root.factor, &part);
        if (status != FG_OK)
            return status;
        is_valid = fg_all_finite(part.covariance, (size_t)part.size) &&
                   fg_all_finite(part.factor, (size_t)part.size);
    }
    return is_valid ? FG_OK : FG_SINGULAR;
}

/* ---- the norm ---- */

/* out = rows U for n rows, which are zero before begin. */
static void times_upper(const double *rows, int64_t n, int64_t begin, const double *u, int64_t d,
                        double *out) {
    memset(out, 0, (size_t)(n * d) * sizeof(double));
    for (int64_t l = begin; l < d; l++)
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = l; j < d; j++)
                out[i * d + j] += rows[i * d + l] * u[l * d + j];
}

/* Half of |L^-1 dSigma L^-T|_F^2 for a change dL of the Cholesky factor L: with A = L^-1 dL,
 * lower triangular, that matrix is A + A^T. Row by row: A^T = dR U, where R = L^T and U = R^-1. */
static double root_norm(const fg_accelerator *a, const fg_covariance *at, const double *change) {
    const int64_t d = a->shape->n_features;
    double *rows = a->rows, *products = a->rows + ROWS * d, sum = 0;
    if (!fg_has_matrices(a->shape)) { /* change: of the logarithm of a standard deviation */
        for (int64_t i = 0; i < at->size; i++)
            sum += 2 * change[i] * change[i];
        return fg_is_isotropic(a->shape) ? (double)d * sum : sum;
    }
    for (int64_t i0 = 0; i0 < d; i0 += ROWS) {
        const int64_t n = d - i0 < ROWS ? d - i0 : ROWS;
        if (d >= 128 && fg_parallel_poll(a->context->monitor))
            return sum;
        memcpy(rows, change + i0 * d, (size_t)(n * d) * sizeof(double));
        for (int64_t i = 0; i < n; i++) /* dR_ii = R_ii d log R_ii */
            rows[i * d + i0 + i] /= at->factor[(i0 + i) * (d + 1)];
        times_upper(rows, n, i0, at->factor, d, products);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = i0 + i; j < d; j++) {
                const double z = products[i * d + j];
                sum += (j == i0 + i ? 2 : 1) * z * z;
            }
    }
    return sum;
}

static double mean_norm(const fg_accelerator *a, const fg_covariance *at, const double *change) {
    const int64_t d = a->shape->n_features;
    double sum = 0;
    if (fg_has_matrices(a->shape))
        times_upper(change, 1, 0, at->factor, d, a->rows);
    for (int64_t i = 0; i < d; i++) {
        const double z = fg_has_matrices(a->shape)
                             ? a->rows[i]
                             : change[i] * at->factor[fg_is_isotropic(a->shape) ? 0 : i];
        sum += z * z;
    }
    return sum;
}

/* The squared norm of a change of coordinates, in the metric of the complete data's information at
 * a mixture. Empty components are those of like. */
static double norm(const fg_accelerator *a, const fg_parameters *at, const fg_parameters *like,
                   const fg_parameters *change) {
    const fg_shape *shape = a->shape;
    double mean = 0, sum = 0;
    for (int64_t k = 0; k < shape->n_components; k++)
        if (!is_empty(like, k))
            mean += at->weights[k] * change->weights[k];
    for (int64_t k = 0; k < shape->n_components; k++) {
        if (is_empty(like, k))
            continue;
        const fg_covariance part = fg_covariance_part(shape, at, fg_is_shared(shape) ? 0 : k);
        const double step = change->weights[k] - mean;
        const double *means = change->means + k * shape->n_features;
        sum += at->weights[k] * (step * step + mean_norm(a, &part, means));
    }
    for (int64_t k = 0; k < fg_covariance_parts(shape); k++) {
        if (is_unused(shape, like, k))
            continue;
        const fg_covariance part = fg_covariance_part(shape, at, k);
        const double weight = fg_is_shared(shape) ? 1 : at->weights[k];
        sum += weight * root_norm(a, &part, fg_covariance_part(shape, change, k).factor);
    }
    return sum;
}

/* ---- the trial ---- */

/* x1 and x2 become r and v. */
static void take_differences(const fg_accelerator *a) {
    double *x0 = a->x[0].weights, *x1 = a->x[1].weights, *x2 = a->x[2].weights;
    const size_t count = coordinate_count(a->shape);
    for (size_t i = 0; i < count; i++) {
        const double r = x1[i] - x0[i];
        x2[i] = x2[i] - x1[i] - r;
        x1[i] = r;
    }
}

static void extrapolate(const fg_accelerator *a) {
    double *x = a->x[0].weights, *r = a->x[1].weights, *v = a->x[2].weights;
    const size_t count = coordinate_count(a->shape);
    const double length = a->cycle->length;
    for (size_t i = 0; i < count; i++)
        x[i] += length * (2 * r[i] + length * v[i]);
}

fg_status fg_accelerator_add(fg_accelerator *a, const fg_parameters *from,
                             const fg_parameters *to) {
    const int is_first = a->cycle->n_steps == 0;
    fg_status status = to_coordinates(a, from, &a->x[is_first ? 0 : 1]);
    a->cycle->n_steps++;
    if (status != FG_OK || is_first)
        return status;
    status = to_coordinates(a, to, &a->x[2]);
    if (status != FG_OK)
        return status;
    take_differences(a);
    const double ratio = sqrt(norm(a, from, to, &a->x[1]) / norm(a, from, to, &a->x[2]));
    fg_accelerator_renew(a);
    if (fg_stopped(a->context->monitor))
        return FG_INTERRUPTED;
    a->cycle->length = fmin(ratio, a->cycle->max_length);
    if (!(ratio > SHORTEST)) /* also if nothing moves */
        return FG_OK;
    extrapolate(a);
    status = from_coordinates(a, &a->x[0], to);
    if (status == FG_OK)
        a->cycle->has_trial = 1;
    else if (status == FG_SINGULAR)
        fg_accelerator_judge(a, 0);
    return status == FG_SINGULAR ? FG_OK : status;
}
