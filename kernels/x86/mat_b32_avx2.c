/* AVX2 tile of Q8_0: |w| times the activation with the sign of w. Reached through mox_tile_of. */
#include "kernels/x86/mat_avx2.h"

_Static_assert(2 * 128 * 127 <= INT16_MAX, "Q8_0");

BODY q8_0(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    const __m256i one = _mm256_set1_epi16(1);
    const uint32_t n_sub = cols / 32;
    const uint8_t *head = chunk;
    const uint8_t *q = chunk + (size_t)n_sub * 32 + 32 * (size_t)half;
    __m256 t[MOX_TILE_ROWS];
    EACH_ROW t[i] = _mm256_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += 8 * LINE) {
        __m256i s[MOX_TILE_ROWS];
        EACH_ROW s[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            __m256i w = load(q + k * LINE), mag = _mm256_abs_epi8(w);
            EACH_ROW
            {
                __m256i a = broadcast4(((const mox_act_b *)x[i])->q + 32 * j + 4 * k);
                __m256i pairs = _mm256_maddubs_epi16(mag, _mm256_sign_epi8(a, w));
                s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(pairs, one));
            }
        }
        __m256 d = scales_f16(head + 32 * (size_t)j + 16 * (size_t)half);
        EACH_ROW
        {
            __m256 da = _mm256_mul_ps(d, _mm256_set1_ps(((const mox_act_b *)x[i])->d[j]));
            t[i] = _mm256_fmadd_ps(da, _mm256_cvtepi32_ps(s[i]), t[i]);
        }
    }
    EACH_ROW _mm256_storeu_ps(p[i] + HALF * half, t[i]);
}

TILE(q8_0)
