/* Weighted sums, and random draws with given probabilities. */
#ifndef FG_DRAW_H
#define FG_DRAW_H

#include <stddef.h>
#include <stdint.h>

/* sum x_i, or with weights sum weights_i x_i. */
double fg_sum(const double *weights, const double *x, int64_t n);
/* Returns index i with probability scale * score[i] / total. scale: a power of two that brings the
 * scores and total, their scaled sum, into range. */
int64_t fg_draw(const double *score, double scale, int64_t n, double total, uint64_t *state);

#endif
