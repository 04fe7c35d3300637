/* From log-densities to responsibilities: soft, nearest mean, or random. */

/* The form of the log-likelihood: per row, or summed. If every row has weight one, the sum of
 * logarithms is the logarithm of the product, with one logarithm per lane. */
typedef enum { EACH_ROW, WEIGHTED_SUM, PLAIN_SUM } likelihood_form;

/* For one group of rows, computes top = max_k l_k of the log-densities l_k, sum = sum_k exp(l_k -
 * top), and replaces l_k by exp(l_k - top) or, with square_roots, by exp((l_k - top) / 2). */
INLINE void exponentials(const int square_roots, real *r, int64_t stride, int64_t k_count,
                         vec top[FG_GROUP], vec sum[FG_GROUP]) {
    /* Never -inf, so that a row too far from every component gets zeros, not NaN. */
    const vec lowest = vec_set((real)(sizeof(real) == 8 ? -1e300 : -1e37));
    const vec one = vec_set(1), zero = vec_set(0), scale = vec_set((real)(square_roots ? 0.5 : 1));
    FG_EACH(v, FG_GROUP)
        top[v] = lowest;
    for (int64_t k = 0; k < k_count; k++)
        FG_EACH(v, FG_GROUP)
            top[v] = vec_max(vec_load(r + k * stride + v * FG_LANES), top[v]);
    if (k_count == 2) { /* one of the two is exp(0) */
        FG_EACH(v, FG_GROUP) {
            real *at = r + v * FG_LANES;
            const vec a = vec_load(at), b = vec_load(at + stride);
            const vec below = vec_add(vec_sub(a, top[v]), vec_sub(b, top[v]));
            const vec lesser = vec_exp(square_roots ? vec_mul(below, scale) : below);
            const vec greater = vec_select(vec_less(lowest, top[v]), one, zero);
            const mask rising = vec_less(a, b);
            vec_store(at, vec_select(rising, lesser, greater));
            vec_store(at + stride, vec_select(rising, greater, lesser));
            sum[v] = vec_add(greater, square_roots ? vec_mul(lesser, lesser) : lesser);
        }
        return;
    }
    FG_EACH(v, FG_GROUP)
        sum[v] = zero;
    for (int64_t k = 0; k < k_count; k++)
        FG_EACH(v, FG_GROUP) {
            real *at = r + k * stride + v * FG_LANES;
            const vec below = vec_sub(vec_load(at), top[v]);
            const vec e = vec_exp(square_roots ? vec_mul(below, scale) : below);
            vec_store(at, e);
            sum[v] = square_roots ? vec_fma(e, e, sum[v]) : vec_add(sum[v], e);
        }
}

/* g_k = exp(l_k - log sum exp l), times the row's weight; or its square root, from which scatter
 * matrices are computed: halving the exponent is cheaper than a square root per component. Returns
 * the summed log-likelihood by lane. */
INLINE vec normalise_to(const int square_roots, const likelihood_form form, block *b,
                        int64_t padded) {
    const int64_t k_count = b->p.k_count, stride = b->p.stride;
    const vec least = vec_set((real)(sizeof(real) == 8 ? 1e-300 : 1e-37));
    const vec zero = vec_set(0), one = vec_set(1);
    vec total = zero, product[FG_GROUP];
    FG_EACH(v, FG_GROUP)
        product[v] = one;
    for (int64_t n = 0; n < padded && !interrupted(b, 8 * GROUP_ROWS * k_count); n += GROUP_ROWS) {
        fetch_next(b, n, GROUP_ROWS, padded);
        real *r = b->responsibilities + n;
        vec top[FG_GROUP], sum[FG_GROUP];
        exponentials(square_roots, r, stride, k_count, top, sum);
        FG_EACH(v, FG_GROUP) {
            const int64_t at = n + v * FG_LANES;
            const vec weight = vec_load(b->weights + at);
            /* a row of weight zero may be too far from every component */
            const mask counts = vec_less(zero, weight);
            if (form == PLAIN_SUM) {
                total = vec_add(total, vec_select(counts, top[v], zero));
                product[v] = vec_mul(product[v], vec_select(counts, sum[v], one));
            } else {
                const vec l = vec_add(top[v], vec_log(sum[v]));
                vec_store(b->log_likelihood + at, l);
                total = vec_add(total, vec_select(counts, vec_mul(weight, l), zero));
            }
            sum[v] = vec_div(weight, vec_max(sum[v], least));
            sum[v] = square_roots ? vec_sqrt(sum[v]) : sum[v];
        }
        for (int64_t k = 0; k < k_count; k++)
            FG_EACH(v, FG_GROUP) {
                real *at = r + k * stride + v * FG_LANES;
                vec_store(at, vec_mul(vec_load(at), sum[v]));
            }
    }
    if (form == PLAIN_SUM)
        FG_EACH(v, FG_GROUP)
            total = vec_add(total, vec_log(product[v]));
    return total;
}

