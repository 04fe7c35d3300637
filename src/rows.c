/* The source of the rows. See rows.h. */
#include "rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "draw.h"
#include "memory.h"
#include "parallel.h"
#include "random.h"

/* Scaling keeps weights within the range of float, and weights times squares within the range of
 * double; only the ratios of weights matter. The power of two and its inverse are both in range. */
static double scale_for(double largest) {
    int exponent = 0;
    frexp(largest, &exponent);
    return ldexp(1, exponent < -1000 ? 1000 : exponent > 1000 ? -1000 : -exponent);
}

void fg_rows_open(const fg_data *data, fg_rows *out) {
    double largest = 0;
    if (data->sample_weight)
        for (int64_t n = 0; n < data->n_rows; n++)
            largest = data->sample_weight[n] > largest ? data->sample_weight[n] : largest;
    *out = (fg_rows){.data = data, .weight_scale = scale_for(largest)};
}

void fg_rows_open_stream(const fg_data *data, fg_stream *stream, fg_rows *out) {
    const double largest = stream->is_weighted ? stream->largest_weight : 0;
    stream->n_late = 0;
    *out = (fg_rows){.data = data, .weight_scale = scale_for(largest), .stream = stream};
}

fg_status fg_rows_fetch(const fg_rows *rows, int64_t row, int64_t need, int64_t wanted) {
    fg_stream *stream = rows->stream;
    const int64_t left = rows->data->n_rows - row;
    const int is_late = stream->is_late;
    stream->is_late = 0;
    need = need < left ? need : left;
    wanted = wanted < left ? wanted : left;
    return stream->fetch(stream, row, need, wanted, is_late) ? FG_INTERRUPTED : FG_OK;
}

/* ---- reading row by row ---- */

/* Consecutive rows that lie together: row n of all is row n - begin of the data. */
typedef fg_part cursor;

static int has(const cursor *c, int64_t row) {
    return row >= c->begin && row - c->begin < c->data.n_rows;
}

static cursor before_all(void) { return (cursor){.data = {.n_rows = 0}}; }

/* Moves the cursor to the row, if that is elsewhere. A stream begins anew for a row that was
 * passed. */
static fg_status seek(const fg_rows *rows, int64_t row, cursor *c) {
    const fg_stream *stream = rows->stream;
    if (has(c, row))
        return FG_OK;
    if (!stream) {
        *c = (cursor){*rows->data, 0};
        return FG_OK;
    }
    if (row < stream->begin || row >= stream->end) {
        const fg_status status = fg_rows_fetch(rows, row, 1, 1);
        if (status != FG_OK)
            return status;
    }
    *c = *fg_rows_part(rows, row);
    return FG_OK;
}

static double value_at(const cursor *c, int64_t row, int64_t feature) {
    const fg_data *data = &c->data;
    const int64_t at = (row - c->begin) * data->row_stride + feature * data->feature_stride;
    return data->real_type == FG_FLOAT32 ? (double)((const float *)data->x)[at]
                                         : ((const double *)data->x)[at];
}

static double raw_weight(const cursor *c, int64_t row) {
    return c->data.sample_weight ? c->data.sample_weight[row - c->begin] : 1;
}

static int is_weighted(const fg_rows *rows) {
    return rows->stream ? rows->stream->is_weighted : rows->data->sample_weight != NULL;
}

static double weight(const fg_rows *rows, const cursor *c, int64_t row) {
    return c->data.sample_weight ? raw_weight(c, row) * rows->weight_scale : 1;
}

/* ---- single rows ---- */

/* The smallest of the numbers above a limit; the limit if there is none. */
static int64_t next_above(const int64_t *numbers, int64_t count, int64_t limit) {
    int64_t next = limit;
    for (int64_t i = 0; i < count; i++)
        if (numbers[i] > limit && (next == limit || numbers[i] < next))
            next = numbers[i];
    return next;
}

