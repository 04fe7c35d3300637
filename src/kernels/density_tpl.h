/* The log-densities of a block's samples under every component, computed from differences x - mean
 * and never from expanded squares: Bishop (2006), 2.43, with the precision as U U^T. */

/* ---- full ---- */

/* d is a constant: the differences of a component stay in registers, for two vectors of rows. */
INLINE void density_small(const int d, const fg_model *model, block *b, int64_t padded) {
    enum { PAIR = 2 };
    const int64_t stride = b->p.stride, k_count = b->p.k_count, work = padded * (d * d + 8);
    for (int64_t k = 0; k < k_count && !interrupted_at(b, k, k_count, work); k++) {
        const real *shift = (const real *)model->shift + k * d;
        const real *offset = (const real *)model->offset + k * d;
        const real *factor = (const real *)model->factor + k * (d * (d + 1) / 2);
        const vec log_scale = vec_set(((const real *)model->log_scale)[k]);
        real *out = b->responsibilities + k * stride;
        for (int64_t n = 0; n < padded; n += PAIR * FG_LANES) {
            vec t[SMALL_FEATURES][PAIR], distance[PAIR];
            FG_EACH(v, PAIR)
                distance[v] = vec_set(0);
            FG_EACH(i, d) {
                const vec s = vec_set(shift[i]);
                FG_EACH(v, PAIR)
                    t[i][v] = vec_sub(vec_load(b->samples + i * stride + n + v * FG_LANES), s);
            }
            FG_EACH(j, d) {
                vec y[PAIR];
                FG_EACH(v, PAIR)
                    y[v] = vec_set(offset[j]);
                FG_EACH(i, j + 1) {
                    const vec u = vec_set(factor[j * (j + 1) / 2 + i]);
                    FG_EACH(v, PAIR)
                        y[v] = vec_fma(t[i][v], u, y[v]);
                }
                FG_EACH(v, PAIR)
                    distance[v] = vec_fma(y[v], y[v], distance[v]);
            }
            FG_EACH(v, PAIR)
                vec_store(out + n + v * FG_LANES,
                          vec_fma(distance[v], vec_set((real)-0.5), log_scale));
        }
    }
}

/* The source of the differences x - shift of one group of rows. */
typedef struct {
    const real *samples, *shift;
    int64_t stride;   /* of the samples */
    real *difference; /* the stored differences */
    int64_t difference_stride;
} differences;

/* The difference of feature i: subtracted and stored for later panels, or read from there. */
INLINE void difference_at(const int group, const int subtract, const differences *from, int64_t i,
                          vec out[FG_GROUP]) {
    FG_EACH(v, group) {
        real *stored = from->difference + i * from->difference_stride + v * FG_LANES;
        if (subtract) {
            const vec x = vec_load(from->samples + i * from->stride + v * FG_LANES);
            out[v] = vec_sub(x, vec_set(from->shift[i]));
            vec_store(stored, out[v]);
        } else
            out[v] = vec_load(stored);
    }
}

/* One panel of y = difference U + offset for one group of rows, in registers. group: the number of
 * vectors, FG_GROUP, or 1 if all rows are in the first. The first panel needs all differences, so
 * it does the subtraction. Returns the next panel. */
INLINE const real *panel(const int group, const int width, const int subtract,
                         const differences *from, const real *u, const real *offset, int64_t j0,
                         vec y[PANEL][FG_GROUP]) {
    vec x[FG_GROUP];
    FG_EACH(j, width)
        FG_EACH(v, group)
            y[j][v] = vec_set(offset ? offset[j0 + j] : 0);
    for (int64_t i = 0; i < j0; i++, u += width) {
        difference_at(group, subtract, from, i, x);
        FG_EACH(j, width) {
            const vec factor = vec_set(u[j]);
            FG_EACH(v, group)
                y[j][v] = vec_fma(x[v], factor, y[j][v]);
        }
    }
    FG_EACH(i, width) {
        difference_at(group, subtract, from, j0 + i, x);
        FG_EACH_FROM(j, i, width) {
            const vec factor = vec_set(*u++);
            FG_EACH(v, group)
                y[j][v] = vec_fma(x[v], factor, y[j][v]);
        }
    }
    return u;
}

