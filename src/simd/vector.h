/* One real type and one instruction set, as the build chose them: FG_REAL_f32 or FG_REAL_f64, and
 * FG_ISA_HEADER. */
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

#include FG_ISA_HEADER
#include "simd/math.h"
