/* AVX-512 tiles of the formats whose sub-block is 32 columns: lines of codes of which the low half belongs to
 * columns 0-15 and the high half to 16-31. One integer product serves all; a format is a row of b32_shape and
 * a function that unpacks its codes. IQ4_XS has the same codes under the scales of a K-quant. Codes are made
 * unsigned for dpbusd: Q8_0's by their top bit, tables by an offset in the table's register copy. Reached
 * through mox_tile_of.
 */
#include "kernels/dequant.h"
#include "kernels/x86/mat_avx512.h"

#include <stddef.h>

_Static_assert(offsetof(mox_act_k, q) == 0 && offsetof(mox_act_b, q) == 0, "codes come first in both");

/* Step k of four: the unsigned codes of columns 4k..4k+3 (low) and 16 + 4k.. (high) of the sub-block at q. */
typedef void b32_codes_fn(const uint8_t *q, uint32_t k, __m512i *low, __m512i *high);
typedef __m512 b32_scales_fn(const uint8_t *p);

typedef struct b32_shape {
    b32_codes_fn *codes;
    b32_scales_fn *scales;
    uint32_t head, body; /* bytes per sub-block; minimums stand behind the scales */
    int offset;          /* what the unsigned codes have too much */
    bool mins;
} b32_shape;

/* s[i] += codes of the sub-block at q times the activation's codes from column `col` */
BODY b32_dot(b32_codes_fn *codes, const uint8_t *q, uint32_t col, const void *const *x, uint32_t n,
             __m512i *s)
{
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        __m512i low, high;
        codes(q, k, &low, &high);
        EACH_ROW
        {
            const int8_t *a = (const int8_t *)x[i] + col + 4 * k;
            s[i] = _mm512_dpbusd_epi32(s[i], low, broadcast4(a));
            s[i] = _mm512_dpbusd_epi32(s[i], high, broadcast4(a + 16));
        }
    }
}

/* t = fma(scale * a_j, (f32)S, t) */
static inline __m512 b32_add(__m512 t, __m512 scale, const mox_act_b *a, uint32_t j, __m512i sum)
{
    return _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(a->d[j])), _mm512_cvtepi32_ps(sum), t);
}

BODY b32(b32_shape f, const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    const uint32_t n_sub = cols / 32;
    const uint8_t *q = chunk + (size_t)n_sub * f.head;
    __m512 t[MOX_TILE_ROWS];
    EACH_ROW t[i] = _mm512_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += f.body) {
        __m512i s[MOX_TILE_ROWS];
        EACH_ROW s[i] = _mm512_set1_epi32(-f.offset * ((const mox_act_b *)x[i])->sum[j]);
        b32_dot(f.codes, q, 32 * j, x, n, s);
        __m512 d = f.scales(chunk + (size_t)j * f.head);
        EACH_ROW t[i] = b32_add(t[i], d, x[i], j, s[i]);
    }
    for (uint32_t j = 0; f.mins && j < n_sub; j++) {
        __m512 m = f.scales(chunk + (size_t)j * f.head + f.head / 2);
        EACH_ROW t[i] = b32_add(t[i], m, x[i], j, _mm512_set1_epi32(((const mox_act_b *)x[i])->sum[j]));
    }
    EACH_ROW _mm512_storeu_ps(p[i], t[i]);
}

INLINE void codes_8(const uint8_t *q, uint32_t k, __m512i *low, __m512i *high)
{
    const __m512i top_bit = _mm512_set1_epi8(-128);
    *low = _mm512_xor_si512(line(q + k * LINE), top_bit);
    *high = _mm512_xor_si512(line(q + (4 + k) * LINE), top_bit);
}

INLINE void codes_4(const uint8_t *q, uint32_t k, __m512i *low, __m512i *high)
{
    __m512i v = line(q + k * LINE);
    *low = nibbles_low(v);
    *high = nibbles_high(v);
}

/* Nibbles as places in a table of 16 signed values, made unsigned by an offset. */
INLINE void codes_table(const int8_t *values, int offset, const uint8_t *q, uint32_t k, __m512i *low,
                        __m512i *high)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)values);
    __m512i table = _mm512_broadcast_i32x4(_mm_add_epi8(v, _mm_set1_epi8((char)offset)));
    codes_4(q, k, low, high);
    *low = _mm512_shuffle_epi8(table, *low);
    *high = _mm512_shuffle_epi8(table, *high);
}

enum { IQ4_OFFSET = 128, FP4_OFFSET = 12 };

INLINE void codes_iq4(const uint8_t *q, uint32_t k, __m512i *low, __m512i *high)
{
    codes_table(mox_iq4_values, IQ4_OFFSET, q, k, low, high);
}

INLINE void codes_fp4(const uint8_t *q, uint32_t k, __m512i *low, __m512i *high)
{
    codes_table(mox_fp4_values, FP4_OFFSET, q, k, low, high);
}