/* Adds a panel's share of the squared distance. Returns the next panel. */
INLINE const real *distance_panel(const int group, const int width, const int subtract,
                                  const differences *from, const real *u, const real *offset,
                                  int64_t j0, vec distance[FG_GROUP]) {
    vec y[PANEL][FG_GROUP];
    u = panel(group, width, subtract, from, u, offset, j0, y);
    FG_EACH(j, width)
        FG_EACH(v, group)
            distance[v] = vec_fma(y[j][v], y[j][v], distance[v]);
    return u;
}

/* |difference U + offset|^2 for one group of rows. */
INLINE void distance_panels(const int group, int64_t d, const differences *from, const real *u,
                            const real *offset, vec distance[FG_GROUP]) {
    int64_t j0 = (d - 1) / PANEL * PANEL;
    FG_EACH(v, group)
        distance[v] = vec_set(0);
    switch (d - j0) {
    case 1: u = distance_panel(group, 1, 1, from, u, offset, j0, distance); break;
    case 2: u = distance_panel(group, 2, 1, from, u, offset, j0, distance); break;
    case 3: u = distance_panel(group, 3, 1, from, u, offset, j0, distance); break;
    default: u = distance_panel(group, PANEL, 1, from, u, offset, j0, distance);
    }
    for (j0 -= PANEL; j0 >= 0; j0 -= PANEL)
        u = distance_panel(group, PANEL, 0, from, u, offset, j0, distance);
}

/* Any d, panel by panel. Vectors that are not computed get a copy of the first. */
INLINE void density_panels(const int group, const fg_model *model, block *b, int64_t padded) {
    const int64_t d = b->p.d, stride = b->p.stride, triangle = d * (d + 1) / 2;
    for (int64_t k = 0; k < b->p.k_count && !interrupted(b, padded * triangle); k++) {
        const real *shift = (const real *)model->shift + k * d;
        const real *offset = (const real *)model->offset + k * d;
        const real *factor = (const real *)model->factor + k * triangle;
        const vec log_scale = vec_set(((const real *)model->log_scale)[k]);
        real *out = b->responsibilities + k * stride;
        for (int64_t n = 0; n < padded; n += GROUP_ROWS) {
            const differences from = {b->samples + n, shift, stride, b->difference, GROUP_ROWS};
            vec distance[FG_GROUP];
            distance_panels(group, d, &from, factor, offset, distance);
            FG_EACH(v, FG_GROUP)
                vec_store(out + n + v * FG_LANES,
                          vec_fma(distance[v < group ? v : 0], vec_set((real)-0.5), log_scale));
        }
    }
}

NOINLINE void density_one_vector(const fg_model *model, block *b, int64_t padded) {
    density_panels(1, model, b, padded);
}

NOINLINE void density_large(const fg_model *model, block *b, int64_t padded) {
    density_panels(FG_GROUP, model, b, padded);
}

static void density_full(const fg_model *model, block *b, int64_t padded) {
    switch (b->p.d) {
    case 1: density_small(1, model, b, padded); break;
    case 2: density_small(2, model, b, padded); break;
    case 3: density_small(3, model, b, padded); break;
    case 4: density_small(4, model, b, padded); break;
    case 5: density_small(5, model, b, padded); break;
    case 6: density_small(6, model, b, padded); break;
    case 7: density_small(7, model, b, padded); break;
    case 8: density_small(8, model, b, padded); break;
    default:
        if (b->one_vector)
            density_one_vector(model, b, padded);
        else
            density_large(model, b, padded);
    }
}

/* ---- diag: distances scaled per feature ---- */

INLINE void diagonal_tile(const int k_width, const fg_model *model, const block *b, int64_t k0,
                          int64_t n) {
    const int64_t d = b->p.d, stride = b->p.stride;
    const real *shift = (const real *)model->shift + k0 * d;
    const real *factor = (const real *)model->factor + k0 * d;
    const real *offset = (const real *)model->offset + k0 * d;
    vec distance[2][FG_GROUP];
    FG_EACH(k, k_width)
        FG_EACH(v, FG_GROUP)
            distance[k][v] = vec_set(0);
    for (int64_t i = 0; i < d; i++) {
        vec x[FG_GROUP];
        FG_EACH(v, FG_GROUP)
            x[v] = vec_load(b->samples + i * stride + n + v * FG_LANES);
        FG_EACH(k, k_width) {
            const vec s = vec_set(shift[k * d + i]), f = vec_set(factor[k * d + i]),
                      o = vec_set(offset[k * d + i]);
            FG_EACH(v, FG_GROUP) {
                const vec y = vec_fma(vec_sub(x[v], s), f, o);
                distance[k][v] = vec_fma(y, y, distance[k][v]);
            }
        }
    }
    FG_EACH(k, k_width) {
        const vec log_scale = vec_set(((const real *)model->log_scale)[k0 + k]);
        FG_EACH(v, FG_GROUP)
            vec_store(b->responsibilities + (k0 + k) * stride + n + v * FG_LANES,
                      vec_fma(distance[k][v], vec_set((real)-0.5), log_scale));
    }
}

