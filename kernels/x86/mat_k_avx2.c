/* AVX2 tiles of the K-quants: one body for scales per 32 columns (Q4_K, Q5_K), one for scales per 16 (Q2_K,
 * Q3_K, Q6_K). What a format adds is how a line's codes and its scales are unpacked. Reached through
 * mox_tile_of.
 */
#include "kernels/x86/codes_k_avx2.h"

/* Lines that may be added in int16: two products per lane and line, |activation| <= 127. */
enum { MAX_2BIT_LINES = 4, MAX_3BIT_LINES = 4, MAX_4BIT_LINES = 8, MAX_5BIT_LINES = 4, MAX_6BIT_LINES = 2 };
_Static_assert(MAX_2BIT_LINES * 2 * 3 * 127 <= INT16_MAX, "Q2_K");
_Static_assert(MAX_3BIT_LINES * 2 * 7 * 127 <= INT16_MAX, "Q3_K");
_Static_assert(MAX_4BIT_LINES * 2 * 15 * 127 <= INT16_MAX, "Q4_K");
_Static_assert(MAX_5BIT_LINES * 2 * 31 * 127 <= INT16_MAX, "Q5_K");
_Static_assert(MAX_6BIT_LINES * 2 * 63 * 127 <= INT16_MAX, "Q6_K");

/* Sum of minimums times the sums of 32 codes, as int32 per row. */
static inline __m256i k_mins(const k45_scales *s, uint32_t half, const mox_act_k *a)
{
    int16_t sum32[8];
    sums_of_32(a, sum32);
    __m256i min = _mm256_setzero_si256();
    for (uint32_t j = 0; j < 8; j += 2) {
        __m256i pair = pair_u8(s->mn[j] + HALF * half, s->mn[j + 1] + HALF * half);
        min = _mm256_add_epi32(min, _mm256_madd_epi16(pair, broadcast4(sum32 + j)));
    }
    return min;
}

BODY q4_k(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    k45_scales s;
    unpack_k45_scales(body, &s);
    __m256i sum[MOX_TILE_ROWS];
    EACH_ROW sum[i] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (uint32_t c = 0; c < 4; c++) {
        const uint8_t *q = body + 3 * LINE + c * 8 * LINE + 32 * half;
        __m256i low[MOX_TILE_ROWS], high[MOX_TILE_ROWS];
        EACH_ROW low[i] = high[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (uint32_t k = 0; k < MAX_4BIT_LINES; k++) {
            __m256i v = load(q + k * LINE), l = nibbles_low(v), h = nibbles_high(v);
            EACH_ROW
            {
                const int8_t *a = ((const mox_act_k *)x[i])->q + 64 * c + 4 * k;
                low[i] = _mm256_add_epi16(low[i], _mm256_maddubs_epi16(l, broadcast4(a)));
                high[i] = _mm256_add_epi16(high[i], _mm256_maddubs_epi16(h, broadcast4(a + 32)));
            }
        }
        const uint8_t *s0 = s.sc[2 * c] + HALF * half, *s1 = s.sc[2 * c + 1] + HALF * half;
        __m256i sl = pair_u8(s0, s0), sh = pair_u8(s1, s1);
        EACH_ROW sum[i] = _mm256_add_epi32(
            sum[i], _mm256_add_epi32(_mm256_madd_epi16(low[i], sl), _mm256_madd_epi16(high[i], sh)));
    }
    EACH_ROW k_finish_min(chunk, half, sum[i], k_mins(&s, half, x[i]), ((const mox_act_k *)x[i])->d, p[i]);
}

BODY q5_k(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + LINE, *lines = body + 3 * LINE + 32 * half;
    k45_scales s;
    unpack_k45_scales(body, &s);
    __m256i sum[MOX_TILE_ROWS];
    EACH_ROW sum[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (uint32_t c = 0; c < 4; c++) {
        const uint8_t *q = c == 0 ? lines : lines + 16 * LINE + (c - 1) * 8 * LINE;
        const uint32_t step = c == 0 ? 2 * LINE : LINE;
        const uint8_t *s0 = s.sc[2 * c] + HALF * half, *s1 = s.sc[2 * c + 1] + HALF * half;
        __m256i sl = pair_u8(s0, s0), sh = pair_u8(s1, s1);
#pragma GCC unroll 1
        for (uint32_t k0 = 0; k0 < 8; k0 += MAX_5BIT_LINES) {
            __m256i low[MOX_TILE_ROWS], high[MOX_TILE_ROWS];
            EACH_ROW low[i] = high[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
            for (uint32_t k = k0; k < k0 + MAX_5BIT_LINES; k++) {
                __m256i v = load(q + k * step), fifth = load(lines + (2 * k + 1) * LINE);
                __m256i l = _mm256_or_si256(nibbles_low(v), fifth_bits(fifth, 4 - 2 * (int)c));
                __m256i h = _mm256_or_si256(nibbles_high(v), fifth_bits(fifth, 3 - 2 * (int)c));
                EACH_ROW
                {
                    const int8_t *a = ((const mox_act_k *)x[i])->q + 64 * c + 4 * k;
                    low[i] = _mm256_add_epi16(low[i], _mm256_maddubs_epi16(l, broadcast4(a)));
                    high[i] = _mm256_add_epi16(high[i], _mm256_maddubs_epi16(h, broadcast4(a + 32)));
                }
            }
            EACH_ROW sum[i] = _mm256_add_epi32(
                sum[i], _mm256_add_epi32(_mm256_madd_epi16(low[i], sl), _mm256_madd_epi16(high[i], sh)));
        }
    }
    EACH_ROW k_finish_min(chunk, half, sum[i], k_mins(&s, half, x[i]), ((const mox_act_k *)x[i])->d, p[i]);
}

/* Formats with scales per 16, quarter hg, of whose codes `max` lines fit int16. scales: 16 x 16 signed bytes. */
BODY k16_pair(k16_codes_fn *codes, uint32_t max, const uint8_t *lines, const uint8_t *scales, uint32_t hg,
              uint32_t t, const void *const *x, uint32_t n, __m256i *sum)
{
    const uint32_t h = hg / 2, g = hg % 2;
    const uint8_t *s0 = scales + (8 * h + g + 2 * t) * R, *s1 = s0 + 4 * R;
    __m256i sl = pair_s8(s0, s0), sh = pair_s8(s1, s1);
#pragma GCC unroll 2
    for (uint32_t k0 = 0; k0 < 4; k0 += max) {
        __m256i low[MOX_TILE_ROWS], high[MOX_TILE_ROWS];
        EACH_ROW low[i] = high[i] = _mm256_setzero_si256();
#pragma GCC unroll 4
        for (uint32_t k = k0; k < k0 + max; k++) {
            __m256i l, u;
            codes(lines, hg, k, t, &l, &u);
            EACH_ROW
            {
                const int8_t *a = ((const mox_act_k *)x[i])->q + 128 * h + 16 * g + 32 * t + 4 * k;
                low[i] = _mm256_add_epi16(low[i], _mm256_maddubs_epi16(l, broadcast4(a)));
                high[i] = _mm256_add_epi16(high[i], _mm256_maddubs_epi16(u, broadcast4(a + 64)));
            }
        }
        EACH_ROW sum[i] = _mm256_add_epi32(
            sum[i], _mm256_add_epi32(_mm256_madd_epi16(low[i], sl), _mm256_madd_epi16(high[i], sh)));
    }
}

/* lines and scales: those of the half */
BODY k16(k16_codes_fn *codes, uint32_t max, const uint8_t *lines, const uint8_t *scales, const void *const *x,
         uint32_t n, __m256i *sum)
{
    EACH_ROW sum[i] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++) {
        k16_pair(codes, max, lines, scales, hg, 0, x, n, sum);
        k16_pair(codes, max, lines, scales, hg, 1, x, n, sum);
    }
}

/* Sum of scales (or minimums) times the sums of 16 codes: what an offset is multiplied by. */
static inline __m256i k16_sums(const uint8_t *scales, const mox_act_k *a)
{
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t j = 0; j < 16; j += 2) {
        __m256i pair = pair_s8(scales + R * j, scales + R * (j + 1));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pair, broadcast4(a->sum + j)));
    }
    return sum;
}

