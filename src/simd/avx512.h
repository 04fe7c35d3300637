/* The vector vocabulary for AVX-512 (F, DQ, BW, VL): 32 registers. */
#include <immintrin.h>

#define FG_REGISTERS 32
#define FG_GROUP 4      /* sample vectors in flight: 4 x 4 accumulators and their operands */
#define FG_TILE 4       /* a scatter tile is FG_TILE x FG_TILE features */
#define FG_OUTER_ROWS 8 /* rows x vectors of a rank-update tile */
#define FG_OUTER_VECTORS 3

#ifdef FG_REAL_f64
#define FG_LANES 8
#define FG_OP(name) _mm512_##name##_pd
typedef __m512d vec;
typedef __mmask8 mask;
static inline vec vec_round(vec v) { return _mm512_roundscale_pd(v, 8); }
static inline mask vec_less(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
static inline vec vec_mantissa(vec v) {
    return _mm512_getmant_pd(v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
static inline void vec_transpose(vec *rows) {
    vec t[8];
    FG_EACH(i, 4) {
        t[2 * i] = _mm512_unpacklo_pd(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_pd(rows[2 * i], rows[2 * i + 1]);
    }
    vec u[8];
    FG_EACH(i, 2) {
        u[i] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0x88);
        u[i + 2] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0xdd);
        u[i + 4] = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0x88);
        u[i + 6] = _mm512_shuffle_f64x2(t[i + 4], t[i + 6], 0xdd);
    }
    FG_EACH(i, 4) {
        rows[i] = _mm512_shuffle_f64x2(u[i], u[i + 4], 0x88);
        rows[i + 4] = _mm512_shuffle_f64x2(u[i], u[i + 4], 0xdd);
    }
}
#else
#define FG_LANES 16
#define FG_OP(name) _mm512_##name##_ps
typedef __m512 vec;
typedef __mmask16 mask;
static inline vec vec_round(vec v) { return _mm512_roundscale_ps(v, 8); }
static inline mask vec_less(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vec vec_mantissa(vec v) {
    return _mm512_getmant_ps(v, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
static inline void vec_transpose(vec *rows) {
    vec t[16], u[16];
    FG_EACH(i, 8) {
        t[2 * i] = _mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    FG_EACH(i, 4) { /* u[4 i + c]: rows 4 i .. 4 i + 3 of columns c, c + 4, ... */
        u[4 * i] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm512_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm512_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    FG_EACH(c, 4) {
        t[c] = _mm512_shuffle_f32x4(u[c], u[c + 4], 0x88);
        t[c + 4] = _mm512_shuffle_f32x4(u[c], u[c + 4], 0xdd);
        t[c + 8] = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0x88);
        t[c + 12] = _mm512_shuffle_f32x4(u[c + 8], u[c + 12], 0xdd);
    }
    FG_EACH(c, 4) {
        rows[c] = _mm512_shuffle_f32x4(t[c], t[c + 8], 0x88);
        rows[c + 8] = _mm512_shuffle_f32x4(t[c], t[c + 8], 0xdd);
        rows[c + 4] = _mm512_shuffle_f32x4(t[c + 4], t[c + 12], 0x88);
        rows[c + 12] = _mm512_shuffle_f32x4(t[c + 4], t[c + 12], 0xdd);
    }
}
#endif
static inline vec vec_load(const real *p) { return FG_OP(loadu)(p); }
/* Loads the first n lanes and fills the others with zeros; reads no memory beyond them. */
static inline vec vec_load_part(const real *p, int64_t n) {
    return FG_OP(maskz_loadu)((mask)((1u << n) - 1), p);
}
static inline void vec_store(real *p, vec v) { FG_OP(storeu)(p, v); }
static inline vec vec_set(real x) { return FG_OP(set1)(x); }
static inline vec vec_add(vec a, vec b) { return FG_OP(add)(a, b); }
static inline vec vec_sub(vec a, vec b) { return FG_OP(sub)(a, b); }
static inline vec vec_mul(vec a, vec b) { return FG_OP(mul)(a, b); }
static inline vec vec_div(vec a, vec b) { return FG_OP(div)(a, b); }
static inline vec vec_sqrt(vec a) { return FG_OP(sqrt)(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return FG_OP(fmadd)(a, b, c); }
static inline vec vec_max(vec a, vec b) { return FG_OP(max)(a, b); }
static inline vec vec_min(vec a, vec b) { return FG_OP(min)(a, b); }
static inline vec vec_select(mask m, vec a, vec b) { return FG_OP(mask_blend)(m, b, a); }
static inline real vec_sum(vec v) { return FG_OP(reduce_add)(v); }
static inline vec vec_exponent(vec v) { return FG_OP(getexp)(v); }
/* p 2^n, rounded once */
static inline vec vec_scale(vec p, vec n) { return FG_OP(scalef)(p, n); }
