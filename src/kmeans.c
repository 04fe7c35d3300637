/* k-means, as a start for EM. See kmeans.h.
 *
 * Lloyd's iteration is a pass with hard assignments. The seeds come from greedy k-means++ (Arthur &
 * Vassilvitskii 2007) on a sample of the rows: EM needs only a rough start. */
#include "kmeans.h"

#include <math.h>
#include <string.h>

#include "covariance.h"
#include "draw.h"
#include "memory.h"
#include "parallel.h"
#include "pass.h"
#include "random.h"
#include "rows.h"
#include "statistics.h"

enum {
    LEAST_SAMPLE = 512,
    SAMPLE_ROWS = 2048,
    SAMPLE_ROWS_PER_COMPONENT = 32,
    LLOYD_PASSES = 100,
    TRIES = 3
};
/* Lloyd's tolerances, as fractions of the data's variance: on all rows (scikit-learn's rule for
 * KMeans), on a sample, and on all rows after a sample, where measured fits were no worse for
 * stopping earlier. */
static const double TOL = 1e-4, SAMPLE_TOL = 1e-3, AFTER_SAMPLE_TOL = 1e-2;

/* ---- a sample and its seeds ---- */

typedef struct {
    int64_t m, d;
    double *rows, *weights; /* transposed: [feature][row] */
    double *work;           /* 4 m */
    fg_monitor *monitor;
} sample;

/* out = the squared distances of all rows to row seed, or nearest where that is smaller; returns
 * their weighted sum. */
static double try_seed(const sample *s, int64_t seed, const double *nearest, double *out) {
    memset(out, 0, (size_t)s->m * sizeof(double));
    for (int64_t j = 0; j < s->d && !fg_parallel_poll_piece(j, s->m, s->monitor); j++) {
        const double *x = s->rows + j * s->m, at = x[seed];
        for (int64_t i = 0; i < s->m; i++)
            out[i] += (x[i] - at) * (x[i] - at);
    }
    for (int64_t i = 0; nearest && i < s->m; i++)
        out[i] = nearest[i] < out[i] ? nearest[i] : out[i];
    return fg_sum(s->weights, out, s->m);
}

static void swap(double **a, double **b) {
    double *was = *a;
    *a = *b;
    *b = was;
}

/* Candidates for every seed but the first. */
static int64_t count_candidates(int64_t k_count) { return 2 + (int64_t)log((double)k_count); }

/* Random numbers that seed_means draws. */
static int64_t count_draws(int64_t k_count) {
    return 1 + (k_count - 1) * count_candidates(k_count);
}

/* Greedy k-means++: of 2 + log K candidates, takes the one that lowers the inertia most. */
static fg_status seed_means(const sample *s, int64_t k_count, uint64_t *state, double *out_means) {
    const int64_t m = s->m, d = s->d;
    double *score = s->work, *nearest = score + m, *trial = nearest + m, *best_trial = trial + m;
    memcpy(score, s->weights, (size_t)m * sizeof(double));
    double total = fg_sum(NULL, score, m);
    const int64_t candidates = count_candidates(k_count);
    for (int64_t k = 0; k < k_count; k++) {
        double best_total = INFINITY;
        int64_t best = 0;
        for (int64_t c = 0; c < (k ? candidates : 1); c++) {
            const int64_t candidate = fg_draw(score, 1, m, total, state);
            const double now = try_seed(s, candidate, k ? nearest : NULL, trial);
            if (now < best_total || c == 0) {
                best_total = now;
                best = candidate;
                swap(&best_trial, &trial);
            }
        }
        for (int64_t j = 0; j < d; j++)
            out_means[k * d + j] = s->rows[j * m + best];
        swap(&nearest, &best_trial);
        for (int64_t i = 0; i < m; i++)
            score[i] = s->weights[i] * nearest[i];
        total = fg_sum(NULL, score, m);
        if (!(total > 0)) { /* all distinct rows are seeds already: draw any row */
            memcpy(score, s->weights, (size_t)m * sizeof(double));
            total = fg_sum(NULL, score, m);
        }
        if (fg_parallel_poll(s->monitor))
            return FG_INTERRUPTED;
    }
    return FG_OK;
}

