/* The kernel table: the functions of one instruction set and real type.
 *
 * A pass divides the rows into blocks. Every block is loaded (transposed, lanes over samples),
 * scored against all components, normalised to responsibilities, and added to the sums. Kernels
 * create no threads and allocate no memory. A function that may take long polls its monitor; if
 * that says stop, the function returns early with invalid results. */
#ifndef FG_KERNELS_H
#define FG_KERNELS_H

#include "fusedgmm.h"

enum { FG_BLOCK_ROWS = 512 }; /* no block has more rows */

/* The points about which the sums are taken, one per component. */
typedef struct {
    const double *shift; /* K x d, or NULL: the means */
    int common;          /* tied: all shifts are one point, and sxx is the data's scatter */
} fg_shift_choice;

/* How responsibilities are assigned. */
typedef enum {
    FG_SOFT,    /* from the densities */
    FG_NEAREST, /* one-hot, nearest mean: k-means */
    FG_RANDOM,  /* uniform random, normalised */
} fg_assignment;

/* The parameters in the data's real type, laid out for the kernels by prepare. The shift is rounded
 * to the data's type, so that x - shift subtracts exact numbers; the offset adds what the mean lost
 * in the rounding. */
typedef struct {
    fg_shape shape;
    fg_assignment assignment;
    /* Full: a block stores square roots of responsibilities, from which it computes the scatter. */
    int sqrt_responsibilities;
    /* Tied, spherical: first moments are summed about the centre, in one product for all
     * components. They lose the digits of spread over standard deviation. Only second moments would
     * need those digits, and they have their own shift. */
    int centred_sums;
    double weight_scale;       /* factor for the sample weights */
    double sums_scale;         /* factor for the sums */
    const void *shift;         /* K x d */
    const void *mean_rounding; /* spherical: mean - shift, K x d; NULL if negligible */
    const void
        *factor; /* full: U by columns or panels; tied: one such U; diag: the diagonal of U */
    const void *offset;         /* full, diag: -(mean - shift) U */
    const void *centre;         /* d: the mixture's mean, or the common shift */
    const void *whitened_means; /* tied: (mean - centre) U, K x d */
    const void *scale;          /* K: spherical, tied: -1 / (2 variance) */
    const void *log_scale;      /* K: log weight + log det U - d/2 log 2 pi */
    /* K: approximately N_k / N. Responsibilities far below it cannot change the sums of the
     * component; if leaves_out is set, sums of moments omit them. */
    const double *shares;
    int leaves_out;
} fg_model;

typedef struct {
    const char *isa;
    /* Tasks begin at multiples of this number of rows: whole groups of rows for the kernels, so
     * only the last rows of the data need padding. It is the same in all tables, because the
     * division of the rows decides the last bits of the sums. */
    int64_t rows_multiple;
    int lanes; /* numbers per vector */
    size_t (*model_bytes)(const fg_shape *shape);
    /* out_shift: K x d, receives the points about which the sums will be */
    void (*prepare)(const fg_shape *shape, const fg_parameters *parameters,
                    fg_assignment assignment, const fg_shift_choice *choice, void *memory,
                    fg_monitor *monitor, double *out_shift, fg_model *out_model);
    size_t (*scratch_bytes)(const fg_shape *shape);
    /* For score with at most n_rows rows at a time, which needs less. */
    size_t (*score_scratch_bytes)(const fg_shape *shape, int64_t n_rows);
    /* Adds the rows [begin, end) to out_statistics; sums says which. The parts are consecutive and
     * contain the rows. If they are several, scratch is followed by memory for the rows of one
     * block: FG_BLOCK_ROWS x (d + 1) doubles. */
    void (*accumulate)(const fg_model *model, const fg_part *parts, int64_t begin, int64_t end,
                       uint64_t seed, fg_sums sums, void *scratch, fg_monitor *monitor,
                       fg_statistics *out_statistics);
    /* out: in the type of the data. Returns non-zero if a sample is NaN or infinite. */
    int (*score)(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                 fg_output output, void *scratch, fg_monitor *monitor, void *out);
    void (*exp_log)(const void *x, int64_t n, int is_log, void *out); /* for the tests */
    /* A tile of the product A^T B of two matrices with n rows: A has tile_rows columns, B has
     * tile_columns. All three are stored row by row. Both sizes divide 48. */
    int tile_rows, tile_columns;
    void (*multiply_tile)(const void *a, const void *b, int64_t n, void *out);
} fg_kernels;

const fg_kernels *fg_kernels_for(fg_real_type real_type);

#endif
