/* A block of rows: how large it is, where its working memory lies, how it is loaded.
 *
 * Samples are kept transposed, [feature][row], so that vector lanes run over samples: sums over
 * components and features are then lane-wise, and no dimension is too small for a vector. Large
 * scatters are the exception: there the lanes run over features, and the rows are kept too. */

#define GROUP_ROWS (FG_GROUP * FG_LANES)
#define ALIGNED(n) (((size_t)(n) + 63) / 64 * 64)
#define INLINE static inline __attribute__((always_inline))
static inline int64_t at_most(int64_t n, int64_t limit) { return n < limit ? n : limit; }

#define ROUND_UP(n, m) (((n) + (m) - 1) / (m) * (m))

enum {
    SMALL_FEATURES = 8, /* up to here a component lives in registers, d known at compile time */
    TILED_FEATURES = 128 / sizeof(real), /* up to here the scatter's lanes run over samples */
    PANEL = 4,                           /* columns of U at a time against a group of rows */
    KEPT_VECTORS = FG_REGISTERS / 4, /* of a shift in registers, where lanes run over features */
    CACHE_BYTES = 32768,             /* of the first level, for one block or buffer */
    KEPT_LANES_BYTES = 512 << 10, /* lane-wise sums are kept while they fit into the second level */
    SPAN = 1024, /* components of a group of rows between two questions whether to stop */
    STRIP = 4096 /* features of a block likewise; a multiple of the lanes */
};

/* float sums go over to double after so many rows. */
#define FLUSH_ROWS (sizeof(real) == 4 ? 2048 : 1 << 30)

/* Sizes that follow from the shape. Sums have slots: per component N_k and d first moments, then
 * the second moments where they are summed over samples in lanes. */
typedef struct {
    int64_t k_count, d, rows;
    int64_t stride;     /* elements from one feature or component to the next */
    int roots;          /* scatter of z = sqrt(g) (x - shift) */
    int outer;          /* of these by rank updates, lanes over features */
    int64_t row_length; /* outer: elements of a row of samples, padded */
    int64_t update_rows;
    int64_t moment_slot, n_slots, n_matrices;
    int keep_lanes;
} plan;

static plan plan_for(const fg_shape *shape) {
    const int64_t k = shape->n_components, d = shape->n_features;
    const int matrix = shape->layout == FG_FULL || shape->layout == FG_TIED;
    plan p = {.k_count = k, .d = d};
    p.roots = matrix && d > SMALL_FEATURES;
    p.outer = matrix && d > TILED_FEATURES;
    p.row_length = ROUND_UP(d, FG_LANES);
    const int64_t fit = CACHE_BYTES / ((int64_t)sizeof(real) * p.row_length);
    p.update_rows = fit < 32 ? 32 : fit;
    const int64_t row_bytes = (int64_t)sizeof(real) * (d + k);
    const int64_t rows = CACHE_BYTES / row_bytes / GROUP_ROWS * GROUP_ROWS;
    const int64_t least =
        ROUND_UP(p.outer || (matrix && d > SMALL_FEATURES) ? 128 : 256, GROUP_ROWS);
    p.rows = rows < least ? least : rows > 512 ? 512 : rows;
    /* One cache line more: at a power of two every feature would fall into the same few sets. */
    p.stride = p.rows + 64 / (int64_t)sizeof(real);
    p.moment_slot = k * (d + 1);
    p.n_slots = p.moment_slot;
    if (p.outer)
        p.n_matrices = shape->layout == FG_FULL ? k : 1;
    else if (matrix)
        p.n_slots += (shape->layout == FG_FULL ? k : 1) * (d * (d + 1) / 2);
    else
        p.n_slots += shape->layout == FG_DIAG ? k * d : k;
    p.keep_lanes = p.n_slots * FG_LANES * (int64_t)sizeof(real) <= KEPT_LANES_BYTES;
    return p;
}

