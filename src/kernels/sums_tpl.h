/* The sufficient statistics of a block: N_k, sum g (x - shift), sum g (x - shift)(x - shift)^T. */

/* Adds a vector of sums to a slot: by lane if the block has lane sums, which are reduced only at
 * the end of the task. */
INLINE void deposit(const block *b, int64_t slot, vec sum) {
    if (b->lanes) {
        real *at = b->lanes + slot * FG_LANES;
        vec_store(at, vec_add(vec_load(at), sum));
    } else
        b->slots[slot] += (double)vec_sum(sum);
}

static inline int64_t first_slot(const block *b, int64_t k) { return k * (b->p.d + 1); }

INLINE vec rows_sum_of(const int squared, const real *x, int64_t padded) {
    vec sum[FG_GROUP];
    FG_EACH(v, FG_GROUP)
        sum[v] = vec_set(0);
    for (int64_t n = 0; n < padded; n += GROUP_ROWS)
        FG_EACH(v, FG_GROUP) {
            const vec at = vec_load(x + n + v * FG_LANES);
            sum[v] = squared ? vec_fma(at, at, sum[v]) : vec_add(sum[v], at);
        }
    for (int v = 1; v < FG_GROUP; v++)
        sum[0] = vec_add(sum[0], sum[v]);
    return sum[0];
}

static vec rows_sum(const real *x, int64_t padded) { return rows_sum_of(0, x, padded); }
static vec squares_sum(const real *x, int64_t padded) { return rows_sum_of(1, x, padded); }

/* Adds the responsibilities of component k, given directly or as square roots; returns them. */
static vec add_weight(const int squared, const block *b, int64_t k, int64_t padded) {
    const real *g = b->responsibilities + k * b->p.stride;
    const vec sum = squared ? squares_sum(g, padded) : rows_sum(g, padded);
    deposit(b, first_slot(b, k), sum);
    return sum;
}

/* ---- second moments, lanes over samples ---- */

/* Rows i0 .. i1 - 1 of the triangle for small d, all in registers. sx < 0: no first moments. */
INLINE void small_rows(const int i0, const int i1, const block *b, const real *shift, const real *g,
                       int64_t padded, int64_t sx, int64_t sxx) {
    const int64_t stride = b->p.stride;
    vec first[SMALL_FEATURES], second[SMALL_FEATURES][SMALL_FEATURES];
    FG_EACH_FROM(i, i0, i1) {
        first[i] = vec_set(0);
        FG_EACH(j, i + 1)
            second[i][j] = vec_set(0);
    }
    for (int64_t n = 0; n < padded; n += FG_LANES) {
        const vec weight = vec_load(g + n);
        vec t[SMALL_FEATURES];
        FG_EACH(j, i1)
            t[j] = vec_sub(vec_load(b->samples + j * stride + n), vec_set(shift[j]));
        FG_EACH_FROM(i, i0, i1) {
            const vec w = vec_mul(weight, t[i]);
            first[i] = vec_add(first[i], w);
            FG_EACH(j, i + 1)
                second[i][j] = vec_fma(w, t[j], second[i][j]);
        }
    }
    FG_EACH_FROM(i, i0, i1) {
        if (sx >= 0)
            deposit(b, sx + i, first[i]);
        FG_EACH(j, i + 1)
            deposit(b, sxx + i * (i + 1) / 2 + j, second[i][j]);
    }
}

