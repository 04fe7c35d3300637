/* Weighted sums, and random draws with given probabilities. See draw.h. */
#include "draw.h"

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

int64_t fg_draw(const double *score, double scale, int64_t n, double total, uint64_t *state) {
    enum { STRIDE = 64 }; /* scores that are skipped by their sum */
    double left = fg_random_uniform(state) * total;
    int64_t last = 0;
    for (int64_t begin = 0; begin < n; begin += STRIDE) {
        const int64_t end = begin + STRIDE < n ? begin + STRIDE : n;
        const double here = sum(NULL, scale, score + begin, end - begin);
        if (left >= here && end < n) {
            left -= here;
            continue;
        }
        for (int64_t i = begin; i < end; i++)
            if (score[i] > 0) {
                last = i;
                left -= scale * score[i];
                if (left < 0)
                    return i;
            }
    }
    while (last > 0 && !(score[last] > 0)) /* rounding went past the end */
        last--;
    return last;
}
