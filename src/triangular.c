/* Triangular matrices. See triangular.h.
 *
 * Small matrices are factored and inverted row by row. Large ones are divided into blocks of EDGE
 * rows and columns, so that nearly all arithmetic is in products of blocks, which the kernels
 * compute from packed tiles in cache. Both A = R^T R and X = R^-1 are computed by rows of blocks:
 *
 *   R[b, j] = V^T (A[b, j] - sum of R[l, b]^T R[l, j] over l < b), V = R[b, b]^-1, downwards,
 *   X[b, j] =   V (0 - sum of R[b, l] X[l, j] over b < l <= j),                    upwards.
 *
 * The tiles of a row of blocks are tasks for the threads. Every number is computed by the same
 * operations in the same order, whichever thread does it. */
#include "triangular.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "memory.h"
#include "parallel.h"
#include "run.h"

/* Matrices up to SMALL are not divided into blocks. Below SHARED, threads gain nothing. */
enum { EDGE = 48, SMALL = 128, SHARED = 400 };

/* ---- row by row ---- */

/* to -= factor * from, for n consecutive numbers: the inner loop of the factorisation. */
static void subtract_multiple(double factor, const double *restrict from, int64_t n,
                              double *restrict to) {
    for (int64_t i = 0; i < n; i++)
        to[i] -= factor * from[i];
}

/* Polls if a row of the factorisation takes long. */
static int interrupted(int64_t d, fg_monitor *monitor) {
    return d >= 128 && fg_parallel_poll(monitor);
}

/* Replaces the upper triangle of A by R with A = R^T R; rows are stride numbers apart. */
static fg_status factor_rows(int64_t d, int64_t stride, fg_monitor *monitor, double *out) {
    for (int64_t i = 0; i < d; i++) {
        double *row = out + i * stride;
        if (!(row[i] > 0) || !isfinite(row[i]))
            return FG_SINGULAR;
        if (interrupted(d, monitor))
            return FG_INTERRUPTED;
        const double root = sqrt(row[i]);
        row[i] = root;
        for (int64_t j = i + 1; j < d; j++)
            row[j] /= root;
        for (int64_t j = i + 1; j < d; j++)
            subtract_multiple(row[j], row + j, d - j, out + j * stride + j);
    }
    return FG_OK;
}

static fg_status invert_rows(int64_t d, int64_t stride, fg_monitor *monitor, double *out) {
    for (int64_t i = d - 1; i >= 0; i--) {
        double *row = out + i * stride;
        const double scale = 1 / row[i];
        if (interrupted(d, monitor))
            return FG_INTERRUPTED;
        for (int64_t l = d - 1; l > i; l--) { /* from the end: row[l] must still belong to R */
            const double factor = row[l];
            row[l] = 0;
            subtract_multiple(factor, out + l * stride + l, d - l, row + l);
        }
        row[i] = 1;
        for (int64_t j = i; j < d; j++)
            row[j] *= scale;
    }
    return FG_OK;
}

/* ---- blocks ---- */

/* A factorisation or an inversion, at the beginning of the memory of its run. Offsets are counted
 * in doubles from here, because the run may move. */
typedef struct {
    const fg_kernels *kernels;
    double *out; /* d x d */
    int64_t d, n_blocks, tiles_per_block, tile_columns;
    size_t columns; /* the finished rows of blocks, by tiles of columns */
    size_t left;    /* EDGE columns of the left factor of the products, by tiles of rows */
    size_t panel;   /* EDGE rows to subtract the products from, by tiles of columns */
    size_t inverse; /* of the diagonal block, transposed if it is V, by tiles of rows */
    size_t corner;  /* the diagonal block and its inverse, row by row */
    size_t scratch; /* of the calling thread: EDGE rows of a tile */
    /* of the present row of blocks */
    int64_t block, first_row, n_rows; /* rows of the products */
    int is_inverting;
} shared;

#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)

static double *at(const shared *s, size_t offset) {
    return (double *)((char *)s + ALIGNED(sizeof *s)) + offset;
}

static int64_t edge_of(const shared *s, int64_t block) {
    const int64_t left = s->d - block * EDGE;
    return left < EDGE ? left : EDGE;
}

