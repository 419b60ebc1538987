/* AVX2 (+FMA, F16C) tiles: a register is half a line, 8 rows x 4 codes, so a chunk is walked twice, rows 0-7
 * and then rows 8-15 (the second time from L1); this leaves registers for four rows of activations.
 *
 * maddubs multiplies unsigned codes by broadcast signed ones and adds pairs to int16, which holds them as
 * long as the number of lines added is bounded by the codes: 8 lines of 4-bit codes, 4 of 5-bit, 2 of 6-bit.
 * Then madd by the row's scale, doubled in 16 bits, widens, scales and adds in one instruction. Q8_0 takes
 * |w| and moves the sign to the activation. Bits are those of mat_ref.c: integer sums are exact in any order,
 * float operations stand in the twin's order. Reached through mox_tile_of.
 */
#include "kernels/mat_tile.h"

#include <immintrin.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, HALF = 8, LINE = 64 };

/* Lines that may be added in int16: two products per lane and line, |activation| <= 127. */
enum { MAX_4BIT_LINES = 8, MAX_5BIT_LINES = 4, MAX_6BIT_LINES = 2 };
_Static_assert(MAX_4BIT_LINES * 2 * 15 * 127 <= INT16_MAX, "Q4_K");
_Static_assert(MAX_5BIT_LINES * 2 * 31 * 127 <= INT16_MAX, "Q5_K");
_Static_assert(MAX_6BIT_LINES * 2 * 63 * 127 <= INT16_MAX, "Q6_K");
_Static_assert(2 * 128 * 127 <= INT16_MAX, "Q8_0");

#define TILE_ARGS                                                                                            \
    const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R]
#define BODY static inline __attribute__((always_inline)) void

/* The inlined body for each count of rows, so that its accumulators are registers; `half` is 0 or 1. */
#define HALVES(body, count)                                                                                  \
    for (uint32_t half = 0; half < 2; half++) {                                                              \
        body(chunk, cols, half, x, count, p);                                                                \
    }                                                                                                        \
    break
#define TILE(name, body)                                                                                     \
    static void name(TILE_ARGS)                                                                              \
    {                                                                                                        \
        (void)f;                                                                                             \
        switch (n) {                                                                                         \
        case 1:                                                                                              \
            HALVES(body, 1);                                                                                 \
        case 2:                                                                                              \
            HALVES(body, 2);                                                                                 \
        case 3:                                                                                              \
            HALVES(body, 3);                                                                                 \
        default:                                                                                             \
            HALVES(body, MOX_TILE_ROWS);                                                                     \
        }                                                                                                    \
    }
#define EACH_ROW _Pragma("GCC unroll 4") for (uint32_t i = 0; i < n; i++)

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m256i broadcast4(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

static inline __m256 scales_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m256i nibbles_low(__m256i v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}

static inline __m256i nibbles_high(__m256i v)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi8(15));
}

/* Two vectors of 8 scale bytes as pairs of int16 per row: (a[r], b[r]). */
static inline __m256i pair_u8(const uint8_t *a, const uint8_t *b)
{
    __m128i v = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)a),
                                  _mm_loadl_epi64((const __m128i *)(const void *)b));
    return _mm256_cvtepu8_epi16(v);
}

static inline __m256i pair_s8(const uint8_t *a, const uint8_t *b)
{
    __m128i v = _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)a),
                                  _mm_loadl_epi64((const __m128i *)(const void *)b));
    return _mm256_cvtepi8_epi16(v);
}

/* Q4_K and Q5_K: the 12 x 16 scale bytes to 8 x 16 scales and 8 x 16 minimums. */
typedef struct k45_scales {
    _Alignas(32) uint8_t sc[8][R], mn[8][R];
} k45_scales;

static inline void unpack_k45_scales(const uint8_t *body, k45_scales *s)
{
    const __m256i low6 = _mm256_set1_epi8(63), high2 = _mm256_set1_epi8(0x30);
    for (int i = 0; i < 2; i++) {
        const uint8_t *at = body + 32 * i;
        __m256i a = load(at), b = load(at + LINE), c = load(at + 2 * LINE);
        __m256i a_top = _mm256_and_si256(_mm256_srli_epi16(a, 2), high2);
        __m256i b_top = _mm256_and_si256(_mm256_srli_epi16(b, 2), high2);
        _mm256_store_si256((__m256i *)(void *)s->sc[2 * i], _mm256_and_si256(a, low6));
        _mm256_store_si256((__m256i *)(void *)s->mn[2 * i], _mm256_and_si256(b, low6));
        _mm256_store_si256((__m256i *)(void *)s->sc[4 + 2 * i], _mm256_or_si256(nibbles_low(c), a_top));
        _mm256_store_si256((__m256i *)(void *)s->mn[4 + 2 * i], _mm256_or_si256(nibbles_high(c), b_top));
    }
}

