/* Where EM begins: k-means, k-means++, rows of the data, random responsibilities.
 *
 * k-means is the pass of em.c with hard responsibilities. Its seeds come from greedy k-means++
 * (Arthur & Vassilvitskii 2007) on a spread sample of the rows: EM only needs a rough start. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data.h"
#include "em.h"
#include "memory.h"
#include "parallel.h"
#include "start.h"

enum {
    LEAST_SAMPLE = 512,
    SAMPLE_ROWS = 2048,
    SAMPLE_ROWS_PER_COMPONENT = 32,
    LLOYD_PASSES = 100,
    TRIES = 3
};
/* Where Lloyd stops, in parts of the data's variance: scikit-learn's rule for KMeans; on a sample,
 * and on all rows after it, where fits measured no worse for stopping sooner. */
static const double TOL = 1e-4, SAMPLE_TOL = 1e-3, REST_TOL = 1e-2;

/* splitmix64 (Steele, Lea & Flood 2014) */
static const uint64_t STEP = 0x9e3779b97f4a7c15u;

uint64_t fg_random(uint64_t seed, uint64_t n) {
    uint64_t z = seed + (n + 1) * STEP;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double next_uniform(uint64_t *state) {
    const uint64_t bits = fg_random(*state, 0);
    *state += STEP;
    return (double)(bits >> 11) * 0x1p-53;
}

static double weight(const fg_data *data, int64_t row) {
    return data->sample_weight ? data->sample_weight[row] : 1;
}

enum { LANES = 8 };

/* sum x_i, or sum w_i x_i: in lanes, for a chain of additions would wait for each. */
static double sum_of(const double *w, const double *x, int64_t n) {
    double lanes[LANES] = {0}, total = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += w ? w[i + l] * x[i + l] : x[i + l];
    for (; i < n; i++)
        total += w ? w[i] * x[i] : x[i];
    for (int l = 0; l < LANES; l++)
        total += lanes[l];
    return total;
}

/* Index i with probability score[i] / total. */
static int64_t draw(const double *score, int64_t n, double total, uint64_t *state) {
    enum { STRIDE = 64 };
    double left = next_uniform(state) * total;
    int64_t last = 0;
    for (int64_t begin = 0; begin < n; begin += STRIDE) {
        const int64_t end = begin + STRIDE < n ? begin + STRIDE : n;
        const double here = sum_of(NULL, score + begin, end - begin);
        if (left >= here && end < n) {
            left -= here;
            continue;
        }
        for (int64_t i = begin; i < end; i++)
            if (score[i] > 0) {
                last = i;
                left -= score[i];
                if (left < 0)
                    return i;
            }
    }
    while (last > 0 && !(score[last] > 0)) /* rounding led past the end */
        last--;
    return last;
}

/* m rows of the data, transposed, [feature][row], and their weights, scaled. All rows when there
 * are few, those of weight zero moved to one that counts, for they may lie anywhere; else one from
 * each of m strata of equal weight. */
static fg_status sample_rows(const fg_data *data, int64_t d, int64_t m, uint64_t *state,
                             fg_monitor *monitor, double *out_rows, double *out_weights) {
    const int64_t n_rows = data->n_rows;
    const double scale = fg_weight_scale(data);
    double total = (double)n_rows, passed = 0;
    if (data->sample_weight && m < n_rows) {
        total = 0;
        for (int64_t n = 0; n < n_rows; n++)
            total += data->sample_weight[n] * scale;
    }
    int64_t row = 0, counts = 0;
    while (counts < n_rows - 1 && !(weight(data, counts) > 0))
        counts++;
    for (int64_t i = 0; i < m; i++) {
        if (m == n_rows)
            row = weight(data, i) > 0 ? i : counts;
        else {
            const double target = ((double)i + next_uniform(state)) / (double)m * total;
            if (!data->sample_weight)
                row = (int64_t)target;
            else /* the row whose share of the weight holds the target */
                while (row < n_rows - 1 && passed + data->sample_weight[row] * scale <= target)
                    passed += data->sample_weight[row++] * scale;
            row = row < n_rows ? row : n_rows - 1;
        }
        for (int64_t j = 0; j < d; j++)
            out_rows[j * m + i] = fg_data_value(data, row, j);
        out_weights[i] = m == n_rows && data->sample_weight ? weight(data, i) * scale : 1;
        if (fg_parallel_poll_piece(i, d, monitor))
            return FG_INTERRUPTED;
    }
    return FG_OK;
}

/* out = the squared distances of all m rows to one of them, or nearest where that is less; returns
 * their weighted sum. */
static double try_seed(const double *rows, const double *w, int64_t m, int64_t d, int64_t seed,
                       const double *nearest, fg_monitor *monitor, double *out) {
    memset(out, 0, (size_t)m * sizeof(double));
    for (int64_t j = 0; j < d && !fg_parallel_poll_piece(j, m, monitor); j++) {
        const double *x = rows + j * m, at = x[seed];
        for (int64_t i = 0; i < m; i++)
            out[i] += (x[i] - at) * (x[i] - at);
    }
    for (int64_t i = 0; nearest && i < m; i++)
        out[i] = nearest[i] < out[i] ? nearest[i] : out[i];
    return sum_of(w, out, m);
}

/* Greedy k-means++: of 2 + log K candidates, the one that lowers the inertia most. work: 4 m. */
static fg_status seed_means(const double *rows, const double *w, int64_t m, int64_t k_count,
                            int64_t d, uint64_t *state, fg_monitor *monitor, double *work,
                            double *out_means) {
    double *score = work, *nearest = score + m, *trial = nearest + m, *best_trial = trial + m;
    memcpy(score, w, (size_t)m * sizeof(double));
    double total = sum_of(NULL, score, m);
    const int candidates = 2 + (int)log((double)k_count);
    for (int64_t k = 0; k < k_count; k++) {
        double best_total = INFINITY;
        int64_t best = 0;
        for (int c = 0; c < (k ? candidates : 1); c++) {
            const int64_t candidate = draw(score, m, total, state);
            const double now =
                try_seed(rows, w, m, d, candidate, k ? nearest : NULL, monitor, trial);
            if (now < best_total || c == 0) {
                best_total = now;
                best = candidate;
                double *swap = best_trial;
                best_trial = trial;
                trial = swap;
            }
        }
        for (int64_t j = 0; j < d; j++)
            out_means[k * d + j] = rows[j * m + best];
        double *swap = nearest;
        nearest = best_trial;
        best_trial = swap;
        for (int64_t i = 0; i < m; i++)
            score[i] = w[i] * nearest[i];
        total = sum_of(NULL, score, m);
        if (!(total > 0)) { /* every distinct row is taken: draw among all */
            memcpy(score, w, (size_t)m * sizeof(double));
            total = sum_of(NULL, score, m);
        }
        if (fg_parallel_poll(monitor))
            return FG_INTERRUPTED;
    }
    return FG_OK;
}

/* K distinct rows, drawn by weight; a repeated draw is drawn again. */
static fg_status draw_rows(const fg_shape *shape, const fg_data *data, uint64_t *state,
                           fg_monitor *monitor, double *out_means) {
    const int64_t d = shape->n_features, n_rows = data->n_rows;
    char *taken = calloc((size_t)n_rows, 1);
    if (!taken)
        return FG_NO_MEMORY;
    double total = 0;
    for (int64_t n = 0; data->sample_weight && n < n_rows; n++)
        total += data->sample_weight[n];
    fg_status status = FG_OK;
    for (int64_t k = 0; k < shape->n_components && status == FG_OK; k++) {
        int64_t row = 0;
        for (int attempt = 0; attempt < 64 && (attempt == 0 || taken[row]); attempt++) {
            if (!data->sample_weight)
                row = (int64_t)(next_uniform(state) * (double)n_rows);
            else if (fg_parallel_poll(monitor))
                break;
            else
                row = draw(data->sample_weight, n_rows, total, state);
        }
        /* K close to N: take the next free row */
        for (int64_t step = 0; step < n_rows && (taken[row] || !(weight(data, row) > 0)); step++)
            row = (row + 1) % n_rows;
        taken[row] = 1;
        for (int64_t j = 0; j < d; j++)
            out_means[k * d + j] = fg_data_value(data, row, j);
        if (fg_parallel_poll(monitor))
            status = FG_INTERRUPTED;
    }
    free(taken);
    return status;
}

/* The element of the covariances' diagonals that follows on i. */
static int64_t next_diagonal(const fg_shape *shape, int64_t i) {
    const int64_t d = shape->n_features;
    if (shape->layout == FG_DIAG || shape->layout == FG_SPHERICAL)
        return i + 1;
    return (i + 1) % (d * d) == 0 ? i + 1 : i + d + 1;
}

/* Equal weights and one precision for all: distances are Euclidean, in units of a deviation, so
 * that data of any scale keep their digits. */
static void set_spheres(const fg_shape *shape, double deviation, fg_monitor *monitor,
                        fg_parameters *parameters) {
    for (int64_t k = 0; k < shape->n_components; k++)
        parameters->weights[k] = 1 / (double)shape->n_components;
    const int64_t n = (int64_t)fg_covariance_count(shape);
    fg_clear(parameters->precisions_cholesky, (size_t)n * sizeof(double), monitor);
    for (int64_t i = 0; i < n; i = next_diagonal(shape, i))
        parameters->precisions_cholesky[i] = 1 / deviation;
}

/* One pass with hard or random responsibilities about the given means, and its M step. */
static fg_status one_step(const fg_shape *shape, const fg_data *data, fg_assignment assignment,
                          uint64_t seed, const double *means, double deviation, double reg_covar,
                          int n_threads, fg_monitor *monitor, fg_parameters *out,
                          int64_t *out_component) {
    const size_t k = (size_t)shape->n_components, d = (size_t)shape->n_features;
    const size_t sums = fg_statistics_count(shape), covariances = fg_covariance_count(shape);
    fg_shift_choice choice = {NULL, 0};
    fg_pass pass;
    double *memory = fg_doubles(sums + k + 2 * k * d + covariances);
    fg_status status = fg_pass_open(shape, data, data->real_type, n_threads, monitor, &pass);
    if (!memory)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_statistics s = fg_statistics_in(shape, memory);
        double *own = memory + sums;
        fg_parameters spheres = {own, own + k, NULL, own + k + 2 * k * d};
        memcpy(spheres.means, means, k * d * sizeof(double));
        set_spheres(shape, deviation, monitor, &spheres);
        status = fg_pass_step(&pass, &spheres, assignment, seed, &choice, FG_MOMENTS, reg_covar, &s,
                              out, own + k + k * d, out_component);
    }
    fg_pass_close(&pass);
    fg_release(memory);
    return status;
}