/* Takes as many rows at a time as there are registers for their sums. */
static void small_moments(const block *b, const real *shift, const real *g, int64_t padded,
                          int64_t sx, int64_t sxx) {
    const int64_t d = b->p.d;
#if FG_REGISTERS >= 32
    switch (d) {
    case 1: small_rows(0, 1, b, shift, g, padded, sx, sxx); return;
    case 2: small_rows(0, 2, b, shift, g, padded, sx, sxx); return;
    case 3: small_rows(0, 3, b, shift, g, padded, sx, sxx); return;
    default: small_rows(0, 4, b, shift, g, padded, sx, sxx);
    }
    if (d == 5)
        small_rows(4, 5, b, shift, g, padded, sx, sxx);
    if (d >= 6)
        small_rows(4, 6, b, shift, g, padded, sx, sxx);
    if (d == 7)
        small_rows(6, 7, b, shift, g, padded, sx, sxx);
    if (d == 8)
        small_rows(6, 8, b, shift, g, padded, sx, sxx);
#else
    switch (d) {
    case 1: small_rows(0, 1, b, shift, g, padded, sx, sxx); return;
    case 2: small_rows(0, 2, b, shift, g, padded, sx, sxx); return;
    default: small_rows(0, 3, b, shift, g, padded, sx, sxx);
    }
    if (d > 3)
        small_rows(3, 4, b, shift, g, padded, sx, sxx);
    if (d > 4)
        small_rows(4, 5, b, shift, g, padded, sx, sxx);
    if (d > 5)
        small_rows(5, 6, b, shift, g, padded, sx, sxx);
    if (d > 6)
        small_rows(6, 7, b, shift, g, padded, sx, sxx);
    if (d > 7)
        small_rows(7, 8, b, shift, g, padded, sx, sxx);
#endif
}

/* Sums left[i][n] right[j][n] over the block's rows n, for i < height and j < width, in tiles whose
 * sums stay in registers. The sums go to the slots from slot on: full rows, row_slots apart; or the
 * rows of the lower triangle, packed. */
typedef struct {
    const real *left, *right; /* rows with the stride of the block */
    int64_t height, width, slot, row_slots;
    int triangle;
} matrix_product;

INLINE void product_tile(const int height, const int width, const block *b, const matrix_product *p,
                         const real *left, const real *right, int64_t i0, int64_t j0,
                         int64_t padded) {
    const int64_t stride = b->p.stride;
    vec sum[FG_TILE][FG_TILE];
    FG_EACH(i, height)
        FG_EACH(j, width)
            sum[i][j] = vec_set(0);
    for (int64_t n = 0; n < padded; n += FG_LANES) {
        vec y[FG_TILE];
        FG_EACH(j, width)
            y[j] = vec_load(right + j * stride + n);
        FG_EACH(i, height) {
            const vec x = vec_load(left + i * stride + n);
            FG_EACH(j, width)
                sum[i][j] = vec_fma(x, y[j], sum[i][j]);
        }
    }
    FG_EACH(i, height) {
        const int64_t row = i0 + i;
        const int64_t slot = p->slot + (p->triangle ? row * (row + 1) / 2 : row * p->row_slots);
        FG_EACH(j, width)
            if (!p->triangle || j0 + j <= row)
                deposit(b, slot + j0 + j, sum[i][j]);
    }
}

INLINE void product_of_height(const int height, const block *b, const matrix_product *p,
                              const real *left, const real *right, int64_t i0, int64_t j0,
                              int64_t padded) {
    switch (at_most(p->width - j0, FG_TILE)) {
    case 1: product_tile(height, 1, b, p, left, right, i0, j0, padded); break;
    case 2: product_tile(height, 2, b, p, left, right, i0, j0, padded); break;
#if FG_TILE > 3
    case 3: product_tile(height, 3, b, p, left, right, i0, j0, padded); break;
#endif
    default: product_tile(height, FG_TILE, b, p, left, right, i0, j0, padded);
    }
}

/* The tile that begins at row i0 and column j0. */
INLINE void product_at(const block *b, const matrix_product *p, int64_t i0, int64_t j0,
                       int64_t padded) {
    /* here and not in every tile: otherwise gcc 12 for aarch64 advances more pointers than needed
     */
    const real *left = p->left + i0 * b->p.stride, *right = p->right + j0 * b->p.stride;
    switch (at_most(p->height - i0, FG_TILE)) {
    case 1: product_of_height(1, b, p, left, right, i0, j0, padded); break;
    case 2: product_of_height(2, b, p, left, right, i0, j0, padded); break;
#if FG_TILE > 3
    case 3: product_of_height(3, b, p, left, right, i0, j0, padded); break;
#endif
    default: product_of_height(FG_TILE, b, p, left, right, i0, j0, padded);
    }
}