/* sum w |x - nearest mean|^2 */
static double inertia(const sample *s, const double *means, int64_t k_count) {
    const int64_t m = s->m, d = s->d;
    double *least = s->work, *distance = least + m;
    for (int64_t k = 0; k < k_count && !fg_parallel_poll_piece(k, m * d, s->monitor); k++) {
        memset(distance, 0, (size_t)m * sizeof(double));
        for (int64_t j = 0; j < d && !fg_parallel_poll_piece(j, m, s->monitor); j++) {
            const double *x = s->rows + j * m, mean = means[k * d + j];
            for (int64_t i = 0; i < m; i++)
                distance[i] += (x[i] - mean) * (x[i] - mean);
        }
        for (int64_t i = 0; i < m; i++)
            least[i] = k && least[i] < distance[i] ? least[i] : distance[i];
    }
    return fg_sum(s->weights, least, m);
}

/* ---- Lloyd ---- */

/* A pass whose components differ only in their means, and its workspace. */
typedef struct {
    fg_shape shape; /* spherical */
    fg_pass pass;
    fg_statistics statistics;
    fg_parameters spheres; /* its means point to the current ones */
    double variance, *memory;
} lloyd;

static fg_status lloyd_open(fg_context *context, const fg_shape *shape, double variance,
                            lloyd *out) {
    const size_t k = (size_t)shape->n_components;
    *out = (lloyd){.shape = {shape->n_components, shape->n_features, FG_SPHERICAL},
                   .variance = variance};
    const size_t sums = fg_statistics_count(&out->shape);
    double *m = out->memory = fg_doubles(sums + 2 * k);
    if (!m)
        return FG_NO_MEMORY;
    out->statistics = fg_statistics_in(&out->shape, m);
    out->spheres = (fg_parameters){.weights = m + sums, .precisions_cholesky = m + sums + k};
    fg_set_spheres(&out->shape, sqrt(variance), context->monitor, &out->spheres);
    return fg_pass_open(context, &out->shape, context->rows->data->real_type, &out->pass);
}

static void lloyd_close(lloyd *l) {
    fg_pass_close(&l->pass);
    fg_release(l->memory);
}

/* Iterates until the means move by less than tol times the data's variance. */
static fg_status lloyd_run(lloyd *l, double tol, double *means) {
    const int64_t k_count = l->shape.n_components, d = l->shape.n_features;
    const fg_shift_choice at_means = {NULL, 0};
    const fg_statistics *s = &l->statistics;
    fg_status status = FG_OK;
    double moved = INFINITY;
    l->spheres.means = means;
    for (int i = 0; i < LLOYD_PASSES && moved > tol * l->variance && status == FG_OK; i++) {
        status = fg_pass_run(&l->pass, &l->spheres, FG_NEAREST, &at_means, 0, FG_FIRST_MOMENTS,
                             &l->statistics);
        moved = 0;
        for (int64_t k = 0; k < k_count && status == FG_OK; k++)
            for (int64_t j = 0; j < d && s->nk[k] > 0; j++) {
                const int64_t at = k * d + j;
                const double step = s->shift[at] + s->sx[at] / s->nk[k] - means[at];
                moved += step * step;
                means[at] += step;
            }
    }
    return status;
}

/* ---- both ---- */

/* The tries to cluster the sample, from which the best is kept. Each is a task with its own seeds:
 * the random numbers of a try begin where those of the try before end. */
typedef struct {
    fg_shape shape;
    double variance;
    uint64_t state; /* of the first try */
    int n_tries;
    sample sample;
    fg_status status;
    double least, *means; /* the best so far; written by the calling thread */
    double memory[];      /* of the sample */
} tries;

typedef struct {
    fg_status status;
    double inertia;
    double means[];
} one_try;

static fg_status cluster_sample(const tries *t, const sample *s, uint64_t state, one_try *out) {
    const fg_data data = {s->rows, FG_FLOAT64, s->m, 1, s->m, s->weights};
    fg_rows rows;
    fg_rows_open(&data, &rows);
    fg_context alone = {.rows = &rows, .n_threads = 1, .monitor = s->monitor};
    lloyd l;
    fg_status status = lloyd_open(&alone, &t->shape, t->variance, &l);
    if (status == FG_OK)
        status = seed_means(s, t->shape.n_components, &state, out->means);
    if (status == FG_OK)
        status = lloyd_run(&l, SAMPLE_TOL, out->means);
    lloyd_close(&l);
    out->inertia =
        status == FG_OK && t->n_tries > 1 ? inertia(s, out->means, t->shape.n_components) : 0;
    return status;
}

static void try_once(void *shared, int64_t task, void *scratch, fg_monitor *monitor, void *result) {
    const tries *t = shared;
    one_try *out = result;
    sample s = t->sample;
    s.work = scratch;
    s.monitor = monitor;
    const int64_t draws = count_draws(t->shape.n_components);
    out->status = cluster_sample(t, &s, fg_random_skip(t->state, task * draws), out);
    fg_parallel_poll(monitor);
}