/* Lloyd's iterations, until the means move by less than tol of the data's variance. */
static fg_status lloyd(const fg_shape *shape, const fg_data *data, double variance, double tol,
                       int n_threads, fg_monitor *monitor, double *means) {
    const fg_shape sphere = {shape->n_components, shape->n_features, FG_SPHERICAL};
    const int64_t k_count = shape->n_components, d = shape->n_features;
    double *memory = fg_doubles(fg_statistics_count(&sphere) + 3 * (size_t)k_count);
    fg_pass pass;
    fg_status status = fg_pass_open(&sphere, data, data->real_type, n_threads, monitor, &pass);
    if (!memory)
        status = FG_NO_MEMORY;
    if (status == FG_OK) {
        fg_statistics s = fg_statistics_in(&sphere, memory);
        double *own = memory + fg_statistics_count(&sphere);
        fg_parameters p = {own, means, own + k_count, own + 2 * k_count};
        set_spheres(&sphere, sqrt(variance), monitor, &p);
        const fg_shift_choice choice = {NULL, 0};
        double moved = INFINITY;
        for (int i = 0; i < LLOYD_PASSES && moved > tol * variance && status == FG_OK; i++) {
            status = fg_pass_run(&pass, &p, FG_NEAREST, &choice, 0, FG_FIRST_MOMENTS, &s);
            moved = 0;
            for (int64_t k = 0; k < k_count && status == FG_OK; k++)
                for (int64_t j = 0; j < d && s.nk[k] > 0; j++) {
                    const int64_t at = k * d + j;
                    const double step = s.shift[at] + s.sx[at] / s.nk[k] - means[at];
                    moved += step * step;
                    means[at] += step;
                }
        }
    }
    fg_pass_close(&pass);
    fg_release(memory);
    return status;
}

