/* See checks.h. */
#include "checks.h"

#include <math.h>
#include <string.h>

/* Each step is a bijection of the state, so that a single changed word always changes the result;
 * the rotation carries the upper bits, in which rounded doubles differ, to the lower ones. */
static inline uint64_t mix(uint64_t state, uint64_t word) {
    state ^= word;
    return (state << 29 | state >> 35) * 0x9e3779b97f4a7c15u;
}

uint64_t fg_fingerprint(const void *bytes, size_t count, uint64_t seed) {
    enum { LANES = 8, WORD = sizeof(uint64_t) }; /* independent, so that their products overlap */
    const char *at = bytes;
    uint64_t lanes[LANES], word;
    for (uint64_t i = 0; i < LANES; i++)
        lanes[i] = seed + i;
    size_t left = count;
    for (; left >= LANES * WORD; left -= LANES * WORD, at += LANES * WORD)
        for (int i = 0; i < LANES; i++) {
            memcpy(&word, at + i * WORD, WORD);
            lanes[i] = mix(lanes[i], word);
        }
    for (int i = 0; left > 0; i++) {
        const size_t part = left < WORD ? left : WORD;
        word = 0;
        memcpy(&word, at, part);
        lanes[i] = mix(lanes[i], word);
        at += part;
        left -= part;
    }
    uint64_t result = mix(seed, count);
    for (int i = 0; i < LANES; i++)
        result = mix(result, lanes[i]);
    return result ^ result >> 32;
}

int fg_all_within(const void *numbers, fg_real_type real_type, int64_t count, double low,
                  double high) {
    int within = 1;
    if (real_type == FG_FLOAT64)
        for (int64_t i = 0; i < count; i++)
            within &= low <= ((const double *)numbers)[i] && ((const double *)numbers)[i] <= high;
    else
        for (int64_t i = 0; i < count; i++)
            within &= low <= ((const float *)numbers)[i] && ((const float *)numbers)[i] <= high;
    return within;
}

int fg_are_factors(const double *matrices, int64_t count, int64_t d) {
    const uint64_t exponent = (uint64_t)0x7ff << 52, one = (uint64_t)1 << 52;
    uint64_t below = 0, infinite = 0;
    int positive = 1;
    for (int64_t n = 0; n < count * d; n++) {
        const double *row = matrices + n * d;
        const int64_t i = n % d;
        positive &= row[i] > 0;
        for (int64_t j = 0; j < d; j++) { /* integers, whose sums the compiler may reorder */
            uint64_t bits;
            memcpy(&bits, row + j, sizeof bits);
            if (j < i)
                below |= bits << 1; /* -0 is 0 */
            else
                infinite |= (bits & exponent) + one; /* carries for infinity and NaN */
        }
    }
    return positive && below == 0 && infinite >> 63 == 0;
}

/* One matrix; work is zero but for v, its first d numbers. */
static int is_inverse(const double *c, const double *u, int64_t d, double tolerance, double *work) {
    const double *v = work;
    double *y = work + d, *z = y + d;             /* U^T v, U U^T v */
    double *y_size = z + d, *z_size = y_size + d; /* the same of absolute values */
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = i; j < d; j++) {
            y[j] += u[i * d + j] * v[i];
            y_size[j] += fabs(u[i * d + j] * v[i]);
        }
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = i; j < d; j++) {
            z[i] += u[i * d + j] * y[j];
            z_size[i] += fabs(u[i * d + j]) * y_size[j];
        }
    int same = 1;
    for (int64_t i = 0; i < d; i++) {
        double sum = -v[i], size = fabs(v[i]);
        for (int64_t j = 0; j < d; j++) {
            sum += c[i * d + j] * z[j];
            size += fabs(c[i * d + j]) * z_size[j];
        }
        same &= !(fabs(sum) > tolerance * size);
    }
    return same;
}

int fg_are_inverse(const double *covariances, const double *factors, int64_t count, int64_t d,
                   double tolerance, double *work) {
    int same = 1;
    for (int64_t n = 0; n < count; n++) {
        for (int64_t i = 0; i < d; i++)
            work[i] = cos((double)i); /* no multiple of another vector by chance */
        memset(work + d, 0, (size_t)(4 * d) * sizeof *work);
        same &= is_inverse(covariances + n * d * d, factors + n * d * d, d, tolerance, work);
    }
    return same;
}
