/* What the AVX-512 panel kernels share. A block of 16 rows is unpacked once, to lines of unsigned codes (code
 * + 128) in the order of columns and scales of the width in which they are used; then every tile of the panel
 * multiplies it, one accumulator of 16 rows for each of up to 12 lanes. So a format is a function that
 * unpacks, in steps that go on between the products of the block before, and a few bodies multiply for all formats.
 *
 * One dpbusd of 512 bits a cycle is the limit. Multiplications and FMAs share its pipes and cost a good part
 * of a product each, so a body has as few of them a column as it can; logic and conversions have pipes of
 * their own. Included by panel_*_avx512.c alone.
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

/* Word w of lane i in every row */
static inline __m512i lane_int(const uint8_t *x, uint32_t n, uint32_t w, uint32_t i)
{
    return broadcast4(x + ((size_t)w * n + i) * 4);
}

static inline __m512 lane_float(const uint8_t *x, uint32_t n, uint32_t w, uint32_t i)
{
    return _mm512_castsi512_ps(lane_int(x, n, w, i));
}

/* acc += a line of codes times the four activations of word w */
INLINE void lanes_dot(__m512i *acc, __m512i codes, const uint8_t *x, const uint32_t n, uint32_t w)
{
    EACH_LANE acc[i] = _mm512_dpbusd_epi32(acc[i], codes, lane_int(x, n, w, i));
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

/* What goes on beside the last tile of a block: the next one is unpacked in STEPS steps, whose instructions find
 * room between the products, and the one after it is fetched. */
enum { STEPS = 8 };

typedef struct panel_next {
    const uint8_t *chunk; /* NULL: the run ends */
    uint32_t cols;
    const uint8_t *fetch;
    size_t share; /* of a step in it */
} panel_next;

static inline panel_next next_of(const mox_panel_run *r, uint32_t b)
{
    uint32_t left = r->cols - b * MOX_BLOCK;
    return (panel_next){.chunk = b + 1 < r->count ? r->chunk + (b + 1) * r->stride : NULL,
                        .cols = left < 2 * MOX_BLOCK ? left - MOX_BLOCK : MOX_BLOCK,
                        .fetch = mox_panel_block(r, b + 2),
                        .share = mox_round_up(r->bytes / STEPS, LINE)};
}

/* Step j of the next block by step(chunk, cols, j, to) */
#define ADVANCE(step, next, j, to)                                                                           \
    if ((next) != NULL) {                                                                                    \
        for (size_t at = 0; at < (next)->share; at += LINE) {                                                \
            __builtin_prefetch((next)->fetch + (j) * (next)->share + at, 0, 2);                              \
        }                                                                                                    \
        if ((next)->chunk != NULL) {                                                                         \
            step((next)->chunk, (next)->cols, j, to);                                                        \
        }                                                                                                    \
    }

/* An unpacked block times one tile: body(..., u, x, n, s, next, to) for each count of lanes. */
#define TILE_DOT(name, type, body, ...)                                                                      \
    static void name(const type *u, const uint8_t *x, uint32_t size, mox_row_sums *s,                        \
                     const panel_next *next, type *to)                                                       \
    {                                                                                                        \
        switch (size) {                                                                                      \
        case LANES:                                                                                          \
            body(__VA_ARGS__, u, x, LANES, s, next, to);                                                     \
            break;                                                                                           \
        case 8:                                                                                              \
            body(__VA_ARGS__, u, x, 8, s, next, to);                                                         \
            break;                                                                                           \
        case 6:                                                                                              \
            body(__VA_ARGS__, u, x, 6, s, next, to);                                                         \
            break;                                                                                           \
        default:                                                                                             \
            body(__VA_ARGS__, u, x, 4, s, next, to);                                                         \
            break;                                                                                           \
        }                                                                                                    \
    }

/* mox_panel_avx512_<name>: step(chunk, cols, j, &u) unpacks, dot multiplies; over the run's blocks and tiles. */
#define PANEL(name, type, step, dot)                                                                         \
    void mox_panel_avx512_##name(const mox_panel_run *r, mox_row_sums *s)                                    \
    {                                                                                                        \
        type u[2];                                                                                           \
        for (uint32_t j = 0; j < STEPS; j++) {                                                               \
            step(r->chunk, r->cols < MOX_BLOCK ? r->cols : MOX_BLOCK, j, &u[0]);                             \
        }                                                                                                    \
        for (uint32_t b = 0; b < r->count; b++) {                                                            \
            uint32_t left = r->cols - b * MOX_BLOCK;                                                         \
            bool close = left <= MOX_BLOCK || (r->first + b) % MOX_SPAN_BLOCKS == MOX_SPAN_BLOCKS - 1;       \
            panel_next next = next_of(r, b);                                                                 \
            mox_row_sums *of_tile = s;                                                                       \
            for (uint32_t t = 0; t < r->n_tiles; of_tile += r->size[t++]) {                                  \
                dot(&u[b % 2], r->tile[t] + b * r->tile_stride, r->size[t], of_tile,                         \
                    t + 1 == r->n_tiles ? &next : NULL, &u[(b + 1) % 2]);                                    \
                if (close) {                                                                                 \
                    close_spans(of_tile, r->size[t]);                                                        \
                }                                                                                            \
            }                                                                                                \
        }                                                                                                    \
    }

#endif