/* sum w |x - nearest mean|^2; work: 2 m. */
static double inertia(const double *rows, const double *w, int64_t m, const double *means,
                      int64_t k_count, int64_t d, fg_monitor *monitor, double *work) {
    double *least = work, *distance = work + m;
    for (int64_t k = 0; k < k_count && !fg_parallel_poll_piece(k, m * d, monitor); k++) {
        memset(distance, 0, (size_t)m * sizeof(double));
        for (int64_t j = 0; j < d && !fg_parallel_poll_piece(j, m, monitor); j++) {
            const double *x = rows + j * m, mean = means[k * d + j];
            for (int64_t i = 0; i < m; i++)
                distance[i] += (x[i] - mean) * (x[i] - mean);
        }
        for (int64_t i = 0; i < m; i++)
            least[i] = k && least[i] < distance[i] ? least[i] : distance[i];
    }
    return sum_of(w, least, m);
}

/* Clusters a spread sample, transposed, where k-means is cheap: the best of some tries. spare:
 * K x d. */
static fg_status cluster_sample(const fg_shape *shape, const fg_data *sample, int tries,
                                double variance, uint64_t *state, fg_monitor *monitor, double *work,
                                double *spare, double *out_means) {
    const int64_t k_count = shape->n_components, d = shape->n_features, m = sample->n_rows;
    const double *rows = sample->x, *w = sample->sample_weight;
    double least = INFINITY;
    for (int i = 0; i < tries; i++) {
        double *means = i ? spare : out_means;
        fg_status status = seed_means(rows, w, m, k_count, d, state, monitor, work, means);
        if (status == FG_OK)
            status = lloyd(shape, sample, variance, SAMPLE_TOL, 1, monitor, means);
        if (status != FG_OK)
            return status;
        const double now = tries > 1 ? inertia(rows, w, m, means, k_count, d, monitor, work) : 0;
        if (fg_parallel_poll(monitor))
            return FG_INTERRUPTED;
        if (i && now < least)
            memcpy(out_means, means, (size_t)(k_count * d) * sizeof(double));
        least = now < least ? now : least;
    }
    return FG_OK;
}

