/* The only OpenMP of the tree: it is asked for limits, and runs nothing. */
#ifndef FG_OPENMP_H
#define FG_OPENMP_H

#include <stdint.h>

enum { FG_CPU_WORDS = 16 }; /* of 64 CPUs each */

/* The CPUs that the calling thread may use, a bit each, and their number; 0 where the system does
 * not say. */
int fg_cpus(uint64_t out[FG_CPU_WORDS]);
void fg_openmp_begin(void);

#endif
