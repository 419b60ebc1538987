/* AVX2 tiles of the float types, and the table of all of this instruction set. */
#include "kernels/x86/mat_avx2.h"

/* Float weights: one chain per row, over the elements in order. Both halves together: the chains are latency.
 */
#define FLOAT_BODY(name, bytes, load_half)                                                                   \
    BODY name(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n,          \
              float(*p)[R])                                                                                  \
    {                                                                                                        \
        if (half != 0) {                                                                                     \
            return;                                                                                          \
        }                                                                                                    \
        __m256 a0[MOX_TILE_ROWS], a1[MOX_TILE_ROWS];                                                         \
        EACH_ROW a0[i] = a1[i] = _mm256_setzero_ps();                                                        \
        for (uint32_t e = 0; e < cols; e++) {                                                                \
            __m256 w0 = load_half(chunk + (size_t)e * (bytes));                                              \
            __m256 w1 = load_half(chunk + (size_t)e * (bytes) + (bytes) / 2);                                \
            EACH_ROW                                                                                         \
            {                                                                                                \
                __m256 v = _mm256_broadcast_ss((const float *)x[i] + e);                                     \
                a0[i] = _mm256_fmadd_ps(w0, v, a0[i]);                                                       \
                a1[i] = _mm256_fmadd_ps(w1, v, a1[i]);                                                       \
            }                                                                                                \
        }                                                                                                    \
        EACH_ROW _mm256_storeu_ps(p[i], a0[i]);                                                              \
        EACH_ROW _mm256_storeu_ps(p[i] + HALF, a1[i]);                                                       \
    }

static inline __m256 load_f32(const uint8_t *p)
{
    return _mm256_loadu_ps((const float *)(const void *)p);
}

static inline __m256 load_bf16(const uint8_t *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

FLOAT_BODY(f32, 64, load_f32)
FLOAT_BODY(f16, 32, scales_f16)
FLOAT_BODY(bf16, 32, load_bf16)

TILE(f32)
TILE(f16)
TILE(bf16)

#define ROW(TYPE, name) [MOX_TYPE_##TYPE] = mox_tile_avx2_##name,
const mox_tiles mox_tiles_avx2 = {.of_type = {MOX_TILES_BY_HAND(ROW)}};
