/* How K-quants keep codes and scales, for all tiles and panels of 256 bits (AVX2, AVX-VNNI): half a line at a time, codes
 * unsigned by the format's offset. */
#ifndef MOX_KERNELS_X86_CODES_K_AVX2_H
#define MOX_KERNELS_X86_CODES_K_AVX2_H

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

/* Q2_K: 16 x 16 scales and as many minimums, a nibble each */
static inline void unpack_k2_scales(const uint8_t *body, uint8_t (*sc)[R], uint8_t (*mn)[R])
{
    for (uint32_t j = 0; j < 16; j += 2) {
        __m256i v = load(body + j * R);
        _mm256_store_si256((__m256i *)(void *)sc[j], nibbles_low(v));
        _mm256_store_si256((__m256i *)(void *)mn[j], nibbles_high(v));
    }
}

/* Sums of 32 codes as eight int16, from the sums of 16. */
static inline void sums_of_32(const mox_act_k *a, int16_t out[8])
{
    __m256i v = _mm256_madd_epi16(load(a->sum), _mm256_set1_epi16(1));
    __m128i sums = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _mm_storeu_si128((__m128i *)(void *)out, sums);
}

/* p = fma(d, S, -(dmin * M)) * a */
static inline void k_finish_min(const uint8_t *head, uint32_t half, __m256i sum, __m256i min, float a,
                                float *p)
{
    __m256 t = _mm256_mul_ps(scales_f16(head + 32 + 16 * half), _mm256_cvtepi32_ps(min));
    __m256 u = _mm256_fmsub_ps(scales_f16(head + 16 * half), _mm256_cvtepi32_ps(sum), t);
    _mm256_storeu_ps(p + HALF * half, _mm256_mul_ps(u, _mm256_set1_ps(a)));
}

/* The fifth bits of sub-block pair c, brought to bit 4 by `by` places (negative: to the right). */
static inline __m256i fifth_bits(__m256i v, int by)
{
    __m256i moved = by >= 0 ? _mm256_slli_epi16(v, by) : _mm256_srli_epi16(v, -by);
    return _mm256_and_si256(moved, _mm256_set1_epi8(16));
}

/* Formats with scales per 16. A quarter hg is half h = hg / 2 of the block and 16 of its 32 columns; its step
 * k of four gives, for t = 0 or 1, the codes of columns 4k..4k+3 of sub-blocks 8h + hg % 2 + 2t (low) and
 * that + 4 (high). */
typedef void k16_codes_fn(const uint8_t *lines, uint32_t hg, uint32_t k, uint32_t t, __m256i *low,
                          __m256i *high);

/* Codes t and t + 2 of the four in a byte */
static inline void two_bits(__m256i v, uint32_t t, __m256i *low, __m256i *high)
{
    const __m256i low2 = _mm256_set1_epi8(3);
    *low = _mm256_and_si256(t == 0 ? v : _mm256_srli_epi16(v, 2), low2);
    *high = _mm256_and_si256(t == 0 ? _mm256_srli_epi16(v, 4) : _mm256_srli_epi16(v, 6), low2);
}

INLINE void q2_codes(const uint8_t *lines, uint32_t hg, uint32_t k, uint32_t t, __m256i *low, __m256i *high)
{
    two_bits(load(lines + (4 * hg + k) * LINE), t, low, high);
}

/* The lines of the first half are interleaved with the eight of third bits, which serve both halves: a byte's
 * bits 4h + {0, 1, 2, 3} belong to its four codes. A set bit means no offset. */
INLINE void q3_codes(const uint8_t *lines, uint32_t hg, uint32_t k, uint32_t t, __m256i *low, __m256i *high)
{
    const uint32_t h = hg / 2, m = 4 * (hg % 2) + k;
    const __m256i bit2 = _mm256_set1_epi8(4);
    two_bits(load(lines + (h == 0 ? 2 * m : 16 + m) * LINE), t, low, high);
    __m256i top = _mm256_srl_epi16(load(lines + (2 * m + 1) * LINE), _mm_cvtsi32_si128(4 * (int)h));
    __m256i top_l = t == 0 ? _mm256_slli_epi16(top, 2) : _mm256_slli_epi16(top, 1);
    __m256i top_h = t == 0 ? top : _mm256_srli_epi16(top, 1);
    *low = _mm256_or_si256(*low, _mm256_and_si256(top_l, bit2));
    *high = _mm256_or_si256(*high, _mm256_and_si256(top_h, bit2));
}

INLINE void q6_codes(const uint8_t *lines, uint32_t hg, uint32_t k, uint32_t t, __m256i *low, __m256i *high)
{
    const __m256i bits45 = _mm256_set1_epi8(0x30);
    const uint8_t *q = lines + (12 * hg + 3 * k) * LINE;
    __m256i v = load(q + t * LINE), top = load(q + 2 * LINE);
    __m256i top_l = t == 0 ? _mm256_slli_epi16(top, 4) : _mm256_slli_epi16(top, 2);
    __m256i top_h = t == 0 ? top : _mm256_srli_epi16(top, 2);
    *low = _mm256_or_si256(nibbles_low(v), _mm256_and_si256(top_l, bits45));
    *high = _mm256_or_si256(nibbles_high(v), _mm256_and_si256(top_h, bits45));
}

#endif
