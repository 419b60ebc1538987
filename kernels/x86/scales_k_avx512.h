/* How K-quants keep their scales, for the AVX-512 tiles and panels. */
#ifndef MOX_KERNELS_X86_SCALES_K_AVX512_H
#define MOX_KERNELS_X86_SCALES_K_AVX512_H

#include "kernels/x86/mat_avx512.h"

enum { Q3_HEAD = 32, Q3_SCALES = 192, Q3_OFFSET = 4 };
enum { Q6_HEAD = 32, Q6_SCALES = 256, Q6_OFFSET = 32 };

/* Q4_K and Q5_K: the 12 x 16 scale bytes to 8 x 16 scales and 8 x 16 minimums. */
typedef struct k45_scales {
    _Alignas(64) uint8_t sc[8][R], mn[8][R];
} k45_scales;

static inline void unpack_k45_scales(const uint8_t *body, k45_scales *s)
{
    const __m512i low6 = _mm512_set1_epi8(63), high2 = _mm512_set1_epi8(0x30);
    __m512i a = line(body), b = line(body + LINE), c = line(body + 2 * LINE);
    _mm512_store_si512(s->sc[0], _mm512_and_si512(a, low6));
    _mm512_store_si512(s->mn[0], _mm512_and_si512(b, low6));
    _mm512_store_si512(s->sc[4], or_masked(nibbles_low(c), _mm512_srli_epi16(a, 2), high2));
    _mm512_store_si512(s->mn[4], or_masked(nibbles_high(c), _mm512_srli_epi16(b, 2), high2));
}

/* Q2_K: 16 x 16 bytes of a scale and a minimum each. */
typedef struct k2_scales {
    _Alignas(64) uint8_t sc[16][R], mn[16][R];
} k2_scales;

static inline void unpack_k2_scales(const uint8_t *body, k2_scales *s)
{
    for (uint32_t j = 0; j < 16; j += 4) {
        __m512i v = line(body + j * R);
        _mm512_store_si512(s->sc[j], nibbles_low(v));
        _mm512_store_si512(s->mn[j], nibbles_high(v));
    }
}

/* Q3_K: the 12 x 16 scale bytes to 16 x 16 signed scales: 8 bytes with two low nibbles each, 4 with the upper
 * two bits of every fourth scale. */
static inline void unpack_q3_scales(const uint8_t *body, uint8_t (*sc)[R])
{
    const __m512i top2 = _mm512_set1_epi8(0x30), bias = _mm512_set1_epi8(32);
    __m512i a = line(body), b = line(body + LINE), top = line(body + 2 * LINE);
    __m512i s[4] = {or_masked(nibbles_low(a), _mm512_slli_epi16(top, 4), top2),
                    or_masked(nibbles_low(b), _mm512_slli_epi16(top, 2), top2),
                    or_masked(nibbles_high(a), top, top2),
                    or_masked(nibbles_high(b), _mm512_srli_epi16(top, 2), top2)};
    for (uint32_t j = 0; j < 4; j++) {
        _mm512_store_si512(sc[4 * j], _mm512_sub_epi8(s[j], bias));
    }
}

#endif
