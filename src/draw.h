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

/* A draw from scores that come in pieces of FG_DRAW_ROWS, the last of which may be shorter. */
enum { FG_DRAW_ROWS = 64 };
typedef struct {
    double left, scale;
    int64_t last, next; /* the last index with a positive score; the index of the next score */
    int is_done;        /* last is the index drawn */
} fg_draw_by_pieces;
/* total: as for fg_draw. */
fg_draw_by_pieces fg_draw_begin(double scale, double total, uint64_t *state);
void fg_draw_piece(fg_draw_by_pieces *draw, const double *score, int64_t n, int is_end);

/* Keys for a sample of rows that does not depend on the order in which they are seen: of all rows,
 * those with the smallest keys (Efraimidis & Spirakis 2006). The key of a row depends only on the
 * seed, its number and its weight; its distribution is exponential, with the weight as its rate,
 * or uniform without weights. Writes the rows of [first, first + n) whose key is below the limit,
 * and returns how many. Rows of weight zero have no key. */
int64_t fg_draw_keys(uint64_t seed, int64_t first, int64_t n, const double *weights, double limit,
                     int64_t *out_rows, double *out_keys);

#endif
