/* What the AVX-512 panel kernels share. A register is a line, 16 rows x 4 codes, or one number per row; each
 * lane (token) of a tile has one accumulator of them, and one of the block's sum. With 12 lanes that leaves
 * room for the codes, and a code unpacked once serves 12 products.
 *
 * A format's body multiplies one block; it is inlined into one kernel per count of lanes. The products are
 * the limit (one dpbusd of 512 bits a cycle), so what counts is how many other instructions share their
 * pipes: multiplications and FMAs do, shifts, logic, additions and conversions do not. Included by
 * panel_*_avx512.c alone.
 */
#ifndef MOX_KERNELS_X86_PANEL_AVX512_H
#define MOX_KERNELS_X86_PANEL_AVX512_H

#include "kernels/panel.h"
#include "kernels/x86/mat_avx512.h"

enum { LANES = 12 };

#define DECLARE(TYPE, name) mox_panel_fn mox_panel_avx512_##name;
MOX_TILES_BY_HAND(DECLARE)
#undef DECLARE

#define EACH_LANE _Pragma("GCC unroll 12") for (uint32_t i = 0; i < n; i++)

/* One block: chunk, columns of it, the tile's block and its lanes, whose spans the partials are added to. */
#define PANEL_BODY(name)                                                                                     \
    INLINE void name(const uint8_t *chunk, uint32_t cols, const uint8_t *x, const uint32_t n, mox_row_sums *s)

/* Word w of lane i */
static inline const uint8_t *lane_word(const uint8_t *x, uint32_t n, uint32_t w, uint32_t i)
{
    return x + ((size_t)w * n + i) * 4;
}

static inline __m512i lane_int(const uint8_t *x, uint32_t n, uint32_t w, uint32_t i)
{
    return broadcast4(lane_word(x, n, w, i));
}

static inline __m512 lane_float(const uint8_t *x, uint32_t n, uint32_t w, uint32_t i)
{
    return _mm512_castsi512_ps(lane_int(x, n, w, i));
}

static inline void add_partial(mox_row_sums *s, __m512 p)
{
    _mm512_storeu_ps(s->span, _mm512_add_ps(_mm512_loadu_ps(s->span), p));
}

static inline void close_spans(mox_row_sums *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        _mm512_storeu_ps(s[i].row, _mm512_add_ps(_mm512_loadu_ps(s[i].row), _mm512_loadu_ps(s[i].span)));
        _mm512_storeu_ps(s[i].span, _mm512_setzero_ps());
    }
}

/* acc += the line's codes times the four activations of word w */
#define LANES_DOT(acc, codes, w)                                                                             \
    do {                                                                                                     \
        __m512i lanes_codes = (codes);                                                                       \
        EACH_LANE(acc)[i] = _mm512_dpbusd_epi32((acc)[i], lanes_codes, lane_int(x, n, (w), i));              \
    } while (0)

/* mox_panel_avx512_<name>: the body over the run's blocks, for each count of lanes. */
#define PANEL(name, words)                                                                                   \
    INLINE void name##_lanes(const mox_panel_run *r, const uint32_t n, mox_row_sums *s)                      \
    {                                                                                                        \
        const uint8_t *chunk = r->chunk, *x = r->panel;                                                      \
        for (uint32_t b = 0; b < r->count; b++, chunk += r->stride, x += (size_t)n * (words)*4) {            \
            uint32_t left = r->cols - b * MOX_BLOCK;                                                         \
            name(chunk, left < MOX_BLOCK ? left : MOX_BLOCK, x, n, s);                                       \
            if (left <= MOX_BLOCK || (r->first + b) % MOX_SPAN_BLOCKS == MOX_SPAN_BLOCKS - 1) {              \
                close_spans(s, n);                                                                           \
            }                                                                                                \
        }                                                                                                    \
    }                                                                                                        \
    void mox_panel_avx512_##name(const mox_panel_run *r, mox_row_sums *s)                                    \
    {                                                                                                        \
        switch (r->size) {                                                                                   \
        case 12:                                                                                             \
            name##_lanes(r, 12, s);                                                                          \
            break;                                                                                           \
        case 8:                                                                                              \
            name##_lanes(r, 8, s);                                                                           \
            break;                                                                                           \
        case 6:                                                                                              \
            name##_lanes(r, 6, s);                                                                           \
            break;                                                                                           \
        default:                                                                                             \
            name##_lanes(r, 4, s);                                                                           \
            break;                                                                                           \
        }                                                                                                    \
    }

#endif
