/* AVX-512 tiles of the float types, and the table of all of this instruction set. */
#include "kernels/x86/mat_avx512.h"

/* Float weights: one chain per row, over the elements in order. */
#define FLOAT_BODY(name, bytes, load)                                                                        \
    BODY name(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R])           \
    {                                                                                                        \
        __m512 acc[MOX_TILE_ROWS];                                                                           \
        EACH_ROW acc[i] = _mm512_setzero_ps();                                                               \
        for (uint32_t e = 0; e < cols; e++) {                                                                \
            __m512 w = load(chunk + (size_t)e * (bytes));                                                    \
            EACH_ROW acc[i] = _mm512_fmadd_ps(w, _mm512_set1_ps(((const float *)x[i])[e]), acc[i]);          \
        }                                                                                                    \
        EACH_ROW _mm512_storeu_ps(p[i], acc[i]);                                                             \
    }

static inline __m512 load_f32(const uint8_t *p)
{
    return _mm512_loadu_ps((const void *)p);
}

static inline __m512 load_bf16(const uint8_t *p)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

FLOAT_BODY(f32, 64, load_f32)
FLOAT_BODY(f16, 32, scales_f16)
FLOAT_BODY(bf16, 32, load_bf16)

TILE(f32)
TILE(f16)
TILE(bf16)

#define ROW(TYPE, name) [MOX_TYPE_##TYPE] = mox_tile_avx512_##name,
const mox_tiles mox_tiles_avx512 = {.of_type = {MOX_TILES_BY_HAND(ROW)}};
