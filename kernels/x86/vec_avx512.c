/* The vector operations for AVX-512 F + BW + VL + DQ (sixteen lanes): vec_body.h, compiled for this set. */
#define MOX_VEC_TABLE mox_vec_avx512
#include "kernels/x86/vec_body.h"