/* A tile of block B of columns holds the rows of blocks 0 to B. */
static double *tile_of(const shared *s, int64_t tile) {
    const int64_t block = tile / s->tiles_per_block, before = block * (block + 1) / 2;
    const int64_t within = tile % s->tiles_per_block;
    return at(s, s->columns) +
           (before * s->tiles_per_block + within * (block + 1)) * EDGE * s->tile_columns;
}

/* Packs columns [begin, begin + width) of a tile from rows of `from`; missing ones are zero. */
static void pack(const double *from, int64_t n_rows, int64_t stride, int64_t n_columns,
                 int64_t width, double *out) {
    for (int64_t l = 0; l < n_rows; l++)
        for (int64_t j = 0; j < width; j++)
            out[l * width + j] = j < n_columns ? from[l * stride + j] : 0;
}

static int64_t at_most(int64_t n, int64_t most) { return n < 0 ? 0 : n < most ? n : most; }

/* The left factor of the products: R[l, b] as it is, or R[b, l] transposed. */
static void pack_left(const shared *s, const double *r) {
    const int64_t rows = s->kernels->tile_rows, d = s->d, begin = s->block * EDGE;
    for (int64_t i = 0; i < EDGE; i += rows) {
        double *out = at(s, s->left) + i * s->n_rows;
        const int64_t left = at_most(d - begin - i, rows);
        if (!s->is_inverting)
            pack(r + begin + i, s->n_rows, d, left, rows, out);
        for (int64_t l = 0; s->is_inverting && l < s->n_rows; l++)
            for (int64_t j = 0; j < rows; j++)
                out[l * rows + j] = j < left && s->first_row + l < d
                                        ? r[(begin + i + j) * d + s->first_row + l]
                                        : 0;
    }
}

/* V, of edge rows and columns in a dense block; transposed for the inversion. */
static void pack_inverse(const shared *s, const double *v, int64_t edge) {
    const int64_t rows = s->kernels->tile_rows;
    double *out = at(s, s->inverse);
    for (int64_t i = 0; i < EDGE; i++)
        for (int64_t l = 0; l < EDGE; l++) {
            const int64_t row = s->is_inverting ? i : l, column = s->is_inverting ? l : i;
            const int is_inside = row <= column && column < edge;
            out[(i / rows * EDGE + l) * rows + i % rows] = is_inside ? v[row * EDGE + column] : 0;
        }
}

/* Stores EDGE rows of a tile in the packed columns and in the matrix. */
static void store(const shared *s, int64_t tile, const double *rows) {
    const int64_t width = s->tile_columns, d = s->d, begin = s->block * EDGE;
    const int64_t n_columns = at_most(d - tile * width, width);
    memcpy(tile_of(s, tile) + begin * width, rows, (size_t)(EDGE * width) * sizeof(double));
    for (int64_t i = 0; i < edge_of(s, s->block) && n_columns > 0; i++)
        memcpy(s->out + (begin + i) * d + tile * width, rows + i * width,
               (size_t)n_columns * sizeof(double));
}

/* out = minus the products of EDGE rows of a tile of columns, plus the panel. */
static void subtract_products(const shared *s, int64_t tile, const double *panel, double *tmp,
                              double *out) {
    const int64_t rows = s->kernels->tile_rows, width = s->tile_columns;
    const int64_t last = (tile / s->tiles_per_block + 1) * EDGE; /* rows of the tile */
    const int64_t n = at_most(last - s->first_row, s->n_rows);
    for (int64_t i = 0; i < EDGE; i += rows) {
        s->kernels->multiply_tile(at(s, s->left) + i * s->n_rows,
                                  tile_of(s, tile) + s->first_row * width, n, tmp);
        for (int64_t e = 0; e < rows * width; e++)
            out[i * width + e] = (panel ? panel[i * width + e] : 0) - tmp[e];
    }
}

static void tile_task(void *context, int64_t task, void *scratch, fg_monitor *monitor,
                      void *result) {
    (void)monitor;
    const shared *s = context;
    const int64_t rows = s->kernels->tile_rows, width = s->tile_columns;
    const int64_t tile = (s->block + 1) * s->tiles_per_block + task;
    double *remainder = scratch, *tmp = remainder + EDGE * width;
    const double *panel = s->is_inverting ? NULL : at(s, s->panel) + task * EDGE * width;
    subtract_products(s, tile, panel, tmp, remainder);
    for (int64_t i = 0; i < EDGE; i += rows)
        s->kernels->multiply_tile(at(s, s->inverse) + i * EDGE, remainder, EDGE,
                                  (double *)result + i * width);
}

