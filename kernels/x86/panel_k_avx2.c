/* AVX2 panel kernels of the K-quants and IQ4_XS: one body; formats differ by how many lines of codes fit
 * int16, by the width of a scale, and by minimums or an offset. Reached through mox_panel_job_init.
 */
#include "kernels/x86/codes_b32_avx2.h"
#include "kernels/x86/codes_k_avx2.h"
#include "kernels/x86/panel_avx2.h"

typedef struct k_codes {
    _Alignas(32) panel_codes code;
    int32_t scale[2][16][HALF]; /* [half][sub-block] pairs of int16: the scale twice */
    int32_t pair[2][8][HALF];   /* pairs of minimums, or of scales, for pairs of sums */
    float d[2][HALF], dmin[2][HALF];
} k_codes;

typedef struct k_shape {
    uint32_t sub;         /* columns of a scale */
    uint32_t lines;       /* that fit int16 */
    uint32_t planes;      /* 2: codes of 8 bits */
    uint32_t pairs;       /* 4: of sums of 32; 8: of 16; 0: neither minimums nor offset */
    uint32_t offset_bits; /* codes have 2^offset_bits too much; 0: pairs are minimums */
} k_shape;

/* Two products per lane and line, |activation| <= 127 */
_Static_assert(8 * 2 * 15 * 127 <= INT16_MAX, "eight lines of 4 bits");
_Static_assert(4 * 2 * 31 * 127 <= INT16_MAX, "four of 5 bits");
_Static_assert(2 * 2 * 63 * 127 <= INT16_MAX, "two of 6 bits");

/* Sum over the pairs of pair times the lane's pairs of sums */
INLINE __m256i pairs_dot(const k_shape f, const int32_t (*pair)[HALF], const uint8_t *x, uint32_t n,
                         uint32_t i)
{
    const uint32_t w = f.pairs == 8 ? MOX_PANEL_K_SUM16 : MOX_PANEL_K_SUM32;
    __m256i m = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (uint32_t c = 0; c < f.pairs; c++) {
        m = _mm256_add_epi32(m, _mm256_madd_epi16(load(pair[c]), lane_int(x, n, w + c, i)));
    }
    return m;
}

/* p = (d * S) * a, or fma(d, S, -(dmin * M)) * a */
INLINE void finish_k(const k_shape f, const k_codes *u, uint32_t half, const uint8_t *x, const uint32_t n,
                     const __m256i *sum, mox_row_sums *s)
{
    __m256 d = _mm256_load_ps(u->d[half]);
    EACH_LANE
    {
        __m256i total = sum[i], m = pairs_dot(f, u->pair[half], x, n, i);
        __m256 v;
        if (f.offset_bits != 0) {
            total = _mm256_sub_epi32(total, _mm256_slli_epi32(m, (int)f.offset_bits));
            v = _mm256_mul_ps(d, _mm256_cvtepi32_ps(total));
        } else {
            __m256 t = _mm256_mul_ps(_mm256_load_ps(u->dmin[half]), _mm256_cvtepi32_ps(m));
            v = _mm256_fmsub_ps(d, _mm256_cvtepi32_ps(total), t);
        }
        add_partial(&s[i], half, _mm256_mul_ps(v, lane_float(x, n, MOX_PANEL_K_SCALE, i)));
    }
}

INLINE void k_dot(const k_shape f, const k_codes *u, uint32_t half, const uint8_t *x, const uint32_t n,
                  mox_row_sums *s)
{
    const uint32_t words = f.sub / 4;
    const uint8_t *q = x;
    __m256i sum[LANES];
    EACH_LANE sum[i] = _mm256_setzero_si256();
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* where gcc warns that it ignores this */
#pragma GCC unroll 1
#endif
    for (uint32_t j = 0; j < MOX_BLOCK / f.sub; j++) {
        __m256i scale = load(u->scale[half][j]);
#pragma GCC unroll 2
        for (uint32_t k = 0; k < words; k += f.lines, q += (size_t)f.lines * n * 4) {
            lanes_dot(sum, u->code[0][half] + j * words + k, f.lines, scale, q, n);
            if (f.planes == 2) {
                lanes_dot(sum, u->code[1][half] + j * words + k, f.lines, _mm256_slli_epi16(scale, 4), q, n);
            }
        }
    }
    finish_k(f, u, half, x, n, sum, s);
}

