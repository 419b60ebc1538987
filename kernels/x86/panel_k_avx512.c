/* AVX-512 panel kernels of the K-quants and IQ4_XS. One body serves all: sub-blocks of 16 or 32 columns whose
 * sums are multiplied by a scale, or a whole block at once where the product of code and scale fits a byte
 * (Q2_K, Q3_K), and is made while unpacking. Reached through mox_panel_job_init.
 */
#include "kernels/x86/codes_b32_avx512.h"
#include "kernels/x86/panel_avx512.h"
#include "kernels/x86/scales_k_avx512.h"

typedef struct k_codes {
    _Alignas(64) uint8_t code[64][LINE];
    int32_t scale[16][R]; /* of sub-blocks */
    int32_t min[8][R];    /* pairs of minimums for the sums of 16 or 32 */
    float d[R], dmin[R];
    uint8_t sc[16][R]; /* Q2_K, Q3_K: scales from the first step for the others */
} k_codes;

/* Step j of unpacking */
typedef void k_step(const uint8_t *chunk, uint32_t cols, uint32_t j, k_codes *u);

typedef struct k_shape {
    uint32_t sub;      /* columns of a scale: 16, 32; 256: scales are in the codes */
    uint32_t mins;     /* pairs of minimums: 0; 4: of 32 columns; 8: of 16 */
    int32_t start_all; /* the sum starts with this times the sum of all codes */
} k_shape;

/* Sum of `count` pairs times the lane's pairs of sums from word w */
INLINE __m512i pairs_dot(const int32_t (*pair)[R], uint32_t count, const uint8_t *x, uint32_t n, uint32_t w,
                         uint32_t i)
{
    __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (uint32_t c = 0; c < count; c++) {
        sum = _mm512_dpwssd_epi32(sum, _mm512_load_si512(pair[c]), lane_int(x, n, w + c, i));
    }
    return sum;
}

/* sum += scale_j * S_j over the sub-blocks */
INLINE void add_sub_blocks(const k_shape f, k_step *step, const k_codes *u, const uint8_t *x,
                           const uint32_t n, __m512i *sum, const panel_next *next, k_codes *to)
{
    const uint32_t words = f.sub / 4, n_sub = MOX_BLOCK / f.sub;
    const uint8_t *start = x + (size_t)(f.sub == 16 ? MOX_PANEL_K_START16 : MOX_PANEL_K_START32) * n * 4;
#pragma GCC unroll 1
    for (uint32_t j = 0; j < n_sub; j++, x += (size_t)words * n * 4, start += (size_t)n * 4) {
        __m512i acc[LANES];
        EACH_LANE acc[i] = lane_int(start, n, 0, i);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < words; k++) {
            lanes_dot(acc, line(u->code[j * words + k]), x, n, k);
        }
        __m512i scale = _mm512_load_si512(u->scale[j]);
        EACH_LANE sum[i] = _mm512_add_epi32(sum[i], _mm512_mullo_epi32(acc[i], scale));
        if (f.sub == 32) {
            ADVANCE(step, next, j, to)
        } else if (j % 2 != 0) {
            ADVANCE(step, next, j / 2, to)
        }
    }
}

INLINE void add_block(k_step *step, const k_codes *u, const uint8_t *x, const uint32_t n, __m512i *sum,
                      const panel_next *next, k_codes *to)
{
#pragma GCC unroll 1
    for (uint32_t w = 0; w < 64; w += 8, x += (size_t)8 * n * 4) {
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            lanes_dot(sum, line(u->code[w + k]), x, n, k);
        }
        ADVANCE(step, next, w / 8, to)
    }
}

/* p = (d * S) * a, or fma(d, S, -(dmin * M)) * a */
INLINE void finish_k(const k_shape f, const k_codes *u, const uint8_t *x, const uint32_t n,
                     const __m512i *sum, mox_row_sums *s)
{
    const uint32_t w = f.mins == 8 ? MOX_PANEL_K_SUM16 : MOX_PANEL_K_SUM32;
    __m512 d = _mm512_load_ps(u->d), dmin = _mm512_load_ps(u->dmin);
    EACH_LANE
    {
        __m512 v = _mm512_cvtepi32_ps(sum[i]);
        if (f.mins != 0) {
            __m512i m = pairs_dot(u->min, f.mins, x, n, w, i);
            v = _mm512_fmsub_ps(d, v, _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(m)));
        } else {
            v = _mm512_mul_ps(d, v);
        }
        add_partial(&s[i], _mm512_mul_ps(v, lane_float(x, n, MOX_PANEL_K_SCALE, i)));
    }
}