/* The working memory of one thread, cut from one allocation. */
typedef struct {
    plan p;
    int weighted;           /* rows may have other weights than one */
    double poison;          /* 0, or NaN where a sample of the block is NaN or infinite */
    const char *next;       /* the next block's samples, in memory, */
    int64_t next_bytes;     /* or none */
    real *samples;          /* d x B */
    real *centred;          /* d x B: samples less the centre; tied, spherical */
    real *difference;       /* d x B: x - shift; tied: the samples' image */
    real *scaled;           /* d x B: sqrt(g) (x - shift) */
    real *responsibilities; /* K x B, log-densities first */
    real *distances;        /* K x B: spherical */
    real *weights, *log_likelihood, *best, *roots; /* B */
    real *rows;                                    /* outer: B x row_length */
    real *update;                                  /* outer: update_rows x row_length */
    real *matrices;                                /* outer: n_matrices x d x row_length, sums */
    real *about;                                   /* outer: row_length, a shift */
    real *vectors;                                 /* outer: K x row_length, sums */
    real *lanes;                                   /* n_slots x FG_LANES: sums by lane, or */
    double *slots;                                 /* n_slots: sums by block */
    fg_monitor *monitor;
    int64_t unpolled; /* multiply-adds since the monitor was asked */
    int stopped;
} block;

/* Whether to stop, asked after a millisecond or so of work: the clock costs nothing beside it.
 * Small pieces are not counted; many of them make one large one. */
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

/* The same before component k of so many, each so much work. */
static inline int interrupted_at(block *b, int64_t k, int64_t k_count, int64_t work) {
    return k % SPAN == 0 && interrupted(b, at_most(k_count, SPAN) * work);
}

static size_t place(real **out, char *memory, size_t at, int64_t count) {
    *out = (real *)(memory + at);
    return at + ALIGNED((size_t)count * sizeof(real));
}

/* Cuts the memory up; returns its size. */
static size_t block_in(const fg_shape *shape, void *scratch, block *out) {
    const plan p = plan_for(shape);
    const int64_t features = p.d * p.stride, components = p.k_count * p.stride;
    const int tied = shape->layout == FG_TIED, spherical = shape->layout == FG_SPHERICAL;
    const int small = shape->layout == FG_DIAG || spherical || (!tied && p.d <= SMALL_FEATURES);
    char *m = scratch;
    size_t at = 0;
    out->p = p;
    out->monitor = NULL;
    out->unpolled = out->stopped = 0;
    at = place(&out->samples, m, at, features);
    at = place(&out->centred, m, at, tied || spherical ? features : 0);
    at = place(&out->difference, m, at, small ? 0 : tied ? features : p.d * GROUP_ROWS);
    at = place(&out->scaled, m, at, small || p.outer ? 0 : features);
    at = place(&out->responsibilities, m, at, components);
    at = place(&out->distances, m, at, spherical ? components : 0);
    at = place(&out->weights, m, at, p.rows);
    at = place(&out->log_likelihood, m, at, p.rows);
    at = place(&out->best, m, at, p.rows);
    at = place(&out->roots, m, at, p.rows);
    at = place(&out->rows, m, at, p.outer ? p.rows * p.row_length : 0);
    /* a tile's last rows read past the update's own */
    at = place(&out->update, m, at, p.outer ? p.update_rows * p.row_length : 0);
    at = place(&out->matrices, m, at, p.n_matrices * p.d * p.row_length);
    at = place(&out->about, m, at, p.outer ? p.row_length : 0);
    at = place(&out->vectors, m, at, p.outer ? p.k_count * p.row_length : 0);
    at = place(&out->lanes, m, at, p.keep_lanes ? p.n_slots * FG_LANES : 0);
    out->slots = (double *)(m + at);
    at += ALIGNED((size_t)p.n_slots * sizeof(double));
    if (!p.keep_lanes)
        out->lanes = NULL;
    return at;
}

/* d known at compile time lets the compiler turn the strides into shuffles. */
INLINE void load_narrow(const int d, const real *restrict x, int64_t rows, int64_t stride,
                        int64_t to_stride, real *restrict to) {
    if (stride == d) /* known to the compiler, which then takes vectors apart */
        FG_EACH(i, d)
            for (int64_t n = 0; n < rows; n++)
                to[i * to_stride + n] = x[n * d + i];
    else
        for (int64_t n = 0; n < rows; n++)
            FG_EACH(i, d)
                to[i * to_stride + n] = x[n * stride + i];
}

/* Squares of lanes by lanes, transposed in registers. */
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

/* float data for double arithmetic: rare, so any stride will do. */
static void load_float(const fg_data *data, int64_t begin, int64_t rows, block *b) {
    for (int64_t n = 0; n < rows && !fg_parallel_poll_piece(n, b->p.d, b->monitor); n++) {
        const float *x = (const float *)data->x + (begin + n) * data->row_stride;
        for (int64_t i = 0; i < b->p.d; i++)
            b->samples[i * b->p.stride + n] = (real)x[i * data->feature_stride];
    }
}