/* Sum of minimums times the sums of 32 codes, as int32 per row. */
static inline __m256i k_mins(const k45_scales *s, uint32_t half, const mox_act_k *a)
{
    __m256i v = _mm256_madd_epi16(load(a->sum), _mm256_set1_epi16(1));
    __m128i sums = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    _Alignas(16) int16_t sum32[8];
    _mm_store_si128((__m128i *)(void *)sum32, sums);
    __m256i min = _mm256_setzero_si256();
    for (uint32_t j = 0; j < 8; j += 2) {
        __m256i pair = pair_u8(s->mn[j] + HALF * half, s->mn[j + 1] + HALF * half);
        min = _mm256_add_epi32(min, _mm256_madd_epi16(pair, broadcast4(sum32 + j)));
    }
    return min;
}

/* p = fma(d, S, -(dmin * M)) * a */
static inline void k_finish_min(const uint8_t *head, uint32_t half, __m256i sum, __m256i min, float a,
                                float *p)
{
    __m256 t = _mm256_mul_ps(scales_f16(head + 32 + 16 * half), _mm256_cvtepi32_ps(min));
    __m256 u = _mm256_fmsub_ps(scales_f16(head + 16 * half), _mm256_cvtepi32_ps(sum), t);
    _mm256_storeu_ps(p + HALF * half, _mm256_mul_ps(u, _mm256_set1_ps(a)));
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

/* The fifth bits of sub-block pair c, brought to bit 4 by `by` places (negative: to the right). */
static inline __m256i fifth_bits(__m256i v, int by)
{
    __m256i moved = by >= 0 ? _mm256_slli_epi16(v, by) : _mm256_srli_epi16(v, -by);
    return _mm256_and_si256(moved, _mm256_set1_epi8(16));
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

enum { Q6_HEAD = 32, Q6_SCALES = 256 };

/* Sum of scales times the sums of 16 codes: what the offset of -32 is multiplied by. */
static inline __m256i q6_offsets(const uint8_t *scales, uint32_t half, const mox_act_k *a)
{
    __m256i sum = _mm256_setzero_si256();
    for (uint32_t j = 0; j < 16; j += 2) {
        __m256i pair = pair_s8(scales + R * j + HALF * half, scales + R * (j + 1) + HALF * half);
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pair, broadcast4(a->sum + j)));
    }
    return sum;
}

/* One of the two pairs of 6-bit codes of a quarter (hg): columns t and t + 64 of its half block share low
 * bits. */
BODY q6_pair(const uint8_t *q, const uint8_t *scales, uint32_t half, uint32_t hg, uint32_t t,
             const void *const *x, uint32_t n, __m256i *sum)
{
    const __m256i bits45 = _mm256_set1_epi8(0x30);
    const uint32_t h = hg / 2, g = hg % 2, sub = 8 * h + g + 2 * t;
    const uint8_t *s0 = scales + sub * R + HALF * half, *s1 = s0 + 4 * R;
    __m256i sl = pair_s8(s0, s0), sh = pair_s8(s1, s1);
#pragma GCC unroll 2
    for (uint32_t k0 = 0; k0 < 4; k0 += MAX_6BIT_LINES) {
        __m256i low[MOX_TILE_ROWS], high[MOX_TILE_ROWS];
        EACH_ROW low[i] = high[i] = _mm256_setzero_si256();
#pragma GCC unroll 2
        for (uint32_t k = k0; k < k0 + MAX_6BIT_LINES; k++) {
            __m256i v = load(q + (3 * k + t) * LINE), top = load(q + (3 * k + 2) * LINE);
            __m256i top_l = t == 0 ? _mm256_slli_epi16(top, 4) : _mm256_slli_epi16(top, 2);
            __m256i top_h = t == 0 ? top : _mm256_srli_epi16(top, 2);
            __m256i l = _mm256_or_si256(nibbles_low(v), _mm256_and_si256(top_l, bits45));
            __m256i u = _mm256_or_si256(nibbles_high(v), _mm256_and_si256(top_h, bits45));
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

BODY q6_k(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const uint8_t *body = chunk + Q6_HEAD;
    __m256i sum[MOX_TILE_ROWS];
    EACH_ROW sum[i] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++) {
        const uint8_t *q = body + Q6_SCALES + hg * 12 * LINE + 32 * half;
        q6_pair(q, body, half, hg, 0, x, n, sum);
        q6_pair(q, body, half, hg, 1, x, n, sum);
    }
    __m256 d = scales_f16(chunk + 16 * half);
    EACH_ROW
    {
        const mox_act_k *a = x[i];
        __m256i s = _mm256_sub_epi32(sum[i], _mm256_slli_epi32(q6_offsets(body, half, a), 5));
        __m256 u = _mm256_mul_ps(d, _mm256_cvtepi32_ps(s));
        _mm256_storeu_ps(p[i] + HALF * half, _mm256_mul_ps(u, _mm256_set1_ps(a->d)));
    }
}

BODY q8_0(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n, float (*p)[R])
{
    const __m256i one = _mm256_set1_epi16(1);
    const uint32_t n_sub = cols / 32;
    const uint8_t *head = chunk;
    const uint8_t *q = chunk + (size_t)n_sub * 32 + 32 * (size_t)half;
    __m256 t[MOX_TILE_ROWS];
    EACH_ROW t[i] = _mm256_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += 8 * LINE) {
        __m256i s[MOX_TILE_ROWS];
        EACH_ROW s[i] = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            __m256i w = load(q + k * LINE), mag = _mm256_abs_epi8(w);
            EACH_ROW
            {
                __m256i a = broadcast4(((const mox_act_b *)x[i])->q + 32 * j + 4 * k);
                __m256i pairs = _mm256_maddubs_epi16(mag, _mm256_sign_epi8(a, w));
                s[i] = _mm256_add_epi32(s[i], _mm256_madd_epi16(pairs, one));
            }
        }
        __m256 d = scales_f16(head + 32 * (size_t)j + 16 * (size_t)half);
        EACH_ROW
        {
            __m256 da = _mm256_mul_ps(d, _mm256_set1_ps(((const mox_act_b *)x[i])->d[j]));
            t[i] = _mm256_fmadd_ps(da, _mm256_cvtepi32_ps(s[i]), t[i]);
        }
    }
    EACH_ROW _mm256_storeu_ps(p[i] + HALF * half, t[i]);
}

