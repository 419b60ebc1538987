/* AVX-512 tiles of the K-quants: one body for scales per 32 columns (Q4_K, Q5_K), one for scales per 16
 * (Q2_K, Q3_K, Q6_K). What a format adds is how a line's codes and its scales are unpacked. Reached through
 * mox_tile_of.
 */
#include "kernels/x86/scales_k_avx512.h"

/* Sums of 32 codes as eight int16, from the sums of 16. */
static inline void sums_of_32(const mox_act_k *a, int16_t out[8])
{
    __m256i v = _mm256_load_si256((const __m256i *)(const void *)a->sum);
    __m256i s = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
    _mm_storeu_si128((__m128i *)(void *)out, _mm256_cvtepi32_epi16(s));
}

/* min += minimums of sub-blocks 2c, 2c + 1 times the sums of their codes */
static inline __m512i add_mins(__m512i min, const uint8_t (*mn)[R], uint32_t c, const int16_t *sums)
{
    __m512i pair = _mm512_or_si512(widen_u8(mn[2 * c]), _mm512_slli_epi32(widen_u8(mn[2 * c + 1]), 16));
    return _mm512_dpwssd_epi32(min, pair, broadcast4(sums + 2 * c));
}

/* p = fma(d, S, -(dmin * M)) * a */
static inline void k_finish_min(const uint8_t *head, __m512i sum, __m512i min, float a, float *p)
{
    __m512 t = _mm512_mul_ps(scales_f16(head + 32), _mm512_cvtepi32_ps(min));
    __m512 u = _mm512_fmsub_ps(scales_f16(head), _mm512_cvtepi32_ps(sum), t);
    _mm512_storeu_ps(p, _mm512_mul_ps(u, _mm512_set1_ps(a)));
}

BODY q4_k(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    k45_scales s;
    unpack_k45_scales(body, &s);
    __m512i sum[MOX_TILE_ROWS], min[MOX_TILE_ROWS];
    int16_t sums[MOX_TILE_ROWS][8];
    EACH_ROW
    {
        sum[i] = min[i] = _mm512_setzero_si512();
        sums_of_32(x[i], sums[i]);
    }
#pragma GCC unroll 1
    for (uint32_t c = 0; c < 4; c++) {
        const uint8_t *q = body + 3 * LINE + c * 8 * LINE;
        __m512i low[MOX_TILE_ROWS], high[MOX_TILE_ROWS];
        EACH_ROW low[i] = high[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            __m512i v = line(q + k * LINE), l = nibbles_low(v), h = nibbles_high(v);
            fetch_ahead(q + k * LINE, 1, n);
            EACH_ROW
            {
                const int8_t *a = ((const mox_act_k *)x[i])->q + 64 * c + 4 * k;
                low[i] = _mm512_dpbusd_epi32(low[i], l, broadcast4(a));
                high[i] = _mm512_dpbusd_epi32(high[i], h, broadcast4(a + 32));
            }
        }
        __m512i sl = widen_u8(s.sc[2 * c]), sh = widen_u8(s.sc[2 * c + 1]);
        EACH_ROW
        {
            sum[i] = _mm512_add_epi32(
                sum[i], _mm512_add_epi32(_mm512_mullo_epi32(low[i], sl), _mm512_mullo_epi32(high[i], sh)));
            min[i] = add_mins(min[i], s.mn, c, sums[i]);
        }
    }
    EACH_ROW k_finish_min(chunk, sum[i], min[i], ((const mox_act_k *)x[i])->d, p[i]);
}

/* Q5_K, sub-blocks 2c and 2c + 1; the shifts bring their fifth bits to bit 4 (negative: to the right). The
 * fifth bits of all four c are the same eight lines, read with c = 0 and then from L1. */
static inline __m512i shift_bits(__m512i v, int by)
{
    return by >= 0 ? _mm512_slli_epi16(v, (unsigned)by) : _mm512_srli_epi16(v, (unsigned)-by);
}

