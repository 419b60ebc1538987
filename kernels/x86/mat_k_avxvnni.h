/* AVX-VNNI tiles of the K-quants: one body for scales per 32 columns (Q4_K, Q5_K), one for scales per 16
 * (Q2_K, Q3_K, Q6_K). What a format adds is how a line's codes and its scales are unpacked. Compiled once per
 * encoding (mat_avxvnni.h), reached through mox_tile_of.
 */
#ifndef MOX_KERNELS_X86_MAT_K_AVXVNNI_H
#define MOX_KERNELS_X86_MAT_K_AVXVNNI_H

#include "kernels/x86/codes_k_avx2.h"
#include "kernels/x86/mat_avxvnni.h"

/* min += minimums of sub-blocks j, j + 1 times the sums of their codes at sums[i] + j; mn: those of `half` */
INLINE void add_mins(vnni_acc min, const uint8_t *mn, uint32_t j, uint32_t wide, const int16_t *const *sums,
                     uint32_t n)
{
    EACH_HALF
    {
        const uint8_t *at = mn + j * R + HALF * w;
        __m256i pair = pair_u8(at, at + R);
        EACH_ROW min[w][i] = MOX_VNNI(dpwssd)(min[w][i], pair, broadcast4(sums[i] + j));
    }
}

/* The minimums of Q4_K and Q5_K, and the end of the tile. */
INLINE void k45_finish(const uint8_t *chunk, const k45_scales *s, uint32_t half, uint32_t wide, vnni_acc sum,
                       const void *const *x, uint32_t n, float (*p)[R])
{
    int16_t sums[MOX_TILE_ROWS][8];
    const int16_t *at[MOX_TILE_ROWS];
    vnni_acc min;
    vnni_zero(min, wide, n);
    EACH_ROW
    {
        sums_of_32(x[i], sums[i]);
        at[i] = sums[i];
    }
    for (uint32_t j = 0; j < 8; j += 2) {
        add_mins(min, s->mn[0] + HALF * half, j, wide, at, n);
    }
    EACH_HALF EACH_ROW k_finish_min(chunk, half + w, sum[w][i], min[w][i], ((const mox_act_k *)x[i])->d,
                                    p[i]);
}

/* sum += low * scales at sl + high * scales at sh, 8 bytes each; signed: of Q3_K and Q6_K */
INLINE void add_scaled(vnni_acc sum, vnni_acc low, vnni_acc high, const uint8_t *sl, const uint8_t *sh,
                       bool is_signed, uint32_t wide, uint32_t n)
{
    EACH_HALF
    {
        __m256i l = is_signed ? widen_s8(sl + HALF * w) : widen_u8(sl + HALF * w);
        __m256i h = is_signed ? widen_s8(sh + HALF * w) : widen_u8(sh + HALF * w);
        EACH_ROW sum[w][i] = _mm256_add_epi32(
            sum[w][i], _mm256_add_epi32(_mm256_mullo_epi32(low[w][i], l), _mm256_mullo_epi32(high[w][i], h)));
    }
}

BODY q4_k(VNNI_ARGS)
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    k45_scales s;
    unpack_k45_scales(body, &s);
    vnni_acc sum;
    vnni_zero(sum, wide, n);
#pragma GCC unroll 1
    for (uint32_t c = 0; c < 4; c++) {
        const uint8_t *q = body + 3 * LINE + c * 8 * LINE + 32 * half;
        vnni_acc low, high;
        vnni_zero(low, wide, n);
        vnni_zero(high, wide, n);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            EACH_HALF
            {
                __m256i v = load(q + k * LINE + 32 * w), l = nibbles_low(v), h = nibbles_high(v);
                EACH_ROW
                {
                    const int8_t *a = ((const mox_act_k *)x[i])->q + 64 * c + 4 * k;
                    low[w][i] = MOX_VNNI(dpbusd)(low[w][i], l, broadcast4(a));
                    high[w][i] = MOX_VNNI(dpbusd)(high[w][i], h, broadcast4(a + 32));
                }
            }
        }
        add_scaled(sum, low, high, s.sc[2 * c] + HALF * half, s.sc[2 * c + 1] + HALF * half, false, wide, n);
    }
    k45_finish(chunk, &s, half, wide, sum, x, n, p);
}

