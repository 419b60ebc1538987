/* How K-quants keep their scales, for the AVX2 tiles and panels. */
#ifndef MOX_KERNELS_X86_SCALES_K_AVX2_H
#define MOX_KERNELS_X86_SCALES_K_AVX2_H

#include "kernels/x86/mat_avx2.h"

enum { Q3_HEAD = 32, Q3_SCALES = 192, Q3_OFFSET_BITS = 2 };
enum { Q6_HEAD = 32, Q6_SCALES = 256, Q6_OFFSET_BITS = 5 };

/* Q4_K and Q5_K: the 12 x 16 scale bytes to 8 x 16 scales and 8 x 16 minimums. */
typedef struct k45_scales {
    _Alignas(32) uint8_t sc[8][R], mn[8][R];
} k45_scales;

static inline void unpack_k45_scales(const uint8_t *body, k45_scales *s)
{
    const __m256i low6 = _mm256_set1_epi8(63), high2 = _mm256_set1_epi8(0x30);
    for (int i = 0; i < 2; i++) {
        const uint8_t *at = body + 32 * i;
        __m256i a = load(at), b = load(at + LINE), c = load(at + 2 * LINE);
        __m256i a_top = _mm256_and_si256(_mm256_srli_epi16(a, 2), high2);
        __m256i b_top = _mm256_and_si256(_mm256_srli_epi16(b, 2), high2);
        _mm256_store_si256((__m256i *)(void *)s->sc[2 * i], _mm256_and_si256(a, low6));
        _mm256_store_si256((__m256i *)(void *)s->mn[2 * i], _mm256_and_si256(b, low6));
        _mm256_store_si256((__m256i *)(void *)s->sc[4 + 2 * i], _mm256_or_si256(nibbles_low(c), a_top));
        _mm256_store_si256((__m256i *)(void *)s->mn[4 + 2 * i], _mm256_or_si256(nibbles_high(c), b_top));
    }
}

/* Q3_K: the 12 x 16 scale bytes to 16 x 16 signed scales: 8 bytes with two low nibbles each, 4 with the upper
 * two bits of every fourth scale. */
static inline void unpack_q3_scales(const uint8_t *body, uint8_t (*sc)[R])
{
    const __m256i top2 = _mm256_set1_epi8(0x30), bias = _mm256_set1_epi8(32);
    for (uint32_t j = 0; j < 4; j += 2) {
        __m256i a = load(body + j * R), b = load(body + (4 + j) * R), top = load(body + (8 + j) * R);
        __m256i low[4] = {nibbles_low(a), nibbles_low(b), nibbles_high(a), nibbles_high(b)};
        __m256i high[4] = {_mm256_slli_epi16(top, 4), _mm256_slli_epi16(top, 2), top,
                           _mm256_srli_epi16(top, 2)};
        for (uint32_t k = 0; k < 4; k++) {
            __m256i s = _mm256_or_si256(low[k], _mm256_and_si256(high[k], top2));
            _mm256_store_si256((__m256i *)(void *)sc[4 * k + j], _mm256_sub_epi8(s, bias));
        }
    }
}

#endif