/* The next block is fetched while this one is worked on: part n of all. */
INLINE void fetch_next(const block *b, int64_t n, int64_t rows, int64_t all) {
    const int64_t end = b->next_bytes * (n + rows) / all;
    for (int64_t at = b->next_bytes * n / all; at < end; at += 64)
        __builtin_prefetch(b->next + at, 0, 2);
}

/* Loads rows [begin, begin + rows). The rows that fill up the last group repeat the first one,
 * with weight zero: finite, and without effect. Returns the number of rows, filled up. */
static int64_t load_block(const fg_data *data, int64_t begin, int64_t rows, double weight_scale,
                          block *b) {
    const int64_t d = b->p.d, to_stride = b->p.stride, padded = ROUND_UP(rows, GROUP_ROWS);
    const int64_t stride = data->row_stride, feature_stride = data->feature_stride;
    const real *x = (const real *)data->x + begin * stride;
    if (data->real_type != FG_REAL_TYPE)
        load_float(data, begin, rows, b);
    else if (d == 1 || feature_stride == 1)
        switch (d) {
        case 1:
            if (stride == 1)
                memcpy(b->samples, x, (size_t)rows * sizeof(real));
            else
                load_narrow(1, x, rows, stride, to_stride, b->samples);
            break;
        case 2: load_narrow(2, x, rows, stride, to_stride, b->samples); break;
        case 3: load_narrow(3, x, rows, stride, to_stride, b->samples); break;
        case 4: load_narrow(4, x, rows, stride, to_stride, b->samples); break;
        default:
            for (int64_t i = 0; i < d && !(i > 0 && fg_parallel_poll(b->monitor)); i += STRIP)
                load_wide(x + i, rows, stride, at_most(d - i, STRIP), to_stride,
                          b->samples + i * to_stride);
        }
    else
        for (int64_t i = 0; i < d && !fg_parallel_poll_piece(i, rows, b->monitor); i++) {
            const real *from = x + i * feature_stride;
            real *to = b->samples + i * to_stride;
            if (stride == 1)
                memcpy(to, from, (size_t)rows * sizeof(real));
            else
                for (int64_t n = 0; n < rows; n++)
                    to[n] = from[n * stride];
        }
    const int64_t after = at_most(data->n_rows - begin - rows, b->p.rows);
    b->next = (const char *)(x + rows * stride);
    b->next_bytes = feature_stride == 1 && stride == d ? after * d * (int64_t)sizeof(real) : 0;
    for (int64_t i = 0; i < d; i++)
        for (int64_t n = rows; n < padded; n++)
            b->samples[i * to_stride + n] = b->samples[i * to_stride];
    vec poison[2] = {vec_set(0), vec_set(0)};
    for (int64_t i = 0; i < d && !fg_parallel_poll_piece(i, padded, b->monitor); i++)
        for (int64_t n = 0; n < padded; n += 2 * FG_LANES)
            FG_EACH(v, 2) {
                const vec sample = vec_load(b->samples + i * to_stride + n + v * FG_LANES);
                poison[v] = vec_add(poison[v], vec_sub(sample, sample));
            }
    b->poison = (double)vec_sum(vec_add(poison[0], poison[1]));
    if (b->p.outer)
        for (int64_t n = 0; n < rows; n++) {
            real *to = b->rows + n * b->p.row_length;
            if (data->real_type == FG_REAL_TYPE && feature_stride == 1)
                memcpy(to, x + n * stride, (size_t)d * sizeof(real));
            else
                for (int64_t i = 0; i < d; i++)
                    to[i] = b->samples[i * to_stride + n];
            for (int64_t i = d; i < b->p.row_length; i++)
                to[i] = 0;
        }
    b->weighted = data->sample_weight != NULL;
    if (b->weighted)
        for (int64_t n = 0; n < rows; n++)
            b->weights[n] = (real)(data->sample_weight[begin + n] * weight_scale);
    else
        for (int64_t n = 0; n < rows; n++)
            b->weights[n] = 1;
    for (int64_t n = rows; n < padded; n++)
        b->weights[n] = 0;
    return padded;
}