INLINE void k_dot(const k_shape f, k_step *step, const k_codes *u, const uint8_t *x, const uint32_t n,
                  mox_row_sums *s, const panel_next *next, k_codes *to)
{
    __m512i sum[LANES];
    EACH_LANE sum[i] = _mm512_setzero_si512();
    if (f.start_all != 0) {
        const __m512i times = _mm512_set1_epi32(f.start_all);
        EACH_LANE sum[i] = _mm512_mullo_epi32(lane_int(x, n, MOX_PANEL_K_SUM, i), times);
    }
    if (f.sub == MOX_BLOCK) {
        add_block(step, u, x, n, sum, next, to);
    } else {
        add_sub_blocks(f, step, u, x, n, sum, next, to);
    }
    finish_k(f, u, x, n, sum, s);
}

enum { Q3_PLUS = 127 };

static inline void keep(void *to, __m512i v)
{
    _mm512_store_si512(to, v);
}

/* Pairs of int16 per row, of two sub-blocks' scales or minimums */
static inline __m512i pair_u8(const uint8_t *a, const uint8_t *b)
{
    return _mm512_or_si512(widen_u8(a), _mm512_slli_epi32(widen_u8(b), 16));
}

static inline void keep_d(k_codes *u, const uint8_t *chunk)
{
    _mm512_store_ps(u->d, scales_f16(chunk));
    _mm512_store_ps(u->dmin, scales_f16(chunk + 32));
}

INLINE void keep_k45_scales(k_codes *u, const uint8_t *chunk)
{
    k45_scales sc;
    unpack_k45_scales(chunk + LINE, &sc);
    keep_d(u, chunk);
#pragma GCC unroll 8
    for (uint32_t j = 0; j < 8; j++) {
        keep(u->scale[j], widen_u8(sc.sc[j]));
    }
#pragma GCC unroll 4
    for (uint32_t c = 0; c < 4; c++) {
        keep(u->min[c], pair_u8(sc.mn[2 * c], sc.mn[2 * c + 1]));
    }
}

INLINE void step_q4_k(const uint8_t *chunk, uint32_t cols, uint32_t j, k_codes *u)
{
    (void)cols;
    const __m512i top = _mm512_set1_epi8(-128);
    const uint8_t *q = chunk + (4 + 4 * (size_t)j) * LINE;
    uint8_t(*to)[LINE] = u->code + 16 * (j / 2) + 4 * (j % 2);
    if (j == 0) {
        keep_k45_scales(u, chunk);
    }
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        __m512i v = line(q + k * LINE);
        keep(to[k], _mm512_or_si512(nibbles_low(v), top));
        keep(to[k + 8], _mm512_or_si512(nibbles_high(v), top));
    }
}

/* The fifth bits of sub-blocks 2c and 2c + 1 of all four c are the same eight lines, each behind one of the
 * first eight lines of nibbles: bits 2c and 2c + 1. */
INLINE void step_q5_k(const uint8_t *chunk, uint32_t cols, uint32_t j, k_codes *u)
{
    (void)cols;
    const __m512i bit4 = _mm512_set1_epi8(16), top = _mm512_set1_epi8(-128);
    const uint8_t *lines = chunk + 4 * LINE;
    if (j == 0) {
        keep_k45_scales(u, chunk);
    }
    __m512i fifth = line(lines + (2 * j + 1) * LINE);
#pragma GCC unroll 4
    for (uint32_t c = 0; c < 4; c++) {
        __m512i v = line(lines + (c == 0 ? 2 * j : 16 + (c - 1) * 8 + j) * LINE);
        __m512i moved = c == 3 ? _mm512_srli_epi16(fifth, 2) : _mm512_slli_epi16(fifth, 4 - 2 * c);
        __m512i next = _mm512_slli_epi16(_mm512_srli_epi16(fifth, 2 * c + 1), 4);
        __m512i low = or_masked(nibbles_low(v), moved, bit4);
        __m512i high = or_masked(nibbles_high(v), next, bit4);
        keep(u->code[16 * c + j], _mm512_or_si512(low, top));
        keep(u->code[16 * c + 8 + j], _mm512_or_si512(high, top));
    }
}

