/* exp and log in the vector vocabulary, for the whole range; NaN in gives NaN out, and the error is
 * below 3 units in the last place (tests/c/test_math.c). */
#include <math.h>

/* p(x), with the highest power first. */
static inline vec vec_polynomial(const real *c, const int n, vec x) {
    vec p = vec_set(c[0]);
    FG_EACH_FROM(i, 1, n)
        p = vec_fma(p, x, vec_set(c[i]));
    return p;
}

/* exp(x) = 2^n exp(r) with |r| <= ln2 / 2. The polynomial has the minimax relative error (Remez):
 * 3e-18 in double, 2e-9 in float. */
static inline vec vec_exp(vec x) {
#ifdef FG_REAL_f64
    static const real c[] = {0x1.ad661bba42f09p-26,
                             0x1.28b31c3ffe609p-22,
                             0x1.71df45343d1cap-19,
                             0x1.a01992c5c0808p-16,
                             0x1.a01a011044a25p-13,
                             0x1.6c16c187853c5p-10,
                             0x1.1111111130e33p-7,
                             0x1.555555554f35cp-5,
                             0x1.55555555554a2p-3,
                             0x1.0000000000010p-1,
                             1.0,
                             1.0};
    const real low = -750, high = 712, ln2_high = 0x1.62e42fefa3800p-1,
               ln2_low = 0x1.ef35793c76730p-45;
#else
    static const real c[] = {0x1.6ab96ep-10f,
                             0x1.126d1ep-7f,
                             0x1.55589ap-5f,
                             0x1.55540ap-3f,
                             0x1.fffffap-2f,
                             1.0f,
                             1.0f};
    const real low = -105, high = 90, ln2_high = 0x1.62e4p-1f, ln2_low = 0x1.7f7d1cp-20f;
#endif
    /* The constant comes first: if one operand is NaN, min and max return the second one. */
    x = vec_min(vec_set(high), vec_max(vec_set(low), x));
    const vec n = vec_round(vec_mul(x, vec_set((real)1.4426950408889634)));
    vec r = vec_fma(n, vec_set(-ln2_high), x);
    r = vec_fma(n, vec_set(-ln2_low), r);
    return vec_scale(vec_polynomial(c, sizeof c / sizeof *c, r), n);
}

/* log(m 2^e) = e ln2 + 2 atanh((m - 1) / (m + 1)), with m in [sqrt(1/2), sqrt(2)). */
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
    const mask tiny = vec_less(x, vec_set(smallest));
    const vec normal = vec_select(tiny, vec_mul(x, vec_set(up)), x);
    vec e = vec_sub(vec_exponent(normal), vec_select(tiny, vec_set(up_log2), zero));
    vec m = vec_mantissa(normal);
    const mask large = vec_less(vec_set((real)1.4142135623730951), m);
    m = vec_select(large, vec_mul(m, vec_set((real)0.5)), m);
    e = vec_select(large, vec_add(e, one), e);
    const vec f = vec_sub(m, one), s = vec_div(f, vec_add(m, one)), z = vec_mul(s, s);
    const vec p = vec_mul(vec_polynomial(c, sizeof c / sizeof *c, z), z);
    /* 2 s = f - s f keeps the precision near x = 1. */
    const vec tail = vec_fma(p, s, vec_fma(e, vec_set(ln2_low), vec_sub(zero, vec_mul(s, f))));
    vec y = vec_fma(e, vec_set(ln2_high), vec_add(f, tail));
    y = vec_select(vec_less(x, infinity), y, x); /* infinity and NaN are returned unchanged */
    y = vec_select(vec_less(x, vec_set(least)), vec_set((real)-INFINITY), y);
    return vec_select(vec_less(x, zero), vec_set((real)NAN), y);
}
