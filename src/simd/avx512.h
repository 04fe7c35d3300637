/* The vector vocabulary for AVX-512 (F, DQ, BW, VL). */
#include <immintrin.h>

#define FG_GROUP 4 /* 4 x 4 accumulators, and room for operands, in 32 registers */
#ifdef FG_REAL_f64
#define FG_LANES 8
#define FG_OP(name) _mm512_##name##_pd
typedef __m512d vec;
typedef __mmask8 mask;
static inline vec vec_round(vec v) { return _mm512_roundscale_pd(v, 8); }
static inline mask vec_less(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
static inline vec vec_exp2i(vec n) { return _mm512_scalef_pd(_mm512_set1_pd(1.0), n); }
static inline vec vec_mantissa(vec v) {
    return _mm512_getmant_pd(v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
#else
#define FG_LANES 16
#define FG_OP(name) _mm512_##name##_ps
typedef __m512 vec;
typedef __mmask16 mask;
static inline vec vec_round(vec v) { return _mm512_roundscale_ps(v, 8); }
static inline mask vec_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vec vec_exp2i(vec n) { return _mm512_scalef_ps(_mm512_set1_ps(1.0f), n); }
static inline vec vec_mantissa(vec v) {
    return _mm512_getmant_ps(v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
#endif
static inline vec vec_load(const real *p) { return FG_OP(load)(p); }
static inline void vec_store(real *p, vec v) { FG_OP(store)(p, v); }
static inline vec vec_set(real x) { return FG_OP(set1)(x); }
static inline vec vec_add(vec a, vec b) { return FG_OP(add)(a, b); }
static inline vec vec_sub(vec a, vec b) { return FG_OP(sub)(a, b); }
static inline vec vec_mul(vec a, vec b) { return FG_OP(mul)(a, b); }
static inline vec vec_div(vec a, vec b) { return FG_OP(div)(a, b); }
static inline vec vec_fma(vec a, vec b, vec c) { return FG_OP(fmadd)(a, b, c); }
static inline vec vec_max(vec a, vec b) { return FG_OP(max)(a, b); }
static inline vec vec_min(vec a, vec b) { return FG_OP(min)(a, b); }
static inline vec vec_select(mask m, vec a, vec b) { return FG_OP(mask_blend)(m, b, a); }
static inline int mask_any(mask m) { return m != 0; }
static inline real vec_sum(vec v) { return FG_OP(reduce_add)(v); }
static inline vec vec_exponent(vec v) { return FG_OP(getexp)(v); }
