/* What the AVX-512 (F, BW, VL, DQ, VNNI) tiles share: one register is a line, 16 rows x 4 codes, or one
 * number per row.
 *
 * dpbusd multiplies unsigned codes by the activation's four signed ones, broadcast from memory, and adds into
 * one int32 per row: no sum crosses lanes and none can overflow. Codes with an offset are used unsigned and
 * the offset times the activation's sum is the accumulator's start. Bits are those of mat_ref.c: integers are
 * exact in any order, float operations stand in the twin's order. A family's body is written once and takes
 * the decoding of a format as a function; everything is inlined into one tile per format and count of rows.
 * Included by mat_*_avx512.c alone.
 */
#ifndef MOX_KERNELS_X86_MAT_AVX512_H
#define MOX_KERNELS_X86_MAT_AVX512_H

#include "kernels/x86/mat_list.h"

#include <immintrin.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, LINE = 64 };

#define DECLARE(TYPE, name) mox_tile_fn mox_tile_avx512_##name;
MOX_TILES_BY_HAND(DECLARE)
#undef DECLARE

#define TILE_ARGS                                                                                            \
    const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R]
#define INLINE static inline __attribute__((always_inline))
#define BODY   INLINE void

/* mox_tile_avx512_<name>: the inlined body once per count of rows, so that its accumulators are registers. */
#define TILE(name)                                                                                           \
    void mox_tile_avx512_##name(TILE_ARGS)                                                                   \
    {                                                                                                        \
        (void)f;                                                                                             \
        switch (n) {                                                                                         \
        case 1:                                                                                              \
            name(chunk, cols, x, 1, p);                                                                      \
            break;                                                                                           \
        case 2:                                                                                              \
            name(chunk, cols, x, 2, p);                                                                      \
            break;                                                                                           \
        case 3:                                                                                              \
            name(chunk, cols, x, 3, p);                                                                      \
            break;                                                                                           \
        default:                                                                                             \
            name(chunk, cols, x, MOX_TILE_ROWS, p);                                                          \
            break;                                                                                           \
        }                                                                                                    \
    }
#define EACH_ROW _Pragma("GCC unroll 4") for (uint32_t i = 0; i < n; i++)

static inline __m512i line(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}

/* Several rows make a line of weights cost so many instructions that those of the next blocks do not come into sight
 * early enough: what stands behind is asked for, first into L2, later into L1. Either alone does half or nothing: a
 * core has too few misses of L1 in flight, and L2 alone left the last part of the way. */
enum { AHEAD_L1 = 3456, AHEAD_L2 = 9216 };

INLINE void fetch_ahead(const uint8_t *p, uint32_t n_lines, uint32_t n)
{
    for (uint32_t i = 0; n > 1 && i < n_lines; i++, p += LINE) {
        __builtin_prefetch(p + AHEAD_L1, 0, 3);
        __builtin_prefetch(p + AHEAD_L2, 0, 2);
    }
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

/* K-quants without minimums: p = (d * S) * a */
static inline void k_finish(const uint8_t *head, __m512i sum, float a, float *p)
{
    __m512 u = _mm512_mul_ps(scales_f16(head), _mm512_cvtepi32_ps(sum));
    _mm512_storeu_ps(p, _mm512_mul_ps(u, _mm512_set1_ps(a)));
}

#endif