BODY q5_k_pair(const uint8_t *lines, uint32_t c, uint32_t n, __m512i *low, __m512i *high,
               const void *const *x)
{
    const __m512i bit4 = _mm512_set1_epi8(16);
    const uint8_t *q = c == 0 ? lines : lines + 16 * LINE + (c - 1) * 8 * LINE;
    const uint32_t step = c == 0 ? 2 * LINE : LINE;
    EACH_ROW low[i] = high[i] = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (uint32_t k = 0; k < 8; k++) {
        __m512i v = line(q + k * step), fifth = line(lines + (2 * k + 1) * LINE);
        fetch_ahead(q + k * step, step / LINE, n);
        __m512i l = or_masked(nibbles_low(v), shift_bits(fifth, 4 - 2 * (int)c), bit4);
        __m512i h = or_masked(nibbles_high(v), shift_bits(fifth, 3 - 2 * (int)c), bit4);
        EACH_ROW
        {
            const int8_t *a = ((const mox_act_k *)x[i])->q + 64 * c + 4 * k;
            low[i] = _mm512_dpbusd_epi32(low[i], l, broadcast4(a));
            high[i] = _mm512_dpbusd_epi32(high[i], h, broadcast4(a + 32));
        }
    }
}

BODY q5_k(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    k45_scales s;
    unpack_k45_scales(body, &s);
    __m512i sum[MOX_TILE_ROWS], min[MOX_TILE_ROWS];
    int16_t sums[MOX_TILE_ROWS][8];
    EACH_ROW
    {
        sum[i] = min[i] = _mm512_setzero_si512();
        sums_of_32(x[i], sums[i]);
    }
#pragma GCC unroll 4
    for (uint32_t c = 0; c < 4; c++) {
        __m512i low[MOX_TILE_ROWS], high[MOX_TILE_ROWS];
        q5_k_pair(body + 3 * LINE, c, n, low, high, x);
        __m512i sl = widen_u8(s.sc[2 * c]), sh = widen_u8(s.sc[2 * c + 1]);
        EACH_ROW
        {
            sum[i] = _mm512_add_epi32(
                sum[i], _mm512_add_epi32(_mm512_mullo_epi32(low[i], sl), _mm512_mullo_epi32(high[i], sh)));
            min[i] = add_mins(min[i], s.mn, c, sums[i]);
        }
    }
    EACH_ROW k_finish_min(chunk, sum[i], min[i], ((const mox_act_k *)x[i])->d, p[i]);
}

/* Formats with scales per 16. A quarter hg is half h = hg / 2 of the block and 16 of its 32 columns; its step
 * k of four gives the codes of columns 4k..4k+3 of sub-blocks 8h + hg % 2 + {0, 2, 4, 6}, made unsigned by
 * adding `offset`; it reads n_lines lines, or so. scales: 16 x 16 signed bytes. */
typedef void k16_codes_fn(const uint8_t *lines, uint32_t hg, uint32_t k, __m512i c[4]);

typedef struct k16_start {
    int32_t of[R]; /* -offset times each sum of 16, where the accumulators start */
} k16_start;

static inline void k16_starts(const mox_act_k *a, int offset, k16_start *out)
{
    __m512i s = _mm512_cvtepi16_epi32(_mm256_load_si256((const __m256i *)(const void *)a->sum));
    _mm512_storeu_si512(out->of, _mm512_mullo_epi32(s, _mm512_set1_epi32(-offset)));
}

BODY k16(k16_codes_fn *codes, uint32_t n_lines, int offset, const uint8_t *lines, const uint8_t *scales,
         const void *const *x, uint32_t n, __m512i *sum)
{
    k16_start start[MOX_TILE_ROWS];
    EACH_ROW
    {
        sum[i] = _mm512_setzero_si512();
        k16_starts(x[i], offset, &start[i]);
    }
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++) {
        const uint32_t h = hg / 2, g = hg % 2, sub = 8 * h + g;
        __m512i s[4][MOX_TILE_ROWS];
#pragma GCC unroll 4
        for (uint32_t t = 0; t < 4; t++) {
            EACH_ROW s[t][i] = _mm512_set1_epi32(start[i].of[sub + 2 * t]);
        }
#pragma GCC unroll 4
        for (uint32_t k = 0; k < 4; k++) {
            __m512i c[4];
            codes(lines, hg, k, c);
            fetch_ahead(lines + (size_t)(4 * hg + k) * n_lines * LINE, n_lines, n);
            EACH_ROW
            {
                const int8_t *a = ((const mox_act_k *)x[i])->q + 128 * h + 16 * g + 4 * k;
                s[0][i] = _mm512_dpbusd_epi32(s[0][i], c[0], broadcast4(a));
                s[1][i] = _mm512_dpbusd_epi32(s[1][i], c[1], broadcast4(a + 32));
                s[2][i] = _mm512_dpbusd_epi32(s[2][i], c[2], broadcast4(a + 64));
                s[3][i] = _mm512_dpbusd_epi32(s[3][i], c[3], broadcast4(a + 96));
            }
        }
#pragma GCC unroll 4
        for (uint32_t t = 0; t < 4; t++) {
            __m512i sc = widen_s8(scales + (sub + 2 * t) * R);
            EACH_ROW sum[i] = _mm512_add_epi32(sum[i], _mm512_mullo_epi32(s[t][i], sc));
        }
    }
}

