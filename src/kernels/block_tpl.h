/* A block of rows: its size, its working memory, and how it is loaded.
 *
 * Samples are stored transposed: [feature][row], so vector lanes run over samples. Sums over
 * components and features are then lane-wise, and no dimension is too small for a vector. Large
 * scatter matrices are the exception: there the lanes run over features, so the block also stores
 * its samples row by row. */

#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline)) /* a large body, whose registers are its own */
#define GROUP_ROWS (FG_GROUP * FG_LANES)          /* rows that are processed at the same time */
#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)
#define ROUND_UP(n, m) (((n) + (m) - 1) / (m) * (m))
static inline int64_t at_most(int64_t n, int64_t limit) { return n < limit ? n : limit; }

enum {
    ROWS_MULTIPLE = 128, /* rows per task are a multiple of it, for every instruction set */
    SMALL_FEATURES = 8,  /* up to this d a component fits into registers; d is a constant */
    TILED_FEATURES = 128 / sizeof(real), /* up to this d the scatter's lanes run over samples */
    PANEL = 4,                           /* columns of U that multiply a group of rows at once */
    SHIFT_REGISTERS = FG_REGISTERS / 4,  /* for a shift, if lanes run over features */
    CACHE_BYTES = 32768,                 /* of the L1 cache, for one block or buffer */
    LANE_SUMS_BYTES = 512 << 10, /* sums are kept by lane if they fit into this much L2 cache */
    SPAN = 1024,                 /* components between two polls, for one group of rows */
    STRIP = 4096 /* features between two polls, for one block; a multiple of the lanes */
};

_Static_assert(ROWS_MULTIPLE % GROUP_ROWS == 0, "tasks are whole groups of rows");

/* float sums are added to the double sums after this many rows. */
#define FLUSH_ROWS (sizeof(real) == 4 ? 2048 : 1 << 30)

/* How matrices of second moments are computed. */
typedef enum {
    NO_MATRIX,    /* diag, spherical: one sum per feature or component */
    IN_REGISTERS, /* d up to SMALL_FEATURES */
    IN_TILES,     /* z z^T, z = sqrt(g) (x - shift); lanes over samples */
    RANK_UPDATES  /* the same; lanes over features */
} scatter_method;

/* Sizes that follow from the shape. Sums are stored in slots: N_k and d first moments per
 * component, then the second moments, unless these are matrices of rank updates. */
typedef struct {
    int64_t k_count, d, rows;
    int64_t stride; /* elements from one feature or component to the next */
    scatter_method scatter;
    int64_t n_matrices;
    int64_t row_length;  /* rank updates: padded length of a row of samples */
    int64_t update_rows; /* rank updates: rows of the update buffer */
    int64_t moment_slot, n_slots;
    int lane_sums;
} plan;

static plan plan_for(const fg_shape *shape) {
    const int64_t k = shape->n_components, d = shape->n_features;
    plan p = {.k_count = k, .d = d};
    p.n_matrices = shape->layout == FG_FULL ? k : shape->layout == FG_TIED ? 1 : 0;
    p.scatter = p.n_matrices == 0     ? NO_MATRIX
                : d <= SMALL_FEATURES ? IN_REGISTERS
                : d <= TILED_FEATURES ? IN_TILES
                                      : RANK_UPDATES;
    p.row_length = ROUND_UP(d, FG_LANES);
    const int64_t fit = CACHE_BYTES / ((int64_t)sizeof(real) * p.row_length);
    p.update_rows = fit < 32 ? 32 : fit;
    const int64_t row_bytes = (int64_t)sizeof(real) * (d + k);
    const int64_t rows = CACHE_BYTES / row_bytes / GROUP_ROWS * GROUP_ROWS;
    const int64_t least = ROUND_UP(p.scatter >= IN_TILES ? 128 : 256, GROUP_ROWS);
    p.rows = rows < least ? least : rows > FG_BLOCK_ROWS ? FG_BLOCK_ROWS : rows;
    /* One extra cache line: with a power of two, all features would fall into a few cache sets. */
    p.stride = p.rows + 64 / (int64_t)sizeof(real);
    p.moment_slot = k * (d + 1);
    p.n_slots = p.moment_slot;
    if (p.scatter != RANK_UPDATES)
        p.n_slots += (int64_t)fg_moment_count(shape);
    p.lane_sums = p.n_slots * FG_LANES * (int64_t)sizeof(real) <= LANE_SUMS_BYTES;
    return p;
}

/* The plan for scoring at most n_rows rows at a time, without sums. */
static plan plan_for_scores(const fg_shape *shape, int64_t n_rows) {
    plan p = plan_for(shape);
    p.rows = at_most(p.rows, ROUND_UP(n_rows, GROUP_ROWS));
    p.stride = p.rows + 64 / (int64_t)sizeof(real);
    p.scatter = NO_MATRIX;
    p.n_slots = 0;
    return p;
}

