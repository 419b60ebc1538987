/* AVX-512 panel kernels of the K-quants. Q4_K, Q5_K and Q6_K multiply the sum of a sub-block by its scale;
 * the scales and codes of Q2_K and Q3_K are so small that their product fits a byte, and is made once for all
 * lanes. Reached through mox_panel_job_init.
 */
#include "kernels/x86/panel_avx512.h"
#include "kernels/x86/scales_k_avx512.h"

/* Pairs of int16 per row, of two sub-blocks' scales or minimums: for sums of two runs of codes at once. */
static inline __m512i pair_u8(const uint8_t *a, const uint8_t *b)
{
    return _mm512_or_si512(widen_u8(a), _mm512_slli_epi32(widen_u8(b), 16));
}

static inline __m512i pair_s8(const uint8_t *a, const uint8_t *b)
{
    return _mm512_mask_mov_epi16(_mm512_slli_epi32(widen_s8(b), 16), 0x55555555, widen_s8(a));
}

/* Sum over `count` pairs of pair times the lane's sums from word w */
INLINE __m512i pairs_dot(__m512i start, const __m512i *pair, uint32_t count, const uint8_t *x, uint32_t n,
                         uint32_t w, uint32_t i)
{
#pragma GCC unroll 8
    for (uint32_t c = 0; c < count; c++) {
        start = _mm512_dpwssd_epi32(start, pair[c], lane_int(x, n, w + c, i));
    }
    return start;
}

/* p = (d * S) * a */
INLINE void finish_k(const uint8_t *chunk, const __m512i *sum, const uint8_t *x, const uint32_t n,
                     mox_row_sums *s)
{
    __m512 d = scales_f16(chunk);
    EACH_LANE
    {
        __m512 u = _mm512_mul_ps(d, _mm512_cvtepi32_ps(sum[i]));
        add_partial(&s[i], _mm512_mul_ps(u, lane_float(x, n, MOX_PANEL_K_SCALE, i)));
    }
}

/* p = fma(d, S, -(dmin * M)) * a, M from pairs of minimums and sums */
INLINE void finish_k_min(const uint8_t *chunk, const __m512i *sum, const __m512i *min, uint32_t pairs,
                         uint32_t w, const uint8_t *x, const uint32_t n, mox_row_sums *s)
{
    __m512 d = scales_f16(chunk), dmin = scales_f16(chunk + 32);
    EACH_LANE
    {
        __m512i m = pairs_dot(_mm512_setzero_si512(), min, pairs, x, n, w, i);
        __m512 t = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(m));
        __m512 u = _mm512_fmsub_ps(d, _mm512_cvtepi32_ps(sum[i]), t);
        add_partial(&s[i], _mm512_mul_ps(u, lane_float(x, n, MOX_PANEL_K_SCALE, i)));
    }
}

/* sum += acc * scale, and acc is zero again */
INLINE void apply_scale(__m512i *sum, __m512i *acc, __m512i scale, const uint32_t n)
{
    EACH_LANE
    {
        sum[i] = _mm512_add_epi32(sum[i], _mm512_mullo_epi32(acc[i], scale));
        acc[i] = _mm512_setzero_si512();
    }
}

INLINE void mins_of_32(const k45_scales *sc, __m512i min[4])
{
#pragma GCC unroll 4
    for (uint32_t c = 0; c < 4; c++) {
        min[c] = pair_u8(sc->mn[2 * c], sc->mn[2 * c + 1]);
    }
}

PANEL_BODY(q4_k)
{
    (void)cols;
    const uint8_t *body = chunk + LINE, *q = body + 3 * LINE;
    k45_scales sc;
    unpack_k45_scales(body, &sc);
    __m512i sum[LANES], acc[LANES], min[4];
    EACH_LANE sum[i] = acc[i] = _mm512_setzero_si512();
#pragma GCC unroll 1
    for (uint32_t c = 0; c < 4; c++, q += 8 * LINE) {
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            LANES_DOT(acc, nibbles_low(line(q + k * LINE)), 16 * c + k);
        }
        apply_scale(sum, acc, widen_u8(sc.sc[2 * c]), n);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            LANES_DOT(acc, nibbles_high(line(q + k * LINE)), 16 * c + 8 + k);
        }
        apply_scale(sum, acc, widen_u8(sc.sc[2 * c + 1]), n);
    }
    mins_of_32(&sc, min);
    finish_k_min(chunk, sum, min, 4, MOX_PANEL_K_SUM32, x, n, s);
}