/* z = sqrt(g) (x - shift): one buffer serves as both sides of the product. */
static void tiled_moments(const block *b, const real *shift, const real *sqrt_g, int64_t padded,
                          int64_t sx, int64_t sxx) {
    const int64_t d = b->p.d, stride = b->p.stride;
    const real *samples = b->samples;
    real *scaled = b->scaled;
    for (int64_t i = 0; i < d; i++) {
        const vec s = vec_set(shift[i]);
        vec first[2] = {vec_set(0), vec_set(0)};
        for (int64_t n = 0; n < padded; n += 2 * FG_LANES)
            FG_EACH(v, 2) {
                const int64_t at = i * stride + n + v * FG_LANES;
                const vec root = vec_load(sqrt_g + n + v * FG_LANES);
                const vec z = vec_mul(root, vec_sub(vec_load(samples + at), s));
                vec_store(scaled + at, z);
                first[v] = vec_fma(root, z, first[v]);
            }
        if (sx >= 0)
            deposit(b, sx + i, vec_add(first[0], first[1]));
    }
    const matrix_product scatter = {
        .left = scaled, .right = scaled, .height = d, .width = d, .slot = sxx, .triangle = 1};
    for (int64_t i0 = 0; i0 < d; i0 += FG_TILE)
        for (int64_t j0 = 0; j0 <= i0; j0 += FG_TILE)
            product_at(b, &scatter, i0, j0, padded);
}

/* ---- second moments, lanes over features ---- */

/* Adds one tile of sum z z^T, over the rows of the update buffer, to rows of a matrix. */
INLINE void update_tile(const int height, const int width, const real *left, const real *right,
                        int64_t length, int64_t count, real *out) {
    vec sum[FG_OUTER_ROWS][FG_OUTER_VECTORS];
    FG_EACH(i, height)
        FG_EACH(c, width)
            sum[i][c] = vec_load(out + i * length + c * FG_LANES);
    for (int64_t n = 0; n < count; n++, left += length, right += length) {
        vec z[FG_OUTER_VECTORS];
        FG_EACH(c, width)
            z[c] = vec_load(right + c * FG_LANES);
        FG_EACH(i, height) {
            const vec w = vec_set(left[i]);
            FG_EACH(c, width)
                sum[i][c] = vec_fma(w, z[c], sum[i][c]);
        }
    }
    FG_EACH(i, height)
        FG_EACH(c, width)
            vec_store(out + i * length + c * FG_LANES, sum[i][c]);
}

/* Updates height rows of a matrix, up to the vector that contains the diagonal. */
INLINE void update_rows(const int height, const real *left, const real *update, int64_t length,
                        int64_t count, int64_t vectors, real *out) {
    int64_t tiles = (vectors + FG_OUTER_VECTORS - 1) / FG_OUTER_VECTORS;
    for (int64_t c0 = 0; tiles > 0; tiles--) {
        const int64_t width = (vectors - c0 + tiles - 1) / tiles;
        const real *right = update + c0 * FG_LANES;
        real *to = out + c0 * FG_LANES;
        switch (width) {
        case 1: update_tile(height, 1, left, right, length, count, to); break;
        case 2: update_tile(height, 2, left, right, length, count, to); break;
        default: update_tile(height, 3, left, right, length, count, to);
        }
        c0 += width;
    }
}