TILE_DOT(dot_q2, k_codes, k_dot, (k_shape){.sub = 16, .lines = 4, .planes = 1, .pairs = 8})
TILE_DOT(dot_q3, k_codes, k_dot, (k_shape){.sub = 16, .lines = 4, .planes = 1, .pairs = 8, .offset_bits = 2})
TILE_DOT(dot_q4, k_codes, k_dot, (k_shape){.sub = 32, .lines = 8, .planes = 1, .pairs = 4})
TILE_DOT(dot_q5, k_codes, k_dot, (k_shape){.sub = 32, .lines = 4, .planes = 1, .pairs = 4})
TILE_DOT(dot_q6, k_codes, k_dot, (k_shape){.sub = 16, .lines = 2, .planes = 1, .pairs = 8, .offset_bits = 5})
TILE_DOT(dot_iq4, k_codes, k_dot, (k_shape){.sub = 32, .lines = 8, .planes = 2, .pairs = 4, .offset_bits = 7})

static inline void keep(void *to, __m256i v)
{
    _mm256_store_si256(to, v);
}

static inline void keep_d(k_codes *u, const uint8_t *chunk, bool min)
{
    for (uint32_t half = 0; half < 2; half++) {
        _mm256_store_ps(u->d[half], scales_f16(chunk + 16 * half));
        if (min) {
            _mm256_store_ps(u->dmin[half], scales_f16(chunk + 32 + 16 * half));
        }
    }
}

static void keep_k45_scales(k_codes *u, const uint8_t *chunk)
{
    k45_scales sc;
    unpack_k45_scales(chunk + LINE, &sc);
    keep_d(u, chunk, true);
    for (uint32_t half = 0; half < 2; half++) {
        for (uint32_t j = 0; j < 8; j++) {
            const uint8_t *s = sc.sc[j] + HALF * half;
            keep(u->scale[half][j], pair_u8(s, s));
        }
        for (uint32_t c = 0; c < 4; c++) {
            keep(u->pair[half][c], pair_u8(sc.mn[2 * c] + HALF * half, sc.mn[2 * c + 1] + HALF * half));
        }
    }
}

static void unpack_q4_k(const uint8_t *chunk, uint32_t cols, k_codes *u)
{
    (void)cols;
    keep_k45_scales(u, chunk);
    for (uint32_t half = 0; half < 2; half++) {
        const uint8_t *q = chunk + 4 * LINE + 32 * half;
        for (uint32_t i = 0; i < 32; i++) {
            uint32_t to = 16 * (i / 8) + i % 8;
            __m256i v = load(q + i * LINE);
            keep(u->code[0][half][to], nibbles_low(v));
            keep(u->code[0][half][to + 8], nibbles_high(v));
        }
    }
}

/* The fifth bits of sub-blocks 2c and 2c + 1 of all four c are the same eight lines, each behind one of the
 * first eight lines of nibbles: bits 2c and 2c + 1. */
static void unpack_q5_k(const uint8_t *chunk, uint32_t cols, k_codes *u)
{
    (void)cols;
    const __m256i one = _mm256_set1_epi8(1);
    keep_k45_scales(u, chunk);
    for (uint32_t half = 0; half < 2; half++) {
        const uint8_t *lines = chunk + 4 * LINE + 32 * half;
        for (uint32_t k = 0; k < 8; k++) {
            __m256i fifth = load(lines + (2 * k + 1) * LINE);
#pragma GCC unroll 4
            for (uint32_t c = 0; c < 4; c++) {
                __m256i v = load(lines + (c == 0 ? 2 * k : 16 + (c - 1) * 8 + k) * LINE);
                __m256i low = _mm256_and_si256(_mm256_srli_epi16(fifth, 2 * c), one);
                __m256i high = _mm256_and_si256(_mm256_srli_epi16(fifth, 2 * c + 1), one);
                low = _mm256_or_si256(nibbles_low(v), _mm256_slli_epi16(low, 4));
                high = _mm256_or_si256(nibbles_high(v), _mm256_slli_epi16(high, 4));
                keep(u->code[0][half][16 * c + k], low);
                keep(u->code[0][half][16 * c + 8 + k], high);
            }
        }
    }
}

