/* The vector operations for AVX2 + FMA + F16C (eight lanes): vec_body.h, compiled for this set. */
#define MOX_VEC_TABLE mox_vec_avx2
#include "kernels/x86/vec_body.h"