/* Subtracts what the unsigned codes have too much, 2^offset_bits times the sums, and finishes. */
static inline void k16_finish(const uint8_t *head, uint32_t half, const uint8_t *scales, int offset_bits,
                              __m256i sum, const mox_act_k *a, float *p)
{
    __m256i offset = _mm256_slli_epi32(k16_sums(scales, a), offset_bits);
    k_finish(head, half, _mm256_sub_epi32(sum, offset), a->d, p);
}

BODY q2_k(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    _Alignas(32) uint8_t sc[16][R], mn[16][R];
    unpack_k2_scales(body, sc, mn);
    __m256i sum[MOX_TILE_ROWS];
    k16(q2_codes, MAX_2BIT_LINES, body + 4 * LINE + 32 * half, sc[0] + HALF * half, x, n, sum);
    EACH_ROW
    {
        const mox_act_k *a = x[i];
        k_finish_min(chunk, half, sum[i], k16_sums(mn[0] + HALF * half, a), a->d, p[i]);
    }
}

BODY q3_k(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + Q3_HEAD;
    _Alignas(32) uint8_t unpacked[16][R];
    unpack_q3_scales(body, unpacked);
    const uint8_t *sc = unpacked[0] + HALF * half;
    __m256i sum[MOX_TILE_ROWS];
    k16(q3_codes, MAX_3BIT_LINES, body + Q3_SCALES + 32 * half, sc, x, n, sum);
    EACH_ROW k16_finish(chunk, half, sc, Q3_OFFSET_BITS, sum[i], x[i], p[i]);
}

BODY q6_k(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + Q6_HEAD, *sc = body + HALF * half;
    __m256i sum[MOX_TILE_ROWS];
    k16(q6_codes, MAX_6BIT_LINES, body + Q6_SCALES + 32 * half, sc, x, n, sum);
    EACH_ROW k16_finish(chunk, half, sc, Q6_OFFSET_BITS, sum[i], x[i], p[i]);
}

TILE(q2_k)
TILE(q3_k)
TILE(q4_k)
TILE(q5_k)
TILE(q6_k)
