/* Random numbers by index: splitmix64 (Steele, Lea & Flood 2014). Number n depends only on the seed
 * and n, so rows can be drawn in any order and by any thread. */
#ifndef FG_RANDOM_H
#define FG_RANDOM_H

#include <stdint.h>

#define FG_RANDOM_STEP 0x9e3779b97f4a7c15u /* the seed plus a step begins at number 1 */

/* Number n of the sequence of a seed. */
static inline uint64_t fg_random(uint64_t seed, uint64_t n) {
    uint64_t z = seed + (n + 1) * FG_RANDOM_STEP;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The state after n more numbers. */
static inline uint64_t fg_random_skip(uint64_t state, int64_t n) {
    return state + (uint64_t)n * FG_RANDOM_STEP;
}

/* The next number, uniform in [0, 1); advances the state. */
static inline double fg_random_uniform(uint64_t *state) {
    const uint64_t bits = fg_random(*state, 0);
    *state = fg_random_skip(*state, 1);
    return (double)(bits >> 11) * 0x1p-53;
}

#endif
