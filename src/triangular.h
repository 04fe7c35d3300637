/* Triangular matrices: Cholesky factors, inverses and products, in place and row by row. */
#ifndef FG_TRIANGULAR_H
#define FG_TRIANGULAR_H

#include "fusedgmm.h"

/* Computes the upper triangular U with A^-1 = U U^T: A = R^T R, U = R^-1. FG_SINGULAR if A is not
 * positive definite. */
fg_status fg_invert_cholesky(fg_context *context, const double *a, int64_t d, double *out);
/* Inverts an upper triangular matrix in place. */
fg_status fg_invert_upper(fg_context *context, int64_t d, double *out);
/* out = R^T R for an upper triangular R. */
fg_status fg_square_upper(fg_context *context, const double *r, int64_t d, double *out);
/* Copies the lower triangle of a matrix to its upper triangle. */
void fg_mirror_lower(int64_t d, double *out);

#endif