/* matrix += sum z z^T over the rows of the update buffer, lower triangle only. */
static void rank_update(const block *b, int64_t count, real *matrix) {
    const int64_t d = b->p.d, length = b->p.row_length;
    const real *z = b->update;
    for (int64_t i0 = 0; i0 < d;) {
        const int64_t left = d - i0;
        const int64_t height = left >= FG_OUTER_ROWS ? FG_OUTER_ROWS
                               : left >= 4           ? 4
                               : left >= 2           ? 2
                                                     : 1;
        const int64_t vectors = (i0 + height + FG_LANES - 1) / FG_LANES;
        real *to = matrix + i0 * length;
        switch (height) {
        case 1: update_rows(1, z + i0, z, length, count, vectors, to); break;
        case 2: update_rows(2, z + i0, z, length, count, vectors, to); break;
#if FG_OUTER_ROWS > 4
        case 4: update_rows(4, z + i0, z, length, count, vectors, to); break;
#endif
        default: update_rows(FG_OUTER_ROWS, z + i0, z, length, count, vectors, to);
        }
        i0 += height;
    }
}

/* Responsibilities below this factor times the component's share of the rows cannot change its
 * sums. */
#define NEGLIGIBLE (sizeof(real) == 8 ? 0x1p-64 : 0x1p-36)

/* Copies the square roots to the block's buffer, with zero for rows that cannot change the
 * component's sums. */
static void drop_negligible(const block *b, const real *sqrt_g, real threshold, int64_t padded) {
    const vec least = vec_set(threshold), zero = vec_set(0);
    for (int64_t n = 0; n < padded; n += FG_LANES) {
        const vec root = vec_load(sqrt_g + n), g = vec_mul(root, root);
        const mask matters = vec_less(vec_mul(least, vec_load(b->weights + n)), g);
        vec_store(b->sqrt_g + n, vec_select(matters, root, zero));
    }
}

/* Collects z of the rows that matter in the update buffer; matrix += sum z z^T, first += sum
 * sqrt(g) z. registers: the number of vectors of shift and first moments kept in registers. */
INLINE void collect_rows(const int registers, const block *b, int64_t padded, real *matrix,
                         real *first) {
    const int64_t d = b->p.d, length = b->p.row_length, room = b->p.update_rows;
    const real *roots = b->sqrt_g, *row = b->rows, *shift = b->padded_shift;
    real *update = b->update, *z = update;
    vec s[SHIFT_REGISTERS], sum[SHIFT_REGISTERS];
    FG_EACH(i, registers) {
        s[i] = vec_load(shift + i * FG_LANES);
        sum[i] = vec_load(first + i * FG_LANES);
    }
    for (int64_t n = 0; n < padded; n++, row += length) {
        if (roots[n] == 0)
            continue;
        const vec root = vec_set(roots[n]);
        FG_EACH(i, registers) {
            const vec t = vec_sub(vec_load(row + i * FG_LANES), s[i]), scaled = vec_mul(root, t);
            vec_store(z + i * FG_LANES, scaled);
            sum[i] = vec_fma(root, scaled, sum[i]);
        }
        for (int64_t i = registers * FG_LANES; i < d; i += FG_LANES) {
            const vec scaled = vec_mul(root, vec_sub(vec_load(row + i), vec_load(shift + i)));
            vec_store(z + i, scaled);
            vec_store(first + i, vec_fma(root, scaled, vec_load(first + i)));
        }
        z += length;
        if (z == update + room * length) {
            rank_update(b, room, matrix);
            z = update;
        }
    }
    if (z > update)
        rank_update(b, (z - update) / length, matrix);
    FG_EACH(i, registers)
        vec_store(first + i * FG_LANES, sum[i]);
}

