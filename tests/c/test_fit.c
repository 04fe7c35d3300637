/* The M step compared with its formulas; fits that recover the true parameters; starts; dispatch.
 */
#include "calls.h"
#include "check.h"
#include "instruction_sets.h"
#include "kmeans.h"
#include "memory.h"
#include "mixture.h"
#include "random.h"

static uint64_t seed = 1;

static int is_matrix(fg_layout c) { return c == FG_FULL || c == FG_TIED; }

/* Entry (i, j) of component k, for any layout. */
static double entry(const fg_shape *shape, const double *x, int64_t k, int64_t i, int64_t j) {
    const int64_t d = shape->n_features;
    switch (shape->layout) {
    case FG_FULL: return x[(k * d + i) * d + j];
    case FG_TIED: return x[i * d + j];
    case FG_DIAG: return i == j ? x[k * d + i] : 0;
    default: return i == j ? x[k] : 0;
    }
}

/* ---- the M step ---- */

/* The contribution of one component to (nk sum of) the covariance: S - sx sx^T / nk, and |terms|.
 */
static bounded scatter(const fg_shape *shape, const fg_statistics *s, int64_t k, int64_t i,
                       int64_t j) {
    const int64_t d = shape->n_features, packed = d * (d + 1) / 2, at = i * (i + 1) / 2 + j;
    const double *sx = s->sx + k * d;
    const exact product = (exact)sx[i] * sx[j] / s->nk[k];
    exact sum = 0, taken = product;
    if (shape->layout == FG_FULL)
        sum = s->sxx[k * packed + at];
    else if (shape->layout == FG_TIED) /* the sum over the components is counted once */
        sum = k ? 0 : s->sxx[at];
    else if (shape->layout == FG_DIAG)
        sum = s->sxx[k * d + i];
    else {
        sum = s->sxx[k] / (exact)d;
        taken = 0;
        for (int64_t l = 0; l < d; l++)
            taken += (exact)sx[l] * sx[l] / s->nk[k] / (exact)d;
    }
    return (bounded){sum - taken, (double)(fabsl(sum) + fabsl(taken))};
}

/* Checks |U^T S U - 1| of one component: the backward error of Cholesky and that of the inverse
 * (Higham 2002, theorems 10.3 and 8.14) give (3 d + 4) u (|R| |U|)^T (|R| |U|), R = U^-1. */
static void check_precision(const fg_shape *shape, const fg_parameters *p, int64_t k) {
    const int64_t d = shape->n_features;
    const size_t bytes = (size_t)(d * d) * sizeof(double);
    double *u = allocate(bytes), *r = allocate(bytes), *su = allocate(bytes), *ru = allocate(bytes);
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            u[i * d + j] = entry(shape, p->precisions_cholesky, k, i, j);
    for (int64_t j = 0; j < d; j++)
        for (int64_t i = d - 1; i >= 0; i--) {
            double sum = i == j;
            for (int64_t l = i + 1; l <= j; l++)
                sum -= u[i * d + l] * r[l * d + j];
            r[i * d + j] = i > j ? 0 : sum / u[i * d + i];
        }
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double product = 0, reach = 0;
            for (int64_t l = 0; l <= j; l++) {
                product += entry(shape, p->covariances, k, i, l) * u[l * d + j];
                reach += fabs(r[i * d + l] * u[l * d + j]);
            }
            su[i * d + j] = product;
            ru[i * d + j] = reach;
        }
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++) {
            double one = 0, reach = 0;
            for (int64_t l = 0; l < d; l++) {
                one += u[l * d + i] * su[l * d + j];
                reach += ru[l * d + i] * ru[l * d + j];
            }
            /* plus 2 d u for the products computed here */
            const double error = (double)(5 * d + 4) * 0x1p-53 * reach;
            CHECK(fabs(one - (i == j)) <= error, "U^T S U (%lld, %lld) is %.17g", (long long)i,
                  (long long)j, one);
            CHECK(i <= j || u[i * d + j] == 0, "U is not upper triangular");
        }
    free(u);
    free(r);
    free(su);
    free(ru);
}

