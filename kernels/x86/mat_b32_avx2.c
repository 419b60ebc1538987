/* AVX2 tiles of the formats whose sub-block is 32 columns: lines of codes of which the low half belongs to
 * columns 0-15 and the high half to 16-31. Two integer products serve all: small codes are made unsigned by
 * an offset and added in int16, four lines at a time; large ones (8 bits, IQ4 tables) go as |w| with the sign
 * of w moved to the activation and are widened line by line. A format is a row of b32_shape and a function
 * that unpacks its codes. IQ4_XS has the same codes under the scales of a K-quant. Reached through
 * mox_tile_of.
 */
#include "kernels/dequant.h"
#include "kernels/x86/mat_avx2.h"

#include <stddef.h>

_Static_assert(offsetof(mox_act_k, q) == 0 && offsetof(mox_act_b, q) == 0, "codes come first in both");

enum { FP4_OFFSET = 12, MAX_SMALL_CODE = 31, MAX_LARGE_CODE = 128 };
_Static_assert(4 * 2 * MAX_SMALL_CODE * 127 <= INT16_MAX && 2 * FP4_OFFSET <= MAX_SMALL_CODE,
               "four lines of small codes fit int16");
_Static_assert(2 * MAX_LARGE_CODE * 127 <= INT16_MAX, "one line of large codes fits int16");

/* Step k of four: the codes of columns 4k..4k+3 (low) and 16 + 4k.. (high) of the sub-block at q (of the
 * half).
 */
typedef void b32_codes_fn(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high);
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

INLINE void codes_8(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    *low = load(q + k * LINE);
    *high = load(q + (4 + k) * LINE);
}

INLINE void codes_4(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    __m256i v = load(q + k * LINE);
    *low = nibbles_low(v);
    *high = nibbles_high(v);
}

/* Nibbles as places in a table of 16 signed values, plus an offset. */
INLINE void codes_table(const int8_t *values, int offset, const uint8_t *q, uint32_t k, __m256i *low,
                        __m256i *high)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)values);
    __m256i table = _mm256_broadcastsi128_si256(_mm_add_epi8(v, _mm_set1_epi8((char)offset)));
    codes_4(q, k, low, high);
    *low = _mm256_shuffle_epi8(table, *low);
    *high = _mm256_shuffle_epi8(table, *high);
}

INLINE void codes_iq4(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    codes_table(mox_iq4_values, 0, q, k, low, high);
}

INLINE void codes_fp4(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    codes_table(mox_fp4_values, FP4_OFFSET, q, k, low, high);
}

/* code + 16 where bits 4 * (place % 2) + {0, 1, 2, 3} of byte place / 2 of the row's 32 bits are set */
INLINE __m256i with_fifth(__m256i code, __m256i bits, uint32_t place)
{
    const int byte = 0x01010101 * (int)(place / 2);
    const __m256i of_row = _mm256_broadcastsi128_si256(
        _mm_set_epi32(0x0c0c0c0c + byte, 0x08080808 + byte, 0x04040404 + byte, byte));
    const __m256i bit = _mm256_set1_epi32(place % 2 == 0 ? 0x08040201 : (int)0x80402010);
    __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bits, of_row), bit), bit);
    return _mm256_or_si256(code, _mm256_and_si256(set, _mm256_set1_epi8(16)));
}

/* Q5_0, Q5_1: a line with each row's 32 fifth bits, then the nibbles. */
INLINE void codes_5(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    __m256i bits = load(q);
    codes_4(q + LINE, k, low, high);
    *low = with_fifth(*low, bits, k);
    *high = with_fifth(*high, bits, 4 + k);
}

/* mox_e8m0_half of 8 bytes: 2^(e-128), of which the two smallest are denormals */
static inline __m256 scales_e8m0(const uint8_t *p)
{
    __m256i e = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    __m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, is_small));
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

/* IQ4_XS, scale of sub-block j as a pair of int16 per row of the half: four low bits in the scale bytes, two
 * high ones in 16 bits per row, minus 32 */
static inline __m256i iq4_xs_scale(const uint8_t *chunk, uint32_t half, uint32_t j)
{
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(chunk + 32 + 16 * half));
    __m128i byte = _mm_loadl_epi64((const __m128i *)(const void *)(chunk + LINE + j / 2 * R + HALF * half));
    __m128i low = _mm_srl_epi16(_mm_cvtepu8_epi16(byte), _mm_cvtsi32_si128(4 * (int)(j % 2)));
    __m128i top = _mm_slli_epi16(_mm_srl_epi16(high, _mm_cvtsi32_si128(2 * (int)j)), 4);
    __m128i code =
        _mm_or_si128(_mm_and_si128(low, _mm_set1_epi16(15)), _mm_and_si128(top, _mm_set1_epi16(0x30)));
    __m128i sc = _mm_sub_epi16(code, _mm_set1_epi16(32));
    return _mm256_set_m128i(_mm_unpackhi_epi16(sc, sc), _mm_unpacklo_epi16(sc, sc));
}

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
