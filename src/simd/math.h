/* exp and log over the vector vocabulary; the whole range, NaN in gives NaN out. */

/* 2^n exp(r), |r| <= ln2 / 2, by Taylor; 2^n in two factors so that subnormals round once. */
static inline vec vec_exp(vec x) {
#ifdef FG_REAL_f64
    static const real c[] = {1.0 / 6227020800.0,
                             1.0 / 479001600.0,
                             1.0 / 39916800.0,
                             1.0 / 3628800.0,
                             1.0 / 362880.0,
                             1.0 / 40320.0,
                             1.0 / 5040.0,
                             1.0 / 720.0,
                             1.0 / 120.0,
                             1.0 / 24.0,
                             1.0 / 6.0,
                             0.5,
                             1.0,
                             1.0};
    const real low = -750, high = 712, ln2_high = 0x1.62e42fefa3800p-1,
               ln2_low = 0x1.ef35793c76730p-45;
#else
    static const real c[] = {1.0f / 5040, 1.0f / 720, 1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1, 1};
    const real low = -105, high = 90, ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
#endif
    const vec log2e = vec_set((real)1.4426950408889634);
    /* The constant comes first: min and max give their second operand, the NaN. */
    x = vec_min(vec_set(high), vec_max(vec_set(low), x));
    vec n = vec_round(vec_mul(x, log2e));
    vec r = vec_fma(n, vec_set(-ln2_high), x);
    r = vec_fma(n, vec_set(-ln2_low), r);
    vec p = vec_set(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof *c; i++)
        p = vec_fma(p, r, vec_set(c[i]));
    vec n_half = vec_round(vec_mul(n, vec_set((real)0.5)));
    return vec_mul(vec_mul(p, vec_exp2i(n_half)), vec_exp2i(vec_sub(n, n_half)));
}

/* log(m 2^e) = e ln2 + 2 atanh((m - 1) / (m + 1)), m in [sqrt(1/2), sqrt(2)). */
static inline vec vec_log(vec x) {
#ifdef FG_REAL_f64
    static const real c[] = {2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13,
                             2.0 / 11, 2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3};
    const real least = 0x1p-1074, smallest = 0x1p-1022, up = 0x1p54, up_log2 = 54,
               ln2_high = 0x1.62e42fefa3800p-1, ln2_low = 0x1.ef35793c76730p-45;
#else
    static const real c[] = {2.0f / 11, 2.0f / 9, 2.0f / 7, 2.0f / 5, 2.0f / 3};
    const real least = 0x1p-149f, smallest = 0x1p-126f, up = 0x1p25f, up_log2 = 25,
               ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
#endif
    const vec one = vec_set(1), zero = vec_set(0), infinity = vec_set((real)INFINITY);
    mask tiny = vec_less(x, vec_set(smallest));
    vec normal = vec_select(tiny, vec_mul(x, vec_set(up)), x);
    vec e = vec_sub(vec_exponent(normal), vec_select(tiny, vec_set(up_log2), zero));
    vec m = vec_mantissa(normal);
    mask large = vec_less(vec_set((real)1.4142135623730951), m);
    m = vec_select(large, vec_mul(m, vec_set((real)0.5)), m);
    e = vec_select(large, vec_add(e, one), e);
    vec f = vec_sub(m, one);
    vec s = vec_div(f, vec_add(m, one)), z = vec_mul(s, s);
    vec p = vec_set(c[0]);
    for (size_t i = 1; i < sizeof c / sizeof *c; i++)
        p = vec_fma(p, z, vec_set(c[i]));
    /* 2 s = f - s f keeps the digits near one. */
    vec tail =
        vec_fma(vec_mul(p, z), s, vec_fma(e, vec_set(ln2_low), vec_sub(zero, vec_mul(s, f))));
    vec y = vec_fma(e, vec_set(ln2_high), vec_add(f, tail));
    y = vec_select(vec_less(x, infinity), y, x); /* infinity and NaN pass */
    y = vec_select(vec_less(x, vec_set(least)), vec_set((real)-INFINITY), y);
    return vec_select(vec_less(x, zero), vec_set((real)NAN), y);
}