/* The fifth bits of all four c are the same eight lines, read with c = 0 and then from L1. */
BODY q5_k(VNNI_ARGS)
{
    (void)cols;
    const uint8_t *body = chunk + LINE, *lines = body + 3 * LINE + 32 * half;
    k45_scales s;
    unpack_k45_scales(body, &s);
    vnni_acc sum;
    vnni_zero(sum, wide, n);
#pragma GCC unroll 4
    for (uint32_t c = 0; c < 4; c++) {
        const uint8_t *q = c == 0 ? lines : lines + 16 * LINE + (c - 1) * 8 * LINE;
        const uint32_t step = c == 0 ? 2 * LINE : LINE;
        vnni_acc low, high;
        vnni_zero(low, wide, n);
        vnni_zero(high, wide, n);
#pragma GCC unroll 8
        for (uint32_t k = 0; k < 8; k++) {
            EACH_HALF
            {
                __m256i v = load(q + k * step + 32 * w), fifth = load(lines + (2 * k + 1) * LINE + 32 * w);
                __m256i l = _mm256_or_si256(nibbles_low(v), fifth_bits(fifth, 4 - 2 * (int)c));
                __m256i h = _mm256_or_si256(nibbles_high(v), fifth_bits(fifth, 3 - 2 * (int)c));
                EACH_ROW
                {
                    const int8_t *a = ((const mox_act_k *)x[i])->q + 64 * c + 4 * k;
                    low[w][i] = MOX_VNNI(dpbusd)(low[w][i], l, broadcast4(a));
                    high[w][i] = MOX_VNNI(dpbusd)(high[w][i], h, broadcast4(a + 32));
                }
            }
        }
        add_scaled(sum, low, high, s.sc[2 * c] + HALF * half, s.sc[2 * c + 1] + HALF * half, false, wide, n);
    }
    k45_finish(chunk, &s, half, wide, sum, x, n, p);
}

/* Formats with scales per 16 */
typedef struct k16_shape {
    k16_codes_fn *codes;
    int offset; /* what the unsigned codes have too much */
    bool small; /* the sum of 16 products fits int16, offset taken away */
} k16_shape;

enum { Q2_MAX = 3, Q3_MAX = 4, Q3_OFFSET = 4, Q6_OFFSET = 32 };
_Static_assert(16 * Q2_MAX * 127 <= INT16_MAX && 16 * Q3_MAX * 127 <= INT16_MAX, "small codes");

/* Two sums per row, of int16 size, as a pair */
static inline __m256i pair_sums(__m256i a, __m256i b)
{
    return _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
}

typedef struct k16_start {
    _Alignas(32) int32_t of[16]; /* -offset times each sum of 16, where the accumulators start */
} k16_start;

static inline void k16_starts(const mox_act_k *a, int offset, k16_start *out)
{
    const __m256i by = _mm256_set1_epi32(-offset);
    for (int i = 0; i < 2; i++) {
        __m256i s = _mm256_cvtepi16_epi32(_mm_load_si128((const __m128i *)(const void *)(a->sum + 8 * i)));
        _mm256_store_si256((__m256i *)(void *)(out->of + 8 * i), _mm256_mullo_epi32(s, by));
    }
}

