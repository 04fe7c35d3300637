/* The limits that users set through OpenMP. See openmp.h. */
#define _GNU_SOURCE
#include "openmp.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sched.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#endif

#include "fusedgmm.h"

int fg_openmp_version(void) {
#ifdef _OPENMP
    return _OPENMP;
#else
    return 0;
#endif
}

int fg_openmp_max_threads(void) {
#ifdef _OPENMP
    return omp_get_max_threads();
#else
    return INT_MAX;
#endif
}

/* Loads the OpenMP runtime, so that it reads its settings and binds the importing thread now. */
void fg_openmp_begin(void) { fg_openmp_max_threads(); }

#ifdef __linux__
static int count(const uint64_t cpus[FG_CPU_WORDS]) {
    int n = 0;
    for (int i = 0; i < FG_CPU_WORDS; i++)
        n += __builtin_popcountll(cpus[i]);
    return n;
}

#if defined(_OPENMP) && (_OPENMP >= 201511 || defined(__GNUC__))
/* With OMP_PROC_BIND or OMP_PLACES the runtime has bound the thread that loaded it to one place;
 * this does not limit where the process may run. */
static void all_places(uint64_t cpus[FG_CPU_WORDS]) {
    const int n_places = omp_get_num_places();
    uint64_t all[FG_CPU_WORDS] = {0};
    int bound = 0;
    for (int i = 0; i < n_places; i++) {
        uint64_t place[FG_CPU_WORDS] = {0};
        const int n = omp_get_place_num_procs(i);
        int *ids = malloc((size_t)(n > 0 ? n : 1) * sizeof *ids);
        if (!ids)
            return;
        omp_get_place_proc_ids(i, ids);
        for (int j = 0; j < n; j++)
            if (ids[j] >= 0 && ids[j] < 64 * FG_CPU_WORDS)
                place[ids[j] / 64] |= 1ull << ids[j] % 64;
        free(ids);
        bound |= memcmp(place, cpus, sizeof place) == 0;
        for (int w = 0; w < FG_CPU_WORDS; w++)
            all[w] |= place[w];
    }
    if (bound)
        memcpy(cpus, all, sizeof all);
}
#else
static void all_places(uint64_t cpus[FG_CPU_WORDS]) { (void)cpus; }
#endif

int fg_cpus(uint64_t out[FG_CPU_WORDS]) {
    cpu_set_t set;
    const size_t bytes = sizeof set < FG_CPU_WORDS * 8 ? sizeof set : FG_CPU_WORDS * 8;
    memset(out, 0, FG_CPU_WORDS * sizeof *out);
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 0;
    memcpy(out, &set, bytes);
    all_places(out);
    return count(out);
}
#else
int fg_cpus(uint64_t out[FG_CPU_WORDS]) {
    memset(out, 0, FG_CPU_WORDS * sizeof *out);
    return 0;
}
#endif

int fg_available_cpus(void) {
    uint64_t cpus[FG_CPU_WORDS];
    return fg_cpus(cpus);
}
