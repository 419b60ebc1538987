/* AVX-VNNI panel kernels of the integer formats. A block of 16 rows is unpacked once, to lines of unsigned
 * codes (code + 128) in the order of columns; then every tile of the panel multiplies it: both halves of a
 * line for up to six lanes are twelve accumulators, which with two halves of codes and a broadcast are 15 of
 * the 16 registers that the VEX encoding has. A format is a function that unpacks; one body multiplies for
 * the K-quants and IQ4_XS and one for the formats of 32 columns. Compiled once per encoding
 * (mat_avxvnni.h), reached through mox_panel_job_init.
 */
#ifndef MOX_KERNELS_X86_PANEL_AVXVNNI_H
#define MOX_KERNELS_X86_PANEL_AVXVNNI_H

#include "kernels/panel.h"
#include "kernels/x86/mat_b32_avxvnni.h"
#include "kernels/x86/mat_k_avxvnni.h"

enum { LANES = 6, UNSIGNED = 128 };
_Static_assert((int)LANES <= (int)MOX_PANEL_TILE, "a tile holds them");

typedef struct vnni_block {
    _Alignas(64) uint8_t code[64][LINE];
    int32_t scale[16][R];     /* K: of sub-blocks, or pairs (scale, 0) of int16 */
    int32_t first[4][R];      /* K: pairs of int16 for the sums of 32: where the sum starts */
    int32_t min_pair[8][R];   /* K: pairs of minimums for the sums of 16 or 32 */
    float d[8][R], min[8][R]; /* of the block: [0]; of sub-blocks of 32 */
    uint32_t n_sub;
} vnni_block;

typedef __m256i lanes_int[2][LANES];

/* Float weights have nothing to gain from integer instructions. */
mox_panel_fn mox_panel_avx2_f32, mox_panel_avx2_f16, mox_panel_avx2_bf16;
#define panel_f32  mox_panel_avx2_f32
#define panel_f16  mox_panel_avx2_f16
#define panel_bf16 mox_panel_avx2_bf16

#define EACH_LANE _Pragma("GCC unroll 6") for (uint32_t i = 0; i < n; i++)
#define BOTH      _Pragma("GCC unroll 2") for (uint32_t w = 0; w < 2; w++)

/* Word `word` of lane i in every row */
static inline __m256i lane_int(const uint8_t *x, uint32_t n, uint32_t word, uint32_t i)
{
    return broadcast4(x + ((size_t)word * n + i) * 4);
}

static inline __m256 lane_float(const uint8_t *x, uint32_t n, uint32_t word, uint32_t i)
{
    return _mm256_castsi256_ps(lane_int(x, n, word, i));
}

static inline __m256i half_of(const void *line16, uint32_t w)
{
    return _mm256_load_si256((const __m256i *)line16 + w);
}

static inline __m256 floats_of(const float *line16, uint32_t w)
{
    return _mm256_load_ps(line16 + HALF * w);
}

static inline void keep(void *line16, uint32_t w, __m256i v)
{
    _mm256_store_si256((__m256i *)line16 + w, v);
}

static inline void add_partial(mox_row_sums *s, uint32_t w, __m256 p)
{
    float *span = s->span + HALF * w;
    _mm256_storeu_ps(span, _mm256_add_ps(_mm256_loadu_ps(span), p));
}

static inline void close_spans(mox_row_sums *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        BOTH
        {
            float *row = s[i].row + HALF * w, *span = s[i].span + HALF * w;
            _mm256_storeu_ps(row, _mm256_add_ps(_mm256_loadu_ps(row), _mm256_loadu_ps(span)));
            _mm256_storeu_ps(span, _mm256_setzero_ps());
        }
    }
}

/* acc = start + `words` lines of codes times the activations of words 0.. at x */
INLINE void lanes_dot(lanes_int acc, const uint8_t (*code)[LINE], const uint8_t *x, const uint8_t *start,
                      uint32_t words, const uint32_t n)
{
    EACH_LANE acc[0][i] = acc[1][i] = lane_int(start, n, 0, i);
#pragma GCC unroll 8
    for (uint32_t k = 0; k < words; k++) {
        __m256i low = half_of(code[k], 0), high = half_of(code[k], 1);
        EACH_LANE
        {
            __m256i a = lane_int(x, n, k, i);
            acc[0][i] = MOX_VNNI(dpbusd)(acc[0][i], low, a);
            acc[1][i] = MOX_VNNI(dpbusd)(acc[1][i], high, a);
        }
    }
}

