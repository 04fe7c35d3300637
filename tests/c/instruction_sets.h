/* Loops over every usable instruction set, covariance type and real type. */
#ifndef FG_TEST_INSTRUCTION_SETS_H
#define FG_TEST_INSTRUCTION_SETS_H

#include "fusedgmm.h"

static inline int choose_instruction_set(int i) {
    return fg_isa_usable(i) && fg_isa_choose(fg_isa_usable(i)) == 0;
}

#define EACH_INSTRUCTION_SET(i) for (int i = 0; choose_instruction_set(i); i++)
#define EACH_LAYOUT(c) for (fg_layout c = FG_FULL; c <= FG_SPHERICAL; c++)
#define EACH_REAL_TYPE(r) for (fg_real_type r = FG_FLOAT32; r <= FG_FLOAT64; r++)

static inline const char *real_name(fg_real_type r) { return r == FG_FLOAT32 ? "f32" : "f64"; }

#endif
