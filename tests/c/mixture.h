/* Made-up mixtures and samples, and EM's step by its plain formulas: what the core is tested
 * against. */
#ifndef FG_TEST_MIXTURE_H
#define FG_TEST_MIXTURE_H

#include "fusedgmm.h"

typedef long double exact;

/* A number, and how far from it the core may end: first-order bounds as in Higham (2002), chapter
 * 3. So many roundings of a relative u each, on the sum of the terms' magnitudes. */
typedef struct {
    exact value;
    double error;
} bounded;

/* Covariance k is R^T R, its precision U U^T, R and U = R^-1 upper triangular: K x d x d for all
 * four types, so that one formula serves them. */
typedef struct {
    fg_shape shape;
    fg_parameters parameters;
    double *r, *u;
} mixture;

/* The samples stand once in their own type, in memory that ends at a page, and once in double. */
typedef struct {
    fg_data data;
    double *x, *sample_weight;
    int64_t *component;
    void *memory;
    size_t bytes;
} samples;

/* N x K, but row: N, the logarithm of each row's density. */
typedef struct {
    bounded *log_density, *responsibility, *row;
} expectation;

/* Laid out as fg_statistics. */
typedef struct {
    bounded *nk, *sx, *sxx, log_likelihood, weight_sum;
} sums;

double roundoff(fg_real_type real_type);
size_t size_of(fg_real_type real_type);
const char *layout_name(fg_layout layout);

/* Means scatter over about spread deviations. */
mixture mixture_new(fg_shape shape, double spread, uint64_t seed);
void mixture_free(mixture *m);
samples samples_new(const mixture *m, fg_real_type real_type, int64_t n_rows, int weighted,
                    uint64_t seed);
void samples_free(samples *s);
fg_parameters parameters_new(const fg_shape *shape);
void parameters_free(fg_parameters *p);
fg_statistics statistics_new(const fg_shape *shape);
void statistics_free(fg_statistics *s);

expectation expect(const mixture *m, const samples *s);
void expectation_free(expectation *e);
/* About the given shift, K x d. */
sums sum_up(const mixture *m, const samples *s, const expectation *e, const double *shift);
void sums_free(sums *s);

#endif
