/* The sums of a pass: their sizes, memory, merge and shift. */
#ifndef FG_STATISTICS_H
#define FG_STATISTICS_H

#include "fusedgmm.h"

size_t fg_statistics_count(const fg_shape *shape); /* doubles */
/* Whether all that a fit of that shape works in can be counted in bytes. Other counts rely on it.
 */
int fg_shape_is_countable(const fg_shape *shape);
fg_statistics fg_statistics_in(const fg_shape *shape, double *memory);
/* Not the shift; sums says whether sxx too. */
void fg_statistics_reset(const fg_shape *shape, fg_sums sums, fg_monitor *monitor,
                         fg_statistics *statistics);
/* Adds sums about the same shift. */
void fg_statistics_add(const fg_shape *shape, const fg_statistics *from, fg_sums sums,
                       fg_statistics *into);

#endif