INLINE void step_q6_k(const uint8_t *chunk, uint32_t cols, uint32_t j, k_codes *u)
{
    (void)cols;
    const __m512i bits45 = _mm512_set1_epi8(0x30), offset = _mm512_set1_epi8(128 - Q6_OFFSET);
    const uint8_t *scales = chunk + Q6_HEAD, *q = scales + Q6_SCALES + 6 * (size_t)j * LINE;
    if (j == 0) {
        _mm512_store_ps(u->d, scales_f16(chunk));
    }
    keep(u->scale[2 * j], widen_s8(scales + 2 * j * R));
    keep(u->scale[2 * j + 1], widen_s8(scales + (2 * j + 1) * R));
    for (uint32_t i = 2 * j; i < 2 * j + 2; i++, q += 3 * LINE) {
        const uint32_t hg = i / 4, to = 4 * (8 * (hg / 2) + hg % 2) + i % 4; /* of its four sub-blocks */
        __m512i l0 = line(q), l1 = line(q + LINE), top = line(q + 2 * LINE);
        __m512i c0 = or_masked(nibbles_low(l0), _mm512_slli_epi16(top, 4), bits45);
        __m512i c1 = or_masked(nibbles_low(l1), _mm512_slli_epi16(top, 2), bits45);
        __m512i c2 = or_masked(nibbles_high(l0), top, bits45);
        __m512i c3 = or_masked(nibbles_high(l1), _mm512_srli_epi16(top, 2), bits45);
        keep(u->code[to], _mm512_add_epi8(c0, offset));
        keep(u->code[to + 8], _mm512_add_epi8(c1, offset));
        keep(u->code[to + 16], _mm512_add_epi8(c2, offset));
        keep(u->code[to + 24], _mm512_add_epi8(c3, offset));
    }
}

/* Codes times scales are at most 3 * 15, two of them in a product of 16 bits. */
INLINE void step_q2_k(const uint8_t *chunk, uint32_t cols, uint32_t j, k_codes *u)
{
    (void)cols;
    const __m512i low2 = _mm512_set1_epi8(3);
    const uint32_t hg = j / 2, sub = 8 * (hg / 2) + hg % 2, at = 2 * (j % 2);
    const uint8_t *q = chunk + (5 + 2 * (size_t)j) * LINE;
    if (j == 0) {
        k2_scales sc;
        unpack_k2_scales(chunk + LINE, &sc);
        keep_d(u, chunk);
#pragma GCC unroll 8
        for (uint32_t c = 0; c < 8; c++) {
            keep(u->min[c], pair_u8(sc.mn[2 * c], sc.mn[2 * c + 1]));
        }
        memcpy(u->sc, sc.sc, sizeof u->sc);
    }
#pragma GCC unroll 4
    for (uint32_t t = 0; t < 4; t++) {
        __m512i scale = pair_u8(u->sc[sub + 2 * t], u->sc[sub + 2 * t]);
#pragma GCC unroll 2
        for (uint32_t k = 0; k < 2; k++) {
            __m512i code = _mm512_and_si512(_mm512_srli_epi16(line(q + k * LINE), 2 * t), low2);
            keep(u->code[4 * (sub + 2 * t) + at + k], _mm512_mullo_epi16(code, scale));
        }
    }
}

/* (code - 4) * scale is -124 .. 128; with 127 added an unsigned byte. A code's lower two bits choose from a
 * table of the row, 4 rows x 4 values in 16 bytes; its third bit, which means no offset, adds 4 times the
 * scale. Bytes may pass 255 on the way. */
