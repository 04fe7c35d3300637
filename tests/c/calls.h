/* Calls of the core. ON(data, threads, monitor) is a context that is valid until the end of its
 * block. */
#ifndef FG_TEST_CALLS_H
#define FG_TEST_CALLS_H

#include "start.h"

typedef struct {
    fg_rows rows;
    fg_context context;
} call_context;

static inline fg_context *call_on(call_context *out, const fg_data *data, int n_threads,
                                  fg_monitor *monitor) {
    if (data)
        fg_rows_open(data, &out->rows);
    out->context = (fg_context){.rows = data ? &out->rows : NULL,
                                .n_threads = n_threads,
                                .monitor = monitor,
                                .singular_component = -1};
    return &out->context;
}

/* One start of a fit, without iterations. */
static inline fg_status start_once(fg_context *context, const fg_shape *shape, fg_start start,
                                   uint64_t seed, double reg_covar, fg_parameters *out) {
    const fg_m_step options = {reg_covar};
    fg_starter starter;
    fg_step step = {0};
    fg_status status = fg_starter_open(context, shape, start, NULL, &starter);
    if (status == FG_OK)
        status = fg_step_open(context, shape, &step);
    if (status == FG_OK)
        status = fg_start_parameters(&starter, &step, seed, 0, &options, out);
    fg_step_close(&step);
    fg_starter_close(&starter);
    return status;
}

#define ON(data, n_threads, monitor) call_on(&(call_context){0}, data, n_threads, monitor)

#endif
