/* AVX2 tiles of the formats whose sub-block is 32 columns: lines of codes of which the low half belongs to
 * columns 0-15 and the high half to 16-31. Two integer products serve all: small codes are made unsigned by
 * an offset and added in int16, four lines at a time; large ones (8 bits, IQ4 tables) go as |w| with the sign
 * of w moved to the activation and are widened line by line. A format is a row of b32_shape and a function
 * that unpacks its codes. IQ4_XS has the same codes under the scales of a K-quant. Reached through
 * mox_tile_of.
 */
#include "kernels/x86/codes_b32_avx2.h"

#include <stddef.h>

_Static_assert(offsetof(mox_act_k, q) == 0 && offsetof(mox_act_b, q) == 0, "codes come first in both");

enum { MAX_SMALL_CODE = 31, MAX_LARGE_CODE = 128 };
_Static_assert(4 * 2 * MAX_SMALL_CODE * 127 <= INT16_MAX && 2 * FP4_OFFSET <= MAX_SMALL_CODE,
               "four lines of small codes fit int16");
_Static_assert(2 * MAX_LARGE_CODE * 127 <= INT16_MAX, "one line of large codes fits int16");

typedef __m256 b32_scales_fn(const uint8_t *p);

typedef struct b32_shape {
    b32_codes_fn *codes;
    b32_scales_fn *scales;
    uint32_t head, body; /* bytes per sub-block; minimums stand behind the scales */
    uint32_t scale;      /* bytes of a scale */
    int offset;          /* what small codes have too much */
    bool large, mins;
} b32_shape;

/* s[i] += mult * (codes of the sub-block at q times the activation's codes from column `col`); mult: int16
 * pairs */
BODY b32_dot_large(b32_codes_fn *codes, const uint8_t *q, uint32_t col, __m256i mult, const void *const *x,
                   uint32_t n, __m256i *s)
{
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        __m256i w[2];
        codes(q, k, &w[0], &w[1]);
#pragma GCC unroll 2
        for (uint32_t c = 0; c < 2; c++) {
            __m256i mag = _mm256_abs_epi8(w[c]);
            EACH_ROW
            {
                __m256i a = broadcast4((const int8_t *)x[i] + col + 16 * c + 4 * k);
                __m256i pairs = _mm256_maddubs_epi16(mag, _mm256_sign_epi8(a, w[c]));
                s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(pairs, mult));
            }
        }
    }
}

/* The same for unsigned codes up to MAX_SMALL_CODE. */
BODY b32_dot_small(b32_codes_fn *codes, const uint8_t *q, uint32_t col, __m256i mult, const void *const *x,
                   uint32_t n, __m256i *s)
{
    __m256i low[MOX_TILE_ROWS], high[MOX_TILE_ROWS];
    EACH_ROW low[i] = high[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        __m256i l, h;
        codes(q, k, &l, &h);
        EACH_ROW
        {
            const int8_t *a = (const int8_t *)x[i] + col + 4 * k;
            low[i] = _mm256_add_epi16(low[i], _mm256_maddubs_epi16(l, broadcast4(a)));
            high[i] = _mm256_add_epi16(high[i], _mm256_maddubs_epi16(h, broadcast4(a + 16)));
        }
    }
    EACH_ROW
    {
        __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(low[i], mult), _mm256_madd_epi16(high[i], mult));
        s[i] = _mm256_add_epi32(s[i], sum);
    }
}

/* t = fma(scale * a_j, (f32)S, t) */
static inline __m256 b32_add(__m256 t, __m256 scale, const mox_act_b *a, uint32_t j, __m256i sum)
{
    return _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_set1_ps(a->d[j])), _mm256_cvtepi32_ps(sum), t);
}

BODY b32(b32_shape f, const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n,
         float (*p)[R])
{
    const __m256i one = _mm256_set1_epi16(1);
    const uint32_t n_sub = cols / 32;
    const uint8_t *head = chunk + f.scale * HALF * half;
    const uint8_t *q = chunk + (size_t)n_sub * f.head + 32 * (size_t)half;
    __m256 t[MOX_TILE_ROWS];
    EACH_ROW t[i] = _mm256_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += f.body) {
        __m256i s[MOX_TILE_ROWS];
        EACH_ROW s[i] = _mm256_set1_epi32(-f.offset * ((const mox_act_b *)x[i])->sum[j]);
        if (f.large) {
            b32_dot_large(f.codes, q, 32 * j, one, x, n, s);
        } else {
            b32_dot_small(f.codes, q, 32 * j, one, x, n, s);
        }
        __m256 d = f.scales(head + (size_t)j * f.head);
        EACH_ROW t[i] = b32_add(t[i], d, x[i], j, s[i]);
    }
    for (uint32_t j = 0; f.mins && j < n_sub; j++) {
        __m256 m = f.scales(head + (size_t)j * f.head + f.head / 2);
        EACH_ROW t[i] = b32_add(t[i], m, x[i], j, _mm256_set1_epi32(((const mox_act_b *)x[i])->sum[j]));
    }
    EACH_ROW _mm256_storeu_ps(p[i] + HALF * half, t[i]);
}

#define B32_TILE(name, ...)                                                                                  \
    BODY name(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n,          \
              float(*p)[R])                                                                                  \
    {                                                                                                        \
        b32((b32_shape){__VA_ARGS__}, chunk, cols, half, x, n, p);                                           \
    }                                                                                                        \
    TILE(name)
#define F16_SCALES .scales = scales_f16, .scale = 2

B32_TILE(q8_0, F16_SCALES, .codes = codes_8, .head = 32, .body = 8 * LINE, .large = true)
B32_TILE(q4_0, F16_SCALES, .codes = codes_4, .head = 32, .body = 4 * LINE, .offset = 8)
B32_TILE(q4_1, F16_SCALES, .codes = codes_4, .head = 64, .body = 4 * LINE, .mins = true)
B32_TILE(q5_0, F16_SCALES, .codes = codes_5, .head = 32, .body = 5 * LINE, .offset = 16)
B32_TILE(q5_1, F16_SCALES, .codes = codes_5, .head = 64, .body = 5 * LINE, .mins = true)
B32_TILE(iq4_nl, F16_SCALES, .codes = codes_iq4, .head = 32, .body = 4 * LINE, .large = true)
B32_TILE(mxfp4, .scales = scales_e8m0, .scale = 1, .codes = codes_fp4, .head = 16, .body = 4 * LINE,
         .offset = FP4_OFFSET)

BODY iq4_xs(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n,
            float (*p)[R])
{
    (void)cols;
    const uint8_t *q = chunk + 2 * LINE + 32 * half; /* behind d, upper scale bits; scale bytes */
    __m256i sum[MOX_TILE_ROWS];
    EACH_ROW sum[i] = _mm256_setzero_si256();
    for (uint32_t j = 0; j < 8; j++, q += 4 * LINE) {
        b32_dot_large(codes_iq4, q, 32 * j, iq4_xs_scale(chunk, half, j), x, n, sum);
    }
    EACH_ROW k_finish(chunk, half, sum[i], ((const mox_act_k *)x[i])->d, p[i]);
}
TILE(iq4_xs)