/* code + 16 where bits 4 * (place % 2) + {0, 1, 2, 3} of byte place / 2 of the row's 32 bits are set */
INLINE __m512i with_fifth(__m512i code, __m512i bits, uint32_t place)
{
    const int byte = 0x01010101 * (int)(place / 2);
    const __m512i of_row =
        _mm512_broadcast_i32x4(_mm_set_epi32(0x0c0c0c0c + byte, 0x08080808 + byte, 0x04040404 + byte, byte));
    const __m512i bit = _mm512_set1_epi32(place % 2 == 0 ? 0x08040201 : (int)0x80402010);
    __mmask64 set = _mm512_test_epi8_mask(_mm512_shuffle_epi8(bits, of_row), bit);
    return _mm512_mask_add_epi8(code, set, code, _mm512_set1_epi8(16));
}

/* Q5_0, Q5_1: a line with each row's 32 fifth bits, then the nibbles. */
INLINE void codes_5(const uint8_t *q, uint32_t k, __m512i *low, __m512i *high)
{
    __m512i bits = line(q);
    codes_4(q + LINE, k, low, high);
    *low = with_fifth(*low, bits, k);
    *high = with_fifth(*high, bits, 4 + k);
}

/* mox_e8m0_half of 16 bytes: 2^(e-128), of which the two smallest are denormals */
static inline __m512 scales_e8m0(const uint8_t *p)
{
    __m512i e = widen_u8(p), one = _mm512_set1_epi32(1);
    __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
    __m512i small = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
    return _mm512_castsi512_ps(_mm512_mask_mov_epi32(normal, _mm512_cmple_epu32_mask(e, one), small));
}

#define B32_TILE(name, ...)                                                                                  \
    BODY name(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R])           \
    {                                                                                                        \
        b32((b32_shape){__VA_ARGS__}, chunk, cols, x, n, p);                                                 \
    }                                                                                                        \
    TILE(name)

B32_TILE(q8_0, .codes = codes_8, .scales = scales_f16, .head = 32, .body = 8 * LINE, .offset = 128)
B32_TILE(q4_0, .codes = codes_4, .scales = scales_f16, .head = 32, .body = 4 * LINE, .offset = 8)
B32_TILE(q4_1, .codes = codes_4, .scales = scales_f16, .head = 64, .body = 4 * LINE, .mins = true)
B32_TILE(q5_0, .codes = codes_5, .scales = scales_f16, .head = 32, .body = 5 * LINE, .offset = 16)
B32_TILE(q5_1, .codes = codes_5, .scales = scales_f16, .head = 64, .body = 5 * LINE, .mins = true)
B32_TILE(iq4_nl, .codes = codes_iq4, .scales = scales_f16, .head = 32, .body = 4 * LINE, .offset = IQ4_OFFSET)
B32_TILE(mxfp4, .codes = codes_fp4, .scales = scales_e8m0, .head = 16, .body = 4 * LINE, .offset = FP4_OFFSET)

/* IQ4_XS, scale of sub-block j: four low bits in the scale bytes, two high ones in 16 bits per row, minus 32
 */
static inline __m512i iq4_xs_scale(const uint8_t *chunk, uint32_t j)
{
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(chunk + 32));
    __m512i top =
        _mm512_srl_epi32(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 4), _mm_cvtsi32_si128(2 * (int)j));
    __m512i low = _mm512_srl_epi32(widen_u8(chunk + LINE + j / 2 * R), _mm_cvtsi32_si128(4 * (int)(j % 2)));
    low = _mm512_and_si512(low, _mm512_set1_epi32(15));
    return _mm512_sub_epi32(or_masked(low, top, _mm512_set1_epi32(0x30)), _mm512_set1_epi32(32));
}

BODY iq4_xs(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *q = chunk + 2 * LINE; /* d, upper scale bits; scale bytes */
    __m512i sum[MOX_TILE_ROWS];
    EACH_ROW sum[i] = _mm512_setzero_si512();
    for (uint32_t j = 0; j < 8; j++, q += 4 * LINE) {
        __m512i s[MOX_TILE_ROWS];
        EACH_ROW
        {
            const int16_t *of = ((const mox_act_k *)x[i])->sum + 2 * j;
            s[i] = _mm512_set1_epi32(-IQ4_OFFSET * (of[0] + of[1]));
        }
        b32_dot(codes_iq4, q, 32 * j, x, n, s);
        __m512i sc = iq4_xs_scale(chunk, j);
        EACH_ROW sum[i] = _mm512_add_epi32(sum[i], _mm512_mullo_epi32(s[i], sc));
    }
    EACH_ROW k_finish(chunk, sum[i], ((const mox_act_k *)x[i])->d, p[i]);
}
TILE(iq4_xs)