/* A stream is read in its own order. */
fg_status fg_rows_copy(const fg_rows *rows, const int64_t *numbers, int64_t count,
                       int64_t n_features, double *out) {
    if (!rows->stream) {
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < n_features; j++)
                out[i * n_features + j] = fg_rows_value(rows, numbers[i], j);
        return FG_OK;
    }
    cursor c = before_all();
    for (int64_t last = -1, row; (row = next_above(numbers, count, last)) != last; last = row) {
        const fg_status status = seek(rows, row, &c);
        if (status != FG_OK)
            return status;
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = 0; j < n_features && numbers[i] == row; j++)
                out[i * n_features + j] = value_at(&c, row, j);
    }
    return FG_OK;
}

/* ---- a sample ---- */

static fg_status total_weight(const fg_rows *rows, double *out) {
    cursor c = before_all();
    fg_status status = FG_OK;
    *out = 0;
    for (int64_t n = 0; n < rows->data->n_rows && status == FG_OK; n++) {
        status = seek(rows, n, &c);
        if (status == FG_OK)
            *out += weight(rows, &c, n);
    }
    return status;
}

/* Copies the first row of positive weight, the last row if there is none. */
static fg_status copy_stand_in(const fg_rows *rows, int64_t n_features, double *out) {
    cursor c = before_all();
    int64_t row = 0;
    fg_status status = seek(rows, row, &c);
    while (status == FG_OK && row < rows->data->n_rows - 1 && !(raw_weight(&c, row) > 0))
        status = seek(rows, ++row, &c);
    for (int64_t j = 0; j < n_features && status == FG_OK; j++)
        out[j] = value_at(&c, row, j);
    return status;
}

/* All rows. stand_in: replaces rows of weight zero. */
static fg_status take_all(const fg_rows *rows, int64_t n_features, const double *stand_in,
                          fg_monitor *monitor, double *out_rows, double *out_weights) {
    const int64_t m = rows->data->n_rows;
    cursor c = before_all();
    for (int64_t i = 0; i < m; i++) {
        const fg_status status = seek(rows, i, &c);
        if (status != FG_OK)
            return status;
        const int counts = raw_weight(&c, i) > 0;
        for (int64_t j = 0; j < n_features; j++)
            out_rows[j * m + i] = counts ? value_at(&c, i, j) : stand_in[j];
        out_weights[i] = weight(rows, &c, i);
        if (fg_parallel_poll_piece(i, n_features, monitor))
            return FG_INTERRUPTED;
    }
    return FG_OK;
}

/* One row from each of m strata of equal weight; total: the weight of all. */
static fg_status take_strata(const fg_rows *rows, int64_t n_features, int64_t m, double total,
                             uint64_t *state, fg_monitor *monitor, double *out_rows,
                             double *out_weights) {
    const int64_t n_rows = rows->data->n_rows;
    const int weighted = is_weighted(rows);
    cursor c = before_all();
    double passed = 0;
    int64_t row = 0;
    for (int64_t i = 0; i < m; i++) {
        const double target = ((double)i + fg_random_uniform(state)) / (double)m * total;
        if (!weighted)
            row = (int64_t)target;
        row = row < n_rows ? row : n_rows - 1;
        fg_status status = seek(rows, row, &c);
        /* with weights: the row at which the cumulative weight passes the target */
        while (weighted && status == FG_OK && row < n_rows - 1 &&
               passed + weight(rows, &c, row) <= target) {
            passed += weight(rows, &c, row++);
            status = seek(rows, row, &c);
        }
        if (status != FG_OK)
            return status;
        for (int64_t j = 0; j < n_features; j++)
            out_rows[j * m + i] = value_at(&c, row, j);
        out_weights[i] = 1;
        if (fg_parallel_poll_piece(i, n_features, monitor))
            return FG_INTERRUPTED;
    }
    return FG_OK;
}

