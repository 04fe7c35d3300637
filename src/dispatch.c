/* Detects the instruction sets that the CPU and the operating system support, and chooses a table
 * of kernels once. */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

#ifdef FG_HAVE_AVX2
#include <cpuid.h>
#endif

#define DECLARE(isa) extern const fg_kernels fg_kernels_##isa##_f32, fg_kernels_##isa##_f64;
DECLARE(scalar)
#ifdef FG_HAVE_AVX2
DECLARE(avx2)
DECLARE(avx512)
#endif
#ifdef FG_HAVE_NEON
DECLARE(neon)
#endif

typedef struct {
    const fg_kernels *f32, *f64;
} tables;

static tables chosen;

#ifdef FG_HAVE_AVX2
typedef struct {
    int avx2, avx512;
} features;

/* Queries the CPU, and the operating system, which must save the registers (XGETBV). The compilers'
 * own __builtin_cpu_supports needs a runtime library that Windows and musl builds may lack. */
static features find_features(void) {
    const unsigned basic = bit_OSXSAVE | bit_AVX | bit_FMA;
    const unsigned wide = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    const unsigned ymm = 0x06, zmm = 0xe6; /* saved states: xmm and ymm; also masks and zmm */
    features f = {0, 0};
    unsigned a, b, c, d, saved, high;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & basic) != basic)
        return f;
    __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if ((saved & ymm) != ymm || !__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return f;
    f.avx2 = (b & bit_AVX2) != 0;
    f.avx512 = f.avx2 && (saved & zmm) == zmm && (b & wide) == wide;
    return f;
}
#endif

/* Lists the usable tables, in increasing order. */
static int usable(tables *out, int room) {
    int n = 0;
    if (n < room)
        out[n++] = (tables){&fg_kernels_scalar_f32, &fg_kernels_scalar_f64};
#ifdef FG_HAVE_AVX2
    const features can = find_features();
    if (can.avx2 && n < room)
        out[n++] = (tables){&fg_kernels_avx2_f32, &fg_kernels_avx2_f64};
    if (can.avx512 && n < room)
        out[n++] = (tables){&fg_kernels_avx512_f32, &fg_kernels_avx512_f64};
#endif
#ifdef FG_HAVE_NEON
    if (n < room)
        out[n++] = (tables){&fg_kernels_neon_f32, &fg_kernels_neon_f64};
#endif
    return n;
}

int fg_isa_choose(const char *name) {
    tables all[4];
    const int n = usable(all, 4);
    if (!name || !*name) {
        chosen = all[n - 1];
        return 0;
    }
    for (int i = 0; i < n; i++)
        if (strcmp(all[i].f64->isa, name) == 0) {
            chosen = all[i];
            return 0;
        }
    return -1;
}

const char *fg_isa_usable(int i) {
    tables all[4];
    return i < usable(all, 4) ? all[i].f64->isa : NULL;
}

#ifndef FG_BUILD
#define FG_BUILD "unknown"
#endif
const char *fg_build(void) { return FG_BUILD; }

const char *fg_isa_name(void) { return chosen.f64->isa; }

const fg_kernels *fg_kernels_for(fg_real_type real_type) {
    return real_type == FG_FLOAT32 ? chosen.f32 : chosen.f64;
}

void fg_vector_exp_log(fg_real_type real_type, const void *x, int64_t n, int want_log, void *out) {
    fg_kernels_for(real_type)->exp_log(x, n, want_log, out);
}
