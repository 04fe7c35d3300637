/* Weighted sums, and random draws with given probabilities. See draw.h. */
#include "draw.h"

#include <math.h>

#include "random.h"

/* Sums in lanes: in a single chain each addition would wait for the previous one. weights: NULL for
 * scale. */
static inline double sum(const double *weights, double scale, const double *x, int64_t n) {
    enum { LANES = 8 };
    double lanes[LANES] = {0}, total = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++)
            lanes[l] += (weights ? weights[i + l] : scale) * x[i + l];
    for (; i < n; i++)
        total += (weights ? weights[i] : scale) * x[i];
    for (int l = 0; l < LANES; l++)
        total += lanes[l];
    return total;
}

double fg_sum(const double *weights, const double *x, int64_t n) { return sum(weights, 1, x, n); }

fg_draw_by_pieces fg_draw_begin(double scale, double total, uint64_t *state) {
    return (fg_draw_by_pieces){.left = fg_random_uniform(state) * total, .scale = scale};
}

/* A piece is skipped by its sum. If rounding goes past the end, draws the last positive score that
 * was not skipped. */
void fg_draw_piece(fg_draw_by_pieces *draw, const double *score, int64_t n, int is_end) {
    const double here = sum(NULL, draw->scale, score, n);
    const int skip = draw->left >= here && !is_end;
    if (skip)
        draw->left -= here;
    for (int64_t i = 0; i < n && !skip && !draw->is_done; i++)
        if (score[i] > 0) {
            draw->last = draw->next + i;
            draw->left -= draw->scale * score[i];
            draw->is_done = draw->left < 0;
        }
    draw->next += n;
    draw->is_done |= is_end;
}

int64_t fg_draw(const double *score, double scale, int64_t n, double total, uint64_t *state) {
    fg_draw_by_pieces draw = fg_draw_begin(scale, total, state);
    for (int64_t begin = 0; begin < n && !draw.is_done; begin += FG_DRAW_ROWS) {
        const int64_t end = begin + FG_DRAW_ROWS < n ? begin + FG_DRAW_ROWS : n;
        fg_draw_piece(&draw, score + begin, end - begin, end == n);
    }
    return draw.last;
}

int64_t fg_draw_keys(uint64_t seed, int64_t first, int64_t n, const double *weights, double limit,
                     int64_t *out_rows, double *out_keys) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        double key = (double)(fg_random(seed, (uint64_t)(first + i)) >> 11) * 0x1p-53;
        /* -log(1 - u) is at least u, so most rows need no logarithm */
        if (weights && (!(weights[i] > 0) || key > limit * weights[i]))
            continue;
        if (weights)
            key = -log1p(-key) / weights[i];
        if (key < limit) {
            out_rows[count] = first + i;
            out_keys[count++] = key;
        }
    }
    return count;
}
