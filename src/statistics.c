/* The sums of a pass. See statistics.h. */
#include "statistics.h"

#include <math.h>
#include <string.h>

#include "covariance.h"
#include "memory.h"

size_t fg_statistics_count(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    return k + 2 * k * d + fg_moment_count(shape);
}

int fg_shape_is_countable(const fg_shape *shape) {
    const double k = (double)shape->n_components, d = (double)shape->n_features;
    const double matrices = !fg_has_matrices(shape) ? 0 : fg_is_shared(shape) ? 1 : k;
    /* A block has fewer than 600 rows of d + K numbers, a start 32 K rows of d. There are at most
     * three copies of a matrix, in up to 16 lanes. */
    const double numbers = 1024 * (k + 1) * (d + 8) + 32 * matrices * (d + 16) * (d + 16);
    return shape->n_components > 0 && shape->n_features > 0 && numbers < 0x1p59;
}

fg_statistics fg_statistics_in(const fg_shape *shape, double *memory) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    fg_statistics s = {memory, memory + k, memory + k + k * d, memory + k + 2 * k * d, 0, 0, 0};
    return s;
}

void fg_statistics_reset(const fg_shape *shape, fg_sums sums, fg_monitor *monitor,
                         fg_statistics *statistics) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    fg_clear(statistics->nk, k * sizeof(double), monitor);
    fg_clear(statistics->sx, k * d * sizeof(double), monitor);
    if (sums == FG_MOMENTS)
        fg_clear(statistics->sxx, fg_moment_count(shape) * sizeof(double), monitor);
    statistics->log_likelihood = statistics->weight_sum = 0;
    statistics->n_rows = 0;
}

static void add(const double *from, size_t n, double *into) {
    for (size_t i = 0; i < n; i++)
        into[i] += from[i];
}

void fg_statistics_add(const fg_shape *shape, const fg_statistics *from, fg_sums sums,
                       fg_statistics *into) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    add(from->nk, k, into->nk);
    add(from->sx, k * d, into->sx);
    if (sums == FG_MOMENTS)
        add(from->sxx, fg_moment_count(shape), into->sxx);
    into->log_likelihood += from->log_likelihood;
    into->weight_sum += from->weight_sum;
    into->n_rows += from->n_rows;
}

/* ---- sums about another shift ---- */

/* Adds sign * nk mean mean^T of every component to the second moments; sx = nk mean is the
 * component's first moment. The squares of a shared covariance are summed first. sx is divided by
 * sqrt(nk) before squaring, so weights near the ends of the range do not overflow. */
static void add_squares(const fg_shape *shape, fg_statistics *s, double sign, double *squares) {
    const int64_t d = shape->n_features;
    const size_t count = fg_moment_count(shape), size = count / (size_t)fg_covariance_parts(shape);
    memset(squares, 0, count * sizeof(double));
    for (int64_t k = 0; k < shape->n_components; k++) {
        if (!(s->nk[k] > 0))
            continue;
        const double root = sqrt(s->nk[k]), *sx = s->sx + k * d;
        double *out = squares + (fg_is_shared(shape) ? 0 : (size_t)k * size);
        for (int64_t i = 0; i < d; i++) {
            const double x = sx[i] / root;
            if (fg_has_matrices(shape))
                for (int64_t j = 0; j <= i; j++)
                    *out++ += x * (sx[j] / root);
            else
                out[fg_is_isotropic(shape) ? 0 : i] += x * x;
        }
    }
    for (size_t i = 0; i < count; i++)
        s->sxx[i] += sign * squares[i];
}

fg_status fg_statistics_move(const fg_shape *shape, const double *shift, fg_statistics *s) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    double *squares = fg_doubles(fg_moment_count(shape));
    if (!squares)
        return FG_NO_MEMORY;
    add_squares(shape, s, -1, squares);
    for (int64_t k = 0; k < k_count; k++)
        for (int64_t i = k * d; i < (k + 1) * d; i++)
            s->sx[i] += s->nk[k] * (s->shift[i] - shift[i]);
    add_squares(shape, s, 1, squares);
    memcpy(s->shift, shift, (size_t)(k_count * d) * sizeof(double));
    fg_release(squares);
    return FG_OK;
}

/* out = the means of both together: about them neither side has large moments. Computed as offsets
 * from the first shift: sums of raw values would lose the precision that merging needs. */
static void merged_means(const fg_shape *shape, const fg_statistics *a, const fg_statistics *b,
                         double *out) {
    const int64_t d = shape->n_features;
    for (int64_t k = 0; k < shape->n_components; k++)
        for (int64_t i = k * d; i < (k + 1) * d; i++) {
            const double n = a->nk[k] + b->nk[k];
            const double offset = a->sx[i] + b->sx[i] + b->nk[k] * (b->shift[i] - a->shift[i]);
            out[i] = a->shift[i] + (n > 0 ? offset / n : 0);
        }
}

fg_status fg_statistics_merge(const fg_shape *shape, fg_statistics *from, fg_statistics *into) {
    const size_t means = (size_t)(shape->n_components * shape->n_features);
    fg_status status = FG_OK;
    if (memcmp(from->shift, into->shift, means * sizeof(double)) != 0) {
        double *shift = fg_doubles(means);
        if (!shift)
            return FG_NO_MEMORY;
        merged_means(shape, into, from, shift);
        status = fg_statistics_move(shape, shift, into);
        if (status == FG_OK)
            status = fg_statistics_move(shape, shift, from);
        fg_release(shift);
    }
    if (status == FG_OK)
        fg_statistics_add(shape, from, FG_MOMENTS, into);
    return status;
}
