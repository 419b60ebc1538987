/* AVX-512 tiles of the formats whose sub-block is 32 columns: lines of codes of which the low half belongs to
 * columns 0-15 and the high half to 16-31. One integer product serves all; a format is a row of b32_shape and
 * a function that unpacks its codes. IQ4_XS has the same codes under the scales of a K-quant. Codes are made
 * unsigned for dpbusd: Q8_0's by their top bit, tables by an offset in the table's register copy. Reached
 * through mox_tile_of.
 */
#include "kernels/x86/codes_b32_avx512.h"

#include <stddef.h>

_Static_assert(offsetof(mox_act_k, q) == 0 && offsetof(mox_act_b, q) == 0, "codes come first in both");

typedef __m512 b32_scales_fn(const uint8_t *p);

typedef struct b32_shape {
    b32_codes_fn *codes;
    b32_scales_fn *scales;
    uint32_t head, body; /* bytes per sub-block; minimums stand behind the scales */
    int offset;          /* what the unsigned codes have too much */
    bool mins;
} b32_shape;

/* s[i] += codes of the sub-block at q times the activation's codes from column `col` */
BODY b32_dot(b32_codes_fn *codes, uint32_t n_lines, const uint8_t *q, uint32_t col, const void *const *x,
             uint32_t n, __m512i *s)
{
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        __m512i low, high;
        codes(q, k, &low, &high);
        fetch_ahead(q + k * LINE, k == 3 ? n_lines - 3 : 1, n);
        EACH_ROW
        {
            const int8_t *a = (const int8_t *)x[i] + col + 4 * k;
            s[i] = _mm512_dpbusd_epi32(s[i], low, broadcast4(a));
            s[i] = _mm512_dpbusd_epi32(s[i], high, broadcast4(a + 16));
        }
    }
}

/* t = fma(scale * a_j, (f32)S, t) */
static inline __m512 b32_add(__m512 t, __m512 scale, const mox_act_b *a, uint32_t j, __m512i sum)
{
    return _mm512_fmadd_ps(_mm512_mul_ps(scale, _mm512_set1_ps(a->d[j])), _mm512_cvtepi32_ps(sum), t);
}

BODY b32(b32_shape f, const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    const uint32_t n_sub = cols / 32;
    const uint8_t *q = chunk + (size_t)n_sub * f.head;
    __m512 t[MOX_TILE_ROWS];
    EACH_ROW t[i] = _mm512_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += f.body) {
        __m512i s[MOX_TILE_ROWS];
        EACH_ROW s[i] = _mm512_set1_epi32(-f.offset * ((const mox_act_b *)x[i])->sum[j]);
        b32_dot(f.codes, f.body / LINE, q, 32 * j, x, n, s);
        __m512 d = f.scales(chunk + (size_t)j * f.head);
        EACH_ROW t[i] = b32_add(t[i], d, x[i], j, s[i]);
    }
    for (uint32_t j = 0; f.mins && j < n_sub; j++) {
        __m512 m = f.scales(chunk + (size_t)j * f.head + f.head / 2);
        EACH_ROW t[i] = b32_add(t[i], m, x[i], j, _mm512_set1_epi32(((const mox_act_b *)x[i])->sum[j]));
    }
    EACH_ROW _mm512_storeu_ps(p[i], t[i]);
}

#define B32_TILE(name, ...)                                                                                  \
    BODY name(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R])           \
    {                                                                                                        \
        b32((b32_shape){__VA_ARGS__}, chunk, cols, x, n, p);                                                 \
    }                                                                                                        \
    TILE(name)

B32_TILE(q8_0, .codes = codes_8, .scales = scales_f16, .head = 32, .body = 8 * LINE, .offset = 128)
B32_TILE(q4_0, .codes = codes_4, .scales = scales_f16, .head = 32, .body = 4 * LINE, .offset = 8)
B32_TILE(q4_1, .codes = codes_4, .scales = scales_f16, .head = 64, .body = 4 * LINE, .mins = true)
B32_TILE(q5_0, .codes = codes_5, .scales = scales_f16, .head = 32, .body = 5 * LINE, .offset = 16)
B32_TILE(q5_1, .codes = codes_5, .scales = scales_f16, .head = 64, .body = 5 * LINE, .mins = true)
B32_TILE(iq4_nl, .codes = codes_iq4, .scales = scales_f16, .head = 32, .body = 4 * LINE, .offset = IQ4_OFFSET)
B32_TILE(mxfp4, .codes = codes_fp4, .scales = scales_e8m0, .head = 16, .body = 4 * LINE, .offset = FP4_OFFSET)

BODY iq4_xs(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *q = chunk + 2 * LINE; /* d, upper scale bits; scale bytes */
    __m512i sum[MOX_TILE_ROWS];
    EACH_ROW sum[i] = _mm512_setzero_si512();
    for (uint32_t j = 0; j < 8; j++, q += 4 * LINE) {
        __m512i s[MOX_TILE_ROWS];
        EACH_ROW
        {
            const int16_t *of = ((const mox_act_k *)x[i])->sum + 2 * j;
            s[i] = _mm512_set1_epi32(-IQ4_OFFSET * (of[0] + of[1]));
        }
        b32_dot(codes_iq4, 4, q, 32 * j, x, n, s);
        __m512i sc = iq4_xs_scale(chunk, j);
        EACH_ROW sum[i] = _mm512_add_epi32(sum[i], _mm512_mullo_epi32(s[i], sc));
    }
    EACH_ROW k_finish(chunk, sum[i], ((const mox_act_k *)x[i])->d, p[i]);
}
TILE(iq4_xs)
