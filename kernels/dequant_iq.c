/* Dequantisation of the IQ1, IQ2 and IQ3 formats: indices into the code books of iq_grids.c, signs, scales.
 * A group is what one index stands for: eight values, in the IQ3 formats four (two indices per sign byte). */
#include "kernels/dequant.h"

#include "kernels/half.h"
#include "kernels/iq_grids.h"
#include "runtime/core/bits.h"

static const float iq2_levels[4] = {8, 25, 43, 0};
static const float iq3xxs_levels[8] = {4, 12, 20, 28, 36, 44, 52, 62};
static const float iq3s_levels[8] = {1, 3, 5, 7, 9, 11, 13, 15};

/* Seven stored sign bits; the eighth makes the number of minus signs even. */
static uint32_t even_signs(uint32_t seven)
{
    return seven | (uint32_t)(__builtin_popcount(seven) & 1) << 7;
}

static float signed_value(float v, uint32_t signs, int j)
{
    return signs >> j & 1u ? -v : v;
}

static void iq2_group(uint16_t entry, uint32_t signs, float db, float *dst)
{
    for (int j = 0; j < 8; j++) {
        dst[j] = signed_value(db * iq2_levels[entry >> (2 * j) & 3], signs, j);
    }
}

static void iq3_group(uint16_t first, uint16_t second, const float *levels, uint32_t signs, float db,
                      float *dst)
{
    for (int j = 0; j < 4; j++) {
        dst[j] = signed_value(db * levels[first >> (3 * j) & 7], signs, j);
        dst[j + 4] = signed_value(db * levels[second >> (3 * j) & 7], signs, j + 4);
    }
}

static void iq1_group(uint16_t entry, float delta, float dl, float *dst)
{
    for (int j = 0; j < 8; j++) {
        dst[j] = dl * ((float)((entry >> (2 * j) & 3) - 1) + delta);
    }
}

void mox_dequant_iq2_xxs(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 66) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int ib = 0; ib < 8; ib++) {
            const uint8_t *q = src + 2 + 8 * ib;
            const uint32_t aux = mox_le32(q + 4);
            const float db = d * (0.5f + (float)(aux >> 28)) * 0.25f;
            for (int l = 0; l < 4; l++, dst += 8) {
                iq2_group(mox_iq2xxs_grid[q[l]], even_signs(aux >> (7 * l) & 127u), db, dst);
            }
        }
    }
}

/* IQ2_XS and IQ2_S: a 4-bit scale per 16 elements. */
static float iq2_scale(float d, uint8_t scales, int l)
{
    return d * (0.5f + (float)(scales >> (4 * (l / 2)) & 15)) * 0.25f;
}

void mox_dequant_iq2_xs(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 74) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int g = 0; g < 32; g++, dst += 8) {
            const uint32_t q = mox_le16(src + 2 + 2 * g);
            iq2_group(mox_iq2xs_grid[q & 511u], even_signs(q >> 9), iq2_scale(d, src[66 + g / 4], g % 4),
                      dst);
        }
    }
}

void mox_dequant_iq2_s(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 82) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int g = 0; g < 32; g++, dst += 8) {
            const uint32_t idx = src[2 + g] | (src[66 + g / 4] >> (2 * (g % 4)) & 3u) << 8;
            iq2_group(mox_iq2s_grid[idx], src[34 + g], iq2_scale(d, src[74 + g / 4], g % 4), dst);
        }
    }
}

void mox_dequant_iq3_xxs(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 98) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int g = 0; g < 32; g++, dst += 8) {
            const uint32_t aux = mox_le32(src + 66 + 4 * (g / 4));
            const float db = d * (0.5f + (float)(aux >> 28)) * 0.5f;
            const uint8_t *q = src + 2 + 2 * g;
            iq3_group(mox_iq3xxs_grid[q[0]], mox_iq3xxs_grid[q[1]], iq3xxs_levels,
                      even_signs(aux >> (7 * (g % 4)) & 127u), db, dst);
        }
    }
}

void mox_dequant_iq3_s(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 110) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int g = 0; g < 32; g++, dst += 8) {
            const float db = d * (float)(1 + 2 * (src[106 + g / 8] >> (4 * (g / 4 % 2)) & 15));
            const uint32_t high = src[66 + g / 4] >> (2 * (g % 4));
            const uint32_t first = src[2 + 2 * g] | (high & 1u) << 8;
            const uint32_t second = src[3 + 2 * g] | (high >> 1 & 1u) << 8;
            iq3_group(mox_iq3s_grid[first], mox_iq3s_grid[second], iq3s_levels, src[74 + g], db, dst);
        }
    }
}

void mox_dequant_iq1_s(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 50) {
        const float d = mox_f16_to_f32(mox_le16(src));
        for (int g = 0; g < 32; g++, dst += 8) {
            const uint32_t qh = mox_le16(src + 34 + 2 * (g / 4));
            const float dl = d * (float)(2 * (qh >> 12 & 7u) + 1);
            const uint32_t idx = src[2 + g] | (qh >> (3 * (g % 4)) & 7u) << 8;
            iq1_group(mox_iq1s_grid[idx], qh & 0x8000u ? -0.125f : 0.125f, dl, dst);
        }
    }
}

void mox_dequant_iq1_m(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 56) {
        /* The f16 scale is spread over the top nibbles of the four scale words. */
        uint32_t bits = 0;
        for (int w = 0; w < 4; w++) {
            bits |= (mox_le16(src + 48 + 2 * w) >> 12) << (4 * w);
        }
        const float d = mox_f16_to_f32((uint16_t)bits);
        for (int g = 0; g < 32; g++, dst += 8) {
            const uint32_t word = mox_le16(src + 48 + 2 * (g / 8));
            const float dl = d * (float)(2 * (word >> (3 * (g / 2 % 4)) & 7u) + 1);
            const uint32_t qh = src[32 + g / 2] >> (4 * (g % 2));
            iq1_group(mox_iq1s_grid[src[g] | (qh & 7u) << 8], qh & 8u ? -0.125f : 0.125f, dl, dst);
        }
    }
}
