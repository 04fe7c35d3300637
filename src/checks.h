/* Questions about arrays that users set, answered in one reading. */
#ifndef FG_CHECKS_H
#define FG_CHECKS_H

#include <stddef.h>

#include "fusedgmm.h"

/* A hash of bytes, which changes whenever one 64-bit word does; of several changed words, it is the
 * same with a probability of about 2^-64. */
uint64_t fg_fingerprint(const void *bytes, size_t count, uint64_t seed);

/* Whether low <= x <= high for all numbers. */
int fg_all_within(const void *numbers, fg_real_type real_type, int64_t count, double low,
                  double high);

/* Whether d x d matrices are finite and upper triangular with a positive diagonal. */
int fg_are_factors(const double *matrices, int64_t count, int64_t d);

/* Whether C U U^T v = v for a vector v, where C are covariances and U upper triangular factors,
 * (count, d, d). The tolerance is relative to the sum of the absolute values of the terms; after an
 * overflow the answer is yes. work has room for 5 d numbers. */
int fg_are_inverse(const double *covariances, const double *factors, int64_t count, int64_t d,
                   double tolerance, double *work);

#endif
