/* x16: how 16 rows of one 256-column block lie in a chunk.
 *
 * A chunk holds exactly the GGUF bytes of its 16 row blocks, permuted; no value is changed and nothing
 * outside is needed to compute with it. The row block is cut into units of 1, 2 or 4 bytes; the same unit of
 * the 16 rows is stored side by side (a 4-byte unit makes a 64-byte line, a scale byte a 16-byte one). So one
 * load brings the same four codes of 16 rows, the activation is broadcast, and no sum ever crosses lanes.
 * Keeping GGUF's own nibble pairing makes repacking a transpose of 4-byte units, and 16 bytes of a line are 4
 * rows x one unit, which is what a GPU lane wants to load.
 *
 * A chunk has two areas. The body is lines in the order in which a kernel consumes them (DRAM streams at full
 * rate only then); the head is the f16 scales. For 32-element types both repeat per sub-block, so a short
 * last block has the same shape with fewer of them.
 *
 *   type        head (bytes)                  body (lines of 64 unless stated)
 *   Q4_0 IQ4_NL per 32: d[16] (32)            per 32: 4 nibble lines
 *   Q4_1        per 32: d[16] m[16] (64)      per 32: 4 nibble lines
 *   Q5_0        per 32: d[16] (32)            per 32: 1 line of fifth bits, 4 nibble lines
 *   Q5_1        per 32: d[16] m[16] (64)      per 32: 1 line of fifth bits, 4 nibble lines
 *   Q8_0        per 32: d[16] (32)            per 32: 8 lines
 *   MXFP4       per 32: e[16] (16)            per 32: 4 nibble lines
 *   Q2_K        d[16] dmin[16] (64)           16 x 16 scale bytes, 16 lines of 2-bit codes
 *   Q3_K        d[16] (32)                    12 x 16 scale bytes, 8 x {codes, high-bit mask}, 8 lines of codes
 *   Q4_K        d[16] dmin[16] (64)           12 x 16 scale bytes, 32 nibble lines
 *   Q5_K        d[16] dmin[16] (64)           12 x 16 scale bytes, 8 x {nibbles, fifth bits}, 24 nibble lines
 *   Q6_K        d[16] (32)                    16 x 16 scale bytes, 16 x {low nibbles, low nibbles + 32, high bits}
 *   IQ4_XS      d[16] scales_h[16] (64)       4 x 16 scale bytes, 32 nibble lines
 *   F32         -                             a line per element
 *   F16 BF16    -                             32 bytes per element
 *   others      -                             the 16 row blocks one after the other (dequantising path)
 *
 * The head comes first, then the body. A head that is an odd multiple of 32 bytes (Q6_K, Q3_K) leaves the
 * lines of every second chunk across two cache lines. Putting it last there by the address's bit 5 kept all
 * lines aligned and gained nothing: Q6_K from L2, one Zen 4 core at 3.7 GHz, best of six, GB/s: AVX-512 51.9
 * aligned, 51.4 not; four rows 25.1 and 25.0; AVX2 35.0 and 35.5; from DRAM no difference beyond the spread.
 * So a chunk does not depend on its address. (The order of the lines does matter: grouped by kind, Q6_K
 * read 9.9 GB/s instead of 26.8.)
 */
#ifndef MOX_KERNELS_X16_H
#define MOX_KERNELS_X16_H

#include "runtime/core/tensor_types.h"

#include <stddef.h>
#include <stdint.h>

/* Types with a compute layout of their own, and those that stay row after row. */
#define MOX_X16_INTERLEAVED(X)                                                                               \
    X(F32)                                                                                                   \
    X(F16)                                                                                                   \
    X(BF16)                                                                                                  \
    X(Q4_0)                                                                                                  \
    X(Q4_1)                                                                                                  \
    X(Q5_0)                                                                                                  \
    X(Q5_1)                                                                                                  \
    X(Q8_0)                                                                                                  \
    X(Q2_K)                                                                                                  \
    X(Q3_K)                                                                                                  \
    X(Q4_K)                                                                                                  \
    X(Q5_K)                                                                                                  \
    X(Q6_K)                                                                                                  \
    X(IQ4_NL)                                                                                                \
    X(IQ4_XS)                                                                                                \
    X(MXFP4)
#define MOX_X16_ROW_MAJOR(X)                                                                                 \
    X(IQ2_XXS)                                                                                               \
    X(IQ2_XS)                                                                                                \
    X(IQ2_S)                                                                                                 \
    X(IQ3_XXS)                                                                                               \
    X(IQ3_S)                                                                                                 \
    X(IQ1_S)                                                                                                 \
    X(IQ1_M)                                                                                                 \
    X(TQ1_0)                                                                                                 \
    X(TQ2_0)                                                                                                 \
    X(NVFP4)

/* mox_x16_pack_<TYPE>, mox_x16_unpack_<TYPE>: the pair of functions for the format table (formats.h). Neither
 * the chunk nor the rows need any alignment. Threads: any. */
#define X(name)                                                                                              \
    void mox_x16_pack_##name(const uint8_t *const row[16], uint32_t cols, uint8_t *chunk);                   \
    void mox_x16_unpack_##name(const uint8_t *chunk, uint32_t cols, uint8_t *const row[16]);
MOX_X16_INTERLEAVED(X)
MOX_X16_ROW_MAJOR(X)
#undef X

#endif