static void store_task(void *context, int64_t task, void *result) {
    const shared *s = context;
    store(s, (s->block + 1) * s->tiles_per_block + task, result);
}

/* ---- the diagonal blocks ---- */

/* Copies the upper triangle of a diagonal block to a dense block, which is zero elsewhere. */
static void copy_corner(const shared *s, const double *from, double *out) {
    const int64_t edge = edge_of(s, s->block), begin = s->block * EDGE;
    memset(out, 0, EDGE * EDGE * sizeof(double));
    for (int64_t i = 0; i < edge; i++)
        memcpy(out + i * EDGE + i, from + (begin + i) * (s->d + 1),
               (size_t)(edge - i) * sizeof(double));
}

/* Stores a dense diagonal block. */
static void store_corner(const shared *s, const double *corner, double *tmp) {
    const int64_t width = s->tile_columns;
    for (int64_t t = 0; t < s->tiles_per_block; t++) {
        pack(corner + t * width, EDGE, EDGE, width, width, tmp);
        store(s, s->block * s->tiles_per_block + t, tmp);
    }
}

/* corner -= the products of the diagonal block. */
static void reduce_corner(const shared *s, double *tmp, double *corner) {
    const int64_t rows = s->kernels->tile_rows, width = s->tile_columns;
    for (int64_t t = 0; t < s->tiles_per_block; t++)
        for (int64_t i = 0; i < (t + 1) * width; i += rows) {
            s->kernels->multiply_tile(at(s, s->left) + i * s->n_rows,
                                      tile_of(s, s->block * s->tiles_per_block + t), s->n_rows,
                                      tmp);
            for (int64_t e = 0; e < rows * width; e++)
                corner[(i + e / width) * EDGE + t * width + e % width] -= tmp[e];
        }
}

/* ---- rows of blocks ---- */

/* Prepares a row of blocks: everything but its tiles beyond the diagonal block. */
static fg_status begin_row(const shared *s, const double *a) {
    double *corner = at(s, s->corner), *v = corner + EDGE * EDGE, *tmp = at(s, s->scratch);
    const int64_t edge = edge_of(s, s->block), width = s->tile_columns;
    fg_status status = FG_OK;
    pack_left(s, s->out);
    copy_corner(s, a, corner);
    if (!s->is_inverting) {
        reduce_corner(s, tmp, corner);
        for (int64_t i = 0; i < EDGE; i++) /* products below the diagonal were computed, too */
            memset(corner + i * EDGE, 0, (size_t)i * sizeof(double));
        status = factor_rows(edge, EDGE, NULL, corner);
        if (status != FG_OK)
            return status;
        const int64_t n_tiles = (s->n_blocks - s->block - 1) * s->tiles_per_block;
        for (int64_t t = 0; t < n_tiles; t++) {
            const int64_t column = (s->block + 1) * EDGE + t * width;
            double *panel = at(s, s->panel) + t * EDGE * width;
            pack(a + s->block * EDGE * s->d + column, edge, s->d, at_most(s->d - column, width),
                 width, panel);
        }
    }
    memcpy(v, corner, EDGE * EDGE * sizeof(double));
    invert_rows(edge, EDGE, NULL, v);
    pack_inverse(s, v, edge);
    store_corner(s, s->is_inverting ? v : corner, tmp);
    return status;
}

static size_t layout_of(shared *s) {
    const size_t n = (size_t)(s->n_blocks * EDGE), square = EDGE * EDGE;
    s->columns = 0;
    s->left = s->columns + (size_t)(s->n_blocks * (s->n_blocks + 1) / 2) * square;
    s->panel = s->left + n * EDGE;
    s->inverse = s->panel + n * EDGE;
    s->corner = s->inverse + square;
    s->scratch = s->corner + 2 * square;
    return ALIGNED(sizeof *s) + (s->scratch + EDGE * (size_t)s->tile_columns) * sizeof(double);
}