typedef struct panel_k_shape {
    uint32_t sub;  /* columns of a scale: 16, 32 */
    uint32_t mins; /* pairs of minimums: 0; 4: of 32 columns; 8: of 16 */
    bool small;    /* sums of sub-blocks fit int16, so one dpwssd multiplies and adds */
    bool first;    /* the sum starts with `first` */
} panel_k_shape;

/* start + `count` pairs times the lane's pairs of sums from word `word` */
INLINE __m256i pairs_dot(__m256i start, const int32_t (*pair)[R], uint32_t w, uint32_t count,
                         const uint8_t *x, uint32_t n, uint32_t word, uint32_t i)
{
#pragma GCC unroll 8
    for (uint32_t c = 0; c < count; c++) {
        start = MOX_VNNI(dpwssd)(start, half_of(pair[c], w), lane_int(x, n, word + c, i));
    }
    return start;
}

/* p = (d * S) * a, or fma(d, S, -(dmin * M)) * a */
INLINE void finish_k(const panel_k_shape f, const vnni_block *u, const uint8_t *x, const uint32_t n,
                     lanes_int sum, mox_row_sums *s)
{
    const uint32_t word = f.mins == 8 ? MOX_PANEL_K_SUM16 : MOX_PANEL_K_SUM32;
    BOTH
    {
        __m256 d = floats_of(u->d[0], w), dmin = floats_of(u->min[0], w);
        EACH_LANE
        {
            __m256 v = _mm256_cvtepi32_ps(sum[w][i]);
            if (f.mins != 0) {
                __m256i m = pairs_dot(_mm256_setzero_si256(), u->min_pair, w, f.mins, x, n, word, i);
                v = _mm256_fmsub_ps(d, v, _mm256_mul_ps(dmin, _mm256_cvtepi32_ps(m)));
            } else {
                v = _mm256_mul_ps(d, v);
            }
            add_partial(&s[i], w, _mm256_mul_ps(v, lane_float(x, n, MOX_PANEL_K_SCALE, i)));
        }
    }
}

INLINE void k_dot(const panel_k_shape f, const vnni_block *u, const uint8_t *x, const uint32_t n,
                  mox_row_sums *s)
{
    const uint32_t words = f.sub / 4, n_sub = MOX_BLOCK / f.sub;
    const uint8_t *start = x + (size_t)(f.sub == 16 ? MOX_PANEL_K_START16 : MOX_PANEL_K_START32) * n * 4;
    const uint8_t *q = x;
    lanes_int sum;
    BOTH EACH_LANE
    {
        sum[w][i] = _mm256_setzero_si256();
        if (f.first) {
            sum[w][i] = pairs_dot(sum[w][i], u->first, w, 4, x, n, MOX_PANEL_K_SUM32, i);
        }
    }
#pragma GCC unroll 1
    for (uint32_t j = 0; j < n_sub; j++, q += (size_t)words * n * 4, start += (size_t)n * 4) {
        lanes_int acc;
        lanes_dot(acc, u->code + (size_t)j * words, q, start, words, n);
        BOTH
        {
            __m256i scale = half_of(u->scale[j], w);
            EACH_LANE
            {
                sum[w][i] = f.small ? MOX_VNNI(dpwssd)(sum[w][i], acc[w][i], scale)
                                    : _mm256_add_epi32(sum[w][i], _mm256_mullo_epi32(acc[w][i], scale));
            }
        }
    }
    finish_k(f, u, x, n, sum, s);
}