/* The working memory of one thread, divided from one allocation. B: the rows of a block. */
typedef struct {
    plan p;
    int weighted;           /* rows may have weights other than one */
    int one_vector;         /* scores: all rows are in the first vector of their group */
    double poison;          /* 0, or NaN where a sample of the block is NaN or infinite */
    const char *next;       /* address of the next block's samples */
    int64_t next_bytes;     /* 0: not contiguous */
    real *samples;          /* d x B */
    real *centred;          /* d x B: tied, spherical: x - centre */
    real *difference;       /* full: d x group: x - shift; tied: d x B: whitened samples */
    real *scaled;           /* d x B: tiles: sqrt(g) (x - shift) */
    real *responsibilities; /* K x B; log-densities at first */
    real *distances;        /* K x B: spherical: squared distances to the means */
    real *weights, *log_likelihood, *best; /* B */
    real *sqrt_g;                          /* B: square roots of one component's responsibilities */
    real *rows;                            /* rank updates: B x row_length, the samples */
    real *update;                          /* rank updates: update_rows x row_length */
    real *matrices;                        /* rank updates: n_matrices x d x row_length, sums */
    real *first_moments;                   /* rank updates: K x row_length, sums */
    real *padded_shift;                    /* rank updates: row_length */
    real *lanes;                           /* n_slots x FG_LANES: sums by lane; NULL if too large */
    double *slots;                         /* n_slots: sums by block */
    fg_monitor *monitor;
    int64_t unpolled; /* multiply-adds since the last poll */
    int stopped;
} block;

/* Returns whether to stop. Polls after about a millisecond of work, so the clock costs little in
 * comparison. Small pieces are not counted; a group of many is counted as one large piece. */
static inline int interrupted(block *b, int64_t work) {
    if (work < 4096)
        return 0;
    b->unpolled += work;
    if (b->unpolled >= 4000000) {
        b->unpolled = 0;
        b->stopped = fg_parallel_poll(b->monitor);
    }
    return b->stopped;
}

/* The same, before component k of k_count, each with that much work. */
static inline int interrupted_at(block *b, int64_t k, int64_t k_count, int64_t work) {
    return k % SPAN == 0 && interrupted(b, at_most(k_count, SPAN) * work);
}

static size_t place(real **out, char *memory, size_t at, int64_t count) {
    *out = (real *)(memory + at);
    return at + ALIGNED((size_t)count * sizeof(real));
}

/* Divides the memory; returns its size. */
static size_t block_in(const fg_shape *shape, plan p, void *scratch, block *out) {
    const int64_t features = p.d * p.stride, components = p.k_count * p.stride;
    const int updates = p.scatter == RANK_UPDATES;
    int64_t centred = 0, difference = 0, distances = 0;
    switch (shape->layout) {
    case FG_FULL: difference = p.d > SMALL_FEATURES ? p.d * GROUP_ROWS : 0; break;
    case FG_TIED: centred = difference = features; break;
    case FG_DIAG: break;
    case FG_SPHERICAL: centred = features, distances = components;
    }
    char *m = scratch;
    size_t at = 0;
    out->p = p;
    out->monitor = NULL;
    out->unpolled = out->stopped = out->one_vector = 0;
    at = place(&out->samples, m, at, features);
    at = place(&out->centred, m, at, centred);
    at = place(&out->difference, m, at, difference);
    at = place(&out->scaled, m, at, p.scatter == IN_TILES ? features : 0);
    at = place(&out->responsibilities, m, at, components);
    at = place(&out->distances, m, at, distances);
    at = place(&out->weights, m, at, p.rows);
    at = place(&out->log_likelihood, m, at, p.rows);
    at = place(&out->best, m, at, p.rows);
    at = place(&out->sqrt_g, m, at, p.rows);
    at = place(&out->rows, m, at, updates ? p.rows * p.row_length : 0);
    /* the last rows of a tile read beyond the update buffer */
    at = place(&out->update, m, at, updates ? p.update_rows * p.row_length : 0);
    at = place(&out->matrices, m, at, updates ? p.n_matrices * p.d * p.row_length : 0);
    at = place(&out->padded_shift, m, at, updates ? p.row_length : 0);
    at = place(&out->first_moments, m, at, updates ? p.k_count * p.row_length : 0);
    at = place(&out->lanes, m, at, p.lane_sums ? p.n_slots * FG_LANES : 0);
    out->slots = (double *)(m + at);
    at += ALIGNED((size_t)p.n_slots * sizeof(double));
    if (!p.lane_sums)
        out->lanes = NULL;
    return at;
}

/* ---- loading ---- */

