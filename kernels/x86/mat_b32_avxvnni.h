/* AVX-VNNI tiles of the formats whose sub-block is 32 columns: lines of codes of which the low half belongs
 * to columns 0-15 and the high half to 16-31. One integer product serves all; a format is a row of b32_shape
 * and a function that unpacks its codes. IQ4_XS has the same codes under the scales of a K-quant. Codes are
 * made unsigned for dpbusd: Q8_0's by their top bit, tables by an offset in the table's register copy.
 * Compiled once per encoding (mat_avxvnni.h), reached through mox_tile_of.
 */
#ifndef MOX_KERNELS_X86_MAT_B32_AVXVNNI_H
#define MOX_KERNELS_X86_MAT_B32_AVXVNNI_H

#include "kernels/x86/codes_b32_avx2.h"
#include "kernels/x86/mat_avxvnni.h"

#include <stddef.h>

_Static_assert(offsetof(mox_act_k, q) == 0 && offsetof(mox_act_b, q) == 0, "codes come first in both");

typedef __m256 b32_scales_fn(const uint8_t *p);

typedef struct b32_shape {
    b32_codes_fn *codes;
    b32_scales_fn *scales;
    uint32_t head, body; /* bytes per sub-block; minimums stand behind the scales */
    uint32_t scale;      /* bytes of a scale */
    int offset;          /* what the unsigned codes have too much */
    bool mins;
} b32_shape;

/* s += codes of the sub-block at q times the activation's codes from column `col` */
BODY b32_dot(b32_codes_fn *codes, const uint8_t *q, uint32_t col, uint32_t wide, const void *const *x,
             uint32_t n, vnni_acc s)
{
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        EACH_HALF
        {
            __m256i low, high;
            codes(q + 32 * (size_t)w, k, &low, &high);
            EACH_ROW
            {
                const int8_t *a = (const int8_t *)x[i] + col + 4 * k;
                s[w][i] = MOX_VNNI(dpbusd)(s[w][i], low, broadcast4(a));
                s[w][i] = MOX_VNNI(dpbusd)(s[w][i], high, broadcast4(a + 16));
            }
        }
    }
}

/* The sums of a block's eight sub-blocks as int32, times `by`: accumulators start with them. */
typedef struct b32_sums {
    _Alignas(32) int32_t of[8];
} b32_sums;

static inline void b32_times(__m256i sums, int by, b32_sums *out)
{
    _mm256_store_si256((__m256i *)(void *)out->of, _mm256_mullo_epi32(sums, _mm256_set1_epi32(by)));
}

/* t = fma(scale * a_j, (f32)S, t) */
static inline __m256 b32_add(__m256 t, __m256 scale, const mox_act_b *a, uint32_t j, __m256i sum)
{
    return _mm256_fmadd_ps(_mm256_mul_ps(scale, _mm256_set1_ps(a->d[j])), _mm256_cvtepi32_ps(sum), t);
}

BODY b32(b32_shape f, VNNI_ARGS)
{
    const uint32_t n_sub = cols / 32;
    const uint8_t *head = chunk + f.scale * HALF * half;
    const uint8_t *q = chunk + (size_t)n_sub * f.head + 32 * (size_t)half;
    b32_sums sums[MOX_TILE_ROWS], start[MOX_TILE_ROWS];
    __m256 t[2][MOX_TILE_ROWS];
    EACH_ROW
    {
        const __m128i *at = (const __m128i *)(const void *)((const mox_act_b *)x[i])->sum;
        __m256i wider = _mm256_cvtepi16_epi32(_mm_load_si128(at));
        b32_times(wider, -f.offset, &start[i]);
        b32_times(wider, 1, &sums[i]);
    }
    EACH_HALF EACH_ROW t[w][i] = _mm256_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += f.body) {
        vnni_acc s;
        EACH_HALF EACH_ROW s[w][i] = f.offset == 0 ? _mm256_setzero_si256() : vnni_same(&start[i].of[j]);
        b32_dot(f.codes, q, 32 * j, wide, x, n, s);
        EACH_HALF
        {
            __m256 d = f.scales(head + (size_t)j * f.head + (size_t)f.scale * HALF * w);
            EACH_ROW t[w][i] = b32_add(t[w][i], d, x[i], j, s[w][i]);
        }
    }
    for (uint32_t j = 0; f.mins && j < n_sub; j++) {
        EACH_HALF
        {
            __m256 m = f.scales(head + (size_t)j * f.head + f.head / 2 + (size_t)f.scale * HALF * w);
            EACH_ROW t[w][i] = b32_add(t[w][i], m, x[i], j, vnni_same(&sums[i].of[j]));
        }
    }
    EACH_HALF EACH_ROW _mm256_storeu_ps(p[i] + HALF * (half + w), t[w][i]);
}