fg_status fg_rows_sample(const fg_rows *rows, int64_t n_features, int64_t m, uint64_t *state,
                         fg_monitor *monitor, double *out_rows, double *out_weights) {
    const int weighted = is_weighted(rows);
    fg_status status = FG_OK;
    if (m == rows->data->n_rows) {
        double *stand_in = fg_doubles((size_t)n_features);
        status = !stand_in  ? FG_NO_MEMORY
                 : weighted ? copy_stand_in(rows, n_features, stand_in)
                            : FG_OK;
        if (status == FG_OK)
            status = take_all(rows, n_features, stand_in, monitor, out_rows, out_weights);
        fg_release(stand_in);
        return status;
    }
    double total = (double)rows->data->n_rows;
    if (weighted)
        status = total_weight(rows, &total);
    return status == FG_OK
               ? take_strata(rows, n_features, m, total, state, monitor, out_rows, out_weights)
               : status;
}

/* ---- draws ---- */

/* Draws a row with probability proportional to the weights. */
static fg_status draw_by_weight(const fg_rows *rows, double total, uint64_t *state,
                                int64_t *out_row) {
    const int64_t n_rows = rows->data->n_rows;
    if (!rows->stream) {
        *out_row = fg_draw(rows->data->sample_weight, rows->weight_scale, n_rows, total, state);
        return FG_OK;
    }
    fg_draw_by_pieces draw = fg_draw_begin(rows->weight_scale, total, state);
    double piece[FG_DRAW_ROWS];
    cursor c = before_all();
    fg_status status = FG_OK;
    for (int64_t row = 0, n = 0; row < n_rows && status == FG_OK && !draw.is_done; row++) {
        status = seek(rows, row, &c);
        if (status == FG_OK)
            piece[n++] = raw_weight(&c, row);
        if (status == FG_OK && (n == FG_DRAW_ROWS || row == n_rows - 1)) {
            fg_draw_piece(&draw, piece, n, row == n_rows - 1);
            n = 0;
        }
    }
    *out_row = draw.last;
    return status;
}

/* Draws a row, again if it was drawn before, up to a number of attempts. */
static fg_status draw_another(const fg_rows *rows, const char *taken, double total, uint64_t *state,
                              fg_monitor *monitor, int64_t *out_row) {
    enum { ATTEMPTS = 64 };
    const int64_t n_rows = rows->data->n_rows;
    const int weighted = is_weighted(rows);
    cursor c = before_all();
    int64_t row = 0;
    fg_status status = FG_OK;
    for (int attempt = 0; attempt < ATTEMPTS && (attempt == 0 || taken[row]) && status == FG_OK;
         attempt++) {
        if (!weighted)
            row = (int64_t)(fg_random_uniform(state) * (double)n_rows);
        else if (fg_parallel_poll(monitor))
            break;
        else
            status = draw_by_weight(rows, total, state, &row);
    }
    /* if most rows are taken, use the next free one */
    for (int64_t step = 0; step < n_rows && status == FG_OK; step++) {
        int counts = 1;
        if (weighted) {
            status = seek(rows, row, &c);
            counts = status == FG_OK && raw_weight(&c, row) > 0;
        }
        if (!taken[row] && counts)
            break;
        row = (row + 1) % n_rows;
    }
    *out_row = row;
    return status;
}

fg_status fg_rows_draw(const fg_rows *rows, int64_t count, uint64_t *state, fg_monitor *monitor,
                       int64_t *out) {
    char *taken = calloc((size_t)rows->data->n_rows, 1);
    if (!taken)
        return FG_NO_MEMORY;
    double total = 0;
    fg_status status = is_weighted(rows) ? total_weight(rows, &total) : FG_OK;
    for (int64_t i = 0; i < count && status == FG_OK; i++) {
        status = draw_another(rows, taken, total, state, monitor, &out[i]);
        if (status != FG_OK)
            break;
        taken[out[i]] = 1;
        if (fg_parallel_poll(monitor))
            status = FG_INTERRUPTED;
    }
    free(taken);
    return status;
}
