/* What this CPU and its operating system can run; picks a table once. */
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"

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

/* In rising order; the builtins ask the operating system too (XGETBV). */
static int usable(tables *out, int room) {
    int n = 0;
    if (n < room)
        out[n++] = (tables){&fg_kernels_scalar_f32, &fg_kernels_scalar_f64};
#ifdef FG_HAVE_AVX2
    __builtin_cpu_init();
    const int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (avx2 && n < room)
        out[n++] = (tables){&fg_kernels_avx2_f32, &fg_kernels_avx2_f64};
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && n < room)
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
