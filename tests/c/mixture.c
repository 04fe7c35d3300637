/* See mixture.h. Bishop (2006), section 9.2. */
#include "mixture.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "memory.h"

double roundoff(fg_real_type real_type) { return real_type == FG_FLOAT32 ? 0x1p-24 : 0x1p-53; }

size_t size_of(fg_real_type real_type) {
    return real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
}

const char *layout_name(fg_layout layout) {
    static const char *const names[] = {"full", "tied", "diag", "spherical"};
    return names[layout];
}

/* ---- memory ---- */

static double *reals(int64_t n) { return allocate((size_t)n * sizeof(double)); }
static bounded *bounds(int64_t n) { return allocate((size_t)n * sizeof(bounded)); }

fg_parameters parameters_new(const fg_shape *shape) {
    const int64_t k = shape->n_components, covariances = (int64_t)fg_covariance_count(shape);
    return (fg_parameters){reals(k), reals(k * shape->n_features), reals(covariances),
                           reals(covariances)};
}

void parameters_free(fg_parameters *p) {
    free(p->weights);
    free(p->means);
    free(p->covariances);
    free(p->precisions_cholesky);
}

fg_statistics statistics_new(const fg_shape *shape) {
    const int64_t k = shape->n_components, kd = k * shape->n_features;
    return (fg_statistics){.nk = reals(k),
                           .shift = reals(kd),
                           .sx = reals(kd),
                           .sxx = reals((int64_t)fg_moment_count(shape))};
}

void statistics_free(fg_statistics *s) {
    free(s->nk);
    free(s->shift);
    free(s->sx);
    free(s->sxx);
}

void mixture_free(mixture *m) {
    parameters_free(&m->parameters);
    free(m->r);
    free(m->u);
}

void samples_free(samples *s) {
    free(s->x);
    free(s->sample_weight);
    free(s->component);
    guarded_free(s->memory, s->bytes);
}

void expectation_free(expectation *e) {
    free(e->log_density);
    free(e->responsibility);
    free(e->row);
}

void sums_free(sums *s) {
    free(s->nk);
    free(s->sx);
    free(s->sxx);
}

/* ---- random mixtures ---- */