/* Moments of the rows, from the square roots of responsibilities in the block's buffer. */
static void outer_moments(const block *b, const real *shift, int64_t padded, real *matrix,
                          real *first) {
    const int64_t d = b->p.d, length = b->p.row_length;
    memcpy(b->padded_shift, shift, (size_t)d * sizeof(real));
    memset(b->padded_shift + d, 0, (size_t)(length - d) * sizeof(real));
    switch (at_most(length / FG_LANES, SHIFT_REGISTERS)) {
    case 1: collect_rows(1, b, padded, matrix, first); break;
    case 2: collect_rows(2, b, padded, matrix, first); break;
    case 3: collect_rows(3, b, padded, matrix, first); break;
#if FG_REGISTERS >= 32
    case 4: collect_rows(4, b, padded, matrix, first); break;
    case 5: collect_rows(5, b, padded, matrix, first); break;
    case 6: collect_rows(6, b, padded, matrix, first); break;
    case 7: collect_rows(7, b, padded, matrix, first); break;
#endif
    default: collect_rows(SHIFT_REGISTERS, b, padded, matrix, first);
    }
}

/* ---- moments about a component's own shift ---- */

/* The moments of one component; k < 0: the scatter of the data, without first moments. g:
 * responsibilities, or their square roots if is_sqrt. */
static void component_moments(const fg_model *model, const block *b, const real *shift,
                              const real *g, int is_sqrt, int64_t padded, int64_t k,
                              int64_t matrix) {
    const int64_t d = b->p.d;
    const int64_t sx = k < 0 ? -1 : first_slot(b, k) + 1;
    const int64_t sxx = b->p.moment_slot + matrix * (d * (d + 1) / 2);
    if (b->p.scatter == IN_REGISTERS) {
        small_moments(b, shift, g, padded, sx, sxx);
        return;
    }
    if (!is_sqrt) {
        for (int64_t n = 0; n < padded; n += FG_LANES)
            vec_store(b->sqrt_g + n, vec_sqrt(vec_load(g + n)));
        g = b->sqrt_g;
    }
    if (b->p.scatter == IN_TILES) {
        tiled_moments(b, shift, g, padded, sx, sxx);
        return;
    }
    if (model->leaves_out)
        drop_negligible(b, g, (real)(model->shares[k] * NEGLIGIBLE), padded);
    outer_moments(b, shift, padded, b->matrices + matrix * d * b->p.row_length,
                  b->first_moments + (k < 0 ? 0 : k) * b->p.row_length);
}

/* Full, tied: every component about its own shift. */
static void add_matrices(const fg_model *model, block *b, int64_t padded) {
    const int64_t d = b->p.d, last_matrix = b->p.n_matrices - 1;
    const int is_sqrt = model->sqrt_responsibilities;
    const int64_t work = padded * (16 + d * d / 2);
    for (int64_t k = 0; k < b->p.k_count && !interrupted(b, work); k++)
        if (vec_sum(add_weight(is_sqrt, b, k, padded)) > 0)
            component_moments(model, b, (const real *)model->shift + k * d,
                              b->responsibilities + k * b->p.stride, is_sqrt, padded, k,
                              at_most(k, last_matrix));
}

/* ---- moments, feature by feature ---- */

/* The number of features of a block that stay in the L1 cache while all components read them; a
 * multiple of every tile's width. */
static int64_t cached_features(int64_t padded) {
    const int64_t fit = CACHE_BYTES * 3 / 4 / (padded * (int64_t)sizeof(real)) / 12 * 12;
    return fit < 12 ? 12 : fit;
}

/* width features of one component, starting at i0. */
INLINE void feature_moments(const int width, int per_feature, const block *b, const real *shift,
                            const real *g, int64_t padded, int64_t i0, int64_t sx, int64_t sxx) {
    const int64_t stride = b->p.stride;
    const real *samples = b->samples + i0 * stride;
    vec first[4], second[4];
    FG_EACH(i, width)
        first[i] = second[i] = vec_set(0);
    for (int64_t n = 0; n < padded; n += FG_LANES) {
        const vec weight = vec_load(g + n);
        FG_EACH(i, width) {
            const vec t = vec_sub(vec_load(samples + i * stride + n), vec_set(shift[i0 + i]));
            const vec w = vec_mul(weight, t);
            first[i] = vec_add(first[i], w);
            second[i] = vec_fma(w, t, second[i]);
        }
    }
    FG_EACH(i, width) {
        deposit(b, sx + i0 + i, first[i]);
        deposit(b, per_feature ? sxx + i0 + i : sxx, second[i]);
    }
}

