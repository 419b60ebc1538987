/* Dequantisation of the plain types and of those with blocks of 32 (NVFP4: 64).
 * In all of them the low nibbles of a block's (NVFP4: a quarter's) bytes are its first half, the high nibbles
 * its second half. */
#include "kernels/dequant.h"

#include "kernels/half.h"
#include "runtime/core/bits.h"

const int8_t mox_iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
const int8_t mox_fp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

float mox_e8m0_half(uint8_t e)
{
    /* 2^(e-128); the two smallest are f32 denormals. */
    return mox_f32_from_bits(e < 2 ? 0x00200000u << e : (uint32_t)(e - 1) << 23);
}

float mox_ue4m3_half(uint8_t x)
{
    const uint32_t exp = (x >> 3) & 15u, man = x & 7u;
    if (x == 0x7f) {
        return 0.0f;
    }
    return exp == 0 ? (float)man * 0x1p-10f : mox_f32_from_bits((exp + 119) << 23 | man << 20);
}

void mox_dequant_f32(const uint8_t *src, float *dst, uint64_t n)
{
    memcpy(dst, src, n * sizeof *dst);
}

void mox_dequant_f16(const uint8_t *src, float *dst, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        dst[i] = mox_f16_to_f32(mox_le16(src + 2 * i));
    }
}

void mox_dequant_bf16(const uint8_t *src, float *dst, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        dst[i] = mox_bf16_to_f32(mox_le16(src + 2 * i));
    }
}

void mox_dequant_q4_0(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 32, src += 18, dst += 32) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)((src[2 + j] & 15) - 8) * d;
            dst[j + 16] = (float)((src[2 + j] >> 4) - 8) * d;
        }
    }
}

void mox_dequant_q4_1(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 32, src += 20, dst += 32) {
        const float d = mox_f16_to_f32(mox_le16(src)), m = mox_f16_to_f32(mox_le16(src + 2));
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(src[4 + j] & 15) * d + m;
            dst[j + 16] = (float)(src[4 + j] >> 4) * d + m;
        }
    }
}

/* The fifth bits: bit j belongs to element j. */
static int five_low(uint8_t byte, uint32_t qh, int j)
{
    return (byte & 15) | (int)(qh >> j & 1u) << 4;
}

static int five_high(uint8_t byte, uint32_t qh, int j)
{
    return byte >> 4 | (int)(qh >> (j + 16) & 1u) << 4;
}

void mox_dequant_q5_0(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 32, src += 22, dst += 32) {
        const float d = mox_f16_to_f32(mox_le16(src));
        const uint32_t qh = mox_le32(src + 2);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(five_low(src[6 + j], qh, j) - 16) * d;
            dst[j + 16] = (float)(five_high(src[6 + j], qh, j) - 16) * d;
        }
    }
}

void mox_dequant_q5_1(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 32, src += 24, dst += 32) {
        const float d = mox_f16_to_f32(mox_le16(src)), m = mox_f16_to_f32(mox_le16(src + 2));
        const uint32_t qh = mox_le32(src + 4);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)five_low(src[8 + j], qh, j) * d + m;
            dst[j + 16] = (float)five_high(src[8 + j], qh, j) * d + m;
        }
    }
}

void mox_dequant_q8_0(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 32, src += 34, dst += 32) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int j = 0; j < 32; j++) {
            dst[j] = (float)(int8_t)src[2 + j] * d;
        }
    }
}

/* Codes that stand for one of 16 values: `half` bytes give 2 * half elements. */
static void look_up(const uint8_t *q, const int8_t *values, float d, float *dst, int half)
{
    for (int j = 0; j < half; j++) {
        dst[j] = (float)values[q[j] & 15] * d;
        dst[j + half] = (float)values[q[j] >> 4] * d;
    }
}

void mox_dequant_iq4_nl(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 32, src += 18, dst += 32) {
        look_up(src + 2, mox_iq4_values, mox_f16_to_f32(mox_le16(src)), dst, 16);
    }
}

void mox_dequant_mxfp4(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 32, src += 17, dst += 32) {
        look_up(src + 1, mox_fp4_values, mox_e8m0_half(src[0]), dst, 16);
    }
}

void mox_dequant_nvfp4(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 64, src += 36, dst += 64) {
        for (int s = 0; s < 4; s++) {
            look_up(src + 4 + 8 * s, mox_fp4_values, mox_ue4m3_half(src[s]), dst + 16 * s, 8);
        }
    }
}
