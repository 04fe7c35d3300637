/* The source of the rows. See rows.h. */
#include "rows.h"

#include <math.h>
#include <stdlib.h>

#include "draw.h"
#include "parallel.h"
#include "random.h"

/* Scaling keeps weights within the range of float, and weights times squares within the range of
 * double; only the ratios of weights matter. The power of two and its inverse are both in range. */
void fg_rows_open(const fg_data *data, fg_rows *out) {
    double largest = 0;
    if (data->sample_weight)
        for (int64_t n = 0; n < data->n_rows; n++)
            largest = data->sample_weight[n] > largest ? data->sample_weight[n] : largest;
    int exponent = 0;
    frexp(largest, &exponent);
    out->data = data;
    out->weight_scale = ldexp(1, exponent < -1000 ? 1000 : exponent > 1000 ? -1000 : -exponent);
}

void fg_rows_copy(const fg_rows *rows, int64_t row, int64_t n_features, double *out) {
    for (int64_t j = 0; j < n_features; j++)
        out[j] = fg_rows_value(rows, row, j);
}

static double weight(const fg_rows *rows, int64_t row) {
    return rows->data->sample_weight ? rows->data->sample_weight[row] * rows->weight_scale : 1;
}

static double total_weight(const fg_rows *rows) {
    double total = 0;
    for (int64_t n = 0; n < rows->data->n_rows; n++)
        total += weight(rows, n);
    return total;
}

fg_status fg_rows_sample(const fg_rows *rows, int64_t n_features, int64_t m, uint64_t *state,
                         fg_monitor *monitor, double *out_rows, double *out_weights) {
    const int64_t n_rows = rows->data->n_rows;
    const int weighted = rows->data->sample_weight != NULL, all = m == n_rows;
    const double total = weighted && !all ? total_weight(rows) : (double)n_rows;
    double passed = 0;
    int64_t row = 0, stand_in = 0;
    while (stand_in < n_rows - 1 && !fg_rows_counts(rows, stand_in))
        stand_in++;
    for (int64_t i = 0; i < m; i++) {
        if (all)
            row = fg_rows_counts(rows, i) ? i : stand_in;
        else {
            const double target = ((double)i + fg_random_uniform(state)) / (double)m * total;
            if (!weighted)
                row = (int64_t)target;
            else /* the row at which the cumulative weight passes the target */
                while (row < n_rows - 1 && passed + weight(rows, row) <= target)
                    passed += weight(rows, row++);
            row = row < n_rows ? row : n_rows - 1;
        }
        for (int64_t j = 0; j < n_features; j++)
            out_rows[j * m + i] = fg_rows_value(rows, row, j);
        out_weights[i] = all && weighted ? weight(rows, i) : 1;
        if (fg_parallel_poll_piece(i, n_features, monitor))
            return FG_INTERRUPTED;
    }
    return FG_OK;
}

/* Draws a row, again if it was drawn before, up to a number of attempts. */
static int64_t draw_another(const fg_rows *rows, const char *taken, double total, uint64_t *state,
                            fg_monitor *monitor) {
    enum { ATTEMPTS = 64 };
    const double *weights = rows->data->sample_weight;
    const int64_t n_rows = rows->data->n_rows;
    int64_t row = 0;
    for (int attempt = 0; attempt < ATTEMPTS && (attempt == 0 || taken[row]); attempt++) {
        if (!weights)
            row = (int64_t)(fg_random_uniform(state) * (double)n_rows);
        else if (fg_parallel_poll(monitor))
            break;
        else
            row = fg_draw(weights, rows->weight_scale, n_rows, total, state);
    }
    /* if most rows are taken, use the next free one */
    for (int64_t step = 0; step < n_rows && (taken[row] || !fg_rows_counts(rows, row)); step++)
        row = (row + 1) % n_rows;
    return row;
}

fg_status fg_rows_draw(const fg_rows *rows, int64_t count, uint64_t *state, fg_monitor *monitor,
                       int64_t *out) {
    char *taken = calloc((size_t)rows->data->n_rows, 1);
    if (!taken)
        return FG_NO_MEMORY;
    const double total = rows->data->sample_weight ? total_weight(rows) : 0;
    fg_status status = FG_OK;
    for (int64_t i = 0; i < count && status == FG_OK; i++) {
        out[i] = draw_another(rows, taken, total, state, monitor);
        taken[out[i]] = 1;
        if (fg_parallel_poll(monitor))
            status = FG_INTERRUPTED;
    }
    free(taken);
    return status;
}
