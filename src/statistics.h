/* The sums of a pass: sizes, memory, merge and shift. */
#ifndef FG_STATISTICS_H
#define FG_STATISTICS_H

#include "fusedgmm.h"

size_t fg_statistics_count(const fg_shape *shape); /* doubles */
/* Whether the size in bytes of everything that a fit of this shape allocates fits into size_t. The
 * other counts rely on it. */
int fg_shape_is_countable(const fg_shape *shape);
fg_statistics fg_statistics_in(const fg_shape *shape, double *memory);
/* Sets the sums to zero, but not the shift; sums says whether sxx is included. */
void fg_statistics_reset(const fg_shape *shape, fg_sums sums, fg_monitor *monitor,
                         fg_statistics *statistics);
/* Adds sums about the same shift. */
void fg_statistics_add(const fg_shape *shape, const fg_statistics *from, fg_sums sums,
                       fg_statistics *into);

#endif
