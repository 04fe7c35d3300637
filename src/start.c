/* Where EM begins: k-means, k-means++, rows of the data, random responsibilities.
 *
 * k-means is the pass of em.c with hard responsibilities. Its seeds come from greedy k-means++
 * (Arthur & Vassilvitskii 2007) on a spread sample of the rows: EM only needs a rough start. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "em.h"

enum { SEED_ROWS = 8192, SEED_ROWS_PER_COMPONENT = 64, LLOYD_PASSES = 100 };

/* splitmix64 (Steele, Lea & Flood 2014) */
static double next_uniform(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double value(const fg_data *data, int64_t row, int64_t feature) {
    const int64_t at = row * data->row_stride + feature * data->feature_stride;
    return data->real_type == FG_FLOAT32 ? (double)((const float *)data->x)[at]
                                         : ((const double *)data->x)[at];
}

static double weight(const fg_data *data, int64_t row) {
    return data->sample_weight ? data->sample_weight[row] : 1;
}

/* Index i with probability score[i] / total. */
static int64_t draw(const double *score, int64_t n, double total, uint64_t *state) {
    double left = next_uniform(state) * total;
    int64_t last = 0;
    for (int64_t i = 0; i < n; i++)
        if (score[i] > 0) {
            last = i;
            left -= score[i];
            if (left < 0)
                return i;
        }
    return last;
}

static double square_distance(const double *a, const double *b, int64_t d) {
    double sum = 0;
    for (int64_t i = 0; i < d; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

/* Greedy k-means++: of 2 + log K candidates, the one that lowers the inertia most. */
static fg_status seed_means(const fg_shape *shape, const fg_data *data, uint64_t *state,
                            double *out_means) {
    const int64_t k_count = shape->n_components, d = shape->n_features, n_rows = data->n_rows;
    int64_t m = k_count * SEED_ROWS_PER_COMPONENT;
    m = m < SEED_ROWS ? SEED_ROWS : m;
    m = m > n_rows ? n_rows : m;
    double *rows = malloc(((size_t)m * ((size_t)d + 5)) * sizeof(double));
    if (!rows)
        return FG_NO_MEMORY;
    double *w = rows + m * d, *score = w + m, *nearest = score + m, *trial = nearest + m,
           *best_trial = trial + m;
    double total = 0;
    for (int64_t i = 0; i < m; i++) {
        /* one row of each of m equal strata: all rows when there are few */
        const double at = ((double)i + (m < n_rows ? next_uniform(state) : 0)) / (double)m;
        int64_t row = m < n_rows ? (int64_t)(at * (double)n_rows) : i;
        row = row < n_rows ? row : n_rows - 1;
        for (int64_t j = 0; j < d; j++)
            rows[i * d + j] = value(data, row, j);
        total += score[i] = w[i] = weight(data, row);
    }
    const int candidates = 2 + (int)log((double)k_count);
    for (int64_t k = 0; k < k_count; k++) {
        double best_total = INFINITY;
        int64_t best = 0;
        for (int c = 0; c < (k ? candidates : 1); c++) {
            const int64_t candidate = draw(score, m, total, state);
            double trial_total = 0;
            for (int64_t i = 0; i < m; i++) {
                const double s = square_distance(rows + i * d, rows + candidate * d, d);
                trial[i] = k && nearest[i] < s ? nearest[i] : s;
                trial_total += w[i] * trial[i];
            }
            if (trial_total < best_total || c == 0) {
                best_total = trial_total;
                best = candidate;
                double *swap = best_trial;
                best_trial = trial;
                trial = swap;
            }
        }
        memcpy(out_means + k * d, rows + best * d, (size_t)d * sizeof(double));
        double *swap = nearest;
        nearest = best_trial;
        best_trial = swap;
        total = 0;
        for (int64_t i = 0; i < m; i++)
            total += score[i] = w[i] * nearest[i];
        if (!(total > 0)) /* every distinct row is taken: draw among all */
            for (int64_t i = 0; i < m; i++)
                total += score[i] = w[i];
    }
    free(rows);
    return FG_OK;
}

/* K distinct rows, drawn by weight; a repeated draw is drawn again. */
static fg_status draw_rows(const fg_shape *shape, const fg_data *data, uint64_t *state,
                           double *out_means) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    int64_t *taken = malloc((size_t)k_count * sizeof *taken);
    if (!taken)
        return FG_NO_MEMORY;
    double total = 0;
    for (int64_t n = 0; n < data->n_rows; n++)
        total += weight(data, n);
    for (int64_t k = 0; k < k_count; k++) {
        int64_t row = 0;
        for (int attempt = 0, repeated = 1; repeated && attempt < 64; attempt++) {
            if (!data->sample_weight) {
                row = (int64_t)(next_uniform(state) * (double)data->n_rows);
            } else {
                row = draw(data->sample_weight, data->n_rows, total, state);
            }
            repeated = 0;
            for (int64_t l = 0; l < k; l++)
                repeated |= taken[l] == row;
        }
        /* K close to N: take the next free row */
        for (int64_t step = 0, repeated = 1; repeated && step <= data->n_rows; step++) {
            repeated = 0;
            for (int64_t l = 0; l < k; l++)
                repeated |= taken[l] == row;
            if (repeated)
                row = (row + 1) % data->n_rows;
        }
        taken[k] = row;
        for (int64_t j = 0; j < d; j++)
            out_means[k * d + j] = value(data, row, j);
    }
    free(taken);
    return FG_OK;
}

/* Equal weights and identity precisions: distances are Euclidean. */
static void set_identity(const fg_shape *shape, fg_parameters *parameters) {
    const int64_t d = shape->n_features;
    for (int64_t k = 0; k < shape->n_components; k++)
        parameters->weights[k] = 1 / (double)shape->n_components;
    const size_t n = fg_covariance_count(shape);
    const int matrix = shape->covariance == FG_FULL || shape->covariance == FG_TIED;
    for (size_t i = 0; i < n; i++)
        parameters->precisions_cholesky[i] = !matrix || i % (size_t)(d * d) % (size_t)(d + 1) == 0;
}

/* The means after one pass that needs no second moments. A component without rows stays. Returns
 * by out_moved the sum of the squared steps. */
static fg_status move_means(fg_pass *pass, const fg_parameters *parameters, fg_statistics *s,
                            double *means, double *out_moved) {
    const int64_t d = pass->shape->n_features;
    const fg_status status = fg_pass_run(pass, parameters, FG_NEAREST, 0, 0, s);
    *out_moved = 0;
    if (status != FG_OK)
        return status;
    for (int64_t k = 0; k < pass->shape->n_components; k++)
        for (int64_t j = 0; j < d && s->nk[k] > 0; j++) {
            const double mean = s->shift[k * d + j] + s->sx[k * d + j] / s->nk[k];
            *out_moved += (mean - means[k * d + j]) * (mean - means[k * d + j]);
            means[k * d + j] = mean;
        }
    return FG_OK;
}

/* One pass with hard or random responsibilities about the given means, and its M step. With
 * recentre the means first move to those of their rows: the moments then need no correction. */
static fg_status one_step(const fg_shape *shape, const fg_data *data, fg_mode mode, uint64_t seed,
                          int recentre, double reg_covar, int n_threads, const fg_monitor *monitor,
                          fg_parameters *parameters, int64_t *out_component) {
    fg_pass pass;
    double moved, *memory = malloc(fg_statistics_count(shape) * sizeof(double));
    fg_status status = fg_pass_open(shape, data, n_threads, monitor, &pass);
    if (!memory)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_statistics s = fg_statistics_in(shape, memory);
        set_identity(shape, parameters);
        if (recentre)
            status = move_means(&pass, parameters, &s, parameters->means, &moved);
        if (status == FG_OK)
            status = fg_pass_run(&pass, parameters, mode, seed, 1, &s);
        if (status == FG_OK)
            status = fg_maximize(shape, &s, reg_covar, parameters, out_component);
    }
    fg_pass_close(&pass);
    free(memory);
    return status;
}

/* Lloyd's iterations, until the means move by less than 1e-4 of the data's mean variance. */
static fg_status lloyd(const fg_shape *shape, const fg_data *data, double variance, int n_threads,
                       const fg_monitor *monitor, double *means) {
    const fg_shape sphere = {shape->n_components, shape->n_features, FG_SPHERICAL};
    const int64_t k_count = shape->n_components;
    double *memory = malloc((fg_statistics_count(&sphere) + 3 * (size_t)k_count) * sizeof(double));
    fg_pass pass;
    fg_status status = fg_pass_open(&sphere, data, n_threads, monitor, &pass);
    if (!memory)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_statistics s = fg_statistics_in(&sphere, memory);
        double *own = memory + fg_statistics_count(&sphere);
        fg_parameters p = {own, means, own + k_count, own + 2 * k_count};
        set_identity(&sphere, &p);
        for (int i = 0; i < LLOYD_PASSES && status == FG_OK; i++) {
            double moved;
            status = move_means(&pass, &p, &s, means, &moved);
            if (moved <= 1e-4 * variance)
                break;
        }
    }
    fg_pass_close(&pass);
    free(memory);
    return status;
}