/* Features i_begin .. i_end - 1 of one component. Second moments: one per feature, or their sum. */
static void diagonal_moments(int per_feature, const fg_model *model, const block *b, int64_t padded,
                             int64_t k, int64_t i_begin, int64_t i_end) {
    const int64_t d = b->p.d;
    const real *shift = (const real *)model->shift + k * d;
    const real *g = b->responsibilities + k * b->p.stride;
    const int64_t sx = first_slot(b, k) + 1, sxx = b->p.moment_slot + (per_feature ? k * d : k);
    for (int64_t i0 = i_begin; i0 < i_end; i0 += 4)
        switch (i_end - i0) {
        case 1: feature_moments(1, per_feature, b, shift, g, padded, i0, sx, sxx); break;
        case 2: feature_moments(2, per_feature, b, shift, g, padded, i0, sx, sxx); break;
        case 3: feature_moments(3, per_feature, b, shift, g, padded, i0, sx, sxx); break;
        default: feature_moments(4, per_feature, b, shift, g, padded, i0, sx, sxx);
        }
}

/* Diag, spherical: every component about its own shift, a few features at a time. */
static void add_features(int per_feature, const fg_model *model, block *b, int64_t padded) {
    const int64_t d = b->p.d, k_count = b->p.k_count, chunk = cached_features(padded);
    for (int64_t k = 0; k < k_count && !interrupted(b, padded * 16); k++)
        add_weight(0, b, k, padded);
    for (int64_t c0 = 0; c0 < d; c0 += chunk)
        for (int64_t k = 0; k < k_count && !interrupted_at(b, k, k_count, padded * chunk); k++)
            diagonal_moments(per_feature, model, b, padded, k, c0, at_most(d, c0 + chunk));
}

/* ---- first moments of all components about the centre ---- */

/* sum g (x - centre) of all components, as a matrix product. */
static void centred_sums(block *b, int64_t padded) {
    const int64_t d = b->p.d, k_count = b->p.k_count;
    const matrix_product sums = {.left = b->responsibilities,
                                 .right = b->centred,
                                 .height = k_count,
                                 .width = d,
                                 .slot = 1,
                                 .row_slots = d + 1};
    const int64_t chunk = cached_features(padded), work = FG_TILE * at_most(chunk, d) * padded;
    for (int64_t c0 = 0; c0 < d; c0 += chunk)
        for (int64_t k0 = 0; k0 < k_count && !interrupted(b, work); k0 += FG_TILE)
            for (int64_t i0 = c0; i0 < at_most(d, c0 + chunk); i0 += FG_TILE)
                product_at(b, &sums, k0, i0, padded);
}

/* The scatter is that of the data, which a fit needs only once or twice. */
static void add_tied_centred(const fg_model *model, block *b, int64_t padded, fg_sums sums) {
    const int64_t work = padded * 16;
    for (int64_t k = 0; k < b->p.k_count && !interrupted(b, work); k++)
        add_weight(0, b, k, padded);
    centred_sums(b, padded);
    if (sums == FG_MOMENTS)
        component_moments(model, b, model->centre, b->weights, 0, padded, -1, 0);
}

/* sum g |x - mean|^2, from the block's squared distances. */
static void distance_moments(const block *b, int64_t padded, int64_t k) {
    const real *g = b->responsibilities + k * b->p.stride;
    const real *distance = b->distances + k * b->p.stride;
    vec sum[2] = {vec_set(0), vec_set(0)};
    for (int64_t n = 0; n < padded; n += 2 * FG_LANES)
        FG_EACH(v, 2) {
            const int64_t at = n + v * FG_LANES;
            sum[v] = vec_fma(vec_load(g + at), vec_load(distance + at), sum[v]);
        }
    deposit(b, b->p.moment_slot + k, vec_add(sum[0], sum[1]));
}

