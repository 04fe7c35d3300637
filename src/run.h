/* Distributes tasks over the calling thread and helper threads; results are committed in any order,
 * or in index order. */
#ifndef FG_RUN_H
#define FG_RUN_H

#include "fusedgmm.h"

/* The tasks of a run.
 *
 * The calling thread takes tasks that nobody has taken. When it can proceed no other way, and at
 * the end, it redoes tasks that a helper has taken but not finished. The first finished copy
 * counts, so results do not depend on which thread computes. A task therefore writes only into its
 * result, and reads only what stays valid until the last helper has left: the memory of the run,
 * and the rows. */
typedef struct {
    /* Returns early, with an invalid result, if the monitor says so. */
    void (*work)(void *shared, int64_t task, void *scratch, fg_monitor *monitor, void *result);
    /* Stores a result at its destination, once per task. With in_order: on the calling thread, in
     * index order; otherwise on the thread that computed it. */
    void (*commit)(void *shared, int64_t task, void *result);
    int in_order;
    int direct; /* only without in_order: result is NULL, work writes to the destination */
    size_t shared_bytes, scratch_bytes, result_bytes;
} fg_tasks;

/* Allocates the memory for runs of the same kind of task with at most n_threads threads: the shared
 * part and that of each thread. NULL without memory. */
typedef struct fg_run fg_run;
fg_run *fg_run_open(const fg_tasks *tasks, int n_threads, fg_lease *lease);
void fg_run_close(fg_run *run);
/* Returns the shared part, to be written before a run. If a helper has not left the last run yet,
 * the run moves to new memory, and the first keep_bytes bytes are copied. NULL without memory. */
void *fg_run_prepare(fg_run **run, size_t keep_bytes);
void *fg_run_shared(const fg_run *run);
/* Whether every helper has left the last run. */
int fg_run_is_left(fg_run *run);
/* Runs all tasks. context: the monitor, and the lease. With a lease, a late helper may still read
 * the rows when this returns; without one, this function waits for all helpers. */
fg_status fg_run_tasks(fg_run *run, const fg_context *context, int64_t n_tasks);

#endif
