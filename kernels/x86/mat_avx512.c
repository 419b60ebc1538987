/* AVX-512 (F, BW, VL, DQ, VNNI) tiles: one register is a line, 16 rows x 4 codes, or one number per row.
 *
 * dpbusd multiplies unsigned codes by the activation's four signed ones, broadcast from memory, and adds into
 * one int32 per row: no sum crosses lanes and none can overflow. Codes with an offset are used unsigned and
 * the offset times the activation's sum is the accumulator's start; Q8_0's signed codes become unsigned by
 * their top bit, in the register. Bits are those of mat_ref.c: integers are exact in any order, float
 * operations stand in the twin's order. Reached through mox_tile_of.
 */
#include "kernels/mat_tile.h"

#include <immintrin.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, LINE = 64 };

#define TILE_ARGS                                                                                            \
    const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R]
#define BODY static inline __attribute__((always_inline)) void

/* The inlined body once per count of rows, so that its accumulators are registers. */
#define TILE(name, body)                                                                                     \
    static void name(TILE_ARGS)                                                                              \
    {                                                                                                        \
        (void)f;                                                                                             \
        switch (n) {                                                                                         \
        case 1:                                                                                              \
            body(chunk, cols, x, 1, p);                                                                      \
            break;                                                                                           \
        case 2:                                                                                              \
            body(chunk, cols, x, 2, p);                                                                      \
            break;                                                                                           \
        case 3:                                                                                              \
            body(chunk, cols, x, 3, p);                                                                      \
            break;                                                                                           \
        default:                                                                                             \
            body(chunk, cols, x, MOX_TILE_ROWS, p);                                                          \
            break;                                                                                           \
        }                                                                                                    \
    }
#define EACH_ROW _Pragma("GCC unroll 4") for (uint32_t i = 0; i < n; i++)

static inline __m512i line(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

static inline __m512i widen_u8(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m512i widen_s8(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
}

static inline __m512 scales_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* Four codes of an activation, or a pair of its 16-bit sums, in every lane. */
static inline __m512i broadcast4(const void *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

static inline __m512i nibbles_low(__m512i v)
{
    return _mm512_and_si512(v, _mm512_set1_epi8(15));
}

static inline __m512i nibbles_high(__m512i v)
{
    return _mm512_and_si512(_mm512_srli_epi16(v, 4), _mm512_set1_epi8(15));
}

/* base | (bits & mask) */
static inline __m512i or_masked(__m512i base, __m512i bits, __m512i mask)
{
    return _mm512_ternarylogic_epi32(base, bits, mask, 0xf8);
}

/* Q4_K and Q5_K: the 12 x 16 scale bytes to 8 x 16 scales and 8 x 16 minimums. */
typedef struct k45_scales {
    _Alignas(64) uint8_t sc[8][R], mn[8][R];
} k45_scales;

static inline void unpack_k45_scales(const uint8_t *body, k45_scales *s)
{
    const __m512i low6 = _mm512_set1_epi8(63), high2 = _mm512_set1_epi8(0x30);
    __m512i a = line(body), b = line(body + LINE), c = line(body + 2 * LINE);
    _mm512_store_si512(s->sc[0], _mm512_and_si512(a, low6));
    _mm512_store_si512(s->mn[0], _mm512_and_si512(b, low6));
    _mm512_store_si512(s->sc[4], or_masked(nibbles_low(c), _mm512_srli_epi16(a, 2), high2));
    _mm512_store_si512(s->mn[4], or_masked(nibbles_high(c), _mm512_srli_epi16(b, 2), high2));
}

/* Sums of 32 codes as eight int16, from the sums of 16. */
static inline void sums_of_32(const mox_act_k *a, int16_t out[8])
{
    __m256i v = _mm256_load_si256((const __m256i *)(const void *)a->sum);
    __m256i s = _mm256_madd_epi16(v, _mm256_set1_epi16(1));
    _mm_storeu_si128((__m128i *)(void *)out, _mm256_cvtepi32_epi16(s));
}

/* min += minimums of sub-blocks 2c, 2c + 1 times the sums of their codes */
static inline __m512i add_mins(__m512i min, const k45_scales *s, uint32_t c, const int16_t *sums)
{
    __m512i pair = _mm512_or_si512(widen_u8(s->mn[2 * c]), _mm512_slli_epi32(widen_u8(s->mn[2 * c + 1]), 16));
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
            min[i] = add_mins(min[i], &s, c, sums[i]);
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
            min[i] = add_mins(min[i], &s, c, sums[i]);
        }
    }
    EACH_ROW k_finish_min(chunk, sum[i], min[i], ((const mox_act_k *)x[i])->d, p[i]);
}

enum { Q6_HEAD = 32, Q6_SCALES = 256 };

/* -32 times each sum of 16, where the accumulators of Q6_K start */
static inline void q6_starts(const mox_act_k *a, int32_t out[16])
{
    __m512i s = _mm512_cvtepi16_epi32(_mm256_load_si256((const __m256i *)(const void *)a->sum));
    _mm512_storeu_si512(out, _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(s, 5)));
}

