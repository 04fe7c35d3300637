/* A pass over the rows, as the callers inside the core see it. */
#ifndef FG_EM_H
#define FG_EM_H

#include "kernels/kernels.h"
#include "statistics.h"

/* Everything a pass works in, allocated once for many passes. */
typedef struct {
    const fg_shape *shape;
    const fg_data *data;
    fg_monitor *monitor;
    const fg_kernels *kernels;
    int n_threads;
    int64_t task_rows, n_tasks;
    double weight_scale; /* a power of two that makes the largest sample weight about one */
    fg_model model;
    void *memory; /* model | per thread: scratch, statistics */
    size_t model_bytes, scratch_bytes, thread_bytes;
} fg_pass;

fg_status fg_pass_open(const fg_shape *shape, const fg_data *data, int n_threads,
                       fg_monitor *monitor, fg_pass *out_pass);
void fg_pass_close(fg_pass *pass);
/* One pass; about NULL: about the means. Without moments sxx keeps what it holds. */
fg_status fg_pass_run(fg_pass *pass, const fg_parameters *parameters, fg_mode mode,
                      const fg_about *about, uint64_t seed, int with_moments,
                      fg_statistics *out_statistics);

#endif
