/* What a kernel table offers: block procedures of one instruction set and real type.
 *
 * A pass cuts the rows into blocks. Every block is loaded (transposed, lanes over samples), scored
 * against all components, normalised to responsibilities, and added to the sums. Kernels own no
 * threads and allocate nothing. */
#ifndef FG_KERNELS_H
#define FG_KERNELS_H

#include "fusedgmm.h"

/* Parameters in the data's real type, laid out for the kernels (made by prepare). */
typedef struct {
    fg_shape shape;
    const void *shift;     /* K x d: the means, rounded */
    const void *factor;    /* full: U by panels of columns; tied likewise, once; diag K x d 1/sd;
                              spherical K x d 1/sd repeated */
    const void *offset;    /* what the rounding of the means left: -(mean - shift) U */
    const void *log_scale; /* K: log weight + log det U - d/2 log 2 pi */
    const void *tied_mean; /* tied: K x d, (mean - shift) U */
} fg_model;

/* How a block gets its responsibilities. */
typedef enum {
    FG_SOFT,    /* by the densities */
    FG_NEAREST, /* one-hot at the nearest mean: k-means */
    FG_RANDOM,  /* uniform random, normalised */
} fg_mode;

typedef struct {
    const char *isa;
    int64_t block_rows;
    size_t (*model_bytes)(const fg_shape *shape);
    /* centre: tied's one shift (d), or NULL for the mixture's mean */
    void (*prepare)(const fg_shape *shape, const fg_parameters *parameters, const double *centre,
                    void *memory, double *out_shift, fg_model *out_model);
    size_t (*scratch_bytes)(const fg_shape *shape);
    /* Adds the rows [begin, end) to out_statistics; with_moments = 0 leaves sxx alone. */
    void (*accumulate)(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                       fg_mode mode, uint64_t seed, int with_moments, void *scratch,
                       fg_statistics *out_statistics);
    void (*score)(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                  fg_want want, void *scratch, void *out);
    void (*exp_log)(const void *x, int64_t n, int want_log, void *out); /* for the tests */
} fg_kernels;

const fg_kernels *fg_kernels_for(fg_real_type real_type);

#endif
