/* What the AVX-VNNI tiles share. The instruction is dpbusd on 256 bits: unsigned codes times the activation's
 * four signed ones, added into one int32 per row, so none of the 16-bit limits of AVX2 remain; codes with an
 * offset are used unsigned and the offset times the activation's sum is the accumulator's start.
 *
 * The instruction has two encodings: VEX, which AVX-VNNI means, and EVEX, which AVX-512 VNNI with VL means.
 * The tiles are written once, in mat_k_avxvnni.h and mat_b32_avxvnni.h, and compiled once per encoding:
 * mat_avxvnni_vex.c and mat_avxvnni_evex.c define MOX_VNNI(op), include these and hold the tables. A processor
 * that has AVX-VNNI runs the first, others the second (isa.c), so that tests run them where either is.
 * A register is half a line, 8 rows x 4 codes. One and two rows of activations take both halves of a line
 * together, so that a broadcast serves 16 rows of weights; three and four take the halves one after the other
 * and keep their accumulators in 16 registers. Bits are those of mat_ref.c. Helpers for half lines and the
 * float tiles are AVX2's.
 */
#ifndef MOX_KERNELS_X86_MAT_AVXVNNI_H
#define MOX_KERNELS_X86_MAT_AVXVNNI_H

#include "kernels/x86/mat_avx2.h"

#ifndef MOX_VNNI /* the header alone: as on a processor with AVX-512 */
#define MOX_VNNI(op) _mm256_##op##_epi32
#endif

/* Sums of a half line's 8 rows for n rows of activations; `wide` halves from `half` on. */
#define VNNI_ARGS                                                                                            \
    const uint8_t *chunk, uint32_t cols, uint32_t half, uint32_t wide, const void *const *x, uint32_t n,     \
        float(*p)[R]
typedef __m256i vnni_acc[2][MOX_TILE_ROWS];

#define EACH_HALF _Pragma("GCC unroll 2") for (uint32_t w = 0; w < wide; w++)

#define VNNI_TILE(name)                                                                                      \
    static inline void tile_##name(TILE_ARGS)                                                                \
    {                                                                                                        \
        (void)f;                                                                                             \
        switch (n) {                                                                                         \
        case 1:                                                                                              \
            name(chunk, cols, 0, 2, x, 1, p);                                                                \
            break;                                                                                           \
        case 2:                                                                                              \
            name(chunk, cols, 0, 2, x, 2, p);                                                                \
            break;                                                                                           \
        case 3:                                                                                              \
            name(chunk, cols, 0, 1, x, 3, p);                                                                \
            name(chunk, cols, 1, 1, x, 3, p);                                                                \
            break;                                                                                           \
        default:                                                                                             \
            name(chunk, cols, 0, 1, x, MOX_TILE_ROWS, p);                                                    \
            name(chunk, cols, 1, 1, x, MOX_TILE_ROWS, p);                                                    \
            break;                                                                                           \
        }                                                                                                    \
    }

/* Float weights have nothing to gain from integer instructions. */
#define tile_f32  mox_tile_avx2_f32
#define tile_f16  mox_tile_avx2_f16
#define tile_bf16 mox_tile_avx2_bf16

INLINE void vnni_zero(vnni_acc s, uint32_t wide, uint32_t n)
{
    EACH_HALF EACH_ROW s[w][i] = _mm256_setzero_si256();
}

/* a number, the same in every lane */
static inline __m256i vnni_same(const int32_t *v)
{
    return _mm256_set1_epi32(*v);
}

static inline __m256i widen_u8(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}

static inline __m256i widen_s8(const uint8_t *p)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p));
}

#endif