/* Seeds from a spread sample of the rows; for k-means Lloyd's iterations there, and then on all
 * rows, where few are left to do. */
static fg_status cluster(const fg_shape *shape, const fg_data *data, int with_lloyd,
                         double variance, uint64_t *state, int n_threads, fg_monitor *monitor,
                         double *out_means) {
    const int64_t k_count = shape->n_components, d = shape->n_features, n_rows = data->n_rows;
    int64_t m = n_rows / 4 < SAMPLE_ROWS ? n_rows / 4 : SAMPLE_ROWS;
    m = m < LEAST_SAMPLE ? LEAST_SAMPLE : m;
    m = m < k_count * SAMPLE_ROWS_PER_COMPONENT ? k_count * SAMPLE_ROWS_PER_COMPONENT : m;
    m = m > n_rows ? n_rows : m;
    double *rows = fg_doubles((size_t)(m * (d + 5) + k_count * d));
    if (!rows)
        return FG_NO_MEMORY;
    double *w = rows + m * d, *work = w + m, *spare = work + 4 * m;
    fg_status status = sample_rows(data, d, m, state, monitor, rows, w);
    if (status == FG_OK && with_lloyd && m < n_rows) {
        const fg_data sample = {rows, FG_FLOAT64, m, 1, m, w};
        const int tries = n_rows >= 8 * m ? TRIES : 1;
        status =
            cluster_sample(shape, &sample, tries, variance, state, monitor, work, spare, out_means);
    } else if (status == FG_OK)
        status = seed_means(rows, w, m, k_count, d, state, monitor, work, out_means);
    fg_release(rows);
    if (status == FG_OK && with_lloyd)
        status = lloyd(shape, data, variance, m < n_rows ? REST_TOL : TOL, n_threads, monitor,
                       out_means);
    return status;
}

/* The data's mean, and the mean of its features' variances. */
static fg_status centre_and_scale(const fg_data *data, int64_t d, int n_threads,
                                  fg_monitor *monitor, double *out_mean, double *out_variance) {
    const fg_shape one = {1, d, FG_SPHERICAL};
    double own[3];
    int64_t component;
    fg_parameters p = {own, out_mean, own + 1, own + 2};
    for (int64_t j = 0; j < d; j++)
        out_mean[j] = fg_data_value(data, 0, j);
    const fg_status status =
        one_step(&one, data, FG_NEAREST, 0, out_mean, 1, 0, n_threads, monitor, &p, &component);
    /* Only a scale is wanted: constant data are not an error yet. */
    *out_variance = status == FG_OK ? own[1] : 1;
    return status == FG_SINGULAR ? FG_OK : status;
}

