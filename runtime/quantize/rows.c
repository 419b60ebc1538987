/* The table of formats that can be written, and what their files share. */
#include "runtime/quantize/rows.h"
#include "runtime/quantize/search.h"

#include "kernels/half.h"

#include <stddef.h>
#include <string.h>

/* The only row that is a copy: F32 to F32. */
static void copy_row(const float *x, uint8_t *dst, uint64_t n)
{
    memcpy(dst, x, n * sizeof *x);
}

static mox_quantize_row *const table[MOX_TYPE_COUNT] = {
    [MOX_TYPE_F32] = copy_row,
    [MOX_TYPE_F16] = mox_quantize_f16,
    [MOX_TYPE_BF16] = mox_quantize_bf16,
    [MOX_TYPE_Q4_0] = mox_quantize_q4_0,
    [MOX_TYPE_Q4_1] = mox_quantize_q4_1,
    [MOX_TYPE_Q5_0] = mox_quantize_q5_0,
    [MOX_TYPE_Q5_1] = mox_quantize_q5_1,
    [MOX_TYPE_Q8_0] = mox_quantize_q8_0,
    [MOX_TYPE_Q2_K] = mox_quantize_q2_k,
    [MOX_TYPE_Q3_K] = mox_quantize_q3_k,
    [MOX_TYPE_Q4_K] = mox_quantize_q4_k,
    [MOX_TYPE_Q5_K] = mox_quantize_q5_k,
    [MOX_TYPE_Q6_K] = mox_quantize_q6_k,
    [MOX_TYPE_IQ4_NL] = mox_quantize_iq4_nl,
    [MOX_TYPE_IQ4_XS] = mox_quantize_iq4_xs,
    [MOX_TYPE_MXFP4] = mox_quantize_mxfp4,
};

mox_quantize_row *mox_quantizer_of(uint32_t type)
{
    return type < MOX_TYPE_COUNT ? table[type] : NULL;
}

float mox_as_f16(float v)
{
    v = v < -MOX_F16_MAX ? -MOX_F16_MAX : v;
    return mox_f16_to_f32(mox_f32_to_f16(v > MOX_F16_MAX ? MOX_F16_MAX : v));
}

void mox_put_f16(uint8_t *dst, float v)
{
    const uint16_t h = mox_f32_to_f16(v);
    memcpy(dst, &h, sizeof h);
}

void mox_weigh(const float *x, int n, int run, float *w)
{
    for (int i = 0; i < n; i += run) {
        float all = 0.0f;
        for (int j = i; j < i + run; j++) {
            w[j] = x[j] * x[j];
            all += w[j];
        }
        for (int j = i; j < i + run; j++) {
            w[j] += all / (float)run;
        }
    }
}
