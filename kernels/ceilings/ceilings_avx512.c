/* Ceilings with AVX-512: 64-byte loads; dpbusd, 64 products each. */
#include "kernels/ceilings/ceilings.h"

#include <immintrin.h>

uint64_t mox_ceiling_read_avx512(const uint8_t *p, size_t bytes)
{
    __m512i a = _mm512_setzero_si512(), b = a, c = a, d = a;
    for (size_t i = 0; i < bytes; i += 256) {
        a = _mm512_xor_si512(a, _mm512_loadu_si512((const void *)(p + i)));
        b = _mm512_xor_si512(b, _mm512_loadu_si512((const void *)(p + i + 64)));
        c = _mm512_xor_si512(c, _mm512_loadu_si512((const void *)(p + i + 128)));
        d = _mm512_xor_si512(d, _mm512_loadu_si512((const void *)(p + i + 192)));
    }
    a = _mm512_xor_si512(_mm512_xor_si512(a, b), _mm512_xor_si512(c, d));
    return (uint64_t)_mm512_reduce_or_epi64(a);
}

uint64_t mox_ceiling_int_avx512(uint64_t rounds)
{
    enum { CHAINS = 12 };
    __m512i acc[CHAINS], u = _mm512_set1_epi8(3), s = _mm512_set1_epi8(-5);
    for (int i = 0; i < CHAINS; i++) {
        acc[i] = _mm512_set1_epi32(i);
    }
    for (uint64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            acc[i] = _mm512_dpbusd_epi32(acc[i], u, s);
        }
        __asm__ volatile("" : "+v"(u));
    }
    for (int i = 0; i < CHAINS; i++) {
        __asm__ volatile("" : : "v"(acc[i]));
    }
    return rounds * CHAINS * 64;
}
