/* glu_body.h once more, with AVX2 and FMA. */
#include "kernels/glu.h"

#define MOX_GLU_TABLE mox_glu_avx2
#include "kernels/glu_body.h"
