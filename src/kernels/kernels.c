/* The hot loop, written once in the vector vocabulary and compiled for each instruction set and
 * real type (CMake defines FG_ISA, FG_ISA_HEADER, and FG_REAL_f32 or FG_REAL_f64).
 *
 *   load_block -> log_densities -> normalise -> add_block, block by block */
#include "kernels/kernels.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "memory.h"
#include "parallel.h"
#include "random.h"
#include "simd/vector.h"

#include "kernels/block_tpl.h"
#include "kernels/density_tpl.h"
#include "kernels/model_tpl.h"
#include "kernels/product_tpl.h"
#include "kernels/responsibilities_tpl.h"
#include "kernels/sums_tpl.h"

static size_t scratch_bytes(const fg_shape *shape) {
    block unused;
    real base;
    return block_in(shape, plan_for(shape), &base, &unused);
}

static size_t score_scratch_bytes(const fg_shape *shape, int64_t n_rows) {
    block unused;
    real base;
    return block_in(shape, plan_for_scores(shape, n_rows), &base, &unused);
}

/* A row of weight zero must not change the sums, whatever values it has. It is moved to the first
 * shift, because a distance beyond the range of the type would give NaN even when multiplied by
 * zero. */
static void move_weightless(const fg_model *model, block *b, int64_t rows, int64_t padded) {
    const real *to = model->shift;
    for (int64_t n = 0; n < padded && !fg_parallel_poll_piece(n, b->p.d, b->monitor); n++) {
        if (b->weights[n] > 0)
            continue;
        for (int64_t i = 0; i < b->p.d; i++)
            b->samples[i * b->p.stride + n] = to[i];
        if (b->p.scatter == RANK_UPDATES && n < rows)
            memcpy(b->rows + n * b->p.row_length, to, (size_t)b->p.d * sizeof(real));
    }
}

static void accumulate(const fg_model *model, const fg_part *parts, int64_t begin, int64_t end,
                       uint64_t seed, fg_sums sums, void *scratch, fg_monitor *monitor,
                       fg_statistics *out_statistics) {
    block b;
    block_in(&model->shape, plan_for(&model->shape), scratch, &b);
    b.monitor = monitor;
    reset_sums(&b);
    int64_t since_flush = 0;
    fg_part together;
    together.data.x = (const char *)scratch + ALIGNED(scratch_bytes(&model->shape));
    for (int64_t n = begin; n < end; n += b.p.rows) {
        const int64_t rows = at_most(end - n, b.p.rows);
        const fg_part *part = find_rows(&parts, n, rows, &together, &b);
        const int64_t padded =
            load_block(&part->data, n - part->begin, rows, model->weight_scale, &b);
        if (b.weighted)
            move_weightless(model, &b, rows, padded);
        log_densities(model, &b, padded);
        if (b.stopped)
            return;
        double log_likelihood = 0;
        if (model->assignment == FG_SOFT)
            log_likelihood = normalise_and_sum(model->sqrt_responsibilities, &b, padded);
        else if (model->assignment == FG_NEAREST)
            choose_nearest(&b, padded);
        else
            choose_random(&b, padded, n, seed);
        if (interrupted(&b, padded * b.p.k_count))
            return;
        if (sums != FG_LIKELIHOOD)
            add_block(model, &b, padded, sums);
        if (b.stopped)
            return;
        out_statistics->log_likelihood += log_likelihood * model->sums_scale + b.poison;
        out_statistics->weight_sum +=
            (double)vec_sum(rows_sum(b.weights, padded)) * model->sums_scale;
        since_flush += b.p.rows;
        if (since_flush >= FLUSH_ROWS && n + b.p.rows < end) {
            flush_sums(model, &b, sums, out_statistics);
            reset_sums(&b);
            since_flush = 0;
        }
    }
    flush_sums(model, &b, sums, out_statistics);
    out_statistics->n_rows += end - begin;
}

/* Writes count values to out, from element at on, in the type of the data. */
static void write_values(const fg_data *data, const real *values, int64_t stride, int64_t count,
                         int64_t at, void *out) {
    for (int64_t i = 0; i < count; i++)
        if (data->real_type == FG_FLOAT32)
            ((float *)out)[at + i] = (float)values[i * stride];
        else
            ((double *)out)[at + i] = (double)values[i * stride];
}

static int score(const fg_model *model, const fg_data *data, int64_t begin, int64_t end,
                 fg_output output, void *scratch, fg_monitor *monitor, void *out) {
    block b;
    block_in(&model->shape, plan_for_scores(&model->shape, end - begin), scratch, &b);
    b.monitor = monitor;
    double poison = 0;
    const int64_t k_count = b.p.k_count;
    for (int64_t n = begin; n < end; n += b.p.rows) {
        const int64_t rows = at_most(end - n, b.p.rows);
        const int64_t padded = load_block(data, n, rows, 1, &b);
        b.one_vector = rows <= FG_LANES;
        poison += b.poison;
        log_densities(model, &b, padded);
        if (b.stopped)
            return 0;
        if (output == FG_OUTPUT_LABELS) {
            choose_best(&b, padded);
            for (int64_t i = 0; i < rows; i++)
                ((int64_t *)out)[n + i] = (int64_t)b.best[i];
            continue;
        }
        normalise(&b, padded);
        if (output == FG_OUTPUT_LOG_LIKELIHOOD)
            write_values(data, b.log_likelihood, 1, rows, n, out);
        else
            for (int64_t i = 0; i < rows; i++)
                write_values(data, b.responsibilities + i, b.p.stride, k_count, (n + i) * k_count,
                             out);
    }
    return !(poison == 0);
}

static void exp_log(const void *x, int64_t n, int is_log, void *out) {
    real lanes[FG_LANES];
    for (int64_t i = 0; i < n; i++) {
        for (int l = 0; l < FG_LANES; l++)
            lanes[l] = ((const real *)x)[i];
        const vec v = vec_load(lanes);
        vec_store(lanes, is_log ? vec_log(v) : vec_exp(v));
        ((real *)out)[i] = lanes[FG_LANES - 1];
    }
}

#define JOIN_(a, b, c) a##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define NAME_(x) #x
#define NAME(x) NAME_(x)
extern const fg_kernels JOIN(fg_kernels_, FG_ISA, FG_REAL_NAME);
const fg_kernels JOIN(fg_kernels_, FG_ISA, FG_REAL_NAME) = {
    .isa = NAME(FG_ISA),
    .rows_multiple = ROWS_MULTIPLE,
    .lanes = FG_LANES,
    .model_bytes = model_bytes,
    .prepare = prepare,
    .scratch_bytes = scratch_bytes,
    .score_scratch_bytes = score_scratch_bytes,
    .accumulate = accumulate,
    .score = score,
    .exp_log = exp_log,
    .tile_rows = FG_OUTER_ROWS,
    .tile_columns = FG_OUTER_VECTORS * FG_LANES,
    .multiply_tile = multiply_tile,
};
