/* The sums of a pass. See statistics.h. */
#include "statistics.h"

#include "memory.h"

size_t fg_moment_count(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    switch (shape->layout) {
    case FG_FULL: return k * (d * (d + 1) / 2);
    case FG_TIED: return d * (d + 1) / 2;
    case FG_DIAG: return k * d;
    default: return k;
    }
}

size_t fg_covariance_count(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    switch (shape->layout) {
    case FG_FULL: return k * d * d;
    case FG_TIED: return d * d;
    case FG_DIAG: return k * d;
    default: return k;
    }
}

size_t fg_statistics_count(const fg_shape *shape) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    return k + 2 * k * d + fg_moment_count(shape);
}

int fg_shape_is_countable(const fg_shape *shape) {
    const double k = (double)shape->n_components, d = (double)shape->n_features;
    const double matrices = shape->layout == FG_FULL ? k : shape->layout == FG_TIED;
    /* A block has fewer than 600 rows of d + K numbers, a start 32 K rows of d. A matrix is kept
     * three times at most, and in up to 16 lanes. */
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

void fg_statistics_merge(const fg_shape *shape, const fg_statistics *from, fg_sums sums,
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