static void check_maximize(const mixture *m, const samples *s) {
    const fg_shape *shape = &m->shape;
    const int64_t k_count = shape->n_components, d = shape->n_features;
    const double u = 0x1p-53, reg_covar = 0.01;
    fg_statistics sum = statistics_new(shape);
    fg_parameters p = parameters_new(shape);
    CONTEXT("maximize %s d=%lld K=%lld", layout_name(shape->layout), (long long)d,
            (long long)k_count);
    CHECK(fg_accumulate(ON(&s->data, 1, NULL), shape, &m->parameters, &sum) == FG_OK, "accumulate");
    CHECK(fg_maximize(ON(NULL, 1, NULL), shape, &(fg_m_step){reg_covar}, &sum, &p) == FG_OK,
          "maximize");
    exact total = 0;
    for (int64_t k = 0; k < k_count; k++)
        total += sum.nk[k];
    const int tied = shape->layout == FG_TIED;
    for (int64_t k = 0; k < k_count; k++) {
        const exact weight = sum.nk[k] / total;
        CHECK(fabsl(p.weights[k] - weight) <= (double)(k_count + 1) * u * weight, "weight");
        for (int64_t i = 0; i < d; i++) {
            const exact step = (exact)sum.sx[k * d + i] / sum.nk[k];
            const exact mean = sum.shift[k * d + i] + step;
            CHECK(fabsl(p.means[k * d + i] - mean) <= u * (3 * fabsl(step) + fabsl(mean)), "mean");
        }
        for (int64_t i = 0; i < d; i++)
            for (int64_t j = is_matrix(shape->layout) ? 0 : i; j <= i; j++) {
                bounded truth = {0, 0};
                for (int64_t l = tied ? 0 : k; l <= (tied ? k_count - 1 : k); l++) {
                    const bounded part = scatter(shape, &sum, l, i, j);
                    truth.value += part.value;
                    truth.error += part.error;
                }
                const exact share = 1 / (tied ? total : sum.nk[k]);
                const double reg = i == j ? reg_covar : 0;
                const exact value = truth.value * share + reg;
                /* a few for each term, one for each term of the sum */
                const double roundings = 6 + (double)(tied ? k_count : 0) +
                                         (double)(shape->layout == FG_SPHERICAL ? d : 0);
                const double error = u * roundings * (truth.error * (double)share + reg);
                CHECK(fabsl(entry(shape, p.covariances, k, i, j) - value) <= error,
                      "covariance %lld (%lld, %lld) is %.17g, not %.17Lg +- %.2g", (long long)k,
                      (long long)i, (long long)j, entry(shape, p.covariances, k, i, j), value,
                      error);
                CHECK(entry(shape, p.covariances, k, i, j) == entry(shape, p.covariances, k, j, i),
                      "not symmetric");
            }
        check_precision(shape, &p, k);
    }
    parameters_free(&p);
    statistics_free(&sum);
}

static void test_maximize(void) {
    static const int64_t features[] = {1, 2, 3, 5, 9, 17, 40};
    fg_isa_choose(NULL);
    for (size_t f = 0; f < sizeof features / sizeof *features; f++)
        EACH_LAYOUT(c) {
            mixture m = mixture_new((fg_shape){3, features[f], c}, 2, seed++);
            samples s = samples_new(&m, FG_FLOAT64, 300, 0, seed++);
            check_maximize(&m, &s);
            samples_free(&s);
            mixture_free(&m);
        }
}

