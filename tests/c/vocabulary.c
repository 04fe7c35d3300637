/* The vector vocabulary of one instruction set, compared with plain C, operation by operation and
 * bit by bit. */
#include "vocabulary.h"

#include "check.h"
#include "memory.h"
#include "simd/vector.h"

#ifdef FG_REAL_f64
enum { DIGITS = 53, LEAST_EXPONENT = -1022, GREATEST_EXPONENT = 1023 };
#else
enum { DIGITS = 24, LEAST_EXPONENT = -126, GREATEST_EXPONENT = 127 };
#endif

static int same(real a, real b) { return memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b)); }

static real lane(vec v, int l) {
    real lanes[FG_LANES];
    vec_store(lanes, v);
    return lanes[l];
}

static vec broadcast_but(real all, int l, real one) {
    real lanes[FG_LANES];
    for (int i = 0; i < FG_LANES; i++)
        lanes[i] = i == l ? one : all;
    return vec_load(lanes);
}

#define CHECK_LANES(v, expected)                                                                   \
    for (int l = 0; l < FG_LANES; l++) {                                                           \
        const real ours_ = lane(v, l), truth_ = (expected);                                        \
        CHECK(same(ours_, truth_), "lane %d of %s is %a, not %a", l, #v, (double)ours_,            \
              (double)truth_);                                                                     \
    }

/* Every alignment and length, up to the end of a page. */
static void check_memory(void) {
    enum { COUNT = 3 * FG_LANES };
    real *p = guarded_new(COUNT * sizeof(real));
    for (int i = 0; i < COUNT; i++)
        p[i] = (real)(i + 1);
    for (int from = 0; from + FG_LANES <= COUNT; from++) {
        CHECK_LANES(vec_load(p + from), (real)(from + l + 1));
        real out[COUNT] = {0};
        vec_store(out + from, vec_load(p));
        for (int i = 0; i < COUNT; i++)
            CHECK(out[i] == (i >= from && i < from + FG_LANES ? p[i - from] : 0), "store");
    }
    for (int n = 0; n <= FG_LANES; n++) {
        const real *last = p + COUNT - n;
        CHECK_LANES(vec_load_part(last, n), l < n ? last[l] : 0);
        CHECK_LANES(vec_load_part(p, n), l < n ? p[l] : 0); /* more numbers follow in memory */
    }
    guarded_free(p, COUNT * sizeof(real));
}

static void check_lanes(void) {
    vec rows[FG_LANES];
    for (int r = 0; r < FG_LANES; r++) {
        real row[FG_LANES];
        for (int c = 0; c < FG_LANES; c++)
            row[c] = (real)(100 * r + c);
        rows[r] = vec_load(row);
    }
    vec_transpose(rows);
    for (int r = 0; r < FG_LANES; r++)
        CHECK_LANES(rows[r], (real)(100 * l + r));
    for (int l = 0; l < FG_LANES; l++) {
        CHECK(vec_sum(broadcast_but(0, l, 3)) == 3, "sum without lane %d", l);
        const mask m = vec_less(broadcast_but(2, l, 1), broadcast_but(2, l, 2));
        const vec chosen = vec_select(m, vec_set(5), vec_set(7));
        for (int i = 0; i < FG_LANES; i++)
            CHECK(lane(chosen, i) == (i == l ? 5 : 7), "select %d in lane %d", l, i);
    }
    real powers[FG_LANES];
    for (int l = 0; l < FG_LANES; l++)
        powers[l] = (real)(1 << l);
    CHECK(vec_sum(vec_load(powers)) == (real)((1 << FG_LANES) - 1), "sum");
}

/* For any operands, with the rules that the kernels rely on. */
static void check_arithmetic(void) {
    const real tiny = ldexp(1, LEAST_EXPONENT - DIGITS + 1), huge = ldexp(1, GREATEST_EXPONENT);
    const real values[] = {
        0,    (real)-0.0, 1,    -1,    (real)0.1,      (real)-7.3,      3,
        tiny, -3 * tiny,  huge, -huge, (real)INFINITY, (real)-INFINITY, (real)NAN};
    enum { COUNT = sizeof values / sizeof *values };
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++) {
            const real a = values[i], b = values[j];
            const vec va = vec_set(a), vb = vec_set(b);
            CONTEXT("%g, %g", (double)a, (double)b);
            CHECK_LANES(vec_add(va, vb), a + b);
            CHECK_LANES(vec_sub(va, vb), a - b);
            CHECK_LANES(vec_mul(va, vb), a * b);
            CHECK_LANES(vec_div(va, vb), a / b);
            CHECK_LANES(vec_sqrt(va), (real)sqrt((double)a));
            CHECK_LANES(vec_max(va, vb), a > b ? a : b); /* the second one if either is NaN */
            CHECK_LANES(vec_min(va, vb), a < b ? a : b);
            CHECK_LANES(vec_select(vec_less(va, vb), vec_set(1), vec_set(0)), (real)(a < b));
        }
    CONTEXT("fma");
    CHECK_LANES(vec_fma(vec_set(3), vec_set(5), vec_set(-7)), 8);
    /* (1 + e)(1 - e) - 1 = -e^2, which is lost unless the operation is fused; plain C need not be
     */
    const real e = ldexp(1, -DIGITS / 2 - 1);
    if (FG_LANES > 1) {
        CHECK_LANES(vec_fma(vec_set(1 + e), vec_set(1 - e), vec_set(-1)), -e * e);
    }
}

/* Rounds to nearest, ties to even. */
static void check_round(void) {
    CONTEXT("round");
    for (int i = -4400; i <= 4400; i++) {
        const real x = (real)i / 4;
        CHECK(lane(vec_round(vec_set(x)), FG_LANES - 1) == rint((double)x), "round(%g) is %g",
              (double)x, (double)lane(vec_round(vec_set(x)), FG_LANES - 1));
    }
}

/* Splits v = m 2^e, and scales by powers of two with a single rounding, also for subnormal numbers.
 */
static void check_exponents(void) {
    uint64_t state = 1;
    CONTEXT("exponents");
    for (int n = LEAST_EXPONENT; n <= GREATEST_EXPONENT; n++) {
        const real power = (real)ldexp(1, n);
        for (int i = 0; i < 4; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const real m = 1 + (real)(state >> (64 - DIGITS + 1)) * (real)ldexp(1, 1 - DIGITS);
            CHECK_LANES(vec_exponent(vec_set(m * power)), (real)n);
            CHECK_LANES(vec_mantissa(vec_set(m * power)), m);
        }
    }
    for (int n = LEAST_EXPONENT - DIGITS - 6; n <= GREATEST_EXPONENT + 3; n++)
        for (int i = 0; i < 16; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            const real m = 1 + (real)(state >> (64 - DIGITS + 1)) * (real)ldexp(1, 1 - DIGITS);
            const real p = i % 2 ? m : m / 2;
#ifdef FG_REAL_f64
            const real truth = ldexp(p, n);
#else
            const real truth = ldexpf(p, n);
#endif
            CHECK_LANES(vec_scale(vec_set(p), vec_set((real)n)), truth);
        }
}

int check_vocabulary(void) {
    check_memory();
    check_lanes();
    check_arithmetic();
    check_round();
    check_exponents();
    return check_result();
}