/* The whole data as one component: its mean, then its covariance about that mean. */
static fg_status whole(const fg_shape *shape, const fg_data *data, double reg_covar, int n_threads,
                       const fg_monitor *monitor, fg_parameters *out, int64_t *out_component) {
    const fg_shape one = {1, shape->n_features, shape->covariance};
    for (int64_t j = 0; j < shape->n_features; j++)
        out->means[j] = value(data, 0, j);
    return one_step(&one, data, FG_NEAREST, 0, 1, reg_covar, n_threads, monitor, out,
                    out_component);
}

fg_status fg_start_parameters(const fg_shape *shape, const fg_data *data, fg_start start,
                              uint64_t seed, double reg_covar, int n_threads,
                              const fg_monitor *monitor, fg_parameters *out,
                              int64_t *out_component) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const fg_shape one = {1, d, FG_SPHERICAL};
    uint64_t state = seed;
    fg_status status;
    double scale[3];
    double *mean = malloc((size_t)d * sizeof(double));
    if (!mean)
        return FG_NO_MEMORY;
    fg_parameters sphere = {scale, mean, scale + 1, scale + 2};
    /* Only a scale is wanted here: constant data are not yet an error. */
    status = whole(&one, data, 1e-300, n_threads, monitor, &sphere, out_component);
    const double variance = scale[1];
    if (status == FG_SINGULAR)
        status = FG_OK;

    if (status == FG_OK && start == FG_START_RANDOM) {
        for (int64_t i = 0; i < k_count * d; i++)
            out->means[i] = mean[i % d];
        status = one_step(shape, data, FG_RANDOM, seed, 0, reg_covar, n_threads, monitor, out,
                          out_component);
    } else if (status == FG_OK && start == FG_START_KMEANS) {
        status = seed_means(shape, data, &state, out->means);
        if (status == FG_OK)
            status = lloyd(shape, data, variance, n_threads, monitor, out->means);
        if (status == FG_OK)
            status = one_step(shape, data, FG_NEAREST, 0, 0, reg_covar, n_threads, monitor, out,
                              out_component);
    } else if (status == FG_OK) {
        /* The data's own covariance for every component, then the drawn means. */
        status = whole(shape, data, reg_covar, n_threads, monitor, out, out_component);
        const size_t count =
            fg_covariance_count(shape) / (shape->covariance == FG_TIED ? 1 : (size_t)k_count);
        for (int64_t k = 0; k < k_count && status == FG_OK; k++) {
            out->weights[k] = 1 / (double)k_count;
            if (k && shape->covariance != FG_TIED) {
                memcpy(out->covariances + (size_t)k * count, out->covariances,
                       count * sizeof(double));
                memcpy(out->precisions_cholesky + (size_t)k * count, out->precisions_cholesky,
                       count * sizeof(double));
            }
        }
        if (status == FG_OK)
            status = start == FG_START_DATA ? draw_rows(shape, data, &state, out->means)
                                            : seed_means(shape, data, &state, out->means);
    }
    free(mean);
    return status;
}
