/* AVX2 panel kernels of the formats of 32 columns: one body; formats differ by how many lines of codes fit
 * int16, by their offset and by minimums. Reached through mox_panel_job_init.
 */
#include "kernels/x86/codes_b32_avx2.h"
#include "kernels/x86/panel_avx2.h"

typedef struct b_codes {
    _Alignas(32) panel_codes code;
    float scale[2][8][HALF], min[2][8][HALF]; /* [half][sub-block] */
    uint32_t n_sub;
} b_codes;

typedef struct b_shape {
    uint32_t lines;  /* that fit int16 */
    uint32_t planes; /* 2: codes of 8 bits */
    uint32_t shift;  /* the offset is 128 >> shift */
    bool offset, mins;
} b_shape;

_Static_assert(4 * 2 * 31 * 127 <= INT16_MAX && 8 * 2 * 15 * 127 <= INT16_MAX, "lines of 5 and of 4 bits");

/* t = fma(d * a_j, (f32)S_j, t) over the sub-blocks, then the same with minimums and sums of codes */
INLINE void b_dot(const b_shape f, const b_codes *u, uint32_t half, const uint8_t *x, const uint32_t n,
                  mox_row_sums *s)
{
    const __m256i one = _mm256_set1_epi16(1), sixteen = _mm256_set1_epi16(16);
    __m256 t[LANES];
    EACH_LANE t[i] = _mm256_setzero_ps();
#pragma GCC unroll 1
    for (uint32_t j = 0; j < u->n_sub; j++) {
        const uint8_t *q = x + (size_t)8 * j * n * 4;
        __m256i sum[LANES];
        EACH_LANE
        {
            __m256i start = lane_int(x, n, MOX_PANEL_B_START + j, i);
            sum[i] = f.offset ? _mm256_srai_epi32(start, (int)f.shift) : _mm256_setzero_si256();
        }
#pragma GCC unroll 2
        for (uint32_t k = 0; k < 8; k += f.lines, q += (size_t)f.lines * n * 4) {
            lanes_dot(sum, u->code[0][half] + 8 * j + k, f.lines, one, q, n);
            if (f.planes == 2) {
                lanes_dot(sum, u->code[1][half] + 8 * j + k, f.lines, sixteen, q, n);
            }
        }
        __m256 d = _mm256_load_ps(u->scale[half][j]);
        EACH_LANE
        {
            __m256 da = _mm256_mul_ps(d, lane_float(x, n, MOX_PANEL_B_SCALE + j, i));
            t[i] = _mm256_fmadd_ps(da, _mm256_cvtepi32_ps(sum[i]), t[i]);
        }
    }
    for (uint32_t j = 0; f.mins && j < u->n_sub; j++) {
        __m256 m = _mm256_load_ps(u->min[half][j]);
        EACH_LANE
        {
            __m256 ma = _mm256_mul_ps(m, lane_float(x, n, MOX_PANEL_B_SCALE + j, i));
            t[i] = _mm256_fmadd_ps(ma, lane_float(x, n, MOX_PANEL_B_FSUM + j, i), t[i]);
        }
    }
    EACH_LANE add_partial(&s[i], half, t[i]);
}

TILE_DOT(dot_8, b_codes, b_dot, (b_shape){.lines = 8, .planes = 2, .offset = true})
TILE_DOT(dot_4, b_codes, b_dot, (b_shape){.lines = 8, .planes = 1, .offset = true, .shift = 4})
TILE_DOT(dot_4_min, b_codes, b_dot, (b_shape){.lines = 8, .planes = 1, .mins = true})
TILE_DOT(dot_5, b_codes, b_dot, (b_shape){.lines = 4, .planes = 1, .offset = true, .shift = 3})
TILE_DOT(dot_5_min, b_codes, b_dot, (b_shape){.lines = 4, .planes = 1, .mins = true})

typedef __m256 scales_fn(const uint8_t *p);

typedef struct b_layout {
    b32_codes_fn *codes;
    scales_fn *scales;
    uint32_t head, body; /* bytes per sub-block; minimums stand behind the scales */
    uint32_t scale;      /* bytes of a scale */
    int add;             /* to small codes */
    bool large, mins;
} b_layout;

INLINE void keep_code(const b_layout f, b_codes *u, uint32_t half, uint32_t word, __m256i code)
{
    if (f.large) {
        __m256i v = _mm256_xor_si256(code, _mm256_set1_epi8(-128));
        _mm256_store_si256((__m256i *)(void *)u->code[0][half][word], nibbles_low(v));
        _mm256_store_si256((__m256i *)(void *)u->code[1][half][word], nibbles_high(v));
    } else {
        code = _mm256_add_epi8(code, _mm256_set1_epi8((char)f.add));
        _mm256_store_si256((__m256i *)(void *)u->code[0][half][word], code);
    }
}

INLINE void b_unpack(const b_layout f, const uint8_t *chunk, uint32_t cols, b_codes *u)
{
    u->n_sub = cols / 32;
    for (uint32_t half = 0; half < 2; half++) {
        const uint8_t *head = chunk + f.scale * HALF * half;
        const uint8_t *q = chunk + (size_t)u->n_sub * f.head + 32 * (size_t)half;
        for (uint32_t j = 0; j < u->n_sub; j++, q += f.body, head += f.head) {
            _mm256_store_ps(u->scale[half][j], f.scales(head));
            if (f.mins) {
                _mm256_store_ps(u->min[half][j], f.scales(head + f.head / 2));
            }
            for (uint32_t k = 0; k < 4; k++) {
                __m256i low, high;
                f.codes(q, k, &low, &high);
                keep_code(f, u, half, 8 * j + k, low);
                keep_code(f, u, half, 8 * j + 4 + k, high);
            }
        }
    }
}

#define B_PANEL(name, dot, ...)                                                                              \
    static void unpack_##name(const uint8_t *chunk, uint32_t cols, b_codes *u)                               \
    {                                                                                                        \
        b_unpack((b_layout){__VA_ARGS__}, chunk, cols, u);                                                   \
    }                                                                                                        \
    PANEL(name, b_codes, unpack_##name, dot)
#define F16_SCALES .scales = scales_f16, .scale = 2

B_PANEL(q8_0, dot_8, F16_SCALES, .codes = codes_8, .head = 32, .body = 8 * LINE, .large = true)
B_PANEL(q4_0, dot_4, F16_SCALES, .codes = codes_4, .head = 32, .body = 4 * LINE)
B_PANEL(q4_1, dot_4_min, F16_SCALES, .codes = codes_4, .head = 64, .body = 4 * LINE, .mins = true)
B_PANEL(q5_0, dot_5, F16_SCALES, .codes = codes_5, .head = 32, .body = 5 * LINE)
B_PANEL(q5_1, dot_5_min, F16_SCALES, .codes = codes_5, .head = 64, .body = 5 * LINE, .mins = true)
B_PANEL(iq4_nl, dot_8, F16_SCALES, .codes = codes_iq4, .head = 32, .body = 4 * LINE, .large = true)
B_PANEL(mxfp4, dot_5, .scales = scales_e8m0, .scale = 1, .codes = codes_fp4, .head = 16, .body = 4 * LINE,
        .add = 16 - FP4_OFFSET)
