/* One pass over the rows, which yields sums or scores. */
#ifndef FG_PASS_H
#define FG_PASS_H

#include "kernels/kernels.h"
#include "run.h"

static const fg_shift_choice FG_AT_MEANS = {NULL, 0};

/* The workspace of a pass, allocated once for many passes. */
typedef struct {
    fg_context *context;
    const fg_shape *shape;
    const fg_kernels *kernels;
    fg_real_type arithmetic;
    int64_t n_tasks, task_rows;
    int n_threads;
    double sums_scale; /* 1 in a fit: only ratios of sums matter, and they stay in range */
    double *shares;    /* K: approximate shares of the rows; see fg_model */
    fg_run *run;
} fg_pass;

/* arithmetic: the real type to compute in, usually that of the data. */
fg_status fg_pass_open(fg_context *context, const fg_shape *shape, fg_real_type arithmetic,
                       fg_pass *out);
void fg_pass_close(fg_pass *pass);
/* Sums that are not requested are left unchanged. seed: for random assignments. */
fg_status fg_pass_run(fg_pass *pass, const fg_parameters *parameters, fg_assignment assignment,
                      const fg_shift_choice *choice, uint64_t seed, fg_sums sums,
                      fg_statistics *out);

/* Called with the log-likelihood of each row of a task, as double; tasks come in order. */
typedef void (*fg_visit)(void *context, int64_t begin, int64_t end, const double *log_likelihood);
/* Scores all rows and passes the scores to visit, without storing them. */
fg_status fg_pass_visit(fg_context *context, const fg_shape *shape, const fg_parameters *parameters,
                        fg_visit visit, void *visitor);

#endif
