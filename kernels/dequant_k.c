/* Dequantisation of the types with blocks of 256 that need no code book: K-quants, IQ4_XS and the ternary
 * ones. */
#include "kernels/dequant.h"

#include "kernels/half.h"
#include "runtime/core/bits.h"

void mox_q4_k_scales(const uint8_t s[12], uint8_t sc[8], uint8_t mn[8])
{
    for (int j = 0; j < 4; j++) {
        sc[j] = s[j] & 63;
        mn[j] = s[j + 4] & 63;
        sc[j + 4] = (uint8_t)((s[j + 8] & 15) | (s[j] >> 6) << 4);
        mn[j + 4] = (uint8_t)(s[j + 8] >> 4 | (s[j + 4] >> 6) << 4);
    }
}

void mox_q3_k_scales(const uint8_t s[12], int8_t sc[16])
{
    for (int j = 0; j < 16; j++) {
        const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
        const int high = s[8 + j % 4] >> (2 * (j / 4)) & 3;
        sc[j] = (int8_t)((low | high << 4) - 32);
    }
}

void mox_dequant_q2_k(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 84) {
        const float d = mox_f16_to_f32(mox_le16(src + 80)), dmin = mox_f16_to_f32(mox_le16(src + 82));
        for (int j = 0; j < 16; j++, dst += 16) { /* 128-half, shift, half of its 32 bytes */
            const uint8_t *q = src + 16 + 32 * (j / 8) + 16 * (j % 2);
            const float dl = d * (float)(src[j] & 15), ml = dmin * (float)(src[j] >> 4);
            for (int l = 0; l < 16; l++) {
                dst[l] = dl * (float)(q[l] >> (2 * (j % 8 / 2)) & 3) - ml;
            }
        }
    }
}

void mox_dequant_q3_k(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 110) {
        const float d = mox_f16_to_f32(mox_le16(src + 108));
        int8_t sc[16];
        mox_q3_k_scales(src + 96, sc);
        for (int j = 0; j < 16; j++, dst += 16) {
            const uint8_t *h = src + 16 * (j % 2), *q = src + 32 + 32 * (j / 8) + 16 * (j % 2);
            const float dl = d * (float)sc[j];
            for (int l = 0; l < 16; l++) {
                const int low = q[l] >> (2 * (j % 8 / 2)) & 3;
                dst[l] = dl * (float)(low - (h[l] >> (j / 2) & 1 ? 0 : 4));
            }
        }
    }
}

/* Q4_K and Q5_K differ in the fifth bit: qh is NULL for the former. */
static void dequant_q45_k(const uint8_t *head, const uint8_t *qh, const uint8_t *q, float *dst)
{
    const float d = mox_f16_to_f32(mox_le16(head)), dmin = mox_f16_to_f32(mox_le16(head + 2));
    uint8_t sc[8], mn[8];
    mox_q4_k_scales(head + 4, sc, mn);
    for (int j = 0; j < 8; j++, dst += 32) {
        const float dl = d * (float)sc[j], ml = dmin * (float)mn[j];
        for (int l = 0; l < 32; l++) {
            const int fifth = qh != NULL ? (qh[l] >> j & 1) << 4 : 0;
            dst[l] = dl * (float)((q[32 * (j / 2) + l] >> (4 * (j % 2)) & 15) | fifth) - ml;
        }
    }
}

void mox_dequant_q4_k(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 144, dst += 256) {
        dequant_q45_k(src, NULL, src + 16, dst);
    }
}

void mox_dequant_q5_k(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 176, dst += 256) {
        dequant_q45_k(src, src + 16, src + 48, dst);
    }
}

void mox_dequant_q6_k(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 210) {
        const float d = mox_f16_to_f32(mox_le16(src + 208));
        for (int j = 0; j < 16; j++, dst += 16) { /* j: 128-half, quarter of it, half of the quarter */
            const int quarter = j % 8 / 2;
            const uint8_t *ql = src + 64 * (j / 8) + 32 * (quarter % 2) + 16 * (j % 2);
            const uint8_t *qh = src + 128 + 32 * (j / 8) + 16 * (j % 2);
            const float dl = d * (float)(int8_t)src[192 + j];
            for (int l = 0; l < 16; l++) {
                const int low = ql[l] >> (4 * (quarter / 2)) & 15, high = qh[l] >> (2 * quarter) & 3;
                dst[l] = dl * (float)((low | high << 4) - 32);
            }
        }
    }
}

void mox_dequant_iq4_xs(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 136) {
        const float d = mox_f16_to_f32(mox_le16(src));
        const uint32_t high = mox_le16(src + 2);
        for (int j = 0; j < 8; j++, dst += 32) {
            const int low = src[4 + j / 2] >> (4 * (j % 2)) & 15;
            const float dl = d * (float)((low | (int)(high >> (2 * j) & 3u) << 4) - 32);
            const uint8_t *q = src + 8 + 16 * j;
            for (int l = 0; l < 16; l++) {
                dst[l] = dl * (float)mox_iq4_values[q[l] & 15];
                dst[l + 16] = dl * (float)mox_iq4_values[q[l] >> 4];
            }
        }
    }
}

/* TQ1_0 stores five (the last four bytes: four) base-3 digits per byte as a fraction of 256: multiplying by
 * 3^k modulo 256 brings digit k to the top. `run` bytes give digits * run elements, digit by digit. */
static float *ternary_run(const uint8_t *q, int run, int digits, float d, float *dst)
{
    static const uint8_t pow3[5] = {1, 3, 9, 27, 81};
    for (int k = 0; k < digits; k++) {
        for (int l = 0; l < run; l++) {
            const uint8_t x = (uint8_t)(q[l] * pow3[k]);
            *dst++ = (float)((x * 3 >> 8) - 1) * d;
        }
    }
    return dst;
}

void mox_dequant_tq1_0(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 54) {
        const float d = mox_f16_to_f32(mox_le16(src + 52));
        dst = ternary_run(src, 32, 5, d, dst);
        dst = ternary_run(src + 32, 16, 5, d, dst);
        dst = ternary_run(src + 48, 4, 4, d, dst);
    }
}

void mox_dequant_tq2_0(const uint8_t *src, float *dst, uint64_t n)
{
    for (; n != 0; n -= 256, src += 66) {
        const float d = mox_f16_to_f32(mox_le16(src + 64));
        for (int j = 0; j < 8; j++, dst += 32) {
            for (int l = 0; l < 32; l++) {
                dst[l] = (float)((src[32 * (j / 4) + l] >> (2 * (j % 4)) & 3) - 1) * d;
            }
        }
    }
}