static void keep_best(void *shared, int64_t task, void *result) {
    tries *t = shared;
    const one_try *found = result;
    if (t->status == FG_OK)
        t->status = found->status;
    if (t->status == FG_OK && (task == 0 || found->inertia < t->least)) {
        t->least = found->inertia;
        memcpy(t->means, found->means,
               (size_t)(t->shape.n_components * t->shape.n_features) * sizeof(double));
    }
}

/* Clusters a sample of m rows, on which k-means is cheap. */
static fg_status cluster_by_sample(fg_context *context, const fg_shape *shape, int64_t m,
                                   double variance, uint64_t *state, double *out_means) {
    const size_t d = (size_t)shape->n_features, means = (size_t)shape->n_components * d;
    const fg_tasks tasks = {.work = try_once,
                            .commit = keep_best,
                            .in_order = 1,
                            .shared_bytes = sizeof(tries) + (size_t)m * (d + 1) * sizeof(double),
                            .scratch_bytes = 4 * (size_t)m * sizeof(double),
                            .result_bytes = sizeof(one_try) + means * sizeof(double)};
    const int n_tries = context->rows->data->n_rows >= 8 * m ? TRIES : 1;
    const int n_threads = context->n_threads < n_tries ? context->n_threads : n_tries;
    fg_run *run = fg_run_open(&tasks, n_threads, context->lease);
    if (!run)
        return FG_NO_MEMORY;
    tries *t = fg_run_shared(run);
    *t = (tries){.shape = *shape, .variance = variance, .n_tries = n_tries, .means = out_means};
    t->sample = (sample){m, shape->n_features, t->memory, t->memory + (size_t)m * d, NULL, NULL};
    fg_status status = fg_rows_sample(context->rows, shape->n_features, m, state, context->monitor,
                                      t->sample.rows, t->sample.weights);
    t->state = *state;
    *state = fg_random_skip(*state, n_tries * count_draws(shape->n_components));
    if (status == FG_OK)
        status = fg_run_tasks(run, context, n_tries);
    if (status == FG_OK)
        status = t->status;
    fg_run_close(run);
    return status;
}

static int64_t choose_sample_rows(const fg_shape *shape, int64_t n_rows) {
    const int64_t least = shape->n_components * SAMPLE_ROWS_PER_COMPONENT;
    int64_t m = n_rows / 4 < SAMPLE_ROWS ? n_rows / 4 : SAMPLE_ROWS;
    m = m < LEAST_SAMPLE ? LEAST_SAMPLE : m;
    m = m < least ? least : m;
    return m < n_rows ? m : n_rows;
}

/* Lloyd's iterations over all rows. */
static fg_status cluster_rows(fg_context *context, const fg_shape *shape, double variance,
                              double tol, double *means) {
    lloyd l;
    fg_status status = lloyd_open(context, shape, variance, &l);
    if (status == FG_OK)
        status = lloyd_run(&l, tol, means);
    lloyd_close(&l);
    return status;
}

/* Seeds from a sample of m rows, or from all rows. */
static fg_status seed_by_sample(fg_context *context, const fg_shape *shape, int64_t m,
                                uint64_t *state, double *out_means) {
    const int64_t d = shape->n_features;
    double *memory = fg_doubles((size_t)(m * (d + 5)));
    if (!memory)
        return FG_NO_MEMORY;
    const sample s = {m, d, memory, memory + m * d, memory + m * (d + 1), context->monitor};
    fg_status status =
        fg_rows_sample(context->rows, d, m, state, context->monitor, s.rows, s.weights);
    if (status == FG_OK)
        status = seed_means(&s, shape->n_components, state, out_means);
    fg_release(memory);
    return status;
}

fg_status fg_kmeans(fg_context *context, const fg_shape *shape, int with_lloyd, double variance,
                    uint64_t *state, double *out_means) {
    const int64_t n_rows = context->rows->data->n_rows, m = choose_sample_rows(shape, n_rows);
    if (!with_lloyd)
        return seed_by_sample(context, shape, m, state, out_means);
    fg_status status = m < n_rows ? cluster_by_sample(context, shape, m, variance, state, out_means)
                                  : seed_by_sample(context, shape, m, state, out_means);
    if (status == FG_OK)
        status =
            cluster_rows(context, shape, variance, m < n_rows ? AFTER_SAMPLE_TOL : TOL, out_means);
    return status;
}
