/* Types whose codes stand for the values of a book: IQ4_NL and IQ4_XS (16 uneven levels), MXFP4 (e2m1, times a power
 * of two).
 */
#include "kernels/dequant.h"
#include "kernels/half.h"
#include "runtime/quantize/rows.h"
#include "runtime/quantize/search.h"

#include <math.h>
#include <string.h>

static const float iq4_book[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
static const mox_levels iq4 = {.lo = -127.0f, .hi = 113.0f, .book = iq4_book, .n = 16};

static uint8_t iq4_code(float level)
{
    uint8_t code = 0;
    while (iq4_book[code] < level) {
        code++;
    }
    return code;
}

static void put_iq4(uint8_t *dst, const float level[32])
{
    for (int i = 0; i < 16; i++) {
        dst[i] = (uint8_t)(iq4_code(level[i]) | iq4_code(level[i + 16]) << 4);
    }
}

void mox_quantize_iq4_nl(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= 32, x += 32, dst += 18) {
        float w[32], level[32];
        mox_weigh(x, 32, 32, w);
        const float d = mox_as_f16(mox_best_scale(&iq4, x, w, 32));
        mox_nearest(&iq4, x, d != 0.0f ? 1.0f / d : 0.0f, 32, level);
        mox_put_f16(dst, d);
        put_iq4(dst + 2, level);
    }
}

void mox_quantize_iq4_xs(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= MOX_BLOCK, x += MOX_BLOCK, dst += 136) {
        float w[MOX_BLOCK];
        mox_symmetric_block b;
        uint16_t high = 0;
        mox_weigh(x, MOX_BLOCK, 32, w);
        mox_search_symmetric(&iq4, 32, -32, 31, x, w, &b);
        mox_put_f16(dst, b.d);
        memset(dst + 4, 0, 4);
        for (int j = 0; j < 8; j++) {
            const int v = b.scale[j] + 32;
            dst[4 + j / 2] |= (uint8_t)((v & 15) << (4 * (j % 2)));
            high |= (uint16_t)((v >> 4) << (2 * j));
            put_iq4(dst + 8 + 16 * j, b.level + 32 * j);
        }
        memcpy(dst + 2, &high, sizeof high);
    }
}

/* The codes for one exponent, and their error. */
static float take_fp4(const float *x, float scale, uint8_t code[32])
{
    static const float book[8] = {0, 1, 2, 3, 4, 6, 8, 12};
    float error = 0.0f;
    for (int i = 0; i < 32; i++) {
        const float v = fabsf(x[i]) / scale;
        uint8_t c = 0;
        while (c < 7 && v > 0.5f * (book[c] + book[c + 1])) {
            c++;
        }
        const float off = fabsf(x[i]) - scale * book[c];
        error += off * off;
        code[i] = (uint8_t)(x[i] < 0.0f && c > 0 ? c + 8 : c);
    }
    return error;
}

void mox_quantize_mxfp4(const float *x, uint8_t *dst, uint64_t n)
{
    for (; n != 0; n -= 32, x += 32, dst += 17) {
        float top = 0.0f, best = INFINITY;
        for (int i = 0; i < 32; i++) {
            top = fabsf(x[i]) > top ? fabsf(x[i]) : top;
        }
        memset(dst, 0, 17);
        if (top == 0.0f) {
            continue;
        }
        /* the largest of e2m1 is 6 = 1.5 * 2^2: exponents around the one that just holds `top` */
        const int middle = (int)(mox_f32_bits(top) >> 23) - 2;
        for (int e = middle - 1; e <= middle + 1; e++) {
            uint8_t code[32];
            const int in_range = e < 1 ? 1 : e > 254 ? 254 : e;
            const float error = take_fp4(x, mox_e8m0_half((uint8_t)in_range), code);
            if (error < best) {
                best = error;
                dst[0] = (uint8_t)in_range;
                for (int i = 0; i < 16; i++) {
                    dst[1 + i] = (uint8_t)(code[i] | code[i + 16] << 4);
                }
            }
        }
    }
}
