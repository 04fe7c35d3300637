/* The problems of a batch, and their distribution over the threads: each thread takes one problem
 * after the other; a problem that is large compared with the rest is instead given to all threads.
 */
#ifndef FG_PROBLEMS_H
#define FG_PROBLEMS_H

#include "fusedgmm.h"

/* The table of a problem, and its rows. */
int64_t fg_problem_table(const fg_problems *problems, int64_t problem);
fg_data fg_problem_data(const fg_problems *problems, int64_t problem);

/* What stands behind another object in the same memory, both aligned to a cache line. */
#define FG_ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)
static inline void *fg_after(const void *head, size_t bytes) {
    return (char *)head + FG_ALIGNED(bytes);
}

/* What to do with each problem. work: computes with the context's threads and monitor, into result;
 * or, if direct, writes straight to the destination. commit: copies a result to its destination. A
 * helper may be late, so both access only the copied job and what it and problems point to. */
typedef struct {
    fg_status (*work)(const void *job, const fg_problems *problems, int64_t problem,
                      fg_context *context, void *result);
    void (*commit)(const void *job, const fg_problems *problems, int64_t problem,
                   const void *result);
    int direct;
    int silent; /* the problems done are not counted for the user */
    size_t job_bytes, result_bytes;
    int64_t most_rows; /* capacity of a result */
    fg_shape largest;
} fg_batch_kind;

/* context: the threads, the lease and the user's monitor. With FG_NOT_FINITE, out_problem is set.
 */
fg_status fg_run_problems(const fg_context *context, const fg_problems *problems,
                          const fg_batch_kind *kind, const void *job, int64_t *out_problem);

#endif