/* With d known at compile time, the compiler turns the strides into shuffles. */
INLINE void load_narrow(const int d, const real *restrict x, int64_t rows, int64_t stride,
                        int64_t to_stride, real *restrict to) {
    if (stride == d) /* a constant for the compiler, which then splits vectors */
        FG_EACH(i, d)
            for (int64_t n = 0; n < rows; n++)
                to[i * to_stride + n] = x[n * d + i];
    else
        for (int64_t n = 0; n < rows; n++)
            FG_EACH(i, d)
                to[i * to_stride + n] = x[n * stride + i];
}

/* Transposes squares of lanes x lanes in registers. */
static void load_wide(const real *x, int64_t rows, int64_t stride, int64_t d, int64_t to_stride,
                      real *out) {
    int64_t n = 0;
    for (; n + FG_LANES <= rows; n += FG_LANES)
        for (int64_t i = 0; i < d; i += FG_LANES) {
            const int64_t width = d - i < FG_LANES ? d - i : FG_LANES;
            const real *from = x + n * stride + i;
            real *to = out + i * to_stride + n;
            vec square[FG_LANES];
            if (width == FG_LANES) {
                FG_EACH(r, FG_LANES)
                    square[r] = vec_load(from + r * stride);
            } else {
                FG_EACH(r, FG_LANES)
                    square[r] = vec_load_part(from + r * stride, width);
            }
            vec_transpose(square);
            FG_EACH(c, FG_LANES)
                if (c < width)
                    vec_store(to + c * to_stride, square[c]);
        }
    for (; n < rows; n++)
        for (int64_t i = 0; i < d; i++)
            out[i * to_stride + n] = x[n * stride + i];
}

/* Loads samples whose features are adjacent in memory. */
static void load_rows(const real *x, int64_t rows, int64_t stride, const block *b) {
    const int64_t d = b->p.d, to_stride = b->p.stride;
    real *to = b->samples;
    switch (d) {
    case 2: load_narrow(2, x, rows, stride, to_stride, to); break;
    case 3: load_narrow(3, x, rows, stride, to_stride, to); break;
    case 4: load_narrow(4, x, rows, stride, to_stride, to); break;
    default:
        for (int64_t i = 0; i < d && !(i > 0 && fg_parallel_poll(b->monitor)); i += STRIP)
            load_wide(x + i, rows, stride, at_most(d - i, STRIP), to_stride, to + i * to_stride);
    }
}

static void load_columns(const real *x, int64_t rows, int64_t stride, int64_t feature_stride,
                         const block *b) {
    for (int64_t i = 0; i < b->p.d && !fg_parallel_poll_piece(i, rows, b->monitor); i++) {
        const real *from = x + i * feature_stride;
        real *to = b->samples + i * b->p.stride;
        if (stride == 1)
            memcpy(to, from, (size_t)rows * sizeof(real));
        else
            for (int64_t n = 0; n < rows; n++)
                to[n] = from[n * stride];
    }
}

/* Loads float data for double arithmetic; this is rare, so any stride is handled the same way. */
static void load_float(const fg_data *data, int64_t begin, int64_t rows, const block *b) {
    for (int64_t n = 0; n < rows && !fg_parallel_poll_piece(n, b->p.d, b->monitor); n++) {
        const float *x = (const float *)data->x + (begin + n) * data->row_stride;
        for (int64_t i = 0; i < b->p.d; i++)
            b->samples[i * b->p.stride + n] = (real)x[i * data->feature_stride];
    }
}

/* Returns NaN if a sample is NaN or infinite, otherwise 0. */
static double find_poison(const block *b, int64_t padded) {
    vec poison[2] = {vec_set(0), vec_set(0)};
    for (int64_t i = 0; i < b->p.d && !fg_parallel_poll_piece(i, padded, b->monitor); i++)
        for (int64_t n = 0; n < padded; n += 2 * FG_LANES)
            FG_EACH(v, 2) {
                const vec sample = vec_load(b->samples + i * b->p.stride + n + v * FG_LANES);
                poison[v] = vec_add(poison[v], vec_sub(sample, sample));
            }
    return (double)vec_sum(vec_add(poison[0], poison[1]));
}

/* Rank updates: stores the samples row by row. x: the data if they have that order, or NULL. */
static void copy_rows(const real *x, int64_t stride, int64_t rows, const block *b) {
    const int64_t d = b->p.d;
    for (int64_t n = 0; n < rows; n++) {
        real *to = b->rows + n * b->p.row_length;
        if (x)
            memcpy(to, x + n * stride, (size_t)d * sizeof(real));
        else
            for (int64_t i = 0; i < d; i++)
                to[i] = b->samples[i * b->p.stride + n];
        for (int64_t i = d; i < b->p.row_length; i++)
            to[i] = 0;
    }
}

