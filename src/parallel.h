/* Calls: their interrupts, and their leases on rows. */
#ifndef FG_PARALLEL_H
#define FG_PARALLEL_H

#include "fusedgmm.h"

/* A lease, or NULL, is held until all who have entered it have left. */
fg_lease *fg_lease_enter(fg_lease *lease);
void fg_lease_leave(fg_lease *lease);

/* Whether the user wants to stop; asks at most every 20 ms. Once it says so, it always does. */
int fg_parallel_poll(fg_monitor *monitor);

/* Whether the user has stopped the work. */
static inline int fg_stopped(const fg_monitor *monitor) { return monitor && monitor->stopped; }

/* The same as fg_parallel_poll before piece i of many, each with so many numbers: of small ones,
 * which cost less than the clock, now and then. No stretch is longer than a piece, or than some
 * 100,000 numbers. */
static inline int fg_parallel_poll_piece(int64_t i, int64_t numbers, fg_monitor *monitor) {
    return (numbers >= 4096 || i % 64 == 63) && fg_parallel_poll(monitor);
}

#endif
