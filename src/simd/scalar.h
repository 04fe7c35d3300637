/* The vector vocabulary in plain C: one lane. The reference machine. */
#include <math.h>
#include <string.h>

#define FG_LANES 1
#define FG_GROUP 4 /* sample vectors in flight */
typedef real vec;
typedef int mask;

static inline vec vec_load(const real *p) { return *p; }
static inline void vec_store(real *p, vec v) { *p = v; }
static inline vec vec_set(real x) { return x; }
static inline vec vec_add(vec a, vec b) { return a + b; }
static inline vec vec_sub(vec a, vec b) { return a - b; }
static inline vec vec_mul(vec a, vec b) { return a * b; }
static inline vec vec_div(vec a, vec b) { return a / b; }
/* a * b + c. Not contracted here: a machine without the instruction would call a library. */
static inline vec vec_fma(vec a, vec b, vec c) { return a * b + c; }
/* The second operand where either is NaN, as on x86. */
static inline vec vec_max(vec a, vec b) { return a > b ? a : b; }
static inline vec vec_min(vec a, vec b) { return a < b ? a : b; }
static inline mask vec_less(vec a, vec b) { return a < b; }
static inline vec vec_select(mask m, vec a, vec b) { return m ? a : b; }
static inline int mask_any(mask m) { return m; }
static inline real vec_sum(vec v) { return v; }
#ifdef FG_REAL_f64
static inline vec vec_round(vec v) { return (v + 0x1.8p52) - 0x1.8p52; }
static inline vec vec_exp2i(vec n) /* 2^n, n integral in the normal range */
{
    int64_t bits = ((int64_t)n + 1023) << 52;
    real out;
    memcpy(&out, &bits, sizeof out);
    return out;
}
static inline vec vec_exponent(vec v) /* e and m of v = m 2^e, 1 <= m < 2, v normal, positive */
{
    int64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (real)((bits >> 52) - 1023);
}
static inline vec vec_mantissa(vec v) {
    int64_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits & 0x000fffffffffffff) | 0x3ff0000000000000;
    memcpy(&v, &bits, sizeof v);
    return v;
}
#else
static inline vec vec_round(vec v) { return (v + 0x1.8p23f) - 0x1.8p23f; }
static inline vec vec_exp2i(vec n) {
    int32_t bits = ((int32_t)n + 127) << 23;
    real out;
    memcpy(&out, &bits, sizeof out);
    return out;
}
static inline vec vec_exponent(vec v) {
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (real)((bits >> 23) - 127);
}
static inline vec vec_mantissa(vec v) {
    int32_t bits;
    memcpy(&bits, &v, sizeof bits);
    bits = (bits & 0x007fffff) | 0x3f800000;
    memcpy(&v, &bits, sizeof v);
    return v;
}
#endif