BODY q6_k(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    (void)cols;
    const __m512i bits45 = _mm512_set1_epi8(0x30);
    const uint8_t *body = chunk + Q6_HEAD;
    __m512i sum[MOX_TILE_ROWS];
    int32_t start[MOX_TILE_ROWS][16];
    EACH_ROW
    {
        sum[i] = _mm512_setzero_si512();
        q6_starts(x[i], start[i]);
    }
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++) { /* half of the block, 16 of its 32 columns */
        const uint32_t h = hg / 2, g = hg % 2, sub = 8 * h + g;
        const uint8_t *q = body + Q6_SCALES + hg * 12 * LINE;
        __m512i s[4][MOX_TILE_ROWS];
        EACH_ROW
        {
            s[0][i] = _mm512_set1_epi32(start[i][sub]);
            s[1][i] = _mm512_set1_epi32(start[i][sub + 2]);
            s[2][i] = _mm512_set1_epi32(start[i][sub + 4]);
            s[3][i] = _mm512_set1_epi32(start[i][sub + 6]);
        }
#pragma GCC unroll 4
        for (uint32_t k = 0; k < 4; k++) {
            __m512i l0 = line(q + 3 * k * LINE), l1 = line(q + (3 * k + 1) * LINE),
                    hi = line(q + (3 * k + 2) * LINE);
            __m512i c0 = or_masked(nibbles_low(l0), _mm512_slli_epi16(hi, 4), bits45);
            __m512i c1 = or_masked(nibbles_low(l1), _mm512_slli_epi16(hi, 2), bits45);
            __m512i c2 = or_masked(nibbles_high(l0), hi, bits45);
            __m512i c3 = or_masked(nibbles_high(l1), _mm512_srli_epi16(hi, 2), bits45);
            EACH_ROW
            {
                const int8_t *a = ((const mox_act_k *)x[i])->q + 128 * h + 16 * g + 4 * k;
                s[0][i] = _mm512_dpbusd_epi32(s[0][i], c0, broadcast4(a));
                s[1][i] = _mm512_dpbusd_epi32(s[1][i], c1, broadcast4(a + 32));
                s[2][i] = _mm512_dpbusd_epi32(s[2][i], c2, broadcast4(a + 64));
                s[3][i] = _mm512_dpbusd_epi32(s[3][i], c3, broadcast4(a + 96));
            }
        }
#pragma GCC unroll 4
        for (uint32_t t = 0; t < 4; t++) {
            __m512i sc = widen_s8(body + (sub + 2 * t) * R);
            EACH_ROW sum[i] = _mm512_add_epi32(sum[i], _mm512_mullo_epi32(s[t][i], sc));
        }
    }
    __m512 d = scales_f16(chunk);
    EACH_ROW
    {
        __m512 u = _mm512_mul_ps(d, _mm512_cvtepi32_ps(sum[i]));
        _mm512_storeu_ps(p[i], _mm512_mul_ps(u, _mm512_set1_ps(((const mox_act_k *)x[i])->d)));
    }
}

BODY q8_0(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float (*p)[R])
{
    const __m512i top_bit = _mm512_set1_epi8(-128);
    const uint32_t n_sub = cols / 32;
    const uint8_t *head = chunk;
    const uint8_t *q = chunk + (size_t)n_sub * 32;
    __m512 t[MOX_TILE_ROWS];
    EACH_ROW t[i] = _mm512_setzero_ps();
    for (uint32_t j = 0; j < n_sub; j++, q += 8 * LINE) {
        __m512i s[MOX_TILE_ROWS];
        EACH_ROW s[i] = _mm512_set1_epi32(-128 * ((const mox_act_b *)x[i])->sum[j]);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            __m512i v = _mm512_xor_si512(line(q + k * LINE), top_bit);
            EACH_ROW s[i] =
                _mm512_dpbusd_epi32(s[i], v, broadcast4(((const mox_act_b *)x[i])->q + 32 * j + 4 * k));
        }
        __m512 d = scales_f16(head + 32 * (size_t)j);
        EACH_ROW
        {
            __m512 da = _mm512_mul_ps(d, _mm512_set1_ps(((const mox_act_b *)x[i])->d[j]));
            t[i] = _mm512_fmadd_ps(da, _mm512_cvtepi32_ps(s[i]), t[i]);
        }
    }
    EACH_ROW _mm512_storeu_ps(p[i], t[i]);
}

/* Float weights: one chain per row, over the elements in order. */
#define FLOAT_BODY(name, bytes, load)                                                                        \
    BODY name(const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R])           \
    {                                                                                                        \
        __m512 acc[MOX_TILE_ROWS];                                                                           \
        EACH_ROW acc[i] = _mm512_setzero_ps();                                                               \
        for (uint32_t e = 0; e < cols; e++) {                                                                \
            __m512 w = load(chunk + (size_t)e * (bytes));                                                    \
            EACH_ROW acc[i] = _mm512_fmadd_ps(w, _mm512_set1_ps(((const float *)x[i])[e]), acc[i]);          \
        }                                                                                                    \
        EACH_ROW _mm512_storeu_ps(p[i], acc[i]);                                                             \
    }

static inline __m512 load_f32(const uint8_t *p)
{
    return _mm512_loadu_ps((const void *)p);
}

static inline __m512 load_bf16(const uint8_t *p)
{
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
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

const mox_tiles mox_tiles_avx512 = {
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
