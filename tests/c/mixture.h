/* Random mixtures and samples, and the EM step by its plain formulas, with which the core is
 * compared. */
#ifndef FG_TEST_MIXTURE_H
#define FG_TEST_MIXTURE_H

#include "fusedgmm.h"

typedef long double exact;

/* A number, and how far the core's result may be from it: first-order bounds as in Higham (2002),
 * chapter 3. Each rounding contributes a relative u, applied to the sum of the terms' magnitudes.
 */
typedef struct {
    exact value;
    double error;
} bounded;

/* Covariance k is R^T R, its precision U U^T; R and U = R^-1 are upper triangular. They are K x d x
 * d for all four types, so that one formula serves all. */
typedef struct {
    fg_shape shape;
    fg_parameters parameters;
    double *r, *u;
} mixture;

/* The samples are stored in their own type, in memory that ends at a page, and in double. */
typedef struct {
    fg_data data;
    double *x, *sample_weight;
    int64_t *component;
    void *memory;
    size_t bytes;
} samples;

/* N x K, except row: N, the logarithm of each row's density. */
typedef struct {
    bounded *log_density, *responsibility, *row;
} expectation;

/* Same layout as fg_statistics. */
typedef struct {
    bounded *nk, *sx, *sxx, log_likelihood, weight_sum;
} sums;

double roundoff(fg_real_type real_type);
size_t size_of(fg_real_type real_type);
const char *layout_name(fg_layout layout);

/* The means are spread over about `spread` standard deviations. */
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
/* The sums about the given shift, K x d. */
sums sum_up(const mixture *m, const samples *s, const expectation *e, const double *shift);
void sums_free(sums *s);

#endif
