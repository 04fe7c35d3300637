/* What a kernel table offers: block procedures of one instruction set and real type.
 *
 * A pass cuts the rows into blocks. Every block is loaded (transposed, lanes over samples), scored
 * against all components, normalised to responsibilities, and added to the sums. Kernels own no
 * threads and allocate nothing. A procedure that may take long polls its monitor; when that says
 * stop, it returns early, and its results are meaningless. */
#ifndef FG_KERNELS_H
#define FG_KERNELS_H

#include "fusedgmm.h"

/* The point that each component's sums are taken about. */
typedef struct {
    const double *shift; /* K x d, or NULL: about the means */
    int common;          /* tied: all rows of shift are one point, and sxx is the data's scatter */
} fg_shift_choice;

/* How a block gets its responsibilities. */
typedef enum {
    FG_SOFT,    /* by the densities */
    FG_NEAREST, /* one-hot at the nearest mean: k-means */
    FG_RANDOM,  /* uniform random, normalised */
} fg_assignment;

/* Parameters in the data's real type, laid out for the kernels (made by prepare). The shift is
 * rounded to the data's type, so that x - shift is a difference of two exact numbers; the offset
 * adds what the rounding took from the mean. */
typedef struct {
    fg_shape shape;
    fg_assignment assignment;
    /* Full: a block stores square roots of responsibilities, of which its scatter is made. */
    int sqrt_responsibilities;
    /* Tied, spherical: first moments are summed about the centre, in one product for all
     * components. They lose the digits of spread over deviation, which only second moments would
     * miss; these have a shift of their own. */
    int centred_sums;
    double weight_scale;       /* sample weights are multiplied by it, */
    double sums_scale;         /* and the sums by this */
    const void *shift;         /* K x d */
    const void *mean_rounding; /* spherical: mean - shift, K x d; NULL where it is negligible */
    const void *factor; /* full: U by columns or panels; tied: likewise, once; diag: 1 / sd */
    const void *offset; /* full, diag: -(mean - shift) U */
    const void *centre; /* d: the mixture's mean or the common shift */
    const void *whitened_means; /* tied: (mean - centre) U, K x d */
    const void *scale;          /* K: spherical and tied: -1 / (2 variance) of a squared distance */
    const void *log_scale;      /* K: log weight + log det U - d/2 log 2 pi */
    /* K: about N_k over N. Responsibilities far below it change no sum of the component, and where
     * leaves_out is set, sums of moments leave them out. */
    const double *shares;
    int leaves_out;
} fg_model;

typedef struct {
    const char *isa;
    /* Tasks begin at multiples of so many rows: whole groups of rows for the kernels, so that only
     * the data's last rows leave one to fill up. The same in all tables: where the rows are cut
     * decides the last bits of the sums. */
    int64_t rows_multiple;
    int lanes; /* numbers in a vector */
    size_t (*model_bytes)(const fg_shape *shape);
    /* out_shift: K x d, where the sums will be about */
    void (*prepare)(const fg_shape *shape, const fg_parameters *parameters,
                    fg_assignment assignment, const fg_shift_choice *choice, void *memory,
                    fg_monitor *monitor, double *out_shift, fg_model *out_model);
    size_t (*scratch_bytes)(const fg_shape *shape);
    /* Adds the rows [begin, end) to out_statistics; sums says which. */
    void (*accumulate)(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                       uint64_t seed, fg_sums sums, void *scratch, fg_monitor *monitor,
                       fg_statistics *out_statistics);
    /* Non-zero where a sample is NaN or infinite. */
    int (*score)(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                 fg_output output, void *scratch, fg_monitor *monitor, void *out);
    void (*exp_log)(const void *x, int64_t n, int is_log, void *out); /* for the tests */
} fg_kernels;

const fg_kernels *fg_kernels_for(fg_real_type real_type);

#endif