/* t = fma(d * a_j, (f32)S_j, t) over the sub-blocks, then the same with minimums and sums of codes */
INLINE void b_dot(const bool mins, const vnni_block *u, const uint8_t *x, const uint32_t n, mox_row_sums *s)
{
    const size_t step = (size_t)n * 4;
    const uint8_t *a = x + MOX_PANEL_B_SCALE * step, *start = x + MOX_PANEL_B_START * step, *q = x;
    __m256 t[2][LANES];
    BOTH EACH_LANE t[w][i] = _mm256_setzero_ps();
#pragma GCC unroll 1
    for (uint32_t j = 0; j < u->n_sub; j++, q += 8 * step, a += step, start += step) {
        lanes_int acc;
        lanes_dot(acc, u->code + (size_t)8 * j, q, start, 8, n);
        BOTH
        {
            __m256 d = floats_of(u->d[j], w);
            EACH_LANE t[w][i] = _mm256_fmadd_ps(_mm256_mul_ps(d, lane_float(a, n, 0, i)),
                                                _mm256_cvtepi32_ps(acc[w][i]), t[w][i]);
        }
    }
    a = x + MOX_PANEL_B_SCALE * step;
    for (uint32_t j = 0; mins && j < u->n_sub; j++, a += step) {
        const uint8_t *sums = a + (MOX_PANEL_B_FSUM - MOX_PANEL_B_SCALE) * step;
        BOTH
        {
            __m256 m = floats_of(u->min[j], w);
            EACH_LANE t[w][i] =
                _mm256_fmadd_ps(_mm256_mul_ps(m, lane_float(a, n, 0, i)), lane_float(sums, n, 0, i), t[w][i]);
        }
    }
    BOTH EACH_LANE add_partial(&s[i], w, t[w][i]);
}

/* An unpacked block times one tile: body(..., u, x, n, s) for each count of lanes. */
#define TILE_DOT(name, body, ...)                                                                            \
    static inline void name(const vnni_block *u, const uint8_t *x, uint32_t size, mox_row_sums *s)           \
    {                                                                                                        \
        if (size == LANES) {                                                                                 \
            body(__VA_ARGS__, u, x, LANES, s);                                                               \
        } else {                                                                                             \
            body(__VA_ARGS__, u, x, 4, s);                                                                   \
        }                                                                                                    \
    }

/* Q4_K's codes less 8, times activations, are at most 32 * 8 * 127 in a sub-block. */
enum { Q4_CENTRE = 8 };
_Static_assert(32 * Q4_CENTRE * 127 <= INT16_MAX, "the sums of Q4_K's sub-blocks fit int16");

TILE_DOT(dot_q4, k_dot, (panel_k_shape){.sub = 32, .mins = 4, .small = true, .first = true})
TILE_DOT(dot_q5, k_dot, (panel_k_shape){.sub = 32, .mins = 4})
TILE_DOT(dot_iq4, k_dot, (panel_k_shape){.sub = 32})
TILE_DOT(dot_q6, k_dot, (panel_k_shape){.sub = 16})
TILE_DOT(dot_q2, k_dot, (panel_k_shape){.sub = 16, .mins = 8, .small = true})
TILE_DOT(dot_q3, k_dot, (panel_k_shape){.sub = 16, .small = true})
TILE_DOT(dot_b, b_dot, false)
TILE_DOT(dot_b_min, b_dot, true)

static inline void keep_d(vnni_block *u, const uint8_t *chunk, bool mins)
{
    BOTH
    {
        _mm256_store_ps(u->d[0] + HALF * w, scales_f16(chunk + 16 * w));
        _mm256_store_ps(u->min[0] + HALF * w, mins ? scales_f16(chunk + 32 + 16 * w) : _mm256_setzero_ps());
    }
}

INLINE void keep_k45_scales(vnni_block *u, const uint8_t *chunk, bool small)
{
    k45_scales sc;
    unpack_k45_scales(chunk + LINE, &sc);
    keep_d(u, chunk, true);
    for (uint32_t j = 0; j < 8; j++) {
        BOTH keep(u->scale[j], w, widen_u8(sc.sc[j] + HALF * w));
    }
    for (uint32_t j = 0; j < 8; j += 2) {
        BOTH
        {
            const uint32_t at = HALF * w;
            keep(u->min_pair[j / 2], w, pair_u8(sc.mn[j] + at, sc.mn[j + 1] + at));
            if (small) {
                __m256i pair = pair_u8(sc.sc[j] + at, sc.sc[j + 1] + at);
                keep(u->first[j / 2], w, _mm256_mullo_epi16(pair, _mm256_set1_epi16(Q4_CENTRE)));
            }
        }
    }
}

