/* Between gate and up, and down: SwiGLU by the instruction set's table, the others by the compiler's vectors. */
#include "kernels/glu.h"
#include "kernels/vec.h"

#define MOX_GLU_TABLE mox_glu_plain
#include "kernels/glu_body.h"

void mox_glu_row(mox_glu glu, const mox_vec *vec, const float *gate, const float *up, float *h, size_t n)
{
    if (glu == MOX_GLU_SILU) {
        vec->swiglu(gate, up, h, n);
        return;
    }
#if defined(__x86_64__)
    const mox_glu_table *table = mox_isa_present(MOX_ISA_AVX2) ? &mox_glu_avx2 : &mox_glu_plain;
#else
    const mox_glu_table *table = &mox_glu_plain;
#endif
    table->of[glu](gate, up, h, n);
}
