/* Tensor element types of GGUF: one table of ids, names and block sizes.
 *
 * The table is the only place that knows how many bytes a block takes. What can be *computed* with a type is
 * kernels/formats.h; what a file may contain is this. Ids are those of the GGUF specification; ids that were
 * removed (4, 5, 31-33, 36-38) are absent, so mox_type_info() answers NULL for them and readers refuse such
 * files.
 */
#ifndef MOX_CORE_TENSOR_TYPES_H
#define MOX_CORE_TENSOR_TYPES_H

#include <stddef.h>
#include <stdint.h>

/* X(NAME, gguf id, elements per block, bytes per block) */
#define MOX_TYPES(X)                                                                                         \
    X(F32, 0, 1, 4)                                                                                          \
    X(F16, 1, 1, 2)                                                                                          \
    X(Q4_0, 2, 32, 18)                                                                                       \
    X(Q4_1, 3, 32, 20)                                                                                       \
    X(Q5_0, 6, 32, 22)                                                                                       \
    X(Q5_1, 7, 32, 24)                                                                                       \
    X(Q8_0, 8, 32, 34)                                                                                       \
    X(Q8_1, 9, 32, 36)                                                                                       \
    X(Q2_K, 10, 256, 84)                                                                                     \
    X(Q3_K, 11, 256, 110)                                                                                    \
    X(Q4_K, 12, 256, 144)                                                                                    \
    X(Q5_K, 13, 256, 176)                                                                                    \
    X(Q6_K, 14, 256, 210)                                                                                    \
    X(Q8_K, 15, 256, 292)                                                                                    \
    X(IQ2_XXS, 16, 256, 66)                                                                                  \
    X(IQ2_XS, 17, 256, 74)                                                                                   \
    X(IQ3_XXS, 18, 256, 98)                                                                                  \
    X(IQ1_S, 19, 256, 50)                                                                                    \
    X(IQ4_NL, 20, 32, 18)                                                                                    \
    X(IQ3_S, 21, 256, 110)                                                                                   \
    X(IQ2_S, 22, 256, 82)                                                                                    \
    X(IQ4_XS, 23, 256, 136)                                                                                  \
    X(I8, 24, 1, 1)                                                                                          \
    X(I16, 25, 1, 2)                                                                                         \
    X(I32, 26, 1, 4)                                                                                         \
    X(I64, 27, 1, 8)                                                                                         \
    X(F64, 28, 1, 8)                                                                                         \
    X(IQ1_M, 29, 256, 56)                                                                                    \
    X(BF16, 30, 1, 2)                                                                                        \
    X(TQ1_0, 34, 256, 54)                                                                                    \
    X(TQ2_0, 35, 256, 66)                                                                                    \
    X(MXFP4, 39, 32, 17)                                                                                     \
    X(NVFP4, 40, 64, 36)

typedef enum mox_type {
#define X(name, id, elems, bytes) MOX_TYPE_##name = id,
    MOX_TYPES(X)
#undef X
        MOX_TYPE_COUNT = 41
} mox_type;

typedef struct mox_type_desc {
    const char *name;     /* "Q4_K" */
    uint32_t block_elems; /* elements per block */
    uint32_t block_bytes; /* bytes per block */
} mox_type_desc;

/* mox_type_info: the row for a type id read from a file.
 * Errors  NULL when the id is unknown or was removed from the format. Threads: any. */
const mox_type_desc *mox_type_info(uint32_t id);

/* mox_type_row_bytes: bytes of a row of n elements; n must be a multiple of the block.
 * Errors  0 when the id is unknown, n is not a multiple, or the product overflows. */
uint64_t mox_type_row_bytes(uint32_t id, uint64_t n);

#endif
