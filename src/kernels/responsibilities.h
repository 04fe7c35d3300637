/* From log-densities to responsibilities: by the densities, at the nearest mean, or by chance. */

/* g_k = exp(l_k - log sum exp l), times the row's weight. Or, for a scatter that takes them, the
 * roots of that: half the exponent is cheaper than a square root for every component. */
INLINE void normalise_to(const int roots, block *b, int64_t padded) {
    const int64_t k_count = b->p.k_count, stride = b->p.stride;
    /* Never -inf, so that a row beyond the reach of every component gets zeros, not NaN. */
    const vec lowest = vec_set((real)(sizeof(real) == 8 ? -1e300 : -1e37));
    const vec least = vec_set((real)(sizeof(real) == 8 ? 1e-300 : 1e-37));
    for (int64_t n = 0; n < padded; n += GROUP_ROWS) {
        fetch_next(b, n, GROUP_ROWS, padded);
        real *r = b->responsibilities + n;
        vec top[FG_GROUP], sum[FG_GROUP];
        UNROLL for (int v = 0; v < FG_GROUP; v++) top[v] = lowest;
        for (int64_t k = 0; k < k_count; k++)
            UNROLL for (int v = 0; v < FG_GROUP; v++) top[v] =
                vec_max(vec_load(r + k * stride + v * FG_LANES), top[v]);
        UNROLL for (int v = 0; v < FG_GROUP; v++) sum[v] = vec_set(0);
        for (int64_t k = 0; k < k_count; k++)
            UNROLL for (int v = 0; v < FG_GROUP; v++) {
                real *at = r + k * stride + v * FG_LANES;
                const vec below = vec_sub(vec_load(at), top[v]);
                const vec e = vec_exp(roots ? vec_mul(below, vec_set((real)0.5)) : below);
                vec_store(at, e);
                sum[v] = roots ? vec_fma(e, e, sum[v]) : vec_add(sum[v], e);
            }
        UNROLL for (int v = 0; v < FG_GROUP; v++) {
            const int64_t at = n + v * FG_LANES;
            vec_store(b->log_likelihood + at, vec_add(top[v], vec_log(sum[v])));
            sum[v] = vec_div(vec_load(b->weights + at), vec_max(sum[v], least));
            sum[v] = roots ? vec_sqrt(sum[v]) : sum[v];
        }
        for (int64_t k = 0; k < k_count; k++)
            UNROLL for (int v = 0; v < FG_GROUP; v++) {
                real *at = r + k * stride + v * FG_LANES;
                vec_store(at, vec_mul(vec_load(at), sum[v]));
            }
    }
}

static void normalise(block *b, int64_t padded) { normalise_to(0, b, padded); }
static void normalise_to_roots(block *b, int64_t padded) { normalise_to(1, b, padded); }

/* best: each row's most probable component, the first one where several are equal;
 * log_likelihood: its log-density. */
static void choose_best(block *b, int64_t padded) {
    const int64_t stride = b->p.stride;
    for (int64_t n = 0; n < padded; n += GROUP_ROWS) {
        fetch_next(b, n, GROUP_ROWS, padded);
        const real *r = b->responsibilities + n;
        vec top[FG_GROUP], best[FG_GROUP];
        UNROLL for (int v = 0; v < FG_GROUP; v++) {
            top[v] = vec_load(r + v * FG_LANES);
            best[v] = vec_set(0);
        }
        for (int64_t k = 1; k < b->p.k_count; k++) {
            const vec index = vec_set((real)k);
            UNROLL for (int v = 0; v < FG_GROUP; v++) {
                const vec l = vec_load(r + k * stride + v * FG_LANES);
                best[v] = vec_select(vec_less(top[v], l), index, best[v]);
                top[v] = vec_max(l, top[v]);
            }
        }
        UNROLL for (int v = 0; v < FG_GROUP; v++) {
            vec_store(b->best + n + v * FG_LANES, best[v]);
            vec_store(b->log_likelihood + n + v * FG_LANES, top[v]);
        }
    }
}

static void choose_nearest(block *b, int64_t padded) {
    choose_best(b, padded);
    const vec half = vec_set((real)0.5), zero = vec_set(0);
    for (int64_t k = 0; k < b->p.k_count; k++) {
        const vec index = vec_set((real)k);
        for (int64_t n = 0; n < padded; n += FG_LANES) {
            const vec off = vec_sub(vec_load(b->best + n), index); /* whole numbers */
            vec g = vec_select(vec_less(off, half), vec_load(b->weights + n), zero);
            g = vec_select(vec_less(vec_sub(zero, half), off), g, zero);
            vec_store(b->responsibilities + k * b->p.stride + n, g);
        }
    }
}

/* Counter-based (splitmix64's finaliser), so that a row's draw depends on its number alone. */
static void choose_random(block *b, int64_t padded, int64_t begin, uint64_t seed) {
    const int64_t k_count = b->p.k_count, stride = b->p.stride;
    for (int64_t n = 0; n < padded; n++) {
        real sum = 0;
        for (int64_t k = 0; k < k_count; k++) {
            uint64_t z = seed + (uint64_t)((begin + n) * k_count + k + 1) * 0x9e3779b97f4a7c15u;
            z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
            z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
            const real u = (real)(((z ^ (z >> 31)) >> 40) + 1) * (real)0x1p-24;
            b->responsibilities[k * stride + n] = u;
            sum += u;
        }
        for (int64_t k = 0; k < k_count; k++)
            b->responsibilities[k * stride + n] *= b->weights[n] / sum;
        b->log_likelihood[n] = 0;
    }
}
