/* The parameters of a mixture: memory and copies. The M step is declared in fusedgmm.h. */
#ifndef FG_PARAMETERS_H
#define FG_PARAMETERS_H

#include "fusedgmm.h"

size_t fg_parameters_count(const fg_shape *shape); /* doubles */
fg_parameters fg_parameters_in(const fg_shape *shape, double *memory);
/* Copies the parts of from that are not NULL. */
void fg_parameters_copy(const fg_shape *shape, const fg_parameters *from, fg_parameters *to);
int fg_all_finite(const double *x, size_t n);

#endif