/* The second of two components is not positive definite, or is empty. */
static void test_maximize_degenerate(void) {
    EACH_LAYOUT(c) {
        const fg_shape shape = {2, 2, c};
        fg_parameters p = parameters_new(&shape);
        double covariances[8] = {0};
        for (size_t i = 0; i < fg_covariance_count(&shape); i++)
            covariances[i] = i % 4 == 0 || i % 4 == 3; /* full, tied: identity matrices */
        if (c == FG_DIAG || c == FG_SPHERICAL)
            covariances[0] = covariances[1] = covariances[2] = 1;
        const int64_t last = (int64_t)fg_covariance_count(&shape) - 1;
        CONTEXT("degenerate %s", layout_name(c));
        for (int i = 0; i < 3; i++) {
            covariances[last] = (double[]){0, -1, NAN}[i];
            fg_context *context = ON(NULL, 1, NULL);
            const fg_parameters own = {.covariances = covariances,
                                       .precisions_cholesky = p.precisions_cholesky};
            context->singular_component = 7;
            CHECK(fg_precision_cholesky(context, &shape, &own) == FG_SINGULAR &&
                      context->singular_component == (c == FG_TIED ? -1 : 1),
                  "component %lld", (long long)context->singular_component);
        }
        fg_statistics s = statistics_new(&shape);
        s.weight_sum = s.nk[0] = 10;
        s.nk[1] = 0;
        s.n_rows = 10;
        for (int i = 0; i < 4; i++) {
            s.shift[i] = 3 + i;
            s.sx[i] = 0;
        }
        for (size_t i = 0; i < fg_moment_count(&shape); i++)
            s.sxx[i] = i == 1 && is_matrix(c) ? 0 : 10;
        CHECK(fg_maximize(ON(NULL, 1, NULL), &shape, &(fg_m_step){0.5}, &s, &p) == FG_OK,
              "maximize");
        CHECK(p.weights[0] == 1 && p.weights[1] == 0, "weights");
        CHECK(p.means[2] == 5 && p.means[3] == 6, "an empty component keeps its mean");
        CHECK(c == FG_TIED || entry(&shape, p.covariances, 1, 1, 1) == 0.5, "reg_covar");
        statistics_free(&s);
        parameters_free(&p);
    }
}

/* ---- whole fits ---- */

enum { K = 3, D = 2, ROWS = 2000, PASSES = 40 };

/* bounds: room for PASSES; returns their number. */
static int64_t fit(const mixture *m, const samples *s, fg_start how, uint64_t from, int threads,
                   fg_parameters *p, double *out_bounds) {
    const fg_fit_options options = {.start = how, .n_init = 1, .max_iter = PASSES, .tol = 1e-9};
    const fg_parameters nothing = {NULL, NULL, NULL, NULL};
    fg_fit_result result = {.lower_bound = -INFINITY};
    const fg_status status =
        fg_fit(ON(&s->data, threads, NULL), &m->shape, &options, &nothing, from, p, &result);
    CHECK(status == FG_OK, "the fit ends with %d", (int)status);
    CHECK(result.n_iter == result.history.n_bounds && result.history.n_bounds <= PASSES,
          "%lld bounds, %lld passes", (long long)result.history.n_bounds, (long long)result.n_iter);
    for (int64_t i = 0; i < result.history.n_bounds; i++)
        out_bounds[i] = result.history.lower_bounds[i];
    fg_history_free(&result.history);
    return result.n_iter;
}

/* Overlapping components and a poor start: the likelihood never decreases, and the results are
 * identical for any number of threads. */
