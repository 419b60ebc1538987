/* What the AVX2 panel kernels share. A block of 16 rows is unpacked once, to lines of small unsigned codes in
 * the order of columns, rows 0-7 and 8-15 apart; then every tile of the panel multiplies it, up to six lanes,
 * each with a sum of products in int16 and one in int32.
 *
 * maddubs and an addition make 32 products as long as a sum fits int16; how many lines may be added depends
 * on the codes. Then madd by the scale widens. Codes of 8 bits go as two planes, low and high four bits, with
 * multipliers 1 and 16: moving signs to the activations (mat_b32_avx2.c) costs more. Included by
 * panel_*_avx2.c alone.
 */
#ifndef MOX_KERNELS_X86_PANEL_AVX2_H
#define MOX_KERNELS_X86_PANEL_AVX2_H

#include "kernels/panel.h"
#include "kernels/x86/mat_avx2.h"

enum { LANES = 6 };

#define DECLARE(TYPE, name) mox_panel_fn mox_panel_avx2_##name;
MOX_TILES_BY_HAND(DECLARE)
#undef DECLARE

#define EACH_LANE _Pragma("GCC unroll 6") for (uint32_t i = 0; i < n; i++)

/* Codes of a block: [plane][half][word of four columns][8 rows x 4] */
typedef uint8_t panel_codes[2][2][64][32];

/* Word w of lane i in every row */
static inline __m256i lane_int(const uint8_t *x, uint32_t n, uint32_t w, uint32_t i)
{
    return broadcast4(x + ((size_t)w * n + i) * 4);
}

static inline __m256 lane_float(const uint8_t *x, uint32_t n, uint32_t w, uint32_t i)
{
    return _mm256_castsi256_ps(lane_int(x, n, w, i));
}

/* Hides where a value comes from: sums stay in the order written and a second plane loads its activations
 * again, else the compiler wants more registers than there are. */
#define OPAQUE(constraint, v) __asm__ volatile("" : "+" constraint(v))

/* sum += mult * (`count` lines of codes times the activations from word 0 of x); mult: pairs of int16 */
INLINE void lanes_dot(__m256i *sum, const uint8_t (*codes)[32], const uint32_t count, __m256i mult,
                      const uint8_t *x, const uint32_t n)
{
    __m256i acc[LANES];
    OPAQUE("r", x);
#pragma GCC unroll 8
    for (uint32_t k = 0; k < count; k++) {
        __m256i w = load(codes[k]);
        EACH_LANE
        {
            __m256i p = _mm256_maddubs_epi16(w, lane_int(x, n, k, i));
            acc[i] = k == 0 ? p : _mm256_add_epi16(acc[i], p);
            OPAQUE("x", acc[i]);
        }
    }
    EACH_LANE sum[i] = _mm256_add_epi32(sum[i], _mm256_madd_epi16(acc[i], mult));
}

static inline void add_partial(mox_row_sums *s, uint32_t half, __m256 p)
{
    float *to = s->span + HALF * half;
    _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), p));
}

static inline void close_spans(mox_row_sums *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t r = 0; r < R; r += HALF) {
            float *row = s[i].row + r, *span = s[i].span + r;
            _mm256_storeu_ps(row, _mm256_add_ps(_mm256_loadu_ps(row), _mm256_loadu_ps(span)));
            _mm256_storeu_ps(span, _mm256_setzero_ps());
        }
    }
}

/* An unpacked block times one tile: body(..., u, half, x, n, s) for each count of lanes and both halves. */
#define TILE_DOT(name, type, body, ...)                                                                      \
    static void name(const type *u, const uint8_t *x, uint32_t size, mox_row_sums *s)                        \
    {                                                                                                        \
        for (uint32_t half = 0; half < 2; half++) {                                                          \
            if (size == LANES) {                                                                             \
                body(__VA_ARGS__, u, half, x, LANES, s);                                                     \
            } else {                                                                                         \
                body(__VA_ARGS__, u, half, x, 4, s);                                                         \
            }                                                                                                \
        }                                                                                                    \
    }

/* mox_panel_avx2_<name>: unpack(chunk, cols, &u) and the dot over the run's blocks and tiles. */
#define PANEL(name, type, unpack, dot)                                                                       \
    void mox_panel_avx2_##name(const mox_panel_run *r, mox_row_sums *s)                                      \
    {                                                                                                        \
        type u;                                                                                              \
        for (uint32_t b = 0; b < r->count; b++) {                                                            \
            uint32_t left = r->cols - b * MOX_BLOCK;                                                         \
            bool close = left <= MOX_BLOCK || (r->first + b) % MOX_SPAN_BLOCKS == MOX_SPAN_BLOCKS - 1;       \
            unpack(r->chunk + b * r->stride, left < MOX_BLOCK ? left : MOX_BLOCK, &u);                       \
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

#endif