static void load_weights(const fg_data *data, int64_t begin, int64_t rows, int64_t padded,
                         double weight_scale, block *b) {
    b->weighted = data->sample_weight != NULL;
    if (b->weighted)
        for (int64_t n = 0; n < rows; n++)
            b->weights[n] = (real)(data->sample_weight[begin + n] * weight_scale);
    else
        for (int64_t n = 0; n < rows; n++)
            b->weights[n] = 1;
    for (int64_t n = rows; n < padded; n++)
        b->weights[n] = 0;
}

/* Copies n rows, from row begin of the data, to row at of another array; values keep their type. */
static void copy_part(const fg_data *from, int64_t begin, int64_t n, int64_t at, const block *b,
                      fg_data *to) {
    const int64_t d = b->p.d, stride = from->row_stride, feature_stride = from->feature_stride;
    const size_t size = from->real_type == FG_FLOAT32 ? sizeof(float) : sizeof(double);
    const char *x = (const char *)from->x + (ptrdiff_t)(begin * stride) * (ptrdiff_t)size;
    char *out = (char *)to->x + (size_t)(at * d) * size;
    for (int64_t i = 0; i < n && !fg_parallel_poll_piece(i, d, b->monitor); i++)
        if (feature_stride == 1)
            memcpy(out + (size_t)(i * d) * size, x + (ptrdiff_t)(i * stride) * (ptrdiff_t)size,
                   (size_t)d * size);
        else
            for (int64_t j = 0; j < d; j++)
                memcpy(out + (size_t)(i * d + j) * size,
                       x + (ptrdiff_t)(i * stride + j * feature_stride) * (ptrdiff_t)size, size);
    if (to->sample_weight)
        memcpy((double *)to->sample_weight + at, from->sample_weight + begin,
               (size_t)n * sizeof(double));
}

/* The part that has rows [begin, begin + rows); if they lie in several parts, a copy of them in
 * together. Advances *part to the part with the first row. */
static const fg_part *find_rows(const fg_part **part, int64_t begin, int64_t rows,
                                fg_part *together, const block *b) {
    while (begin >= (*part)->begin + (*part)->data.n_rows)
        ++*part;
    const fg_part *p = *part;
    if (begin + rows <= p->begin + p->data.n_rows)
        return p;
    double *memory = (double *)together->data.x;
    fg_data *to = &together->data;
    *to = (fg_data){memory, p->data.real_type, rows, b->p.d, 1, NULL};
    if (p->data.sample_weight)
        to->sample_weight = memory + FG_BLOCK_ROWS * b->p.d;
    together->begin = begin;
    for (int64_t done = 0; done < rows; p++) {
        const int64_t first = begin + done - p->begin;
        const int64_t n = at_most(rows - done, p->data.n_rows - first);
        copy_part(&p->data, first, n, done, b, to);
        done += n;
    }
    return together;
}

/* Loads rows [begin, begin + rows). The last group is padded with copies of the first row, with
 * weight zero: finite, and without effect. Returns the padded number of rows. */
static int64_t load_block(const fg_data *data, int64_t begin, int64_t rows, double weight_scale,
                          block *b) {
    const int64_t d = b->p.d, padded = ROUND_UP(rows, GROUP_ROWS);
    const int64_t stride = data->row_stride, feature_stride = data->feature_stride;
    const real *x = (const real *)data->x + begin * stride;
    const int same_type = data->real_type == FG_REAL_TYPE;
    if (!same_type)
        load_float(data, begin, rows, b);
    else if (feature_stride == 1 && d > 1)
        load_rows(x, rows, stride, b);
    else
        load_columns(x, rows, stride, feature_stride, b);
    for (int64_t i = 0; i < d; i++)
        for (int64_t n = rows; n < padded; n++)
            b->samples[i * b->p.stride + n] = b->samples[i * b->p.stride];
    const int64_t after = at_most(data->n_rows - begin - rows, b->p.rows);
    b->next = (const char *)(x + rows * stride);
    b->next_bytes = feature_stride == 1 && stride == d ? after * d * (int64_t)sizeof(real) : 0;
    b->poison = find_poison(b, padded);
    if (b->p.scatter == RANK_UPDATES)
        copy_rows(same_type && feature_stride == 1 ? x : NULL, stride, rows, b);
    load_weights(data, begin, rows, padded, weight_scale, b);
    return padded;
}

/* Prefetches the share of the next block that corresponds to rows [n, n + rows) of all rows of this
 * one. */
INLINE void fetch_next(const block *b, int64_t n, int64_t rows, int64_t all) {
    const int64_t end = b->next_bytes * (n + rows) / all;
    for (int64_t at = b->next_bytes * n / all; at < end; at += 64)
        __builtin_prefetch(b->next + at, 0, 2);
}
