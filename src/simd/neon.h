/* The vector vocabulary for NEON (aarch64): 32 registers. */
#include <arm_neon.h>

#define FG_REGISTERS 32
#define FG_GROUP 4      /* sample vectors in flight: 4 x 4 accumulators and their operands */
#define FG_TILE 4       /* a scatter tile is FG_TILE x FG_TILE features */
#define FG_OUTER_ROWS 8 /* rows x vectors of a rank-update tile */
#define FG_OUTER_VECTORS 3

#ifdef FG_REAL_f64
#define FG_LANES 2
#define FG_OP(name) name##_f64
typedef float64x2_t vec;
typedef uint64x2_t mask;
/* 2^n for an integer n */
static inline vec vec_exp2i(vec n) {
    const int64x2_t biased = vaddq_s64(vcvtq_s64_f64(n), vdupq_n_s64(1023));
    return vreinterpretq_f64_s64(vshlq_n_s64(biased, 52));
}
static inline vec vec_exponent(vec v) {
    const int64x2_t biased = vshrq_n_s64(vreinterpretq_s64_f64(v), 52);
    return vcvtq_f64_s64(vsubq_s64(biased, vdupq_n_s64(1023)));
}
static inline vec vec_mantissa(vec v) {
    return vbslq_f64(vdupq_n_u64(0x000fffffffffffff), v, vdupq_n_f64(1));
}
static inline vec vec_load_part(const real *p, int64_t n) {
    const vec zero = vdupq_n_f64(0);
    return n >= 2 ? vld1q_f64(p) : n == 1 ? vld1q_lane_f64(p, zero, 0) : zero;
}
static inline void vec_transpose(vec *rows) {
    const vec a = rows[0], b = rows[1];
    rows[0] = vtrn1q_f64(a, b);
    rows[1] = vtrn2q_f64(a, b);
}
#else
#define FG_LANES 4
#define FG_OP(name) name##_f32
typedef float32x4_t vec;
typedef uint32x4_t mask;
static inline vec vec_exp2i(vec n) {
    const int32x4_t biased = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}
static inline vec vec_exponent(vec v) {
    const int32x4_t biased = vshrq_n_s32(vreinterpretq_s32_f32(v), 23);
    return vcvtq_f32_s32(vsubq_s32(biased, vdupq_n_s32(127)));
}
static inline vec vec_mantissa(vec v) {
    return vbslq_f32(vdupq_n_u32(0x007fffff), v, vdupq_n_f32(1));
}
static inline vec vec_load_part(const real *p, int64_t n) {
    if (n >= 4)
        return vld1q_f32(p);
    vec v = vdupq_n_f32(0);
    if (n > 0)
        v = vld1q_lane_f32(p, v, 0);
    if (n > 1)
        v = vld1q_lane_f32(p + 1, v, 1);
    if (n > 2)
        v = vld1q_lane_f32(p + 2, v, 2);
    return v;
}
static inline void vec_transpose(vec *rows) {
    float64x2_t t[4];
    FG_EACH(i, 2) {
        t[2 * i] = vreinterpretq_f64_f32(vtrn1q_f32(rows[2 * i], rows[2 * i + 1]));
        t[2 * i + 1] = vreinterpretq_f64_f32(vtrn2q_f32(rows[2 * i], rows[2 * i + 1]));
    }
    FG_EACH(i, 2) {
        rows[i] = vreinterpretq_f32_f64(vtrn1q_f64(t[i], t[i + 2]));
        rows[i + 2] = vreinterpretq_f32_f64(vtrn2q_f64(t[i], t[i + 2]));
    }
}
#endif
static inline vec vec_load(const real *p) { return FG_OP(vld1q)(p); }
static inline void vec_store(real *p, vec v) { FG_OP(vst1q)(p, v); }
static inline vec vec_set(real x) { return FG_OP(vdupq_n)(x); }
static inline vec vec_add(vec a, vec b) { return FG_OP(vaddq)(a, b); }
static inline vec vec_sub(vec a, vec b) { return FG_OP(vsubq)(a, b); }
static inline vec vec_mul(vec a, vec b) { return FG_OP(vmulq)(a, b); }
static inline vec vec_div(vec a, vec b) { return FG_OP(vdivq)(a, b); }
static inline vec vec_sqrt(vec a) { return FG_OP(vsqrtq)(a); }
static inline vec vec_fma(vec a, vec b, vec c) { return FG_OP(vfmaq)(c, a, b); }
static inline mask vec_less(vec a, vec b) { return FG_OP(vcltq)(a, b); }
static inline vec vec_select(mask m, vec a, vec b) { return FG_OP(vbslq)(m, a, b); }
/* Return the second operand if either is NaN, as on x86; fmax and fmaxnm follow other rules. */
static inline vec vec_max(vec a, vec b) { return vec_select(vec_less(b, a), a, b); }
static inline vec vec_min(vec a, vec b) { return vec_select(vec_less(a, b), a, b); }
static inline vec vec_round(vec v) { return FG_OP(vrndnq)(v); }
static inline real vec_sum(vec v) { return FG_OP(vaddvq)(v); } /* adjacent lanes first */
/* p 2^n with two factors of 2, so that a subnormal result is rounded only once. */
static inline vec vec_scale(vec p, vec n) {
    const vec half = vec_round(vec_mul(n, vec_set((real)0.5)));
    return vec_mul(vec_mul(p, vec_exp2i(half)), vec_exp2i(vec_sub(n, half)));
}
