/* The only OpenMP of the tree: tasks in any order, or merged in the order of their index. */
#ifndef FG_PARALLEL_H
#define FG_PARALLEL_H

#include "fusedgmm.h"

/* Runs work(task, thread) for every task; merge(task, thread), when given, follows in the order of
 * the tasks, one at a time, so that the bits do not depend on the number of threads. A task that
 * may take long polls the monitor it is given, and ends early when that says so. */
fg_status fg_parallel_run(int64_t n_tasks, int n_threads, fg_monitor *monitor,
                          void (*work)(int64_t task, int thread, fg_monitor *monitor,
                                       void *context),
                          void (*merge)(int64_t task, int thread, void *context), void *context);

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