static void normalise(block *b, int64_t padded) {
    /* Beyond the range of the type, infinities of both signs may have met: NaN is replaced by a
     * density of zero. A pass of a fit detects the NaN in its log-likelihood. */
    const vec none = vec_set((real)-INFINITY);
    for (int64_t k = 0; k < b->p.k_count; k++)
        for (int64_t n = 0; n < padded; n += FG_LANES) {
            real *at = b->responsibilities + k * b->p.stride + n;
            vec_store(at, vec_max(vec_load(at), none));
        }
    normalise_to(0, EACH_ROW, b, padded);
}

/* Returns whether the product over a lane's rows stays in range, given that a sum of densities
 * relative to the largest is at most K. */
static int product_is_safe(const plan *p) {
    const double factors = (double)p->rows / GROUP_ROWS;
    return factors * log2((double)p->k_count) < (sizeof(real) == 8 ? 1000 : 120);
}

/* The same for the sums of a pass; returns the log-likelihood of the block. */
static double normalise_and_sum(const int square_roots, block *b, int64_t padded) {
    const int plain = !b->weighted && product_is_safe(&b->p);
    vec total;
    if (square_roots)
        total = plain ? normalise_to(1, PLAIN_SUM, b, padded)
                      : normalise_to(1, WEIGHTED_SUM, b, padded);
    else
        total = plain ? normalise_to(0, PLAIN_SUM, b, padded)
                      : normalise_to(0, WEIGHTED_SUM, b, padded);
    return (double)vec_sum(total);
}

/* Writes the most probable component of each row to best, the first one in a tie. */
static void choose_best(block *b, int64_t padded) {
    const int64_t stride = b->p.stride, k_count = b->p.k_count;
    for (int64_t n = 0; n < padded && !interrupted(b, 8 * GROUP_ROWS * k_count); n += GROUP_ROWS) {
        fetch_next(b, n, GROUP_ROWS, padded);
        const real *r = b->responsibilities + n;
        vec top[FG_GROUP], best[FG_GROUP];
        FG_EACH(v, FG_GROUP) {
            top[v] = vec_load(r + v * FG_LANES);
            best[v] = vec_set(0);
        }
        for (int64_t k = 1; k < k_count; k++) {
            const vec index = vec_set((real)k);
            FG_EACH(v, FG_GROUP) {
                const vec l = vec_load(r + k * stride + v * FG_LANES);
                best[v] = vec_select(vec_less(top[v], l), index, best[v]);
                top[v] = vec_max(l, top[v]);
            }
        }
        FG_EACH(v, FG_GROUP)
            vec_store(b->best + n + v * FG_LANES, best[v]);
    }
}

static void choose_nearest(block *b, int64_t padded) {
    choose_best(b, padded);
    const vec half = vec_set((real)0.5), zero = vec_set(0);
    for (int64_t k = 0; k < b->p.k_count && !interrupted(b, 16 * padded); k++) {
        const vec index = vec_set((real)k);
        for (int64_t n = 0; n < padded; n += FG_LANES) {
            const vec off = vec_sub(vec_load(b->best + n), index); /* whole numbers */
            vec g = vec_select(vec_less(off, half), vec_load(b->weights + n), zero);
            g = vec_select(vec_less(vec_sub(zero, half), off), g, zero);
            vec_store(b->responsibilities + k * b->p.stride + n, g);
        }
    }
}

/* Random responsibilities; those of a row depend only on its index and the seed. */
static void choose_random(block *b, int64_t padded, int64_t begin, uint64_t seed) {
    const int64_t k_count = b->p.k_count, stride = b->p.stride;
    for (int64_t n = 0; n < padded && !interrupted(b, 16 * k_count); n++) {
        real sum = 0;
        for (int64_t k = 0; k < k_count; k++) {
            const uint64_t number = (uint64_t)(begin + n) * (uint64_t)k_count + (uint64_t)k;
            const real u = (real)((fg_random(seed, number) >> 40) + 1) * (real)0x1p-24;
            b->responsibilities[k * stride + n] = u;
            sum += u;
        }
        for (int64_t k = 0; k < k_count; k++)
            b->responsibilities[k * stride + n] *= b->weights[n] / sum;
    }
}