static inline __m512i q3_table(__m512i scale, __m512i scale4)
{
    __m512i base = _mm512_sub_epi8(_mm512_set1_epi8(Q3_PLUS), scale4);
    __m512i one = _mm512_and_si512(scale, _mm512_set1_epi32((int)0xff00ff00));
    __m512i two = _mm512_and_si512(_mm512_add_epi8(scale, scale), _mm512_set1_epi32((int)0xffff0000));
    return _mm512_add_epi8(base, _mm512_add_epi8(one, two));
}

INLINE void step_q3_k(const uint8_t *chunk, uint32_t cols, uint32_t j, k_codes *u)
{
    (void)cols;
    const __m512i low2 = _mm512_set1_epi8(3), spread = _mm512_set1_epi32(0x01010101);
    const __m512i row4 = _mm512_broadcast_i32x4(_mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
    const uint8_t *body = chunk + Q3_HEAD, *lines = body + Q3_SCALES;
    const uint32_t hg = j / 2, h = hg / 2, g = hg % 2, sub = 8 * h + g, at = 2 * (j % 2);
    const size_t step = h == 0 ? 2 * LINE : LINE;
    const uint8_t *q = lines + (h == 0 ? 8 * g : 16 + 4 * g) * LINE + at * step;
    const uint8_t *top = lines + (8 * g + 1 + 2 * at) * LINE;
    if (j == 0) {
        unpack_q3_scales(body, u->sc);
        _mm512_store_ps(u->d, scales_f16(chunk));
    }
#pragma GCC unroll 4
    for (uint32_t t = 0; t < 4; t++) {
        const __m512i bit = _mm512_set1_epi8((char)(1 << (4 * h + t)));
        __m512i scale = _mm512_mullo_epi32(widen_u8(u->sc[sub + 2 * t]), spread);
        __m512i scale2 = _mm512_add_epi8(scale, scale), scale4 = _mm512_add_epi8(scale2, scale2);
        __m512i table = q3_table(scale, scale4);
#pragma GCC unroll 2
        for (uint32_t k = 0; k < 2; k++) {
            __m512i place = or_masked(row4, _mm512_srli_epi16(line(q + k * step), 2 * t), low2);
            __m512i code = _mm512_shuffle_epi8(table, place);
            __mmask64 set = _mm512_test_epi8_mask(line(top + 2 * k * LINE), bit);
            keep(u->code[4 * (sub + 2 * t) + at + k], _mm512_mask_add_epi8(code, set, code, scale4));
        }
    }
}

INLINE void step_iq4_xs(const uint8_t *chunk, uint32_t cols, uint32_t j, k_codes *u)
{
    (void)cols;
    const uint8_t *q = chunk + (2 + 4 * (size_t)j) * LINE;
    if (j == 0) {
        _mm512_store_ps(u->d, scales_f16(chunk));
    }
    keep(u->scale[j], iq4_xs_scale(chunk, j));
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        __m512i low, high;
        codes_iq4(q, k, &low, &high);
        keep(u->code[8 * j + k], low);
        keep(u->code[8 * j + 4 + k], high);
    }
}

TILE_DOT(dot_q4, k_codes, k_dot, (k_shape){.sub = 32, .mins = 4}, step_q4_k)
TILE_DOT(dot_q5, k_codes, k_dot, (k_shape){.sub = 32, .mins = 4}, step_q5_k)
TILE_DOT(dot_iq4, k_codes, k_dot, (k_shape){.sub = 32}, step_iq4_xs)
TILE_DOT(dot_q6, k_codes, k_dot, (k_shape){.sub = 16}, step_q6_k)
TILE_DOT(dot_q2, k_codes, k_dot, (k_shape){.sub = MOX_BLOCK, .mins = 8}, step_q2_k)
TILE_DOT(dot_q3, k_codes, k_dot, (k_shape){.sub = MOX_BLOCK, .start_all = -Q3_PLUS}, step_q3_k)

PANEL(q2_k, k_codes, step_q2_k, dot_q2)
PANEL(q3_k, k_codes, step_q3_k, dot_q3)
PANEL(q4_k, k_codes, step_q4_k, dot_q4)
PANEL(q5_k, k_codes, step_q5_k, dot_q5)
PANEL(q6_k, k_codes, step_q6_k, dot_q6)
PANEL(iq4_xs, k_codes, step_iq4_xs, dot_iq4)
