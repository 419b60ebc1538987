/* How the formats of 32 columns and IQ4_XS keep codes and scales, for all tiles and panels of 256 bits
 * (AVX2, AVX-VNNI). Small codes come
 * out unsigned, by an offset; those of 8 bits and of IQ4's table as they are. */
#ifndef MOX_KERNELS_X86_CODES_B32_AVX2_H
#define MOX_KERNELS_X86_CODES_B32_AVX2_H

#include "kernels/dequant.h"
#include "kernels/x86/mat_avx2.h"

enum { FP4_OFFSET = 12 };

/* Step k of four: the codes of columns 4k..4k+3 (low) and 16 + 4k.. (high) of the sub-block at q (of the
 * half).
 */
typedef void b32_codes_fn(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high);
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

#endif
