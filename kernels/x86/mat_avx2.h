/* What the AVX2 (+FMA, F16C) tiles share: a register is half a line, 8 rows x 4 codes, so a chunk is walked
 * twice, rows 0-7 and then rows 8-15 (the second time from L1); this leaves registers for four rows of
 * activations.
 *
 * maddubs multiplies unsigned codes by broadcast signed ones and adds pairs to int16, which holds them as
 * long as the number of lines added is bounded by the codes; then madd by the row's scale, doubled in 16
 * bits, widens, scales and adds in one instruction. Codes too large for that go as |w| with their sign moved
 * to the activation. Bits are those of mat_ref.c: integer sums are exact in any order, float operations stand
 * in the twin's order. A family's body is written once and takes the decoding of a format as a function;
 * everything is inlined into one tile per format and count of rows. Included by mat_*_avx2.c alone.
 */
#ifndef MOX_KERNELS_X86_MAT_AVX2_H
#define MOX_KERNELS_X86_MAT_AVX2_H

#include "kernels/x86/mat_list.h"

#include <immintrin.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, HALF = 8, LINE = 64 };

#define DECLARE(TYPE, name) mox_tile_fn mox_tile_avx2_##name;
MOX_TILES_BY_HAND(DECLARE)
#undef DECLARE

#define TILE_ARGS                                                                                            \
    const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R]
#define INLINE static inline __attribute__((always_inline))
#define BODY   INLINE void

/* mox_tile_avx2_<name>: the inlined body for each count of rows, so that its accumulators are registers;
 * `half` is 0 or 1. */
#define HALVES(body, count)                                                                                  \
    for (uint32_t half = 0; half < 2; half++) {                                                              \
        body(chunk, cols, half, x, count, p);                                                                \
    }                                                                                                        \
    break
#define TILE(name)                                                                                           \
    void mox_tile_avx2_##name(TILE_ARGS)                                                                     \
    {                                                                                                        \
        (void)f;                                                                                             \
        switch (n) {                                                                                         \
        case 1:                                                                                              \
            HALVES(name, 1);                                                                                 \
        case 2:                                                                                              \
            HALVES(name, 2);                                                                                 \
        case 3:                                                                                              \
            HALVES(name, 3);                                                                                 \
        default:                                                                                             \
            HALVES(name, MOX_TILE_ROWS);                                                                     \
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

/* K-quants without minimums: p = (d * S) * a */
static inline void k_finish(const uint8_t *head, uint32_t half, __m256i sum, float a, float *p)
{
    __m256 u = _mm256_mul_ps(scales_f16(head + 16 * half), _mm256_cvtepi32_ps(sum));
    _mm256_storeu_ps(p + HALF * half, _mm256_mul_ps(u, _mm256_set1_ps(a)));
}

#endif