/* Float weights: one chain per row, over the elements in order. Both halves together: the chains are latency.
 */
#define FLOAT_BODY(name, bytes, load_half)                                                                   \
    BODY name(const uint8_t *chunk, uint32_t cols, uint32_t half, const void *const *x, uint32_t n,          \
              float(*p)[R])                                                                                  \
    {                                                                                                        \
        if (half != 0) {                                                                                     \
            return;                                                                                          \
        }                                                                                                    \
        __m256 a0[MOX_TILE_ROWS], a1[MOX_TILE_ROWS];                                                         \
        EACH_ROW a0[i] = a1[i] = _mm256_setzero_ps();                                                        \
        for (uint32_t e = 0; e < cols; e++) {                                                                \
            __m256 w0 = load_half(chunk + (size_t)e * (bytes));                                              \
            __m256 w1 = load_half(chunk + (size_t)e * (bytes) + (bytes) / 2);                                \
            EACH_ROW                                                                                         \
            {                                                                                                \
                __m256 v = _mm256_broadcast_ss((const float *)x[i] + e);                                     \
                a0[i] = _mm256_fmadd_ps(w0, v, a0[i]);                                                       \
                a1[i] = _mm256_fmadd_ps(w1, v, a1[i]);                                                       \
            }                                                                                                \
        }                                                                                                    \
        EACH_ROW _mm256_storeu_ps(p[i], a0[i]);                                                              \
        EACH_ROW _mm256_storeu_ps(p[i] + HALF, a1[i]);                                                       \
    }

static inline __m256 load_f32(const uint8_t *p)
{
    return _mm256_loadu_ps((const float *)(const void *)p);
}

static inline __m256 load_bf16(const uint8_t *p)
{
    __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}

FLOAT_BODY(f32, 64, load_f32)
FLOAT_BODY(f16, 32, scales_f16)
FLOAT_BODY(bf16, 32, load_bf16)

TILE(tile_q4_k, q4_k)
TILE(tile_q5_k, q5_k)
TILE(tile_q6_k, q6_k)
TILE(tile_q8_0, q8_0)
TILE(tile_f32, f32)
TILE(tile_f16, f16)
TILE(tile_bf16, bf16)

const mox_tiles mox_tiles_avx2 = {
    .of_type =
        {
            [MOX_TYPE_F32] = tile_f32,
            [MOX_TYPE_F16] = tile_f16,
            [MOX_TYPE_BF16] = tile_bf16,
            [MOX_TYPE_Q8_0] = tile_q8_0,
            [MOX_TYPE_Q4_K] = tile_q4_k,
            [MOX_TYPE_Q5_K] = tile_q5_k,
            [MOX_TYPE_Q6_K] = tile_q6_k,
        },
};