fg_status fg_variances(const fg_data *data, int64_t d, int n_threads, fg_monitor *monitor,
                       double *out_variances) {
    const fg_shape one = {1, d, FG_DIAG};
    double weight, *memory = fg_doubles(3 * (size_t)d);
    int64_t component;
    if (!memory)
        return FG_NO_MEMORY;
    for (int64_t j = 0; j < d; j++)
        memory[j] = fg_data_value(data, 0, j);
    fg_parameters p = {&weight, memory + d, out_variances, memory + 2 * d};
    const fg_status status =
        one_step(&one, data, FG_NEAREST, 0, memory, 1, 0, n_threads, monitor, &p, &component);
    fg_release(memory);
    return status == FG_SINGULAR ? FG_OK : status; /* a constant column is no error */
}

/* Gives every component equal weight, the covariance of the rows about the nearest mean, pooled
 * over the components, and its own mean back. */
static fg_status pool(const fg_shape *shape, const double *means, double reg_covar,
                      fg_monitor *monitor, fg_parameters *p, int64_t *out_component) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const size_t all = fg_covariance_count(shape), each = all / (size_t)k_count;
    memcpy(p->means, means, (size_t)(k_count * d) * sizeof(double));
    const int64_t n_pooled = shape->layout == FG_TIED ? 0 : k_count;
    for (int64_t k = 0; k < n_pooled; k++) {
        if (fg_parallel_poll_piece(k, (int64_t)each, monitor))
            return FG_INTERRUPTED;
        for (size_t i = 0; i < each; i++) {
            const double share = p->weights[k] * p->covariances[(size_t)k * each + i];
            p->covariances[i] = k ? p->covariances[i] + share : share;
        }
    }
    for (int64_t k = 1; k < n_pooled; k++) {
        if (fg_parallel_poll_piece(k, (int64_t)each, monitor))
            return FG_INTERRUPTED;
        memcpy(p->covariances + (size_t)k * each, p->covariances, each * sizeof(double));
    }
    for (int64_t i = 0; i < (int64_t)all; i = next_diagonal(shape, i))
        p->covariances[i] += reg_covar;
    for (int64_t k = 0; k < k_count; k++)
        p->weights[k] = 1 / (double)k_count;
    return fg_precision_cholesky(shape, p->covariances, monitor, p->precisions_cholesky,
                                 out_component);
}

fg_status fg_start_parameters(const fg_shape *shape, const fg_data *data, fg_start start,
                              uint64_t seed, double reg_covar, int n_threads, fg_monitor *monitor,
                              fg_parameters *out, int64_t *out_component) {
    const int64_t k_count = shape->n_components, d = shape->n_features;
    uint64_t state = seed;
    double variance, *means = fg_doubles((size_t)(k_count * d));
    if (!means)
        return FG_NO_MEMORY;
    fg_status status = centre_and_scale(data, d, n_threads, monitor, means, &variance);
    const double deviation = sqrt(variance);
    if (status == FG_OK && start == FG_START_RANDOM)
        for (int64_t i = d; i < k_count * d; i++)
            means[i] = means[i % d];
    else if (status == FG_OK && start == FG_START_DATA)
        status = draw_rows(shape, data, &state, monitor, means);
    else if (status == FG_OK)
        status = cluster(shape, data, start == FG_START_KMEANS, variance, &state, n_threads,
                         monitor, means);
    if (status == FG_OK) {
        const int pooled = start == FG_START_KMEANS_PP || start == FG_START_DATA;
        const fg_assignment assignment = start == FG_START_RANDOM ? FG_RANDOM : FG_NEAREST;
        status = one_step(shape, data, assignment, seed, means, deviation, pooled ? 0 : reg_covar,
                          n_threads, monitor, out, out_component);
        if (pooled && (status == FG_OK || status == FG_SINGULAR))
            status = pool(shape, means, reg_covar, monitor, out, out_component);
    }
    fg_release(means);
    return status;
}