/* What codes_b32_avx2.h gives as signed bytes, unsigned */
enum { BYTE_OFFSET = 128 };

INLINE void codes_8_up(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    const __m256i top_bit = _mm256_set1_epi8(-128);
    codes_8(q, k, low, high);
    *low = _mm256_xor_si256(*low, top_bit);
    *high = _mm256_xor_si256(*high, top_bit);
}

INLINE void codes_iq4_up(const uint8_t *q, uint32_t k, __m256i *low, __m256i *high)
{
    codes_table(mox_iq4_values, BYTE_OFFSET, q, k, low, high);
}

/* shape_<name>: what tiles and panels know of a format. */
#define B32_TILE(name, ...)                                                                                  \
    static const b32_shape shape_##name = {__VA_ARGS__};                                                     \
    BODY name(VNNI_ARGS)                                                                                     \
    {                                                                                                        \
        b32(shape_##name, chunk, cols, half, wide, x, n, p);                                                 \
    }                                                                                                        \
    VNNI_TILE(name)
#define F16_SCALES .scales = scales_f16, .scale = 2

B32_TILE(q8_0, F16_SCALES, .codes = codes_8_up, .head = 32, .body = 8 * LINE, .offset = BYTE_OFFSET)
B32_TILE(q4_0, F16_SCALES, .codes = codes_4, .head = 32, .body = 4 * LINE, .offset = 8)
B32_TILE(q4_1, F16_SCALES, .codes = codes_4, .head = 64, .body = 4 * LINE, .mins = true)
B32_TILE(q5_0, F16_SCALES, .codes = codes_5, .head = 32, .body = 5 * LINE, .offset = 16)
B32_TILE(q5_1, F16_SCALES, .codes = codes_5, .head = 64, .body = 5 * LINE, .mins = true)
B32_TILE(iq4_nl, F16_SCALES, .codes = codes_iq4_up, .head = 32, .body = 4 * LINE, .offset = BYTE_OFFSET)
B32_TILE(mxfp4, .scales = scales_e8m0, .scale = 1, .codes = codes_fp4, .head = 16, .body = 4 * LINE,
         .offset = FP4_OFFSET)

/* iq4_xs_scale as int32 per row */
static inline __m256i iq4_xs_scale32(const uint8_t *chunk, uint32_t half, uint32_t j)
{
    __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(chunk + 32 + 16 * half));
    __m256i top =
        _mm256_slli_epi32(_mm256_srl_epi32(_mm256_cvtepu16_epi32(high), _mm_cvtsi32_si128(2 * (int)j)), 4);
    __m256i low = _mm256_srl_epi32(widen_u8(chunk + LINE + j / 2 * R + HALF * half),
                                   _mm_cvtsi32_si128(4 * (int)(j % 2)));
    __m256i code = _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(15)),
                                   _mm256_and_si256(top, _mm256_set1_epi32(0x30)));
    return _mm256_sub_epi32(code, _mm256_set1_epi32(32));
}

BODY iq4_xs(VNNI_ARGS)
{
    (void)cols;
    const uint8_t *q = chunk + 2 * LINE + 32 * half; /* behind d, upper scale bits; scale bytes */
    b32_sums start[MOX_TILE_ROWS];
    vnni_acc sum;
    vnni_zero(sum, wide, n);
    EACH_ROW
    {
        __m256i of32 = _mm256_madd_epi16(load(((const mox_act_k *)x[i])->sum), _mm256_set1_epi16(1));
        b32_times(of32, -BYTE_OFFSET, &start[i]);
    }
    for (uint32_t j = 0; j < 8; j++, q += 4 * LINE) {
        vnni_acc s;
        EACH_HALF EACH_ROW s[w][i] = vnni_same(&start[i].of[j]);
        b32_dot(codes_iq4_up, q, 32 * j, wide, x, n, s);
        EACH_HALF
        {
            __m256i sc = iq4_xs_scale32(chunk, half + w, j);
            EACH_ROW sum[w][i] = _mm256_add_epi32(sum[w][i], _mm256_mullo_epi32(s[w][i], sc));
        }
    }
    EACH_HALF EACH_ROW k_finish(chunk, half + w, sum[w][i], ((const mox_act_k *)x[i])->d, p[i]);
}
VNNI_TILE(iq4_xs)

#endif