/* The two sub-blocks of quarter hg and t; scales: 16 x 16 signed bytes, those of the half */
BODY k16_pair(k16_shape f, const uint8_t *lines, const uint8_t *scales, uint32_t hg, uint32_t t,
              const k16_start *start, uint32_t wide, const void *const *x, uint32_t n, vnni_acc sum)
{
    const uint32_t h = hg / 2, g = hg % 2, sub = 8 * h + g + 2 * t;
    vnni_acc low, high;
    EACH_HALF EACH_ROW
    {
        low[w][i] = f.offset == 0 ? _mm256_setzero_si256() : vnni_same(&start[i].of[sub]);
        high[w][i] = f.offset == 0 ? _mm256_setzero_si256() : vnni_same(&start[i].of[sub + 4]);
    }
#pragma GCC unroll 4
    for (uint32_t k = 0; k < 4; k++) {
        EACH_HALF
        {
            __m256i l, u;
            f.codes(lines + 32 * w, hg, k, t, &l, &u);
            EACH_ROW
            {
                const int8_t *a = ((const mox_act_k *)x[i])->q + 16 * sub + 4 * k;
                low[w][i] = MOX_VNNI(dpbusd)(low[w][i], l, broadcast4(a));
                high[w][i] = MOX_VNNI(dpbusd)(high[w][i], u, broadcast4(a + 64));
            }
        }
    }
    const uint8_t *s0 = scales + sub * R, *s1 = s0 + 4 * R;
    if (f.small) {
        EACH_HALF
        {
            __m256i sc = pair_s8(s0 + HALF * w, s1 + HALF * w);
            EACH_ROW sum[w][i] = MOX_VNNI(dpwssd)(sum[w][i], pair_sums(low[w][i], high[w][i]), sc);
        }
    } else {
        add_scaled(sum, low, high, s0, s1, true, wide, n);
    }
}

BODY k16(k16_shape f, const uint8_t *lines, const uint8_t *scales, uint32_t wide, const void *const *x,
         uint32_t n, vnni_acc sum)
{
    k16_start start[MOX_TILE_ROWS];
    vnni_zero(sum, wide, n);
    EACH_ROW k16_starts(x[i], f.offset, &start[i]);
#pragma GCC unroll 1
    for (uint32_t hg = 0; hg < 4; hg++) {
        k16_pair(f, lines, scales, hg, 0, start, wide, x, n, sum);
        k16_pair(f, lines, scales, hg, 1, start, wide, x, n, sum);
    }
}

BODY q2_k(VNNI_ARGS)
{
    (void)cols;
    const uint8_t *body = chunk + LINE;
    _Alignas(32) uint8_t sc[16][R], mn[16][R];
    unpack_k2_scales(body, sc, mn);
    vnni_acc sum, min;
    k16((k16_shape){q2_codes, 0, true}, body + 4 * LINE + 32 * half, sc[0] + HALF * half, wide, x, n, sum);
    const int16_t *sums[MOX_TILE_ROWS];
    EACH_ROW sums[i] = ((const mox_act_k *)x[i])->sum;
    vnni_zero(min, wide, n);
    for (uint32_t j = 0; j < 16; j += 2) {
        add_mins(min, mn[0] + HALF * half, j, wide, sums, n);
    }
    EACH_HALF EACH_ROW k_finish_min(chunk, half + w, sum[w][i], min[w][i], ((const mox_act_k *)x[i])->d,
                                    p[i]);
}

BODY q3_k(VNNI_ARGS)
{
    (void)cols;
    const uint8_t *body = chunk + Q3_HEAD;
    _Alignas(32) uint8_t sc[16][R];
    unpack_q3_scales(body, sc);
    vnni_acc sum;
    k16((k16_shape){q3_codes, Q3_OFFSET, true}, body + Q3_SCALES + 32 * half, sc[0] + HALF * half, wide, x, n,
        sum);
    EACH_HALF EACH_ROW k_finish(chunk, half + w, sum[w][i], ((const mox_act_k *)x[i])->d, p[i]);
}

BODY q6_k(VNNI_ARGS)
{
    (void)cols;
    const uint8_t *body = chunk + Q6_HEAD;
    vnni_acc sum;
    k16((k16_shape){q6_codes, Q6_OFFSET, false}, body + Q6_SCALES + 32 * half, body + HALF * half, wide, x, n,
        sum);
    EACH_HALF EACH_ROW k_finish(chunk, half + w, sum[w][i], ((const mox_act_k *)x[i])->d, p[i]);
}

VNNI_TILE(q2_k)
VNNI_TILE(q3_k)
VNNI_TILE(q4_k)
VNNI_TILE(q5_k)
VNNI_TILE(q6_k)

#endif