static inline void unpack_q4_k(const uint8_t *chunk, uint32_t cols, vnni_block *u)
{
    (void)cols;
    const __m256i offset = _mm256_set1_epi8((char)(UNSIGNED - Q4_CENTRE));
    const uint8_t *q = chunk + 4 * LINE;
    keep_k45_scales(u, chunk, true);
    for (uint32_t c = 0; c < 4; c++) {
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            BOTH
            {
                __m256i v = load(q + (8 * c + k) * LINE + 32 * w);
                keep(u->code[16 * c + k], w, _mm256_add_epi8(nibbles_low(v), offset));
                keep(u->code[16 * c + 8 + k], w, _mm256_add_epi8(nibbles_high(v), offset));
            }
        }
    }
}

static inline void unpack_q5_k(const uint8_t *chunk, uint32_t cols, vnni_block *u)
{
    (void)cols;
    const __m256i offset = _mm256_set1_epi8((char)UNSIGNED);
    const uint8_t *lines = chunk + 4 * LINE;
    keep_k45_scales(u, chunk, false);
#pragma GCC unroll 4
    for (uint32_t c = 0; c < 4; c++) {
        const uint8_t *q = c == 0 ? lines : lines + 16 * LINE + (c - 1) * 8 * LINE;
        const uint32_t step = c == 0 ? 2 * LINE : LINE;
        for (uint32_t k = 0; k < 8; k++) {
            BOTH
            {
                __m256i v = load(q + k * step + 32 * w), fifth = load(lines + (2 * k + 1) * LINE + 32 * w);
                __m256i l = _mm256_or_si256(nibbles_low(v), fifth_bits(fifth, 4 - 2 * (int)c));
                __m256i h = _mm256_or_si256(nibbles_high(v), fifth_bits(fifth, 3 - 2 * (int)c));
                keep(u->code[16 * c + k], w, _mm256_or_si256(l, offset));
                keep(u->code[16 * c + 8 + k], w, _mm256_or_si256(h, offset));
            }
        }
    }
}

/* lines: codes; scales: 16 x 16 signed bytes */
INLINE void unpack_k16(k16_shape f, const uint8_t *lines, const uint8_t *scales, vnni_block *u)
{
    const __m256i offset = _mm256_set1_epi8((char)(UNSIGNED - f.offset));
    const __m256i kept = _mm256_set1_epi32(f.small ? 0xffff : -1); /* pairs (scale, 0) */
    for (uint32_t j = 0; j < 16; j++) {
        BOTH keep(u->scale[j], w, _mm256_and_si256(widen_s8(scales + j * R + HALF * w), kept));
    }
#pragma GCC unroll 4
    for (uint32_t hg = 0; hg < 4; hg++) {
#pragma GCC unroll 2
        for (uint32_t t = 0; t < 2; t++) {
            const uint32_t sub = 8 * (hg / 2) + hg % 2 + 2 * t;
            for (uint32_t k = 0; k < 4; k++) {
                BOTH
                {
                    __m256i l, h;
                    f.codes(lines + 32 * w, hg, k, t, &l, &h);
                    keep(u->code[4 * sub + k], w, _mm256_add_epi8(l, offset));
                    keep(u->code[4 * (sub + 4) + k], w, _mm256_add_epi8(h, offset));
                }
            }
        }
    }
}

static inline void unpack_q2_k(const uint8_t *chunk, uint32_t cols, vnni_block *u)
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    _Alignas(32) uint8_t sc[16][R], mn[16][R];
    unpack_k2_scales(body, sc, mn);
    for (uint32_t j = 0; j < 16; j += 2) {
        BOTH keep(u->min_pair[j / 2], w, pair_u8(mn[j] + HALF * w, mn[j + 1] + HALF * w));
    }
    keep_d(u, chunk, true);
    unpack_k16((k16_shape){q2_codes, 0, true}, body + 4 * LINE, sc[0], u);
}

static inline void unpack_q3_k(const uint8_t *chunk, uint32_t cols, vnni_block *u)
{
    (void)cols;
    const uint8_t *body = chunk + Q3_HEAD;
    _Alignas(32) uint8_t sc[16][R];
    unpack_q3_scales(body, sc);
    keep_d(u, chunk, false);
    unpack_k16((k16_shape){q3_codes, Q3_OFFSET, true}, body + Q3_SCALES, sc[0], u);
}

