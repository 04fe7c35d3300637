/* Work shared out between the calling thread and helpers: tasks in any order, or merged in the
 * order of their index. */
#ifndef FG_RUN_H
#define FG_RUN_H

#include "fusedgmm.h"

/* Tasks, and how to do one.
 *
 * The calling thread takes tasks that nobody has taken, and does again, at the end or when it can
 * go on no other way, what a helper has taken and not finished: results do not depend on who
 * computes. Whichever copy is ready first counts. So a task writes into its result alone, and reads
 * what stays as it is until the last helper has left: the run's own memory, and the rows. */
typedef struct {
    /* Ends early, with a worthless result, when the monitor says so. */
    void (*work)(void *shared, int64_t task, void *scratch, fg_monitor *monitor, void *result);
    /* Puts a result where it belongs: once for each task; in_order: on the calling thread, in the
     * order of the tasks, otherwise on the thread that computed it. */
    void (*commit)(void *shared, int64_t task, void *result);
    int in_order;
    int direct; /* not in order: without a result (NULL), work puts it where it belongs by itself */
    size_t shared_bytes, scratch_bytes, result_bytes;
} fg_tasks;

/* Memory for runs of the same tasks with at most so many threads: what they share, and each
 * thread's own. NULL without memory. */
typedef struct fg_run fg_run;
fg_run *fg_run_open(const fg_tasks *tasks, int n_threads, fg_lease *lease);
void fg_run_close(fg_run *run);
/* What the tasks share, to be written before a run. Where a helper of the last run has not left it
 * yet, the run moves: what stands in its first keep_bytes bytes comes along. NULL without memory.
 */
void *fg_run_prepare(fg_run **run, size_t keep_bytes);
void *fg_run_shared(const fg_run *run);
/* A thread's scratch on the calling thread, free between runs. */
void *fg_run_scratch(const fg_run *run);
/* All tasks. context: the monitor, and whether a helper may still read the rows when this returns;
 * where it may not, this waits for it. */
fg_status fg_run_tasks(fg_run *run, const fg_context *context, int64_t n_tasks);

#endif
