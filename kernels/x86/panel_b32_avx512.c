/* AVX-512 panel kernels of the formats of 32 columns: one body, and one more with minimums. Codes go as code
 * + 128 whatever the format, so that a panel's sums times -128 start every accumulator. Reached through
 * mox_panel_job_init.
 */
#include "kernels/x86/codes_b32_avx512.h"
#include "kernels/x86/panel_avx512.h"

typedef struct b_codes {
    _Alignas(64) uint8_t code[64][LINE];
    float scale[8][R], min[8][R];
    uint32_t n_sub;
} b_codes;

/* Step j of unpacking */
typedef void b_step(const uint8_t *chunk, uint32_t cols, uint32_t j, b_codes *u);

/* t = fma(d * a_j, (f32)S_j, t) over the sub-blocks, then the same with minimums and sums of codes */
INLINE void b_dot(const bool mins, b_step *step, const b_codes *u, const uint8_t *x, const uint32_t n,
                  mox_row_sums *s, const panel_next *next, b_codes *to)
{
    const uint8_t *a = x + (size_t)MOX_PANEL_B_SCALE * n * 4, *q = x;
    const size_t word = (size_t)n * 4, start = (MOX_PANEL_B_START - MOX_PANEL_B_SCALE) * word;
    const size_t fsum = (MOX_PANEL_B_FSUM - MOX_PANEL_B_SCALE) * word;
    __m512 t[LANES];
    EACH_LANE t[i] = _mm512_setzero_ps();
#pragma GCC unroll 1
    for (uint32_t j = 0; j < u->n_sub; j++, q += 8 * word, a += word) {
        __m512i acc[LANES];
        EACH_LANE acc[i] = lane_int(a + start, n, 0, i);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            lanes_dot(acc, line(u->code[8 * j + k]), q, n, k);
        }
        __m512 d = _mm512_load_ps(u->scale[j]);
        EACH_LANE
        t[i] = _mm512_fmadd_ps(_mm512_mul_ps(d, lane_float(a, n, 0, i)), _mm512_cvtepi32_ps(acc[i]), t[i]);
        ADVANCE(step, next, j, to)
    }
    a = x + (size_t)MOX_PANEL_B_SCALE * n * 4;
    for (uint32_t j = 0; mins && j < u->n_sub; j++, a += word) {
        __m512 m = _mm512_load_ps(u->min[j]);
        EACH_LANE
        t[i] = _mm512_fmadd_ps(_mm512_mul_ps(m, lane_float(a, n, 0, i)), lane_float(a + fsum, n, 0, i), t[i]);
    }
    EACH_LANE add_partial(&s[i], t[i]);
}

typedef __m512 scales_fn(const uint8_t *p);

typedef struct b_shape {
    b32_codes_fn *codes;
    scales_fn *scales;
    uint32_t head, body; /* bytes per sub-block; minimums stand behind the scales */
    int offset;          /* what the unsigned codes have too much */
    bool mins;
} b_shape;

/* Sub-block j, if the block has so many */
INLINE void b_unpack(const b_shape f, const uint8_t *chunk, uint32_t cols, uint32_t j, b_codes *u)
{
    const __m512i offset = _mm512_set1_epi8((char)(128 - f.offset));
    u->n_sub = cols / 32;
    if (j >= u->n_sub) {
        return;
    }
    const uint8_t *head = chunk + (size_t)j * f.head, *q = chunk + (size_t)u->n_sub * f.head + j * f.body;
    _mm512_store_ps(u->scale[j], f.scales(head));
    if (f.mins) {
        _mm512_store_ps(u->min[j], f.scales(head + f.head / 2));
    }
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        __m512i low, high;
        f.codes(q, k, &low, &high);
        _mm512_store_si512(u->code[8 * j + k], _mm512_add_epi8(low, offset));
        _mm512_store_si512(u->code[8 * j + 4 + k], _mm512_add_epi8(high, offset));
    }
}

#define B_PANEL(name, has_mins, ...)                                                                         \
    INLINE void step_##name(const uint8_t *chunk, uint32_t cols, uint32_t j, b_codes *u)                     \
    {                                                                                                        \
        b_unpack((b_shape){.mins = has_mins, __VA_ARGS__}, chunk, cols, j, u);                               \
    }                                                                                                        \
    TILE_DOT(dot_##name, b_codes, b_dot, has_mins, step_##name)                                              \
    PANEL(name, b_codes, step_##name, dot_##name)
#define F16_SCALES .scales = scales_f16

B_PANEL(q8_0, false, F16_SCALES, .codes = codes_8, .head = 32, .body = 8 * LINE, .offset = 128)
B_PANEL(q4_0, false, F16_SCALES, .codes = codes_4, .head = 32, .body = 4 * LINE, .offset = 8)
B_PANEL(q4_1, true, F16_SCALES, .codes = codes_4, .head = 64, .body = 4 * LINE)
B_PANEL(q5_0, false, F16_SCALES, .codes = codes_5, .head = 32, .body = 5 * LINE, .offset = 16)
B_PANEL(q5_1, true, F16_SCALES, .codes = codes_5, .head = 64, .body = 5 * LINE)
B_PANEL(iq4_nl, false, F16_SCALES, .codes = codes_iq4, .head = 32, .body = 4 * LINE, .offset = IQ4_OFFSET)
B_PANEL(mxfp4, false, .scales = scales_e8m0, .codes = codes_fp4, .head = 16, .body = 4 * LINE,
        .offset = FP4_OFFSET)
