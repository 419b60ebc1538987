/* AVX2 (+FMA, F16C) tiles. A line of 16 rows x 4 codes is two registers of 8 rows; the activation's four
 * codes are broadcast, so sums stay in their lanes. Bits are those of mat_ref.c: integer sums are exact in
 * any order, float operations stand in the twin's order. Reached through mox_tile_of.
 */
#include "kernels/mat_tile.h"
#include "kernels/x16.h"

#include <immintrin.h>

enum { R = MOX_ROWS_PER_GROUP };

#define TILE_ARGS                                                                                            \
    const mox_format *f, const uint8_t *chunk, uint32_t cols, const void *const *x, uint32_t n, float(*p)[R]

/* Float weights: one chain per row, vectorised across the 16 rows. */
static inline void chain_f32(const float *chunk, uint32_t cols, const void *const *x, uint32_t n,
                             float (*p)[R])
{
    __m256 acc[MOX_TILE_ROWS][2];
    const float *a[MOX_TILE_ROWS];
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++) {
        acc[i][0] = acc[i][1] = _mm256_setzero_ps();
        a[i] = x[i];
    }
    for (uint32_t e = 0; e < cols; e++) {
        __m256 w0 = _mm256_loadu_ps(chunk + (size_t)e * R), w1 = _mm256_loadu_ps(chunk + (size_t)e * R + 8);
#pragma GCC unroll 4
        for (uint32_t i = 0; i < n; i++) {
            __m256 v = _mm256_broadcast_ss(a[i] + e);
            acc[i][0] = _mm256_fmadd_ps(w0, v, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(w1, v, acc[i][1]);
        }
    }
#pragma GCC unroll 4
    for (uint32_t i = 0; i < n; i++) {
        _mm256_storeu_ps(p[i], acc[i][0]);
        _mm256_storeu_ps(p[i] + 8, acc[i][1]);
    }
}

/* The inlined body once per count of rows, so that accumulators are registers. */
#define BY_COUNT(body, ...)                                                                                  \
    do {                                                                                                     \
        switch (n) {                                                                                         \
        case 1:                                                                                              \
            body(__VA_ARGS__, 1, p);                                                                         \
            break;                                                                                           \
        case 2:                                                                                              \
            body(__VA_ARGS__, 2, p);                                                                         \
            break;                                                                                           \
        case 3:                                                                                              \
            body(__VA_ARGS__, 3, p);                                                                         \
            break;                                                                                           \
        default:                                                                                             \
            body(__VA_ARGS__, 4, p);                                                                         \
            break;                                                                                           \
        }                                                                                                    \
    } while (0)

static void tile_f32(TILE_ARGS)
{
    (void)f;
    BY_COUNT(chain_f32, (const float *)(const void *)chunk, cols, x);
}

const mox_tiles mox_tiles_avx2 = {
    .of_type =
        {
            [MOX_TYPE_F32] = tile_f32,
        },
};
