/* AVX2 panel kernels of the float types, and the table of all of this instruction set. */
#include "kernels/x86/panel_avx2.h"

typedef __m256 f_load(const uint8_t *p); /* 8 rows of one column */

typedef struct f_codes {
    const uint8_t *chunk;
    uint32_t cols;
} f_codes;

static inline __m256 load_f32(const uint8_t *p)
{
    return _mm256_loadu_ps((const float *)(const void *)p);
}

static inline __m256 load_bf16(const uint8_t *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

/* One chain per row and lane, over the columns in order: six chains of 16 rows, both halves together, so that
 * a broadcast serves two. */
INLINE void f_dot(f_load *load_half, uint32_t bytes, const f_codes *u, uint32_t half, const uint8_t *x,
                  const uint32_t n, mox_row_sums *s)
{
    if (half != 0) {
        return;
    }
    const uint8_t *w = u->chunk;
    __m256 t0[LANES], t1[LANES];
    EACH_LANE t0[i] = t1[i] = _mm256_setzero_ps();
#pragma GCC unroll 4
    for (uint32_t e = 0; e < u->cols; e++, w += bytes, x += (size_t)n * 4) {
        __m256 w0 = load_half(w), w1 = load_half(w + bytes / 2);
        EACH_LANE
        {
            __m256 v = lane_float(x, n, 0, i);
            t0[i] = _mm256_fmadd_ps(w0, v, t0[i]);
            t1[i] = _mm256_fmadd_ps(w1, v, t1[i]);
        }
    }
    EACH_LANE
    {
        add_partial(&s[i], 0, t0[i]);
        add_partial(&s[i], 1, t1[i]);
    }
}

static void unpack_floats(const uint8_t *chunk, uint32_t cols, f_codes *u)
{
    *u = (f_codes){chunk, cols};
}

TILE_DOT(dot_f32, f_codes, f_dot, load_f32, 64)
TILE_DOT(dot_f16, f_codes, f_dot, scales_f16, 32)
TILE_DOT(dot_bf16, f_codes, f_dot, load_bf16, 32)
PANEL(f32, f_codes, unpack_floats, dot_f32)
PANEL(f16, f_codes, unpack_floats, dot_f16)
PANEL(bf16, f_codes, unpack_floats, dot_bf16)

#define ROW(TYPE, name) [MOX_TYPE_##TYPE] = mox_panel_avx2_##name,
const mox_panels mox_panels_avx2 = {.sizes = {LANES, 4}, .of_type = {MOX_TILES_BY_HAND(ROW)}};