static void test_em_rises(void) {
    EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) {
        mixture m = mixture_new((fg_shape){K, D, c}, 2, 11);
        samples s = samples_new(&m, real_type, ROWS, 1, 12);
        expectation e = expect(&m, &s);
        double rounding = 0; /* of a pass; that of the M step has only a second-order effect */
        for (int64_t n = 0; n < ROWS; n++)
            rounding = fmax(rounding, e.row[n].error);
        EACH_INSTRUCTION_SET(isa) {
            double bounds[2][PASSES];
            int64_t passes[2];
            fg_parameters p[2] = {parameters_new(&m.shape), parameters_new(&m.shape)};
            CONTEXT("%s %s %s", fg_isa_name(), real_name(real_type), layout_name(c));
            passes[0] = fit(&m, &s, FG_START_DATA, 3, 1, &p[0], bounds[0]);
            CHECK(passes[0] > 5, "only %lld passes", (long long)passes[0]);
            for (int64_t i = 1; i < passes[0]; i++)
                CHECK(bounds[0][i] >= bounds[0][i - 1] - 2 * rounding, "from %.17g to %.17g",
                      bounds[0][i - 1], bounds[0][i]);
            for (int threads = 2; threads <= 4; threads++) {
                passes[1] = fit(&m, &s, FG_START_DATA, 3, threads, &p[1], bounds[1]);
                const size_t covariances = fg_covariance_count(&m.shape) * sizeof(double);
                CHECK(passes[0] == passes[1] &&
                          memcmp(p[0].means, p[1].means, K * D * sizeof(double)) == 0 &&
                          memcmp(p[0].covariances, p[1].covariances, covariances) == 0,
                      "%d threads change the bits", threads);
            }
            parameters_free(&p[0]);
            parameters_free(&p[1]);
        }
        expectation_free(&e);
        samples_free(&s);
        mixture_free(&m);
    }
}

/* More iterations than the history initially has room for: each bound equals that of the same
 * passes and M steps executed one by one. */
static void test_bounds_of_a_long_fit(void) {
    enum { LONG = 100 };
    const fg_fit_options options = {
        .start = FG_START_DATA, .n_init = 1, .max_iter = LONG, .m_step.reg_covar = 1e-3};
    fg_isa_choose(NULL);
    EACH_LAYOUT(c) {
        mixture m = mixture_new((fg_shape){K, D, c}, 2, 11);
        samples s = samples_new(&m, FG_FLOAT64, ROWS, 1, 12);
        fg_parameters p = parameters_new(&m.shape), fitted = parameters_new(&m.shape);
        fg_statistics sum = statistics_new(&m.shape);
        fg_fit_result result = {.lower_bound = -INFINITY};
        CONTEXT("%s", layout_name(c));
        CHECK(start_once(ON(&s.data, 1, NULL), &m.shape, FG_START_DATA, 3, 1e-3, &p) == FG_OK,
              "start");
        CHECK(fg_fit(ON(&s.data, 1, NULL), &m.shape, &options, &p, 0, &fitted, &result) == FG_OK,
              "fit");
        CHECK(result.history.n_bounds == LONG && result.n_iter == LONG && !result.converged,
              "%lld bounds", (long long)result.history.n_bounds);
        CHECK(result.history.bounds_room >= result.history.n_bounds, "room for %lld",
              (long long)result.history.bounds_room);
        for (int64_t i = 0; i < result.history.n_bounds; i++) {
            CHECK(fg_accumulate(ON(&s.data, 1, NULL), &m.shape, &p, &sum) == FG_OK &&
                      fg_maximize(ON(NULL, 1, NULL), &m.shape, &(fg_m_step){1e-3}, &sum, &p) ==
                          FG_OK,
                  "step");
            const double bound = sum.log_likelihood / sum.weight_sum;
            CHECK(fabs(result.history.lower_bounds[i] - bound) <= 1e-10 * fabs(bound),
                  "bound %lld is %.17g, not %.17g", (long long)i, result.history.lower_bounds[i],
                  bound);
        }
        CHECK(result.lower_bound == result.history.lower_bounds[LONG - 1], "the last bound");
        fg_history_free(&result.history);
        statistics_free(&sum);
        parameters_free(&fitted);
        parameters_free(&p);
        samples_free(&s);
        mixture_free(&m);
    }
}

/* Well separated components: the component of every row is beyond doubt. */
static mixture planted(fg_layout layout) {
    static const double means[K * D] = {-20, 0, 15, 18, 17, -16};
    mixture m = mixture_new((fg_shape){K, D, layout}, 0, 17);
    memcpy(m.parameters.means, means, sizeof means);
    return m;
}

static int64_t nearest(const double *x, const double *means) {
    int64_t best = 0;
    for (int64_t k = 1; k < K; k++)
        if (hypot(x[0] - means[k * D], x[1] - means[k * D + 1]) <
            hypot(x[0] - means[best * D], x[1] - means[best * D + 1]))
            best = k;
    return best;
}

