/* Selects the real type and the instruction set that the build defines: FG_REAL_f32 or FG_REAL_f64,
 * and FG_ISA_HEADER. */
#include <stdint.h>

#ifdef FG_REAL_f64
typedef double real;
#define FG_REAL_NAME f64
#define FG_REAL_TYPE FG_FLOAT64
#else
typedef float real;
#define FG_REAL_NAME f32
#define FG_REAL_TYPE FG_FLOAT32
#endif

/* Heads of loops that the compiler unrolls, so that arrays of vectors stay in registers. i runs
 * from 0, or from begin, up to a bound that is known at compile time and at most 16. */
#define FG_EACH_FROM(i, begin, end) _Pragma("GCC unroll 16") for (int i = (begin); i < (end); i++)
#define FG_EACH(i, n) FG_EACH_FROM(i, 0, n)

#include FG_ISA_HEADER
#include "simd/math.h"