/* 16 x 16 scales of a byte each, or minimums: twice each for the codes, in pairs for the sums */
INLINE void keep_k16(int32_t (*scale)[16][HALF], int32_t (*pair)[8][HALF], const uint8_t *sc)
{
    for (uint32_t half = 0; half < 2; half++) {
        const uint8_t *s = sc + HALF * half;
        for (uint32_t j = 0; scale != NULL && j < 16; j++) {
            keep(scale[half][j], pair_s8(s + j * R, s + j * R));
        }
        for (uint32_t c = 0; pair != NULL && c < 8; c++) {
            keep(pair[half][c], pair_s8(s + 2 * c * R, s + (2 * c + 1) * R));
        }
    }
}

/* Codes of both halves, those of quarter hg and step k for the four sub-blocks that they belong to */
INLINE void keep_k16_codes(k_codes *u, k16_codes_fn *codes, const uint8_t *lines)
{
    for (uint32_t half = 0; half < 2; half++) {
        for (uint32_t i = 0; i < 16; i++) {
            const uint32_t hg = i / 4, k = i % 4;
            uint8_t(*code)[32] = u->code[0][half] + 4 * (8 * (hg / 2) + hg % 2) + k;
            __m256i c[4];
            codes(lines + 32 * half, hg, k, 0, &c[0], &c[2]);
            codes(lines + 32 * half, hg, k, 1, &c[1], &c[3]);
            for (uint32_t t = 0; t < 4; t++) {
                keep(code[8 * t], c[t]);
            }
        }
    }
}

static void unpack_q2_k(const uint8_t *chunk, uint32_t cols, k_codes *u)
{
    (void)cols;
    _Alignas(32) uint8_t sc[16][R], mn[16][R];
    unpack_k2_scales(chunk + LINE, sc, mn);
    keep_d(u, chunk, true);
    keep_k16(u->scale, NULL, sc[0]);
    keep_k16(NULL, u->pair, mn[0]);
    keep_k16_codes(u, q2_codes, chunk + 5 * LINE);
}

static void unpack_q3_k(const uint8_t *chunk, uint32_t cols, k_codes *u)
{
    (void)cols;
    _Alignas(32) uint8_t sc[16][R];
    unpack_q3_scales(chunk + Q3_HEAD, sc);
    keep_d(u, chunk, false);
    keep_k16(u->scale, u->pair, sc[0]);
    keep_k16_codes(u, q3_codes, chunk + Q3_HEAD + Q3_SCALES);
}

static void unpack_q6_k(const uint8_t *chunk, uint32_t cols, k_codes *u)
{
    (void)cols;
    keep_d(u, chunk, false);
    keep_k16(u->scale, u->pair, chunk + Q6_HEAD);
    keep_k16_codes(u, q6_codes, chunk + Q6_HEAD + Q6_SCALES);
}

/* code + 128 as two planes of four bits */
static inline void keep_planes(k_codes *u, uint32_t half, uint32_t word, __m256i code)
{
    __m256i v = _mm256_xor_si256(code, _mm256_set1_epi8(-128));
    keep(u->code[0][half][word], nibbles_low(v));
    keep(u->code[1][half][word], nibbles_high(v));
}

static void unpack_iq4_xs(const uint8_t *chunk, uint32_t cols, k_codes *u)
{
    (void)cols;
    keep_d(u, chunk, false);
    for (uint32_t half = 0; half < 2; half++) {
        const uint8_t *q = chunk + 2 * LINE + 32 * half;
        for (uint32_t j = 0; j < 8; j++, q += 4 * LINE) {
            keep(u->scale[half][j], iq4_xs_scale(chunk, half, j));
            for (uint32_t k = 0; k < 4; k++) {
                __m256i low, high;
                codes_iq4(q, k, &low, &high);
                keep_planes(u, half, 8 * j + k, low);
                keep_planes(u, half, 8 * j + 4 + k, high);
            }
        }
        for (uint32_t c = 0; c < 4; c++) {
            __m256i a = load(u->scale[half][2 * c]), b = load(u->scale[half][2 * c + 1]);
            keep(u->pair[half][c], _mm256_blend_epi16(a, b, 0xaa));
        }
    }
}

PANEL(q2_k, k_codes, unpack_q2_k, dot_q2)
PANEL(q3_k, k_codes, unpack_q3_k, dot_q3)
PANEL(q4_k, k_codes, unpack_q4_k, dot_q4)
PANEL(q5_k, k_codes, unpack_q5_k, dot_q5)
PANEL(q6_k, k_codes, unpack_q6_k, dot_q6)
PANEL(iq4_xs, k_codes, unpack_iq4_xs, dot_iq4)