/* Whether every true component has exactly one of the means. */
static int one_each(const mixture *m, const double *means) {
    int found = 0;
    for (int64_t k = 0; k < K; k++)
        found |= 1 << nearest(means + k * D, m->parameters.means);
    return found == (1 << K) - 1;
}

/* Within five standard errors of the true parameters. */
static void check_recovered(const mixture *m, const fg_parameters *p) {
    const fg_shape *shape = &m->shape;
    CHECK(one_each(m, p->means), "a component was not found");
    for (int64_t k = 0; k < K; k++) {
        const int64_t own = nearest(p->means + k * D, m->parameters.means);
        const double weight = m->parameters.weights[own], n = ROWS * weight;
        CHECK(fabs(p->weights[k] - weight) < 5 * sqrt(weight * (1 - weight) / ROWS), "weight %g",
              p->weights[k]);
        for (int64_t i = 0; i < D; i++) {
            const double variance = entry(shape, m->parameters.covariances, own, i, i);
            CHECK(fabs(p->means[k * D + i] - m->parameters.means[own * D + i]) <
                      5 * sqrt(variance / n),
                  "mean %g", p->means[k * D + i]);
            for (int64_t j = 0; j <= i; j++) {
                const double truth = entry(shape, m->parameters.covariances, own, i, j);
                const double other = entry(shape, m->parameters.covariances, own, j, j);
                const double ours = entry(shape, p->covariances, k, i, j);
                CHECK(fabs(ours - truth) <= 5 * sqrt((variance * other + truth * truth) / n),
                      "covariance %g, not %g", ours, truth);
            }
        }
    }
}

static void test_em_finds_what_was_planted(void) {
    EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) {
        mixture m = planted(c);
        samples s = samples_new(&m, real_type, ROWS, 0, 5);
        fg_parameters p = parameters_new(&m.shape);
        EACH_INSTRUCTION_SET(isa)
        for (fg_start how = FG_START_KMEANS; how <= FG_START_KMEANS_PP; how++) {
            double bounds[PASSES];
            CONTEXT("%s %s %s from start %d", fg_isa_name(), real_name(real_type), layout_name(c),
                    (int)how);
            fit(&m, &s, how, 9, 1, &p, bounds);
            check_recovered(&m, &p);
        }
        parameters_free(&p);
        samples_free(&s);
        mixture_free(&m);
    }
}

/* ---- starts ---- */

static int is_row(const samples *s, const double *mean) {
    for (int64_t n = 0; n < s->data.n_rows; n++)
        if (memcmp(s->x + n * D, mean, D * sizeof(double)) == 0)
            return 1;
    return 0;
}

static void check_start(const mixture *m, const samples *s, fg_start how, const fg_parameters *p) {
    double total = 0;
    for (int64_t k = 0; k < K; k++)
        total += p->weights[k];
    CHECK(fabs(total - 1) < 1e-15 * K, "weights add up to %.17g", total);
    for (int64_t k = 0; k < K; k++) {
        const double *mean = p->means + k * D;
        if (how == FG_START_KMEANS_PP || how == FG_START_DATA)
            CHECK(is_row(s, mean), "mean %lld is no row", (long long)k);
        if (how == FG_START_RANDOM) /* close to the overall mean, which is inside the triangle */
            CHECK(hypot(mean[0], mean[1]) < 10, "mean at %g %g", mean[0], mean[1]);
        check_precision(&m->shape, p, k);
    }
    if (how == FG_START_KMEANS || how == FG_START_KMEANS_PP)
        CHECK(one_each(m, p->means), "a component has no mean");
}

