/* Random numbers by counting: number n of a seed is a function of both. */
#ifndef FG_RANDOM_H
#define FG_RANDOM_H

#include <stdint.h>

/* splitmix64 (Steele, Lea & Flood 2014): its increment, and number n of those after a seed. */
#define FG_RANDOM_STEP 0x9e3779b97f4a7c15u

static inline uint64_t fg_random(uint64_t seed, uint64_t n) {
    uint64_t z = seed + (n + 1) * FG_RANDOM_STEP;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* The next number of a sequence, uniform in [0, 1). */
static inline double fg_random_uniform(uint64_t *state) {
    const uint64_t bits = fg_random(*state, 0);
    *state += FG_RANDOM_STEP;
    return (double)(bits >> 11) * 0x1p-53;
}

#endif
