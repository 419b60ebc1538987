/* Ceilings with AVX2: 32-byte loads; maddubs, madd by ones and an addition, which is what 32 products cost.
 */
#include "kernels/ceilings/ceilings.h"

#include <immintrin.h>

uint64_t mox_ceiling_read_avx2(const uint8_t *p, size_t bytes)
{
    __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
    for (size_t i = 0; i < bytes; i += 128) {
        const __m256i *v = (const __m256i *)(const void *)(p + i);
        a = _mm256_xor_si256(a, _mm256_loadu_si256(v));
        b = _mm256_xor_si256(b, _mm256_loadu_si256(v + 1));
        c = _mm256_xor_si256(c, _mm256_loadu_si256(v + 2));
        d = _mm256_xor_si256(d, _mm256_loadu_si256(v + 3));
    }
    a = _mm256_xor_si256(_mm256_xor_si256(a, b), _mm256_xor_si256(c, d));
    return (uint64_t)_mm256_extract_epi64(a, 0);
}

uint64_t mox_ceiling_int_avx2(uint64_t rounds)
{
    enum { CHAINS = 12 };
    __m256i acc[CHAINS], u = _mm256_set1_epi8(3), s = _mm256_set1_epi8(-5), one = _mm256_set1_epi16(1);
    for (int i = 0; i < CHAINS; i++) {
        acc[i] = _mm256_set1_epi32(i);
    }
    for (uint64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            __asm__ volatile("" : "+x"(u)); /* keeps the product inside the loop */
            __m256i pairs = _mm256_maddubs_epi16(u, s);
            acc[i] = _mm256_add_epi32(acc[i], _mm256_madd_epi16(pairs, one));
        }
    }
    for (int i = 0; i < CHAINS; i++) {
        __asm__ volatile("" : : "x"(acc[i]));
    }
    return rounds * CHAINS * 32;
}
