/* AVX-VNNI tiles of the formats whose sub-block is 32 columns: lines of codes of which the low half belongs
 * to columns 0-15 and the high half to 16-31. One integer product serves all; a format is a row of b32_shape
 * and a function that unpacks its codes. IQ4_XS has the same codes under the scales of a K-quant. Codes are
 * made unsigned for dpbusd: Q8_0's by their top bit, tables by an offset in the table's register copy.
 * Compiled once per encoding (mat_avxvnni.h), reached through mox_tile_of.
 */
#ifndef MOX_KERNELS_X86_MAT_B32_AVXVNNI_H
#define MOX_KERNELS_X86_MAT_B32_AVXVNNI_H

#include "kernels/dequant.h"
#include "kernels/x86/mat_avxvnni.h"

#include <stddef.h>

_Static_assert(offsetof(mox_act_k, q) == 0 && offsetof(mox_act_b, q) == 0, "codes come first in both");

/* Step k of four: the unsigned codes of columns 4k..4k+3 (low) and 16 + 4k.. (high) of the sub-block at q (of
 * the half). */
typedef void b32_codes_fn(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high);
typedef __m256 b32_scales_fn(const uint8_t *p);

typedef struct b32_shape {
    b32_codes_fn *codes;
    b32_scales_fn *scales;
    uint32_t head, body; /* bytes per sub-block; minimums stand behind the scales */
    uint32_t scale;      /* bytes of a scale */
    int offset;          /* what the unsigned codes have too much */
    bool mins;
} b32_shape;

/* s += codes of the sub-block at q times the activation's codes from column `col` */
BODY b32_dot(b32_codes_fn *codes, const uint8_t *q, uint32_t col, uint32_t wide, const void *const *x,
             uint32_t n, vnni_acc s)
{
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        EACH_HALF
        {
            __m256i low, high;
            codes(q + 32 * (size_t)w, k, &low, &high);
            EACH_ROW
            {
                const int8_t *a = (const int8_t *)x[i] + col + 4 * k;
                s[w][i] = MOX_VNNI(dpbusd)(s[w][i], low, broadcast4(a));
                s[w][i] = MOX_VNNI(dpbusd)(s[w][i], high, broadcast4(a + 16));
            }
        }
    }
}

/* The sums of a block's eight sub-blocks as int32, times `by`: accumulators start with them. */
typedef struct b32_sums {
    _Alignas(32) int32_t of[8];
} b32_sums;

static inline void b32_times(__m256i sums, int by, b32_sums *out)
{
    _mm256_store_si256((__m256i *)(void *)out->of, _mm256_mullo_epi32(sums, _mm256_set1_epi32(by)));
}

/* t = fma(scale * a_j, (f32)S, t) */
static inline __m256 b32_add(__m256 t, __m256 scale, const mox_act_b *a, uint32_t j, __m256i sum)
{
    return _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_set1_ps(a->d[j])), _mm256_cvtepi32_ps(sum), t);
}

BODY b32(b32_shape f, VNNI_ARGS)
{
    const uint32_t n_sub = cols / 32;
    const uint8_t *head = chunk + f.scale * HALF * half;
    const uint8_t *q = chunk + (size_t)n_sub * f.head + 32 * (size_t)half;
    b32_sums sums[MOX_TILE_ROWS], start[MOX_TILE_ROWS];
    __m256 t[2][MOX_TILE_ROWS];
    EACH_ROW
    {
        const __m128i *at = (const __m128i *)(const void *)((const mox_act_b *)x[i])->sum;
        __m256i wider = _mm256_cvtepi16_epi32(_mm_load_si128(at));
        b32_times(wider, -f.offset, &start[i]);
        b32_times(wider, 1, &sums[i]);
    }
    EACH_HALF EACH_ROW t[w][i] = _mm256_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += f.body) {
        vnni_acc s;
        EACH_HALF EACH_ROW s[w][i] = f.offset == 0 ? _mm256_setzero_si256() : vnni_same(&start[i].of[j]);
        b32_dot(f.codes, q, 32 * j, wide, x, n, s);
        EACH_HALF
        {
            __m256 d = f.scales(head + (size_t)j * f.head + (size_t)f.scale * HALF * w);
            EACH_ROW t[w][i] = b32_add(t[w][i], d, x[i], j, s[w][i]);
        }
    }
    for (uint32_t j = 0; f.mins && j < n_sub; j++) {
        EACH_HALF
        {
            __m256 m = f.scales(head + (size_t)j * f.head + f.head / 2 + (size_t)f.scale * HALF * w);
            EACH_ROW t[w][i] = b32_add(t[w][i], m, x[i], j, vnni_same(&sums[i].of[j]));
        }
    }
    EACH_HALF EACH_ROW _mm256_storeu_ps(p[i] + HALF * (half + w), t[w][i]);
}

