/* Working memory. Large allocations use huge pages where the system supports them. */
#ifndef FG_MEMORY_H
#define FG_MEMORY_H

#include <string.h>

#include "fusedgmm.h"

/* Not initialised; NULL without memory. */
double *fg_doubles(size_t count);
void *fg_cache_lines(size_t bytes); /* aligned to a cache line */
void fg_release(void *memory);

enum { FG_PIECE = 8 << 20 }; /* bytes between two polls */
void fg_clear_large(void *memory, size_t bytes, fg_monitor *monitor);

/* Sets to zero; returns early if interrupted. */
static inline void fg_clear(void *memory, size_t bytes, fg_monitor *monitor) {
    if (bytes <= FG_PIECE)
        memset(memory, 0, bytes);
    else
        fg_clear_large(memory, bytes, monitor);
}

#endif