/* The fifth bits of sub-blocks 2c and 2c + 1 of all four c are the same eight lines: bits 2c and 2c + 1. */
PANEL_BODY(q5_k)
{
    (void)cols;
    const __m512i bit4 = _mm512_set1_epi8(16);
    const uint8_t *body = chunk + LINE, *lines = body + 3 * LINE;
    k45_scales sc;
    unpack_k45_scales(body, &sc);
    __m512i sum[LANES], acc[LANES], min[4];
    EACH_LANE sum[i] = acc[i] = _mm512_setzero_si512();
#pragma GCC unroll 1
    for (uint32_t c = 0; c < 4; c++) {
        const uint8_t *q = c == 0 ? lines : lines + 16 * LINE + (c - 1) * 8 * LINE;
        const size_t step = c == 0 ? 2 * LINE : LINE;
        const __m128i shift = _mm_cvtsi32_si128(2 * (int)c);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            __m512i fifth = _mm512_slli_epi16(_mm512_srl_epi16(line(lines + (2 * k + 1) * LINE), shift), 4);
            LANES_DOT(acc, or_masked(nibbles_low(line(q + k * step)), fifth, bit4), 16 * c + k);
        }
        apply_scale(sum, acc, widen_u8(sc.sc[2 * c]), n);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            __m512i fifth = _mm512_slli_epi16(_mm512_srl_epi16(line(lines + (2 * k + 1) * LINE), shift), 3);
            LANES_DOT(acc, or_masked(nibbles_high(line(q + k * step)), fifth, bit4), 16 * c + 8 + k);
        }
        apply_scale(sum, acc, widen_u8(sc.sc[2 * c + 1]), n);
    }
    mins_of_32(&sc, min);
    finish_k_min(chunk, sum, min, 4, MOX_PANEL_K_SUM32, x, n, s);
}

/* Q6_K, quarter hg, step k: the codes of sub-block 8 * (hg / 2) + hg % 2 + 2t. */
INLINE __m512i q6_code(const uint8_t *q, uint32_t t)
{
    const __m512i bits45 = _mm512_set1_epi8(0x30);
    __m512i v = line(q + t % 2 * LINE), top = line(q + 2 * LINE);
    switch (t) {
    case 0:
        return or_masked(nibbles_low(v), _mm512_slli_epi16(top, 4), bits45);
    case 1:
        return or_masked(nibbles_low(v), _mm512_slli_epi16(top, 2), bits45);
    case 2:
        return or_masked(nibbles_high(v), top, bits45);
    default:
        return or_masked(nibbles_high(v), _mm512_srli_epi16(top, 2), bits45);
    }
}

PANEL_BODY(q6_k)
{
    (void)cols;
    const uint8_t *scales = chunk + Q6_HEAD, *q = scales + Q6_SCALES;
    __m512i sum[LANES], acc[LANES], over[8];
    EACH_LANE sum[i] = acc[i] = _mm512_setzero_si512();
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++, q += 12 * LINE) {
        const uint32_t sub = 8 * (hg / 2) + hg % 2;
#pragma GCC unroll 4
        for (uint32_t t = 0; t < 4; t++) {
#pragma GCC unroll 4
            for (uint32_t k = 0; k < 4; k++) {
                LANES_DOT(acc, q6_code(q + 3 * k * LINE, t), 4 * (sub + 2 * t) + k);
            }
            apply_scale(sum, acc, widen_s8(scales + (sub + 2 * t) * R), n);
        }
    }
#pragma GCC unroll 8
    for (uint32_t c = 0; c < 8; c++) {
        over[c] = pair_s8(scales + 2 * c * R, scales + (2 * c + 1) * R);
    }
    EACH_LANE
    {
        __m512i m = pairs_dot(_mm512_setzero_si512(), over, 8, x, n, MOX_PANEL_K_SUM16, i);
        sum[i] = _mm512_sub_epi32(sum[i], _mm512_slli_epi32(m, 5));
    }
    finish_k(chunk, sum, x, n, s);
}
_Static_assert(Q6_OFFSET == 1 << 5, "the shift above");

