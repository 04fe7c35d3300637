/* Calls: their interrupts and their leases on the rows. */
#ifndef FG_PARALLEL_H
#define FG_PARALLEL_H

#include "fusedgmm.h"

/* A lease (or NULL) is held until every user that entered it has left. */
fg_lease *fg_lease_enter(fg_lease *lease);
void fg_lease_leave(fg_lease *lease);

/* Returns non-zero if the user has interrupted the call; polls at most every 20 ms. After an
 * interrupt it always returns non-zero. */
int fg_parallel_poll(fg_monitor *monitor);

/* Whether the call has been interrupted, without polling. */
static inline int fg_stopped(const fg_monitor *monitor) { return monitor && monitor->stopped; }

/* fg_parallel_poll before piece i of many, each of so many numbers. Small pieces take less time
 * than reading the clock, so only every 64th polls. No stretch without a poll is longer than one
 * piece, or about 100,000 numbers. */
static inline int fg_parallel_poll_piece(int64_t i, int64_t numbers, fg_monitor *monitor) {
    return (numbers >= 4096 || i % 64 == 63) && fg_parallel_poll(monitor);
}

#endif
