/* The vector vocabulary for AVX2 with FMA: 16 registers. */
#include <immintrin.h>

#define FG_REGISTERS 16
#define FG_GROUP 2      /* sample vectors in flight: 4 x 2 accumulators and their operands */
#define FG_TILE 3       /* a scatter tile is FG_TILE x FG_TILE features */
#define FG_OUTER_ROWS 4 /* rows x vectors of a rank-update tile */
#define FG_OUTER_VECTORS 3

#ifdef FG_REAL_f64
#define FG_LANES 4
#define FG_OP(name) _mm256_##name##_pd
typedef __m256d vec;
typedef __m256d mask;
static inline real vec_sum(vec v) {
    __m128d half = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)));
}
/* 2^n: adding 1.5 * 2^52 puts n into the low bits, from which it is shifted into the exponent. */
static inline vec vec_exp2i(vec n) {
    __m256i biased = _mm256_castpd_si256(_mm256_add_pd(n, _mm256_set1_pd(0x1.8p52 + 1023)));
    return _mm256_castsi256_pd(_mm256_slli_epi64(biased, 52));
}
static inline vec vec_exponent(vec v) {
    const __m256i magic = _mm256_castpd_si256(_mm256_set1_pd(0x1p52));
    __m256i bits = _mm256_or_si256(_mm256_srli_epi64(_mm256_castpd_si256(v), 52), magic);
    return _mm256_sub_pd(_mm256_castsi256_pd(bits), _mm256_set1_pd(0x1p52 + 1023));
}
static inline vec vec_mantissa(vec v) {
    const __m256d keep = _mm256_castsi256_pd(_mm256_set1_epi64x(0x000fffffffffffff));
    return _mm256_or_pd(_mm256_and_pd(v, keep), _mm256_set1_pd(1.0));
}
static inline vec vec_load_part(const real *p, int64_t n) {
    const __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return _mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane));
}
static inline void vec_transpose(vec *rows) {
    const vec a = _mm256_unpacklo_pd(rows[0], rows[1]), b = _mm256_unpackhi_pd(rows[0], rows[1]),
              c = _mm256_unpacklo_pd(rows[2], rows[3]), d = _mm256_unpackhi_pd(rows[2], rows[3]);
    rows[0] = _mm256_permute2f128_pd(a, c, 0x20);
    rows[1] = _mm256_permute2f128_pd(b, d, 0x20);
    rows[2] = _mm256_permute2f128_pd(a, c, 0x31);
    rows[3] = _mm256_permute2f128_pd(b, d, 0x31);
}
#else
#define FG_LANES 8
#define FG_OP(name) _mm256_##name##_ps
typedef __m256 vec;
typedef __m256 mask;
static inline real vec_sum(vec v) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_shuffle_ps(half, half, 1)));
}
static inline vec vec_exp2i(vec n) {
    __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
static inline vec vec_exponent(vec v) {
    __m256i bits = _mm256_srli_epi32(_mm256_castps_si256(v), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(bits, _mm256_set1_epi32(127)));
}
static inline vec vec_mantissa(vec v) {
    const __m256 keep = _mm256_castsi256_ps(_mm256_set1_epi32(0x007fffff));
    return _mm256_or_ps(_mm256_and_ps(v, keep), _mm256_set1_ps(1.0f));
}
static inline vec vec_load_part(const real *p, int64_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
}
static inline void vec_transpose(vec *rows) {
    vec t[8], u[8];
    FG_EACH(i, 4) {
        t[2 * i] = _mm256_unpacklo_ps(rows[2 * i], rows[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(rows[2 * i], rows[2 * i + 1]);
    }
    FG_EACH(i, 2) {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    FG_EACH(i, 4) {
        rows[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        rows[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}
#endif
static inline vec vec_load(const real *p) { return FG_OP(loadu)(p); }
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
static inline vec vec_round(vec v) { return FG_OP(round)(v, 8); }
static inline mask vec_less(vec a, vec b) { return FG_OP(cmp)(a, b, _CMP_LT_OQ); }
static inline vec vec_select(mask m, vec a, vec b) { return FG_OP(blendv)(b, a, m); }
/* p 2^n with two factors of 2, so that a subnormal result is rounded only once. */
static inline vec vec_scale(vec p, vec n) {
    const vec half = vec_round(vec_mul(n, vec_set((real)0.5)));
    return vec_mul(vec_mul(p, vec_exp2i(half)), vec_exp2i(vec_sub(n, half)));
}