/* Four 2-bit codes of a byte */
static inline void two_bits(__m512i v, __m512i c[4])
{
    const __m512i low2 = _mm512_set1_epi8(3);
    c[0] = _mm512_and_si512(v, low2);
    c[1] = _mm512_and_si512(_mm512_srli_epi16(v, 2), low2);
    c[2] = _mm512_and_si512(_mm512_srli_epi16(v, 4), low2);
    c[3] = _mm512_and_si512(_mm512_srli_epi16(v, 6), low2);
}

INLINE void q2_codes(const uint8_t *lines, uint32_t hg, uint32_t k, __m512i c[4])
{
    two_bits(line(lines + (4 * hg + k) * LINE), c);
}

BODY q2_k(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    k2_scales s;
    unpack_k2_scales(body, &s);
    __m512i sum[MOX_TILE_ROWS], min[MOX_TILE_ROWS];
    k16(q2_codes, 1, 0, body + 4 * LINE, s.sc[0], x, n, sum);
    EACH_ROW min[i] = _mm512_setzero_si512();
    for (uint32_t c = 0; c < 8; c++) {
        EACH_ROW min[i] = add_mins(min[i], s.mn, c, ((const mox_act_k *)x[i])->sum);
    }
    EACH_ROW k_finish_min(chunk, sum[i], min[i], ((const mox_act_k *)x[i])->d, p[i]);
}

/* The lines of the first half are interleaved with the eight of third bits, which serve both halves: a byte's
 * bits 4h + {0, 1, 2, 3} belong to its four codes. A set bit means no offset. */
INLINE void q3_codes(const uint8_t *lines, uint32_t hg, uint32_t k, __m512i c[4])
{
    const uint32_t h = hg / 2, m = 4 * (hg % 2) + k;
    const __m512i bit2 = _mm512_set1_epi8(4);
    two_bits(line(lines + (h == 0 ? 2 * m : 16 + m) * LINE), c);
    __m512i top = _mm512_srl_epi16(line(lines + (2 * m + 1) * LINE), _mm_cvtsi32_si128(4 * (int)h));
    c[0] = or_masked(c[0], _mm512_slli_epi16(top, 2), bit2);
    c[1] = or_masked(c[1], _mm512_slli_epi16(top, 1), bit2);
    c[2] = or_masked(c[2], top, bit2);
    c[3] = or_masked(c[3], _mm512_srli_epi16(top, 1), bit2);
}

BODY q3_k(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + Q3_HEAD;
    _Alignas(64) uint8_t sc[16][R];
    unpack_q3_scales(body, sc);
    __m512i sum[MOX_TILE_ROWS];
    k16(q3_codes, 2, Q3_OFFSET, body + Q3_SCALES, sc[0], x, n, sum);
    EACH_ROW k_finish(chunk, sum[i], ((const mox_act_k *)x[i])->d, p[i]);
}

INLINE void q6_codes(const uint8_t *lines, uint32_t hg, uint32_t k, __m512i c[4])
{
    const __m512i bits45 = _mm512_set1_epi8(0x30);
    const uint8_t *q = lines + (12 * hg + 3 * k) * LINE;
    __m512i l0 = line(q), l1 = line(q + LINE), top = line(q + 2 * LINE);
    c[0] = or_masked(nibbles_low(l0), _mm512_slli_epi16(top, 4), bits45);
    c[1] = or_masked(nibbles_low(l1), _mm512_slli_epi16(top, 2), bits45);
    c[2] = or_masked(nibbles_high(l0), top, bits45);
    c[3] = or_masked(nibbles_high(l1), _mm512_srli_epi16(top, 2), bits45);
}

BODY q6_k(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + Q6_HEAD;
    __m512i sum[MOX_TILE_ROWS];
    k16(q6_codes, 3, Q6_OFFSET, body + Q6_SCALES, body, x, n, sum);
    EACH_ROW k_finish(chunk, sum[i], ((const mox_act_k *)x[i])->d, p[i]);
}

TILE(q2_k)
TILE(q3_k)
TILE(q4_k)
TILE(q5_k)
TILE(q6_k)
