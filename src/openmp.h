/* The only use of OpenMP: its limits are read; nothing runs on its threads. */
#ifndef FG_OPENMP_H
#define FG_OPENMP_H

#include <stdint.h>

enum { FG_CPU_WORDS = 16 }; /* 64 CPUs per word */

/* Writes the CPUs that the calling thread may use, one bit each, and returns their number; 0 if the
 * system does not say. */
int fg_cpus(uint64_t out[FG_CPU_WORDS]);
void fg_openmp_begin(void);

#endif
