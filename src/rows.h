/* The source of the rows, at present an array in memory. Rows are read only here and in pass.c: a
 * start reads single rows and a sample, a repair the row that the mixture explains worst, a pass
 * all rows, task by task. */
#ifndef FG_ROWS_H
#define FG_ROWS_H

#include "fusedgmm.h"

static inline double fg_rows_value(const fg_rows *rows, int64_t row, int64_t feature) {
    const fg_data *data = rows->data;
    const int64_t at = row * data->row_stride + feature * data->feature_stride;
    return data->real_type == FG_FLOAT32 ? (double)((const float *)data->x)[at]
                                         : ((const double *)data->x)[at];
}

/* Whether the row takes part in a fit: its weight is positive. */
static inline int fg_rows_counts(const fg_rows *rows, int64_t row) {
    return !rows->data->sample_weight || rows->data->sample_weight[row] > 0;
}

void fg_rows_copy(const fg_rows *rows, int64_t row, int64_t n_features, double *out);

/* Writes m rows, transposed: [feature][row], and their scaled weights. If m is the number of rows,
 * all of them, with a row of positive weight in place of those of weight zero, which may hold any
 * values; otherwise one row from each of m strata of equal weight. */
fg_status fg_rows_sample(const fg_rows *rows, int64_t n_features, int64_t m, uint64_t *state,
                         fg_monitor *monitor, double *out_rows, double *out_weights);

/* Writes count distinct row numbers, drawn with probability proportional to the weights. */
fg_status fg_rows_draw(const fg_rows *rows, int64_t count, uint64_t *state, fg_monitor *monitor,
                       int64_t *out);

#endif
