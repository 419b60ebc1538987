/* The integer ceiling with 256-bit VNNI: dpbusd, 32 products each. Compiled once per encoding (see
 * kernels/x86/mat_avxvnni.h): as it stands for EVEX, through ceilings_avxvnni_vex.c for VEX. */
#include "kernels/ceilings/ceilings.h"

#include <immintrin.h>

#ifndef MOX_CEILING_INT
#define MOX_CEILING_INT mox_ceiling_int_avxvnni_evex
#define MOX_DPBUSD      _mm256_dpbusd_epi32
#endif

uint64_t MOX_CEILING_INT(uint64_t rounds)
{
    enum { CHAINS = 12 };
    __m256i acc[CHAINS], u = _mm256_set1_epi8(3), s = _mm256_set1_epi8(-5);
    for (int i = 0; i < CHAINS; i++) {
        acc[i] = _mm256_set1_epi32(i);
    }
    for (uint64_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < CHAINS; i++) {
            acc[i] = MOX_DPBUSD(acc[i], u, s);
        }
        __asm__ volatile("" : "+x"(u));
    }
    for (int i = 0; i < CHAINS; i++) {
        __asm__ volatile("" : : "x"(acc[i]));
    }
    return rounds * CHAINS * 32;
}
