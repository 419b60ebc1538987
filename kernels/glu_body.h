/* What stands between gate and up, and down, where it is not SwiGLU: one source, compiled plain and for AVX2 (the same
 * operations in the same places, so the same bits). The including file names the table. Private to kernels/. */
#include "kernels/fmath.h"
#include "kernels/glu.h"

#include <stddef.h>

#define CLAMP_LIMIT 7.0f
#define CLAMP_ALPHA 1.702f

static void glu_gelu(const float *gate, const float *up, float *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        h[i] = mox_geluf(gate[i]) * up[i];
    }
}

/* The gate is limited above only; comparisons keep a NaN. */
static void glu_clamped(const float *gate, const float *up, float *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float g = CLAMP_LIMIT < gate[i] ? CLAMP_LIMIT : gate[i];
        const float v = CLAMP_LIMIT < up[i] ? CLAMP_LIMIT : up[i];
        const float u = -CLAMP_LIMIT > v ? -CLAMP_LIMIT : v;
        h[i] = g / (1.0f + mox_expf(-(CLAMP_ALPHA * g))) * (u + 1.0f);
    }
}

const mox_glu_table MOX_GLU_TABLE = {{NULL, glu_gelu, glu_clamped}}; /* in the order of mox_glu */