static void add_spherical_centred(block *b, int64_t padded) {
    const int64_t work = padded * 16;
    for (int64_t k = 0; k < b->p.k_count && !interrupted(b, work); k++)
        if (vec_sum(add_weight(0, b, k, padded)) > 0)
            distance_moments(b, padded, k);
    centred_sums(b, padded);
}

/* ---- by layout ---- */

static void add_block(const fg_model *model, block *b, int64_t padded, fg_sums sums) {
    const int centred = model->centred_sums;
    switch (model->shape.layout) {
    case FG_FULL: add_matrices(model, b, padded); break;
    case FG_TIED:
        if (centred)
            add_tied_centred(model, b, padded, sums);
        else
            add_matrices(model, b, padded);
        break;
    case FG_DIAG: add_features(1, model, b, padded); break;
    case FG_SPHERICAL:
        if (centred)
            add_spherical_centred(b, padded);
        else
            add_features(0, model, b, padded);
    }
}

/* ---- a task's sums ---- */

static void reset_sums(block *b) {
    const plan *p = &b->p;
    if (b->lanes)
        fg_clear(b->lanes, (size_t)(p->n_slots * FG_LANES) * sizeof(real), b->monitor);
    else
        fg_clear(b->slots, (size_t)p->n_slots * sizeof(double), b->monitor);
    if (p->scatter == RANK_UPDATES) {
        const size_t matrices = (size_t)(p->n_matrices * p->d * p->row_length);
        const size_t first_moments = (size_t)(p->k_count * p->row_length);
        fg_clear(b->matrices, matrices * sizeof(real), b->monitor);
        fg_clear(b->first_moments, first_moments * sizeof(real), b->monitor);
    }
}

/* Adds N_k and the first moments about the shift. */
static void flush_first_moments(const fg_model *model, const block *b, fg_statistics *out) {
    const plan *p = &b->p;
    const int64_t d = p->d;
    const double scale = model->sums_scale;
    for (int64_t k = 0; k < p->k_count; k++) {
        const double *first = b->slots + first_slot(b, k), nk = first[0] * scale;
        out->nk[k] += nk;
        for (int64_t i = 0; i < d; i++) {
            double sum = first[1 + i] * scale;
            if (model->centred_sums) /* convert from the centre to the shift */
                sum -= nk * (out->shift[k * d + i] - (double)((const real *)model->centre)[i]);
            else if (p->scatter == RANK_UPDATES)
                sum = (double)b->first_moments[k * p->row_length + i] * scale;
            out->sx[k * d + i] += sum;
        }
    }
}

static void flush_second_moments(const fg_model *model, const block *b, double *sxx) {
    const plan *p = &b->p;
    const double scale = model->sums_scale;
    if (p->scatter == RANK_UPDATES)
        for (int64_t row = 0;
             row < p->n_matrices * p->d && !fg_parallel_poll_piece(row, p->d, b->monitor); row++)
            for (int64_t j = 0; j <= row % p->d; j++)
                *sxx++ += (double)b->matrices[row * p->row_length + j] * scale;
    else
        for (int64_t slot = p->moment_slot; slot < p->n_slots; slot++)
            *sxx++ += b->slots[slot] * scale;
}

/* Adds the block's sums to the statistics, in double and in their layout. */
static void flush_sums(const fg_model *model, const block *b, fg_sums sums, fg_statistics *out) {
    if (b->lanes)
        for (int64_t slot = 0; slot < b->p.n_slots; slot++)
            b->slots[slot] = (double)vec_sum(vec_load(b->lanes + slot * FG_LANES));
    flush_first_moments(model, b, out);
    if (sums == FG_MOMENTS)
        flush_second_moments(model, b, out->sxx);
}
