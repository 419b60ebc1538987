/* F16 and BF16: rounding to nearest, ties to even. */
#include "runtime/quantize/rows.h"

#include "kernels/half.h"

void mox_quantize_f16(const float *x, uint8_t *dst, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint16_t h = mox_f32_to_f16(x[i]);
        memcpy(dst + 2 * i, &h, sizeof h);
    }
}

void mox_quantize_bf16(const float *x, uint8_t *dst, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const uint32_t u = mox_f32_bits(x[i]);
        const uint16_t h = (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
        memcpy(dst + 2 * i, &h, sizeof h);
    }
}
