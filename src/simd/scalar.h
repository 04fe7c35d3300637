/* The vector vocabulary in plain C, with one lane: the reference implementation. */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define FG_REGISTERS 16
#define FG_LANES 1
#define FG_GROUP 4 /* sample vectors in flight */
#define FG_TILE 3  /* a scatter tile is FG_TILE x FG_TILE features */
#define FG_OUTER_ROWS 4
#define FG_OUTER_VECTORS 3

typedef real vec;
typedef int mask;

#ifdef FG_REAL_f64
typedef uint64_t bits;
#define FG_MANTISSA_BITS 52
#define FG_EXPONENT_BIAS 1023
#else
typedef uint32_t bits;
#define FG_MANTISSA_BITS 23
#define FG_EXPONENT_BIAS 127
#endif

static inline vec vec_load(const real *p) { return *p; }
static inline vec vec_load_part(const real *p, int64_t n) { return n > 0 ? *p : 0; }
static inline void vec_store(real *p, vec v) { *p = v; }
static inline void vec_transpose(vec *rows) { (void)rows; }
static inline vec vec_set(real x) { return x; }
static inline vec vec_add(vec a, vec b) { return a + b; }
static inline vec vec_sub(vec a, vec b) { return a - b; }
static inline vec vec_mul(vec a, vec b) { return a * b; }
static inline vec vec_div(vec a, vec b) { return a / b; }
static inline vec vec_sqrt(vec a) { return (real)sqrt((double)a); }
/* a * b + c, not contracted: without an FMA instruction, fma() would be a library call. */
static inline vec vec_fma(vec a, vec b, vec c) { return a * b + c; }
/* Return the second operand if either is NaN, as on x86. */
static inline vec vec_max(vec a, vec b) { return a > b ? a : b; }
static inline vec vec_min(vec a, vec b) { return a < b ? a : b; }
static inline mask vec_less(vec a, vec b) { return a < b; }
static inline vec vec_select(mask m, vec a, vec b) { return m ? a : b; }
static inline real vec_sum(vec v) { return v; }

/* Adding 1.5 * 2^mantissa rounds to an integer. */
#define FG_ROUNDER ((real)1.5 * (real)((bits)1 << FG_MANTISSA_BITS))
static inline vec vec_round(vec v) { return (v + FG_ROUNDER) - FG_ROUNDER; }

static inline bits bits_of(vec v) {
    bits out;
    memcpy(&out, &v, sizeof out);
    return out;
}
static inline vec vec_of(bits b) {
    vec out;
    memcpy(&out, &b, sizeof out);
    return out;
}
/* e and m of v = m 2^e with 1 <= m < 2, for normal and positive v. */
static inline vec vec_exponent(vec v) {
    return (real)((int)(bits_of(v) >> FG_MANTISSA_BITS) - FG_EXPONENT_BIAS);
}
static inline vec vec_mantissa(vec v) {
    const bits mantissa = bits_of(v) & (((bits)1 << FG_MANTISSA_BITS) - 1);
    return vec_of(mantissa | ((bits)FG_EXPONENT_BIAS << FG_MANTISSA_BITS));
}
/* 2^n for an integer n, which is in the low bits of the sum. */
static inline vec vec_exp2i(vec n) {
    return vec_of(bits_of(n + (FG_ROUNDER + FG_EXPONENT_BIAS)) << FG_MANTISSA_BITS);
}
/* p 2^n with two factors of 2, so that a subnormal result is rounded only once. */
static inline vec vec_scale(vec p, vec n) {
    const vec half = vec_round(n * (real)0.5);
    return p * vec_exp2i(half) * vec_exp2i(n - half);
}
