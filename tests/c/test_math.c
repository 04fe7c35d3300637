/* exp and log over their whole range, for every usable instruction set: errors below 3 units in the
 * last place, as simd/math.h promises, and the results of the C library for non-finite values. */
#include "check.h"
#include "instruction_sets.h"
#include "memory.h"

enum { COUNT = 20000 };

typedef union {
    float f32[COUNT];
    double f64[COUNT];
} numbers;

static double get(const numbers *x, fg_real_type real_type, int i) {
    return real_type == FG_FLOAT32 ? (double)x->f32[i] : x->f64[i];
}

static void set(numbers *x, fg_real_type real_type, int i, double value) {
    if (real_type == FG_FLOAT32)
        x->f32[i] = (float)value;
    else
        x->f64[i] = value;
}

/* The spacing of the type's numbers at the true value; constant for subnormal numbers. */
static long double unit(fg_real_type real_type, long double truth) {
    int exponent;
    frexpl(truth, &exponent);
    const int digits = real_type == FG_FLOAT32 ? 24 : 53;
    const int least = real_type == FG_FLOAT32 ? -149 : -1074;
    return ldexpl(1, exponent - digits > least ? exponent - digits : least);
}

static void check_function(fg_real_type real_type, int want_log, const numbers *x,
                           const long double *truth, numbers *ours) {
    const long double greatest =
        real_type == FG_FLOAT32 ? 0x1.fffffep127L : 0x1.fffffffffffffp1023L;
    EACH_INSTRUCTION_SET(isa) {
        CONTEXT("%s %s %s", fg_isa_name(), real_name(real_type), want_log ? "log" : "exp");
        fg_vector_exp_log(real_type, x, COUNT, want_log, ours);
        for (int i = 0; i < COUNT; i++) {
            const long double y = get(ours, real_type, i), t = truth[i];
            const int close = t > greatest + unit(real_type, greatest) / 2
                                  ? isinf(y) && y > 0
                                  : fabsl(y - t) < 3 * unit(real_type, t) ||
                                        (isinf(y) && t > greatest - 3 * unit(real_type, greatest));
            CHECK(close, "of %.17g is %.17Lg, not %.17Lg", get(x, real_type, i), y, t);
        }
    }
}

static void check_special(fg_real_type real_type, numbers *x, numbers *ours) {
    static const struct {
        int want_log;
        double x, y;
    } known[] = {{0, 0, 1},
                 {0, -0.0, 1},
                 {0, 1e30, INFINITY},
                 {0, -1e30, 0},
                 {0, INFINITY, INFINITY},
                 {0, -INFINITY, 0},
                 {0, NAN, NAN},
                 {1, 1, 0},
                 {1, 0, -INFINITY},
                 {1, -0.0, -INFINITY},
                 {1, -1, NAN},
                 {1, INFINITY, INFINITY},
                 {1, -INFINITY, NAN},
                 {1, NAN, NAN}};
    EACH_INSTRUCTION_SET(isa) for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        CONTEXT("%s %s %s", fg_isa_name(), real_name(real_type), known[i].want_log ? "log" : "exp");
        set(x, real_type, 0, known[i].x);
        fg_vector_exp_log(real_type, x, 1, known[i].want_log, ours);
        const double y = get(ours, real_type, 0);
        CHECK(y == known[i].y || (isnan(y) && isnan(known[i].y)), "of %g is %g", known[i].x, y);
    }
}

int main(void) {
    numbers *x = allocate(sizeof *x), *ours = allocate(sizeof *ours);
    long double *truth = allocate(COUNT * sizeof *truth);
    EACH_REAL_TYPE(real_type) {
        const int single = real_type == FG_FLOAT32;
        const double low = single ? -104.5 : -746, high = single ? 89.5 : 710.5;
        for (int i = 0; i < COUNT; i++) {
            set(x, real_type, i, low + (high - low) * i / (COUNT - 1));
            truth[i] = expl(get(x, real_type, i));
        }
        check_function(real_type, 0, x, truth, ours);
        /* half of them spread by powers from the smallest subnormal to the largest number, half
         * near 1 */
        const double least = single ? -149 : -1074, most = single ? 127.99 : 1023.99;
        for (int i = 0; i < COUNT; i++) {
            const double part = (double)(i / 2) / (COUNT / 2 - 1);
            set(x, real_type, i, i % 2 ? 0.5 + 1.5 * part : exp2(least + (most - least) * part));
            truth[i] = logl(get(x, real_type, i));
        }
        check_function(real_type, 1, x, truth, ours);
        check_special(real_type, x, ours);
    }
    free(truth);
    free(ours);
    free(x);
    return check_result();
}
