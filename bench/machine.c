/* Measures what this machine can do: fused multiply-adds, memory reads and exponentials per second,
 * on one thread and on all. machine.py compiles it with the vector vocabulary of the kernels
 * (FG_ISA_HEADER, FG_REAL_f32 or FG_REAL_f64). Each figure is the best of several short runs. */
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "simd/vector.h"

enum { RUNS = 9, CHAINS = 12, SMALL = 2048 };

static volatile real sink;

/* Twelve independent chains: more than latency times units requires. */
static double fused_multiply_adds(void) {
    const int64_t rounds = 4000000;
    vec sum[CHAINS];
    const vec a = vec_set((real)0.999), b = vec_set((real)1e-6);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = vec_set((real)i);
    for (int64_t round = 0; round < rounds; round++)
        for (int i = 0; i < CHAINS; i++)
            sum[i] = vec_fma(sum[i], a, b);
    for (int i = 0; i < CHAINS; i++)
        sink = vec_sum(sum[i]);
    return (double)rounds * CHAINS * FG_LANES;
}

static real *big;
static int64_t big_count;

static double bytes_read(void) {
    const int64_t share = big_count / omp_get_num_threads() / (8 * FG_LANES) * (8 * FG_LANES);
    const real *p = big + share * omp_get_thread_num();
    vec sum[8];
    for (int i = 0; i < 8; i++)
        sum[i] = vec_set(0);
    for (int64_t n = 0; n < share; n += 8 * FG_LANES)
        for (int i = 0; i < 8; i++)
            sum[i] = vec_add(sum[i], vec_load(p + n + i * FG_LANES));
    for (int i = 0; i < 8; i++)
        sink = vec_sum(sum[i]);
    return (double)share * sizeof(real);
}

static double exponentials(void) {
    const int rounds = 2000;
    real x[SMALL] __attribute__((aligned(64)));
    for (int n = 0; n < SMALL; n++)
        x[n] = (real)-n / 100;
    vec sum[4] = {vec_set(0), vec_set(0), vec_set(0), vec_set(0)};
    for (int round = 0; round < rounds; round++)
        for (int n = 0; n < SMALL; n += 4 * FG_LANES)
            for (int i = 0; i < 4; i++)
                sum[i] = vec_add(sum[i], vec_exp(vec_load(x + n + i * FG_LANES)));
    for (int i = 0; i < 4; i++)
        sink = vec_sum(sum[i]);
    return (double)rounds * SMALL;
}

static double rate(double (*work)(void), int threads) {
    double best = 0;
    for (int run = 0; run < RUNS; run++) {
        double done = 0;
        const double begin = omp_get_wtime();
#pragma omp parallel num_threads(threads) reduction(+ : done)
        done += work();
        const double now = done / (omp_get_wtime() - begin);
        best = now > best ? now : best;
    }
    return best;
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    big_count = (int64_t)(256 << 20) / (int64_t)sizeof(real);
    big = aligned_alloc(64, (size_t)big_count * sizeof(real));
    if (!big)
        return 1;
    for (int64_t i = 0; i < big_count; i++)
        big[i] = 1;
    printf("{\"fma\": %.4e, \"bytes\": %.4e, \"exp\": %.4e}\n", rate(fused_multiply_adds, threads),
           rate(bytes_read, threads), rate(exponentials, threads));
    free(big);
    return 0;
}