INLINE void codes_8(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    const __m256i top_bit = _mm256_set1_epi8(-128);
    *low = _mm256_xor_si256(load(q + k * LINE), top_bit);
    *high = _mm256_xor_si256(load(q + (4 + k) * LINE), top_bit);
}

INLINE void codes_4(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    __m256i v = load(q + k * LINE);
    *low = nibbles_low(v);
    *high = nibbles_high(v);
}

/* Nibbles as places in a table of 16 signed values, made unsigned by an offset. */
INLINE void codes_table(const int8_t *values, int offset, const uint8_t *q, uint32_t k, __m256i *low,
                        __m256i *high)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)values);
    __m256i table = _mm256_broadcastsi128_si256(_mm_add_epi8(v, _mm_set1_epi8((char)offset)));
    codes_4(q, k, low, high);
    *low = _mm256_shuffle_epi8(table, *low);
    *high = _mm256_shuffle_epi8(table, *high);
}

enum { IQ4_OFFSET = 128, FP4_OFFSET = 12 };

INLINE void codes_iq4(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    codes_table(mox_iq4_values, IQ4_OFFSET, q, k, low, high);
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
    __m256i e = widen_u8(p);
    __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    __m256i small = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    __m256i is_small = _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e);
    return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, small, is_small));
}

/* shape_<name>: what tiles and panels know of a format. */
#define B32_TILE(name, ...)                                                                                  \
    static const b32_shape shape_##name = {__VA_ARGS__};                                                     \
    BODY name(VNNI_ARGS)                                                                                     \
    {                                                                                                        \
        b32(shape_##name, chunk, cols, half, wide, x, n, p);                                                 \
    }                                                                                                        \
    VNNI_TILE(name)
#define F16_SCALES .scales = scales_f16, .scale = 2

B32_TILE(q8_0, F16_SCALES, .codes = codes_8, .head = 32, .body = 8 * LINE, .offset = 128)
B32_TILE(q4_0, F16_SCALES, .codes = codes_4, .head = 32, .body = 4 * LINE, .offset = 8)
B32_TILE(q4_1, F16_SCALES, .codes = codes_4, .head = 64, .body = 4 * LINE, .mins = true)
B32_TILE(q5_0, F16_SCALES, .codes = codes_5, .head = 32, .body = 5 * LINE, .offset = 16)
B32_TILE(q5_1, F16_SCALES, .codes = codes_5, .head = 64, .body = 5 * LINE, .mins = true)
B32_TILE(iq4_nl, F16_SCALES, .codes = codes_iq4, .head = 32, .body = 4 * LINE, .offset = IQ4_OFFSET)
B32_TILE(mxfp4, .scales = scales_e8m0, .scale = 1, .codes = codes_fp4, .head = 16, .body = 4 * LINE,
         .offset = FP4_OFFSET)

/* IQ4_XS, scale of sub-block j for the rows of the half: four low bits in the scale bytes, two high ones in
 * 16 bits per row, minus 32 */
static inline __m256i iq4_xs_scale(const uint8_t *chunk, uint32_t half, uint32_t j)
{
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(chunk + 32 + 16 * half));
    __m256i top =
        _mm256_slli_epi32(_mm256_srl_epi32(_mm256_cvtepu16_epi32(high), _mm_cvtsi32_si128(2 * (int)j)), 4);
    __m256i low = _mm256_srl_epi32(widen_u8(chunk + LINE + j / 2 * R + HALF * half),
                                   _mm_cvtsi32_si128(4 * (int)(j % 2)));
    __m256i code = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                   _mm256_and_si256(top, _mm256_set1_epi32(0x30)));
    return _mm256_sub_epi32(code, _mm256_set1_epi32(32));
}

BODY iq4_xs(VNNI_ARGS)
{
    (void)cols;
    const uint8_t *q = chunk + 2 * LINE + 32 * half; /* behind d, upper scale bits; scale bytes */
    b32_sums start[MOX_TILE_ROWS];
    vnni_acc sum;
    vnni_zero(sum, wide, n);
    EACH_ROW
    {
        __m256i of32 = _mm256_madd_epi16(load(((const mox_act_k *)x[i])->sum), _mm256_set1_epi16(1));
        b32_times(of32, -IQ4_OFFSET, &start[i]);
    }
    for (uint32_t j = 0; j < 8; j++, q += 4 * LINE) {
        vnni_acc s;
        EACH_HALF EACH_ROW s[w][i] = vnni_same(&start[i].of[j]);
        b32_dot(codes_iq4, q, 32 * j, wide, x, n, s);
        EACH_HALF
        {
            __m256i sc = iq4_xs_scale(chunk, half + w, j);
            EACH_ROW sum[w][i] = _mm256_add_epi32(sum[w][i], _mm256_mullo_epi32(s[w][i], sc));
        }
    }
    EACH_HALF EACH_ROW k_finish(chunk, half + w, sum[w][i], ((const mox_act_k *)x[i])->d, p[i]);
}
VNNI_TILE(iq4_xs)

#endif