static void test_starts(void) {
    EACH_LAYOUT(c) EACH_REAL_TYPE(real_type) {
        mixture m = planted(c);
        samples s = samples_new(&m, real_type, ROWS, 0, 6);
        fg_parameters p[2] = {parameters_new(&m.shape), parameters_new(&m.shape)};
        EACH_INSTRUCTION_SET(isa)
        for (fg_start how = FG_START_KMEANS; how <= FG_START_DATA; how++) {
            CONTEXT("%s %s %s start %d", fg_isa_name(), real_name(real_type), layout_name(c),
                    (int)how);
            for (int threads = 1; threads <= 4; threads++) {
                fg_parameters *now = &p[threads > 1];
                CHECK(start_once(ON(&s.data, threads, NULL), &m.shape, how, 4, 1e-6, now) == FG_OK,
                      "start");
                CHECK(memcmp(p[0].means, now->means, K * D * sizeof(double)) == 0,
                      "%d threads change the bits", threads);
            }
            check_start(&m, &s, how, &p[0]);
            CHECK(start_once(ON(&s.data, 1, NULL), &m.shape, how, 5, 1e-6, &p[1]) == FG_OK,
                  "start");
            CHECK(how == FG_START_KMEANS ||
                      memcmp(p[0].means, p[1].means, K * D * sizeof(double)) != 0,
                  "another seed, the same start");
        }
        parameters_free(&p[0]);
        parameters_free(&p[1]);
        samples_free(&s);
        mixture_free(&m);
    }
}

static int64_t count_steps(uint64_t from, uint64_t to) {
    int64_t n = 0;
    while (n < 1 << 20 && fg_random_skip(from, n) != to)
        n++;
    return n;
}

/* The seeds of each try begin with the random number that follows those of the try before. */
static void test_tries_on_a_sample_draw_one_after_another(void) {
    enum { SAMPLE = 2048, ROWS = 8 * SAMPLE };
    for (int64_t k = 1; k <= 33; k = 2 * k + 1) {
        const fg_shape shape = {k, 2, FG_DIAG};
        mixture m = mixture_new(shape, 2, seed++);
        samples s = samples_new(&m, FG_FLOAT64, ROWS, 0, seed++);
        double *means = allocate((size_t)(k * 2) * sizeof *means);
        uint64_t seeds_only = 1, three_tries = 1;
        CONTEXT("K=%lld", (long long)k);
        CHECK(fg_kmeans(ON(&s.data, 1, NULL), &shape, 0, 1, &seeds_only, means) == FG_OK &&
                  fg_kmeans(ON(&s.data, 1, NULL), &shape, 1, 1, &three_tries, means) == FG_OK,
              "no start");
        const int64_t once = count_steps(1, seeds_only) - SAMPLE;
        const int64_t all = count_steps(1, three_tries) - SAMPLE;
        CHECK(once >= k && all == 3 * once, "%lld draws of three times %lld", (long long)all,
              (long long)once);
        free(means);
        samples_free(&s);
        mixture_free(&m);
    }
}

static void test_dispatch(void) {
    int n = 0;
    CONTEXT("dispatch");
    while (fg_isa_usable(n)) {
        CHECK(fg_isa_choose(fg_isa_usable(n)) == 0, "choose");
        CHECK(strcmp(fg_isa_name(), fg_isa_usable(n)) == 0, "chosen");
        n++;
    }
    CHECK(strcmp(fg_isa_usable(0), "scalar") == 0, "the first is %s", fg_isa_usable(0));
    CHECK(fg_isa_choose("mmx") == -1, "mmx");
    CHECK(fg_isa_choose(NULL) == 0 && strcmp(fg_isa_name(), fg_isa_usable(n - 1)) == 0,
          "the best one is %s", fg_isa_name());
#ifdef __aarch64__
    CHECK(strcmp(fg_isa_name(), "neon") == 0, "every aarch64 has NEON");
#endif
}

int main(void) {
    test_maximize();
    test_maximize_degenerate();
    test_em_rises();
    test_bounds_of_a_long_fit();
    test_em_finds_what_was_planted();
    test_starts();
    test_tries_on_a_sample_draw_one_after_another();
    test_dispatch();
    return check_result();
}