/* Q2_K: codes times scales are at most 3 * 15, two of them in a product of 16 bits. */
PANEL_BODY(q2_k)
{
    (void)cols;
    const __m512i low2 = _mm512_set1_epi8(3);
    const uint8_t *body = chunk + LINE, *q = body + 4 * LINE;
    k2_scales sc;
    unpack_k2_scales(body, &sc);
    __m512i sum[LANES], min[8];
    EACH_LANE sum[i] = _mm512_setzero_si512();
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++, q += 4 * LINE) {
        const uint32_t sub = 8 * (hg / 2) + hg % 2;
#pragma GCC unroll 4
        for (uint32_t t = 0; t < 4; t++) {
            const uint8_t *sub_sc = sc.sc[sub + 2 * t];
            __m512i scale = pair_u8(sub_sc, sub_sc);
#pragma GCC unroll 4
            for (uint32_t k = 0; k < 4; k++) {
                __m512i code = _mm512_and_si512(_mm512_srli_epi16(line(q + k * LINE), 2 * t), low2);
                LANES_DOT(sum, _mm512_mullo_epi16(code, scale), 4 * (sub + 2 * t) + k);
            }
        }
    }
#pragma GCC unroll 8
    for (uint32_t c = 0; c < 8; c++) {
        min[c] = pair_u8(sc.mn[2 * c], sc.mn[2 * c + 1]);
    }
    finish_k_min(chunk, sum, min, 8, MOX_PANEL_K_SUM16, x, n, s);
}

/* Q3_K: (code - 4) * scale is -124 .. 128, with 127 added an unsigned byte. A code's lower two bits choose
 * from a table of the row, 4 rows x 4 values in 16 bytes; its third bit, which means no offset, adds 4 times
 * the scale. Bytes may pass 255 on the way. */
enum { Q3_PLUS = 127 };

static inline __m512i q3_table(__m512i scale, __m512i scale4)
{
    __m512i base = _mm512_sub_epi8(_mm512_set1_epi8(Q3_PLUS), scale4);
    __m512i one = _mm512_and_si512(scale, _mm512_set1_epi32((int)0xff00ff00));
    __m512i two = _mm512_and_si512(_mm512_add_epi8(scale, scale), _mm512_set1_epi32((int)0xffff0000));
    return _mm512_add_epi8(base, _mm512_add_epi8(one, two));
}

PANEL_BODY(q3_k)
{
    (void)cols;
    const __m512i low2 = _mm512_set1_epi8(3);
    const __m512i row4 = _mm512_broadcast_i32x4(_mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
    const __m512i spread = _mm512_set1_epi32(0x01010101);
    const uint8_t *body = chunk + Q3_HEAD, *lines = body + Q3_SCALES;
    _Alignas(64) uint8_t sc[16][R];
    unpack_q3_scales(body, sc);
    __m512i sum[LANES];
    EACH_LANE sum[i] = _mm512_mullo_epi32(lane_int(x, n, MOX_PANEL_K_SUM, i), _mm512_set1_epi32(-Q3_PLUS));
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++) {
        const uint32_t h = hg / 2, g = hg % 2, sub = 8 * h + g;
        const uint8_t *q = lines + (h == 0 ? 8 * g : 16 + 4 * g) * LINE, *top = lines + (8 * g + 1) * LINE;
        const size_t step = h == 0 ? 2 * LINE : LINE;
#pragma GCC unroll 4
        for (uint32_t t = 0; t < 4; t++) {
            const __m512i bit = _mm512_set1_epi8((char)(1 << (4 * h + t)));
            __m512i scale = _mm512_mullo_epi32(widen_u8(sc[sub + 2 * t]), spread);
            __m512i scale4 = _mm512_add_epi8(_mm512_add_epi8(scale, scale), _mm512_add_epi8(scale, scale));
            __m512i table = q3_table(scale, scale4);
#pragma GCC unroll 4
            for (uint32_t k = 0; k < 4; k++) {
                __m512i at = or_masked(row4, _mm512_srli_epi16(line(q + k * step), 2 * t), low2);
                __m512i code = _mm512_shuffle_epi8(table, at);
                __mmask64 set = _mm512_test_epi8_mask(line(top + 2 * k * LINE), bit);
                LANES_DOT(sum, _mm512_mask_add_epi8(code, set, code, scale4), 4 * (sub + 2 * t) + k);
            }
        }
    }
    finish_k(chunk, sum, x, n, s);
}

PANEL(q2_k, MOX_PANEL_K_WORDS)
PANEL(q3_k, MOX_PANEL_K_WORDS)
PANEL(q4_k, MOX_PANEL_K_WORDS)
PANEL(q5_k, MOX_PANEL_K_WORDS)
PANEL(q6_k, MOX_PANEL_K_WORDS)
