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

#endif
