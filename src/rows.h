/* The source of the rows: an array in memory, or a stream. Rows are read only here and in pass.c: a
 * start reads single rows and a sample, a repair the row that the mixture explains worst, a pass
 * all rows, task by task. */
#ifndef FG_ROWS_H
#define FG_ROWS_H

#include "fusedgmm.h"

/* Of rows in memory. */
static inline double fg_rows_value(const fg_rows *rows, int64_t row, int64_t feature) {
    const fg_data *data = rows->data;
    const int64_t at = row * data->row_stride + feature * data->feature_stride;
    return data->real_type == FG_FLOAT32 ? (double)((const float *)data->x)[at]
                                         : ((const double *)data->x)[at];
}

/* The part of a stream that has the row, which is at hand. */
static inline const fg_part *fg_rows_part(const fg_rows *rows, int64_t row) {
    const fg_part *part = rows->stream->parts;
    while (row >= part->begin + part->data.n_rows)
        part++;
    return part;
}

/* Whether the row takes part in a fit: its weight is positive. The row is at hand. */
static inline int fg_rows_counts(const fg_rows *rows, int64_t row) {
    if (!rows->stream)
        return !rows->data->sample_weight || rows->data->sample_weight[row] > 0;
    const fg_part *part = fg_rows_part(rows, row);
    return !part->data.sample_weight || part->data.sample_weight[row - part->begin] > 0;
}

/* Of a stream: makes rows at hand, see fg_stream. FG_INTERRUPTED after an error. */
fg_status fg_rows_fetch(const fg_rows *rows, int64_t row, int64_t need, int64_t wanted);

/* Writes the rows with these numbers, in this order. */
fg_status fg_rows_copy(const fg_rows *rows, const int64_t *numbers, int64_t count,
                       int64_t n_features, double *out);

/* Writes m rows, transposed: [feature][row], and their scaled weights. If m is the number of rows,
 * all of them, with a row of positive weight in place of those of weight zero, which may hold any
 * values; otherwise one row from each of m strata of equal weight. */
fg_status fg_rows_sample(const fg_rows *rows, int64_t n_features, int64_t m, uint64_t *state,
                         fg_monitor *monitor, double *out_rows, double *out_weights);

/* Writes count distinct row numbers, drawn with probability proportional to the weights. */
fg_status fg_rows_draw(const fg_rows *rows, int64_t count, uint64_t *state, fg_monitor *monitor,
                       int64_t *out);

#endif