static void density_diagonal(const fg_model *model, block *b, int64_t padded) {
    const int64_t k_count = b->p.k_count, work = GROUP_ROWS * (b->p.d + 8);
    for (int64_t n = 0; n < padded && !b->stopped; n += GROUP_ROWS)
        for (int64_t k0 = 0; k0 < k_count && !interrupted_at(b, k0, k_count, work); k0 += 2)
            if (k0 + 2 <= k_count)
                diagonal_tile(2, model, b, k0, n);
            else
                diagonal_tile(1, model, b, k0, n);
}

/* ---- tied, spherical: Euclidean distances from points to centres ---- */

/* Up to four components for one group of points, which share the loads of the points.
 * mean_rounding: the parts of the centres lost to rounding, or NULL. out_distances: receives the
 * squared distances, or NULL. */
INLINE void distance_tile(const int k_width, const fg_model *model, const block *b,
                          const real *points, const real *centres, const real *mean_rounding,
                          real *out_distances, int64_t k0, int64_t n) {
    const int64_t d = b->p.d, stride = b->p.stride;
    vec distance[4][FG_GROUP];
    FG_EACH(k, k_width)
        FG_EACH(v, FG_GROUP)
            distance[k][v] = vec_set(0);
    for (int64_t i = 0; i < d; i++) {
        vec x[FG_GROUP];
        FG_EACH(v, FG_GROUP)
            x[v] = vec_load(points + i * stride + n + v * FG_LANES);
        FG_EACH(k, k_width) {
            const vec c = vec_set(centres[(k0 + k) * d + i]);
            FG_EACH(v, FG_GROUP) {
                vec t = vec_sub(x[v], c);
                if (mean_rounding)
                    t = vec_sub(t, vec_set(mean_rounding[(k0 + k) * d + i]));
                distance[k][v] = vec_fma(t, t, distance[k][v]);
            }
        }
    }
    FG_EACH(k, k_width) {
        const vec scale = vec_set(((const real *)model->scale)[k0 + k]);
        const vec log_scale = vec_set(((const real *)model->log_scale)[k0 + k]);
        FG_EACH(v, FG_GROUP) {
            const int64_t at = (k0 + k) * stride + n + v * FG_LANES;
            vec_store(b->responsibilities + at, vec_fma(distance[k][v], scale, log_scale));
            if (out_distances)
                vec_store(out_distances + at, distance[k][v]);
        }
    }
}

INLINE void density_distances(const fg_model *model, block *b, const real *points,
                              const real *centres, const real *rounding, real *out,
                              int64_t padded) {
    const int64_t k_count = b->p.k_count, work = GROUP_ROWS * (b->p.d + 8);
    for (int64_t n = 0; n < padded && !b->stopped; n += GROUP_ROWS)
        for (int64_t k0 = 0; k0 < k_count && !interrupted_at(b, k0, k_count, work); k0 += 4)
            switch (k_count - k0) {
            case 1: distance_tile(1, model, b, points, centres, rounding, out, k0, n); break;
            case 2: distance_tile(2, model, b, points, centres, rounding, out, k0, n); break;
            case 3: distance_tile(3, model, b, points, centres, rounding, out, k0, n); break;
            default: distance_tile(4, model, b, points, centres, rounding, out, k0, n);
            }
}

