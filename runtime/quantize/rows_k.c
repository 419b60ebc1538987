/* K-quants: blocks of 256 whose runs have integer scales, with minimums (Q2_K, Q4_K, Q5_K) or without (Q3_K, Q6_K).
 *
 * Here are the places of the bits, which kernels/dequant_k.c reads; the numbers come from search.h.
 */
#include "runtime/quantize/rows.h"
#include "runtime/quantize/search.h"

#include <string.h>

void mox_quantize_q2_k(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= MOX_BLOCK, x += MOX_BLOCK, dst += 84) {
        float w[MOX_BLOCK];
        mox_affine_block b;
        mox_weigh(x, MOX_BLOCK, 16, w);
        mox_search_affine(4, 16, 15, x, w, &b);
        memset(dst, 0, 84);
        for (int j = 0; j < 16; j++) {
            dst[j] = (uint8_t)(b.scale[j] | b.min[j] << 4);
        }
        for (int i = 0; i < MOX_BLOCK; i++) { /* two bits: four runs of 32 in each half's 32 bytes */
            dst[16 + 32 * (i / 128) + i % 32] |= (uint8_t)((int)b.code[i] << (2 * (i % 128 / 32)));
        }
        mox_put_f16(dst + 80, b.d);
        mox_put_f16(dst + 82, b.dmin);
    }
}

/* Sixteen 6-bit scales in 12 bytes: low nibbles in 8 bytes, high pairs in 4. */
static void put_q3_scales(uint8_t *to, const int scale[16])
{
    memset(to, 0, 12);
    for (int j = 0; j < 16; j++) {
        const int v = scale[j] + 32;
        to[j % 8] |= (uint8_t)((v & 15) << (4 * (j / 8)));
        to[8 + j % 4] |= (uint8_t)((v >> 4) << (2 * (j / 4)));
    }
}

void mox_quantize_q3_k(const float *x, uint8_t *dst, uint64_t n)
{
    const mox_levels levels = {.lo = -4.0f, .hi = 3.0f};
    for (; n != 0; n -= MOX_BLOCK, x += MOX_BLOCK, dst += 110) {
        float w[MOX_BLOCK];
        mox_symmetric_block b;
        mox_weigh(x, MOX_BLOCK, 16, w);
        mox_search_symmetric(&levels, 16, -32, 31, x, w, &b);
        memset(dst, 0, 110);
        for (int i = 0; i < MOX_BLOCK; i++) {
            const int code = (int)b.level[i] + 4;
            dst[i % 32] |= (uint8_t)((code >> 2) << (i / 32));
            dst[32 + 32 * (i / 128) + i % 32] |= (uint8_t)((code & 3) << (2 * (i % 128 / 32)));
        }
        put_q3_scales(dst + 96, b.scale);
        mox_put_f16(dst + 108, b.d);
    }
}

/* Eight 6-bit scales and minimums in 12 bytes: the first four whole, the others in nibbles and left-over pairs. */
static void put_q45_scales(uint8_t *to, const int scale[8], const int min[8])
{
    for (int j = 0; j < 4; j++) {
        to[j] = (uint8_t)(scale[j] | (scale[j + 4] >> 4) << 6);
        to[j + 4] = (uint8_t)(min[j] | (min[j + 4] >> 4) << 6);
        to[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

/* Head and nibbles; qh: the fifth bits of Q5_K, NULL for Q4_K. */
static void quantize_q45(const float *x, int n_codes, uint8_t *head, uint8_t *qh, uint8_t *q)
{
    float w[MOX_BLOCK];
    mox_affine_block b;
    mox_weigh(x, MOX_BLOCK, 32, w);
    mox_search_affine(n_codes, 32, 63, x, w, &b);
    mox_put_f16(head, b.d);
    mox_put_f16(head + 2, b.dmin);
    put_q45_scales(head + 4, b.scale, b.min);
    memset(q, 0, MOX_BLOCK / 2);
    for (int i = 0; i < MOX_BLOCK; i++) {
        const int code = (int)b.code[i], run = i / 32;
        q[32 * (run / 2) + i % 32] |= (uint8_t)((code & 15) << (4 * (run % 2)));
        if (qh) {
            qh[i % 32] |= (uint8_t)((code >> 4) << run);
        }
    }
}

void mox_quantize_q4_k(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= MOX_BLOCK, x += MOX_BLOCK, dst += 144) {
        quantize_q45(x, 16, dst, NULL, dst + 16);
    }
}

void mox_quantize_q5_k(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= MOX_BLOCK, x += MOX_BLOCK, dst += 176) {
        memset(dst + 16, 0, 32);
        quantize_q45(x, 32, dst, dst + 16, dst + 48);
    }
}

/* With 64 levels all elements count alike: on the demo model that is closer than with more weight on the large. */
void mox_quantize_q6_k(const float *x, uint8_t *dst, uint64_t n)
{
    const mox_levels levels = {.lo = -32.0f, .hi = 31.0f};
    for (; n != 0; n -= MOX_BLOCK, x += MOX_BLOCK, dst += 210) {
        float w[MOX_BLOCK];
        mox_symmetric_block b;
        for (int i = 0; i < MOX_BLOCK; i++) {
            w[i] = 1.0f;
        }
        mox_search_symmetric(&levels, 16, -128, 127, x, w, &b);
        memset(dst, 0, 210);
        for (int i = 0; i < MOX_BLOCK; i++) {
            const int code = (int)b.level[i] + 32, half = i / 128, quarter = i % 128 / 32;
            dst[64 * half + 32 * (quarter % 2) + i % 32] |= (uint8_t)((code & 15) << (4 * (quarter / 2)));
            dst[128 + 32 * half + i % 32] |= (uint8_t)((code >> 4) << (2 * quarter));
        }
        for (int j = 0; j < 16; j++) {
            dst[192 + j] = (uint8_t)(int8_t)b.scale[j];
        }
        mox_put_f16(dst + 208, b.d);
    }
}
