/* Where the rows are. Whatever reads rows does it here or in pass.c: a start takes single rows and
 * a sample of them, a repair the row that the mixture explains worst, a pass all of them, task by
 * task. Today they are an array in memory. */
#ifndef FG_ROWS_H
#define FG_ROWS_H

#include "fusedgmm.h"

static inline double fg_rows_value(const fg_rows *rows, int64_t row, int64_t feature) {
    const fg_data *data = rows->data;
    const int64_t at = row * data->row_stride + feature * data->feature_stride;
    return data->real_type == FG_FLOAT32 ? (double)((const float *)data->x)[at]
                                         : ((const double *)data->x)[at];
}

/* Whether the row has a part in a fit. */
static inline int fg_rows_counts(const fg_rows *rows, int64_t row) {
    return !rows->data->sample_weight || rows->data->sample_weight[row] > 0;
}

void fg_rows_copy(const fg_rows *rows, int64_t row, int64_t n_features, double *out);

/* m rows, transposed, [feature][row], and their weights, scaled. All rows when m is their number,
 * with one that counts in the place of those of weight zero, which may lie anywhere; else one from
 * each of m strata of equal weight. */
fg_status fg_rows_sample(const fg_rows *rows, int64_t n_features, int64_t m, uint64_t *state,
                         fg_monitor *monitor, double *out_rows, double *out_weights);

/* Writes count distinct row numbers, drawn by weight. */
fg_status fg_rows_draw(const fg_rows *rows, int64_t count, uint64_t *state, fg_monitor *monitor,
                       int64_t *out);

#endif
