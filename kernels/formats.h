/* What can be computed with each tensor type: one row per type, looked up at load, never switched over.
 *
 * `kind` says how activations meet the weights (numerics contract): int8 with one scale per 256, int8 with
 * one scale per 32, or float. Types without integer kernels (IQ1..IQ3, TQ, NVFP4) are dequantised block by
 * block and use float activations. Adding a format = one row here, its pack/unpack in x16_<name>.c, its test.
 */
#ifndef MOX_KERNELS_FORMATS_H
#define MOX_KERNELS_FORMATS_H

#include "runtime/core/err.h"
#include "runtime/core/tensor_types.h"

typedef enum mox_act_kind {
    MOX_ACT_F32, /* float activations (F32, F16, BF16 and dequantised types; every type under --act f32) */
    MOX_ACT_K,   /* int8, one scale per 256, sums per 16 (K-quants, IQ4_XS) */
    MOX_ACT_B32, /* int8, one scale and one sum per 32 (Q4_0 .. Q8_0, IQ4_NL, MXFP4) */
    MOX_ACT_KINDS
} mox_act_kind;

typedef struct mox_format {
    mox_type type;
    mox_act_kind kind;
    /* Dequantise n elements (a multiple of the block) from GGUF bytes: ggml's order of multiplication. */
    void (*dequant)(const uint8_t *src, float *dst, uint64_t n);
    /* The x16 layout (x16.h): 16 rows of one 256-column block between GGUF row order and chunk order.
     * cols is 256, or a shorter multiple of the type's block for the last block of a row. */
    void (*pack)(const uint8_t *const row[16], uint32_t cols, uint8_t *chunk);
    void (*unpack)(const uint8_t *chunk, uint32_t cols, uint8_t *const row[16]);
} mox_format;

/* mox_format_of: the row of a type, or NULL if moxie cannot compute with it. Threads: any. */
const mox_format *mox_format_of(uint32_t type);

#endif
