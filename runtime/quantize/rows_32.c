/* Types of 32 elements with a scale, and with a minimum beside it: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0.
 *
 * The first half of a block lies in the low nibbles, the second in the high ones; fifth bits are 32 bits of their own.
 */
#include "runtime/quantize/rows.h"
#include "runtime/quantize/search.h"

#include <math.h>
#include <string.h>

enum { N = 32 };

static void put_nibbles(uint8_t *dst, const uint8_t code[N])
{
    for (int i = 0; i < N / 2; i++) {
        dst[i] = (uint8_t)((code[i] & 15) | (code[i + N / 2] & 15) << 4);
    }
}

static void put_fifth(uint8_t *dst, const uint8_t code[N])
{
    uint32_t bits = 0;
    for (int i = 0; i < N; i++) {
        bits |= (uint32_t)(code[i] >> 4 & 1) << i;
    }
    memcpy(dst, &bits, sizeof bits);
}

/* Codes 0 .. 2 * half - 1 that stand for scale * (code - half); returns the scale, which f16 holds. */
static float symmetric(const float *x, int half, uint8_t code[N])
{
    const mox_levels levels = {.lo = (float)-half, .hi = (float)(half - 1)};
    float w[N], level[N];
    mox_weigh(x, N, N, w);
    const float d = mox_as_f16(mox_best_scale(&levels, x, w, N));
    mox_nearest(&levels, x, d != 0.0f ? 1.0f / d : 0.0f, N, level);
    for (int i = 0; i < N; i++) {
        code[i] = (uint8_t)((int)level[i] + half);
    }
    return d;
}

/* Codes 0 .. n_codes - 1 that stand for scale * code + offset. */
static void affine(const float *x, int n_codes, uint8_t code[N], float *scale, float *offset)
{
    const mox_levels levels = {.lo = 0.0f, .hi = (float)(n_codes - 1)};
    float w[N], from[N], level[N];
    mox_weigh(x, N, N, w);
    mox_best_affine(n_codes, true, x, w, N, scale, offset);
    *scale = mox_as_f16(*scale);
    *offset = mox_as_f16(*offset);
    for (int i = 0; i < N; i++) {
        from[i] = x[i] - *offset;
    }
    mox_nearest(&levels, from, *scale != 0.0f ? 1.0f / *scale : 0.0f, N, level);
    for (int i = 0; i < N; i++) {
        code[i] = (uint8_t)level[i];
    }
}

void mox_quantize_q4_0(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= N, x += N, dst += 18) {
        uint8_t code[N];
        mox_put_f16(dst, symmetric(x, 8, code));
        put_nibbles(dst + 2, code);
    }
}

void mox_quantize_q5_0(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= N, x += N, dst += 22) {
        uint8_t code[N];
        mox_put_f16(dst, symmetric(x, 16, code));
        put_fifth(dst + 2, code);
        put_nibbles(dst + 6, code);
    }
}

void mox_quantize_q4_1(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= N, x += N, dst += 20) {
        uint8_t code[N];
        float scale, offset;
        affine(x, 16, code, &scale, &offset);
        mox_put_f16(dst, scale);
        mox_put_f16(dst + 2, offset);
        put_nibbles(dst + 4, code);
    }
}

void mox_quantize_q5_1(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= N, x += N, dst += 24) {
        uint8_t code[N];
        float scale, offset;
        affine(x, 32, code, &scale, &offset);
        mox_put_f16(dst, scale);
        mox_put_f16(dst + 2, offset);
        put_fifth(dst + 4, code);
        put_nibbles(dst + 8, code);
    }
}

/* With 255 levels a search wins nothing: the largest element decides. Codes are those of the scale before it is rounded,
 * as everywhere. */
void mox_quantize_q8_0(const float *x, uint8_t *dst, uint64_t n)
{
    const mox_levels levels = {.lo = -127.0f, .hi = 127.0f};
    for (; n != 0; n -= N, x += N, dst += 34) {
        float top = 0.0f, level[N];
        for (int i = 0; i < N; i++) {
            top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
        }
        const float d = top / 127.0f;
        mox_nearest(&levels, x, d > 1e-30f ? 1.0f / d : 0.0f, N, level);
        mox_put_f16(dst, mox_as_f16(d));
        for (int i = 0; i < N; i++) {
            dst[2 + i] = (uint8_t)(int8_t)level[i];
        }
    }
}
