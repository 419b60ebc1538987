/* AVX-512 panel kernels of the float types and of dequantised ones, and the table of all of this instruction
 * set. */
#include "kernels/x86/panel_avx512.h"

/* 16 rows of one column at a time */
typedef __m512 f_load(const uint8_t *p);

typedef struct f_codes {
    const uint8_t *chunk;
    uint32_t cols;
} f_codes;

static inline __m512 load_f32(const uint8_t *p)
{
    return _mm512_loadu_ps((const void *)p);
}

static inline __m512 load_bf16(const uint8_t *p)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}

INLINE void step_floats(const uint8_t *chunk, uint32_t cols, uint32_t j, f_codes *u)
{
    (void)j;
    *u = (f_codes){chunk, cols};
}

/* One chain per row and lane, over the columns in order. */
INLINE void f_dot(f_load *load, uint32_t bytes, const f_codes *u, const uint8_t *x, const uint32_t n,
                  mox_row_sums *s, const panel_next *next, f_codes *to)
{
    const uint8_t *w = u->chunk;
    __m512 t[LANES];
    EACH_LANE t[i] = _mm512_setzero_ps();
#pragma GCC unroll 4
    for (uint32_t e = 0; e < u->cols; e++, w += bytes, x += (size_t)n * 4) {
        __m512 v = load(w);
        EACH_LANE t[i] = _mm512_fmadd_ps(v, lane_float(x, n, 0, i), t[i]);
    }
    EACH_LANE add_partial(&s[i], t[i]);
    ADVANCE(step_floats, next, 0, to)
}

TILE_DOT(dot_f32, f_codes, f_dot, load_f32, 64)
TILE_DOT(dot_f16, f_codes, f_dot, scales_f16, 32)
TILE_DOT(dot_bf16, f_codes, f_dot, load_bf16, 32)
PANEL(f32, f_codes, step_floats, dot_f32)
PANEL(f16, f_codes, step_floats, dot_f16)
PANEL(bf16, f_codes, step_floats, dot_bf16)

#define ROW(TYPE, name) [MOX_TYPE_##TYPE] = mox_panel_avx512_##name,
const mox_panels mox_panels_avx512 = {.sizes = {LANES, 8, 6, 4}, .of_type = {MOX_TILES_BY_HAND(ROW)}};