static inline void unpack_q6_k(const uint8_t *chunk, uint32_t cols, vnni_block *u)
{
    (void)cols;
    const uint8_t *body = chunk + Q6_HEAD;
    keep_d(u, chunk, false);
    unpack_k16((k16_shape){q6_codes, Q6_OFFSET, false}, body + Q6_SCALES, body, u);
}

/* Sub-block j of 32 columns at q. */
INLINE void unpack_32(b32_codes_fn *codes, int offset, const uint8_t *q, uint32_t j, vnni_block *u)
{
    const __m256i plus = _mm256_set1_epi8((char)(UNSIGNED - offset));
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        BOTH
        {
            __m256i low, high;
            codes(q + 32 * (size_t)w, k, &low, &high);
            keep(u->code[8 * j + k], w, _mm256_add_epi8(low, plus));
            keep(u->code[8 * j + 4 + k], w, _mm256_add_epi8(high, plus));
        }
    }
}

static inline void unpack_iq4_xs(const uint8_t *chunk, uint32_t cols, vnni_block *u)
{
    (void)cols;
    keep_d(u, chunk, false);
    for (uint32_t j = 0; j < 8; j++) {
        BOTH keep(u->scale[j], w, iq4_xs_scale32(chunk, w, j));
        unpack_32(codes_iq4_up, BYTE_OFFSET, chunk + (2 + 4 * (size_t)j) * LINE, j, u);
    }
}

INLINE void unpack_b32(b32_shape f, const uint8_t *chunk, uint32_t cols, vnni_block *u)
{
    u->n_sub = cols / 32;
    const uint8_t *q = chunk + (size_t)u->n_sub * f.head;
    for (uint32_t j = 0; j < u->n_sub; j++, q += f.body) {
        BOTH
        {
            const uint8_t *head = chunk + (size_t)j * f.head + (size_t)f.scale * HALF * w;
            _mm256_store_ps(u->d[j] + HALF * w, f.scales(head));
            if (f.mins) {
                _mm256_store_ps(u->min[j] + HALF * w, f.scales(head + f.head / 2));
            }
        }
        unpack_32(f.codes, f.offset, q, j, u);
    }
}

/* panel_<name>: unpack(chunk, cols, &u) and the dot over the run's blocks and tiles. */
#define PANEL(name, dot)                                                                                     \
    static inline void panel_##name(const mox_panel_run *r, mox_row_sums *s)                                 \
    {                                                                                                        \
        vnni_block u;                                                                                        \
        for (uint32_t b = 0; b < r->count; b++) {                                                            \
            uint32_t left = r->cols - b * MOX_BLOCK;                                                         \
            bool close = left <= MOX_BLOCK || (r->first + b) % MOX_SPAN_BLOCKS == MOX_SPAN_BLOCKS - 1;       \
            unpack_##name(r->chunk + b * r->stride, left < MOX_BLOCK ? left : MOX_BLOCK, &u);                \
            mox_row_sums *of_tile = s;                                                                       \
            for (uint32_t t = 0; t < r->n_tiles; of_tile += r->size[t++]) {                                  \
                mox_panel_fetch(r, b + 1, t);                                                                \
                dot(&u, r->tile[t] + b * r->tile_stride, r->size[t], of_tile);                               \
                if (close) {                                                                                 \
                    close_spans(of_tile, r->size[t]);                                                        \
                }                                                                                            \
            }                                                                                                \
        }                                                                                                    \
    }
#define B32_PANEL(name, dot)                                                                                 \
    static inline void unpack_##name(const uint8_t *chunk, uint32_t cols, vnni_block *u)                     \
    {                                                                                                        \
        unpack_b32(shape_##name, chunk, cols, u);                                                            \
    }                                                                                                        \
    PANEL(name, dot)

PANEL(q2_k, dot_q2)
PANEL(q3_k, dot_q3)
PANEL(q4_k, dot_q4)
PANEL(q5_k, dot_q5)
PANEL(q6_k, dot_q6)
PANEL(iq4_xs, dot_iq4)
B32_PANEL(q8_0, dot_b)
B32_PANEL(q4_0, dot_b)
B32_PANEL(q4_1, dot_b_min)
B32_PANEL(q5_0, dot_b)
B32_PANEL(q5_1, dot_b_min)
B32_PANEL(iq4_nl, dot_b)
B32_PANEL(mxfp4, dot_b)

#endif
