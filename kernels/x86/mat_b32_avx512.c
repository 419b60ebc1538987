/* AVX-512 tile of Q8_0: signed codes become unsigned by their top bit, in the register. Reached through
 * mox_tile_of. */
#include "kernels/x86/mat_avx512.h"

BODY q8_0(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    const __m512i top_bit = _mm512_set1_epi8(-128);
    const uint32_t n_sub = cols / 32;
    const uint8_t *head = chunk;
    const uint8_t *q = chunk + (size_t)n_sub * 32;
    __m512 t[MOX_TILE_ROWS];
    EACH_ROW t[i] = _mm512_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += 8 * LINE) {
        __m512i s[MOX_TILE_ROWS];
        EACH_ROW s[i] = _mm512_set1_epi32(-128 * ((const mox_act_b *)x[i])->sum[j]);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            __m512i v = _mm512_xor_si512(line(q + k * LINE), top_bit);
            EACH_ROW s[i] =
                _mm512_dpbusd_epi32(s[i], v, broadcast4(((const mox_act_b *)x[i])->q + 32 * j + 4 * k));
        }
        __m512 d = scales_f16(head + 32 * (size_t)j);
        EACH_ROW
        {
            __m512 da = _mm512_mul_ps(d, _mm512_set1_ps(((const mox_act_b *)x[i])->d[j]));
            t[i] = _mm512_fmadd_ps(da, _mm512_cvtepi32_ps(s[i]), t[i]);
        }
    }
    EACH_ROW _mm512_storeu_ps(p[i], t[i]);
}

TILE(q8_0)