/* One sweep over the rows of blocks: a -> out = R, or out = R -> out = R^-1. */
static fg_status sweep(fg_context *context, fg_run **run, size_t bytes, int is_inverting,
                       const double *a) {
    fg_status status = FG_OK;
    const int64_t n_blocks = ((const shared *)fg_run_shared(*run))->n_blocks;
    for (int64_t b = 0; status == FG_OK && b < n_blocks; b++) {
        shared *s = fg_run_prepare(run, bytes);
        s->is_inverting = is_inverting;
        s->block = is_inverting ? n_blocks - 1 - b : b;
        s->first_row = is_inverting ? (s->block + 1) * EDGE : 0;
        s->n_rows = is_inverting ? (n_blocks - s->block - 1) * EDGE : s->block * EDGE;
        status = begin_row(s, a);
        if (status == FG_OK)
            status = fg_run_tasks(*run, context, (n_blocks - s->block - 1) * s->tiles_per_block);
    }
    return status;
}

/* a: the matrix to factor first, or NULL if out holds R. */
static fg_status by_blocks(fg_context *context, const double *a, int64_t d, double *out) {
    const fg_kernels *kernels = fg_kernels_for(FG_FLOAT64);
    shared layout = {.kernels = kernels,
                     .out = out,
                     .d = d,
                     .n_blocks = (d + EDGE - 1) / EDGE,
                     .tiles_per_block = EDGE / kernels->tile_columns,
                     .tile_columns = kernels->tile_columns};
    const size_t bytes = layout_of(&layout), tile = (size_t)(EDGE * kernels->tile_columns);
    const size_t products = (size_t)(kernels->tile_rows * kernels->tile_columns);
    const fg_tasks tasks = {.work = tile_task,
                            .commit = store_task,
                            .shared_bytes = bytes,
                            .scratch_bytes = (tile + products) * sizeof(double),
                            .result_bytes = tile * sizeof(double)};
    const int n_threads = d < SHARED ? 1 : context->n_threads;
    fg_run *run = fg_run_open(&tasks, n_threads, context->lease);
    if (!run)
        return FG_NO_MEMORY;
    *(shared *)fg_run_shared(run) = layout;
    fg_status status = a ? sweep(context, &run, bytes, 0, a) : FG_OK;
    if (status == FG_OK)
        status = sweep(context, &run, bytes, 1, out);
    fg_run_close(run);
    return status;
}

/* ---- the whole matrix ---- */

/* By blocks: the rows of a large matrix are so far apart that a column of it, element by element,
 * would evict itself from the cache. */
void fg_mirror_lower(int64_t d, double *out) {
    enum { BLOCK = 16 };
    for (int64_t i0 = 0; i0 < d; i0 += BLOCK)
        for (int64_t j0 = 0; j0 <= i0; j0 += BLOCK)
            for (int64_t j = j0; j < j0 + BLOCK && j < d; j++)
                for (int64_t i = i0 > j ? i0 : j + 1; i < i0 + BLOCK && i < d; i++)
                    out[j * d + i] = out[i * d + j];
}

fg_status fg_invert_cholesky(fg_context *context, const double *a, int64_t d, double *out) {
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j < d; j++)
            out[i * d + j] = j < i ? 0 : a[i * d + j];
    if (d > SMALL)
        return by_blocks(context, a, d, out);
    const fg_status status = factor_rows(d, d, context->monitor, out);
    return status == FG_OK ? invert_rows(d, d, context->monitor, out) : status;
}

fg_status fg_invert_upper(fg_context *context, int64_t d, double *out) {
    return d > SMALL ? by_blocks(context, NULL, d, out) : invert_rows(d, d, context->monitor, out);
}

fg_status fg_square_upper(fg_context *context, const double *r, int64_t d, double *out) {
    enum { ROWS = 16 }; /* at a time, so that r is read from memory d / 16 times */
    for (int64_t i0 = 0; i0 < d; i0 += ROWS) {
        const int64_t end = i0 + at_most(d - i0, ROWS);
        if (interrupted(d, context->monitor))
            return FG_INTERRUPTED;
        for (int64_t i = i0; i < end; i++)
            memset(out + i * d + i, 0, (size_t)(d - i) * sizeof(double));
        for (int64_t l = 0; l < end; l++)
            for (int64_t i = l > i0 ? l : i0; i < end; i++)
                subtract_multiple(-r[l * d + i], r + l * d + i, d - i, out + i * d + i);
        for (int64_t j = i0; j < d; j++) /* below the diagonal, too */
            for (int64_t i = i0; i < end && i < j; i++)
                out[j * d + i] = out[i * d + j];
    }
    return FG_OK;
}