/* splitmix64 (Steele, Lea & Flood 2014) */
static double uniform(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

static double normal(uint64_t *state) {
    const double radius = sqrt(-2 * log(1 - uniform(state)));
    return radius * cos(6.283185307179586 * uniform(state));
}

/* u = r^-1, computed column by column. */
static void invert_upper(const double *r, int64_t d, double *u) {
    for (int64_t j = 0; j < d; j++)
        for (int64_t i = d - 1; i >= 0; i--) {
            double sum = i == j;
            for (int64_t l = i + 1; l <= j; l++)
                sum -= r[i * d + l] * u[l * d + j];
            u[i * d + j] = i > j ? 0 : sum / r[i * d + i];
        }
}

/* Sets the parameters, in the layout of the shape, from r and u. */
static void pack(const mixture *m) {
    const int64_t k_count = m->shape.n_components, d = m->shape.n_features;
    const fg_layout type = m->shape.layout;
    double *covariance = m->parameters.covariances, *u = m->parameters.precisions_cholesky;
    for (int64_t k = 0; k < (type == FG_TIED ? 1 : k_count); k++)
        for (int64_t i = 0; i < (type == FG_SPHERICAL ? 1 : d); i++)
            for (int64_t j = 0; j < d; j++) {
                if (i != j && (type == FG_DIAG || type == FG_SPHERICAL))
                    continue;
                double product = 0;
                for (int64_t l = 0; l <= i && l <= j; l++)
                    product += m->r[(k * d + l) * d + i] * m->r[(k * d + l) * d + j];
                *covariance++ = product;
                *u++ = m->u[(k * d + i) * d + j];
            }
}

mixture mixture_new(fg_shape shape, double spread, uint64_t seed) {
    const int64_t k_count = shape.n_components, d = shape.n_features;
    const int matrix = shape.layout == FG_FULL || shape.layout == FG_TIED;
    mixture m = {shape, parameters_new(&shape), reals(k_count * d * d), reals(k_count * d * d)};
    double total = 0;
    for (int64_t k = 0; k < k_count; k++)
        total += m.parameters.weights[k] = 0.5 + uniform(&seed);
    for (int64_t k = 0; k < k_count; k++) {
        m.parameters.weights[k] /= total;
        for (int64_t i = 0; i < d; i++)
            m.parameters.means[k * d + i] = spread * normal(&seed);
        double *r = m.r + k * d * d;
        if (k && shape.layout == FG_TIED)
            memcpy(r, m.r, (size_t)(d * d) * sizeof(double));
        else
            for (int64_t i = 0; i < d; i++)
                for (int64_t j = 0; j < d; j++) {
                    const double beside = matrix ? 0.5 * normal(&seed) / sqrt((double)d) : 0;
                    r[i * d + j] = j < i ? 0 : j > i ? beside : 0.5 + uniform(&seed);
                    if (shape.layout == FG_SPHERICAL && i == j)
                        r[i * d + i] = r[0];
                }
        invert_upper(r, d, m.u + k * d * d);
    }
    pack(&m);
    return m;
}

samples samples_new(const mixture *m, fg_real_type real_type, int64_t n_rows, int weighted,
                    uint64_t seed) {
    const int64_t d = m->shape.n_features;
    samples s = {.x = reals(n_rows * d), .sample_weight = weighted ? reals(n_rows) : NULL};
    s.component = allocate((size_t)n_rows * sizeof(int64_t));
    s.bytes = (size_t)(n_rows * d) * size_of(real_type);
    s.memory = guarded_new(s.bytes);
    s.data = (fg_data){s.memory, real_type, n_rows, d, 1, s.sample_weight};
    double *z = reals(d);
    for (int64_t n = 0; n < n_rows; n++) {
        if (weighted) /* some rows have weight zero */
            s.sample_weight[n] = n % 5 == 3 ? 0 : 0.1 + 2 * uniform(&seed);
        double left = uniform(&seed);
        int64_t k = 0;
        while (k < m->shape.n_components - 1 && (left -= m->parameters.weights[k]) >= 0)
            k++;
        s.component[n] = k;
        for (int64_t i = 0; i < d; i++)
            z[i] = normal(&seed);
        for (int64_t j = 0; j < d; j++) {
            double value = m->parameters.means[k * d + j];
            for (int64_t i = 0; i <= j; i++)
                value += m->r[(k * d + i) * d + j] * z[i];
            if (real_type == FG_FLOAT32)
                value = ((float *)s.memory)[n * d + j] = (float)value;
            else
                ((double *)s.memory)[n * d + j] = value;
            s.x[n * d + j] = value;
        }
    }
    free(z);
    return s;
}

/* ---- the E step ---- */

/* The core computes the sums of spherical and the distances of tied about the mixture's mean. */
static double centre_of(const mixture *m, int64_t i) {
    double centre = 0;
    for (int64_t k = 0; k < m->shape.n_components; k++)
        centre += m->parameters.weights[k] * m->parameters.means[k * m->shape.n_features + i];
    return centre;
}

/* log weight + log det U - d/2 log 2 pi; the error bounds the core's roundings, without the unit
 * roundoff. */
static bounded constant_of(const mixture *m, int64_t k) {
    const int64_t d = m->shape.n_features;
    bounded out = {logl(m->parameters.weights[k]), 0};
    out.error = fabs((double)out.value);
    for (int64_t i = 0; i < d; i++) {
        const exact log_factor = logl(m->u[(k * d + i) * d + i]);
        out.value += log_factor - 0.918938533204672741780329736405617639L;
        out.error += fabs((double)log_factor) + 2; /* one for the rounding of the running product */
    }
    return out;
}

/* The log of weight k times its density: constant - |y|^2 / 2 with y = (x - mean) U. */
static bounded log_density(const mixture *m, int64_t k, bounded constant, const double *x,
                           const double *centre, double u) {
    const int64_t d = m->shape.n_features;
    const double *mean = m->parameters.means + k * d, *factor = m->u + k * d * d;
    const int tied = m->shape.layout == FG_TIED;
    exact square = 0;
    double magnitude = 0;
    for (int64_t j = 0; j < d; j++) {
        exact y = 0, image = 0;
        double reach = 0; /* the sum of |terms| of y as the core computes it */
        for (int64_t i = 0; i <= j; i++) {
            const double f = factor[i * d + j];
            if (f == 0)
                continue;
            y += ((exact)x[i] - mean[i]) * f;
            if (tied)
                image += ((exact)mean[i] - centre[i]) * f;
            reach += fabs((x[i] - (tied ? centre[i] : mean[i])) * f);
        }
        /* spherical: an offset below 4 u standard deviations is ignored */
        reach += tied ? fabs((double)image) : m->shape.layout == FG_SPHERICAL ? 4 : 0;
        square += y * y;
        magnitude += fabs((double)y) * reach;
    }
    const exact value = constant.value - square / 2;
    /* y: d + 4 roundings of its terms, twice in the square; d + 2 more in the sum of squares */
    const double roundings = (double)(3 * d + 10) / 2;
    return (bounded){value, u * (roundings * magnitude + 2 * constant.error + fabs((double)value))};
}

expectation expect(const mixture *m, const samples *s) {
    const int64_t k_count = m->shape.n_components, d = m->shape.n_features;
    const int64_t n_rows = s->data.n_rows;
    const double u = roundoff(s->data.real_type);
    const double smallest = s->data.real_type == FG_FLOAT32 ? FLT_MIN : DBL_MIN;
    expectation e = {bounds(n_rows * k_count), bounds(n_rows * k_count), bounds(n_rows)};
    double *centre = reals(d);
    bounded *constant = bounds(k_count);
    for (int64_t i = 0; i < d; i++)
        centre[i] = centre_of(m, i);
    for (int64_t k = 0; k < k_count; k++)
        constant[k] = constant_of(m, k);
    for (int64_t n = 0; n < n_rows; n++) {
        bounded *l = e.log_density + n * k_count, *g = e.responsibility + n * k_count;
        exact top = -INFINITY, sum = 0;
        for (int64_t k = 0; k < k_count; k++) {
            l[k] = log_density(m, k, constant[k], s->x + n * d, centre, u);
            top = l[k].value > top ? l[k].value : top;
        }
        for (int64_t k = 0; k < k_count; k++)
            sum += g[k].value = expl(l[k].value - top);
        const exact row = top + logl(sum);
        /* exp and log are accurate to 3 units in the last place, which are 6 u */
        double error = u * (6 + (double)k_count + 6 * log((double)k_count) + fabs((double)row));
        for (int64_t k = 0; k < k_count; k++) {
            g[k].value /= sum;
            g[k].error = l[k].error + u * (double)(top - l[k].value); /* relative at this point */
            error += (double)g[k].value * g[k].error;
        }
        e.row[n] = (bounded){row, error};
        for (int64_t k = 0; k < k_count; k++) {
            /* 10: exp, sum, quotient, product, weight */
            const double relative = g[k].error + error + 10 * u;
            g[k].error = smallest + (relative < 1 ? (double)g[k].value * expm1(relative)
                                                  : exp((double)(l[k].value - row) + relative));
        }
    }
    free(constant);
    free(centre);
    return e;
}

/* ---- the sums ---- */

/* Adds the term weight g a, where g may differ by its error. magnitude: of the terms from which the
 * core computes it; roundings: the number of roundings of each of them. */
static void add_term(bounded *sum, double weight, bounded g, exact a, double magnitude,
                     double roundings) {
    sum->value += weight * g.value * a;
    sum->error += weight * (g.error * fabs((double)a) + roundings * (double)g.value * magnitude);
}

/* The responsibilities that the core may omit from the sums of component k: a fraction of its
 * weight, but in total over all rows no more than a rounding of its N_k. */
static double negligible_for(const mixture *m, const samples *s, const expectation *e, int64_t k) {
    exact nk = 0, weight_sum = 0;
    for (int64_t n = 0; n < s->data.n_rows; n++) {
        const double weight = s->sample_weight ? s->sample_weight[n] : 1;
        nk += weight * e->responsibility[n * m->shape.n_components + k].value;
        weight_sum += weight;
    }
    const double of_weight = m->parameters.weights[k] * 0x1p-12, of_nk = (double)(nk / weight_sum);
    const double rounding = s->data.real_type == FG_FLOAT32 ? 0x1p-24 : 0x1p-52;
    return rounding * (of_weight < of_nk ? of_weight : of_nk);
}

sums sum_up(const mixture *m, const samples *s, const expectation *e, const double *shift) {
    const int64_t k_count = m->shape.n_components, d = m->shape.n_features;
    const int64_t n_rows = s->data.n_rows, moments = (int64_t)fg_moment_count(&m->shape);
    const fg_layout type = m->shape.layout;
    const int about_centre = type == FG_TIED || type == FG_SPHERICAL;
    const double u = roundoff(s->data.real_type);
    /* at most one addition per row, and a few for the term itself */
    const double roundings = u * (double)(n_rows + 8);
    sums out = {.nk = bounds(k_count), .sx = bounds(k_count * d), .sxx = bounds(moments)};
    memset(out.nk, 0, (size_t)k_count * sizeof(bounded));
    memset(out.sx, 0, (size_t)(k_count * d) * sizeof(bounded));
    memset(out.sxx, 0, (size_t)moments * sizeof(bounded));
    double *centre = reals(d), *negligible = reals(k_count);
    for (int64_t i = 0; i < d; i++)
        centre[i] = centre_of(m, i);
    for (int64_t k = 0; k < k_count; k++)
        negligible[k] = negligible_for(m, s, e, k);
    for (int64_t n = 0; n < n_rows; n++) {
        const double weight = s->sample_weight ? s->sample_weight[n] : 1, *x = s->x + n * d;
        add_term(&out.weight_sum, weight, (bounded){1, 0}, 1, 1, roundings);
        add_term(&out.log_likelihood, weight, (bounded){1, 0}, e->row[n].value,
                 fabs((double)e->row[n].value), roundings);
        out.log_likelihood.error += weight * e->row[n].error;
        for (int64_t k = 0; k < k_count; k++) {
            const bounded g = e->responsibility[n * k_count + k];
            const double *from = shift + k * d;
            const double dropped = weight * negligible[k];
            add_term(&out.nk[k], weight, g, 1, 1, roundings);
            for (int64_t i = 0; i < d; i++) {
                const exact t = (exact)x[i] - from[i];
                double size = fabs((double)t);
                if (about_centre)
                    size = fabs(x[i] - centre[i]) + fabs(from[i] - centre[i]);
                add_term(&out.sx[k * d + i], weight, g, t, size, roundings);
                out.sx[k * d + i].error += dropped * size;
            }
            bounded *sxx = out.sxx;
            if (type == FG_FULL)
                sxx += k * (d * (d + 1) / 2);
            else if (type == FG_DIAG)
                sxx += k * d;
            else if (type == FG_SPHERICAL)
                sxx += k;
            for (int64_t i = 0; i < d; i++)
                for (int64_t j = type == FG_DIAG || type == FG_SPHERICAL ? i : 0; j <= i; j++) {
                    const exact square = ((exact)x[i] - from[i]) * ((exact)x[j] - from[j]);
                    const double size = fabs((double)square);
                    /* spherical first adds d squares */
                    add_term(sxx, weight, g, square, size,
                             roundings + (type == FG_SPHERICAL ? (double)d * u : 0));
                    sxx->error += dropped * size;
                    sxx += type != FG_SPHERICAL;
                }
        }
    }
    free(negligible);
    free(centre);
    return out;
}
