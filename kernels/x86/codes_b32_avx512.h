/* How the formats of 32 columns and IQ4_XS keep codes and scales, for the AVX-512 tiles and panels. Codes come
 * out unsigned: Q8_0's by their top bit, tables by an offset in the table's register copy. */
#ifndef MOX_KERNELS_X86_CODES_B32_AVX512_H
#define MOX_KERNELS_X86_CODES_B32_AVX512_H

#include "kernels/dequant.h"
#include "kernels/x86/mat_avx512.h"

/* Step k of four: the unsigned codes of columns 4k..4k+3 (low) and 16 + 4k.. (high) of the sub-block at q. */
typedef void b32_codes_fn(const uint8_t *q, uint32_t k, __m512i *low, __m512i *high);
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

#endif
