/* Float or double: which arithmetic keeps enough digits of a mixture's covariances. */
#ifndef FG_ARITHMETIC_H
#define FG_ARITHMETIC_H

#include "fusedgmm.h"

/* The arithmetic for data of a type: usually that type; double for float data if a covariance is so
 * narrow in some direction that float keeps too few digits of it. */
fg_status fg_choose_arithmetic(fg_real_type real_type, const fg_shape *shape,
                               const fg_parameters *parameters, fg_monitor *monitor,
                               fg_real_type *out);
/* The same for the rows of a call. */
fg_status fg_choose_arithmetic_for(const fg_context *context, const fg_shape *shape,
                                   const fg_parameters *parameters, fg_real_type *out);
/* Whether a covariance is so narrow. Without covariances, memory is needed; see arithmetic.c. */
int fg_needs_double(const fg_shape *shape, const fg_parameters *parameters, fg_monitor *monitor,
                    double *memory);

/* Feature i of the mean of the mixture. */
double fg_mean_of_feature(const fg_shape *shape, const fg_parameters *parameters, int64_t i);
/* The mean squared distance of the components from a point, in feature i. */
double fg_square_from(const fg_shape *shape, const fg_parameters *parameters, int64_t i,
                      double point);
/* Whether moments of feature i about a point at this squared distance from the mean lose too many
 * digits, and more than the covariance itself costs. Factors are read only if not singular. */
int fg_loses_digits(fg_real_type arithmetic, const fg_shape *shape, const fg_parameters *parameters,
                    int is_singular, int64_t k, int64_t i, double square);

#endif