static void centre_samples(const fg_model *model, const block *b, int64_t padded) {
    for (int64_t i = 0; i < b->p.d && !fg_parallel_poll_piece(i, padded, b->monitor); i++) {
        const vec c = vec_set(((const real *)model->centre)[i]);
        const real *from = b->samples + i * b->p.stride;
        for (int64_t n = 0; n < padded; n += FG_LANES)
            vec_store(b->centred + i * b->p.stride + n, vec_sub(vec_load(from + n), c));
    }
}

/* Computes one panel of whitened samples for one group of rows. Returns the next panel. */
INLINE const real *whiten_panel(const int group, const int width, const differences *from,
                                const real *u, int64_t j0, int64_t stride, real *out) {
    vec y[PANEL][FG_GROUP];
    u = panel(group, width, 0, from, u, NULL, j0, y);
    FG_EACH(j, width)
        FG_EACH(v, FG_GROUP)
            vec_store(out + (j0 + j) * stride + v * FG_LANES, y[j][v < group ? v : 0]);
    return u;
}

INLINE void whiten_group(const int group, int64_t d, real *centred, const real *u, int64_t stride,
                         real *out) {
    const differences from = {.difference = centred, .difference_stride = stride};
    for (int64_t j0 = (d - 1) / PANEL * PANEL; j0 >= 0; j0 -= PANEL)
        switch (d - j0) {
        case 1: u = whiten_panel(group, 1, &from, u, j0, stride, out); break;
        case 2: u = whiten_panel(group, 2, &from, u, j0, stride, out); break;
        case 3: u = whiten_panel(group, 3, &from, u, j0, stride, out); break;
        default: u = whiten_panel(group, PANEL, &from, u, j0, stride, out);
        }
}

/* The same for small d, for which U is stored by columns. */
INLINE void whiten_small(int64_t d, const real *centred, const real *u, int64_t stride, real *out) {
    for (int64_t j = 0; j < d; j++) {
        vec y[FG_GROUP];
        FG_EACH(v, FG_GROUP)
            y[v] = vec_set(0);
        for (int64_t i = 0; i <= j; i++, u++)
            FG_EACH(v, FG_GROUP)
                y[v] = vec_fma(vec_load(centred + i * stride + v * FG_LANES), vec_set(*u), y[v]);
        FG_EACH(v, FG_GROUP)
            vec_store(out + j * stride + v * FG_LANES, y[v]);
    }
}

NOINLINE void whiten_one_vector(int64_t d, real *centred, const real *u, int64_t stride,
                                real *out) {
    whiten_group(1, d, centred, u, stride, out);
}

NOINLINE void whiten_large(int64_t d, real *centred, const real *u, int64_t stride, real *out) {
    whiten_group(FG_GROUP, d, centred, u, stride, out);
}

/* Computes the whitened samples (x - centre) U: one transform for all components. */
static void whiten_samples(const fg_model *model, block *b, int64_t padded) {
    const int64_t d = b->p.d, stride = b->p.stride;
    const real *u = model->factor;
    for (int64_t n = 0; n < padded && !interrupted(b, GROUP_ROWS * d * d / 2); n += GROUP_ROWS)
        if (d <= SMALL_FEATURES)
            whiten_small(d, b->centred + n, u, stride, b->difference + n);
        else if (b->one_vector)
            whiten_one_vector(d, b->centred + n, u, stride, b->difference + n);
        else
            whiten_large(d, b->centred + n, u, stride, b->difference + n);
}

static void density_tied(const fg_model *model, block *b, int64_t padded) {
    centre_samples(model, b, padded);
    whiten_samples(model, b, padded);
    density_distances(model, b, b->difference, model->whitened_means, NULL, NULL, padded);
}

static void density_spherical(const fg_model *model, block *b, int64_t padded) {
    const real *x = b->samples, *rounding = model->mean_rounding;
    centre_samples(model, b, padded);
    if (rounding)
        density_distances(model, b, x, model->shift, rounding, b->distances, padded);
    else
        density_distances(model, b, x, model->shift, NULL, b->distances, padded);
}

/* Writes the log-densities, including the log weights, to the block's responsibilities. */
static void log_densities(const fg_model *model, block *b, int64_t padded) {
    switch (model->shape.layout) {
    case FG_FULL: density_full(model, b, padded); break;
    case FG_TIED: density_tied(model, b, padded); break;
    case FG_DIAG: density_diagonal(model, b, padded); break;
    case FG_SPHERICAL: density_spherical(model, b, padded);
    }
}
