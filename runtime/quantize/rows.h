/* From float rows to the blocks of a GGUF type: one row of the table per format.
 *
 * Which blocks a type has is fixed (kernels/formats.h reads them); how well they stand for the weights is decided here, by
 * the search for scales (search.h). A row's bytes depend on its values alone: no state, no threads, no function of a
 * mathematics library, one written order of operations, so that every machine writes the same file.
 * Adding a format: its function in rows_<kind>.c, a line in the table of rows.c; tests/quantize walks the table.
 */
#ifndef MOX_RUNTIME_QUANTIZE_ROWS_H
#define MOX_RUNTIME_QUANTIZE_ROWS_H

#include "runtime/core/tensor_types.h"

/* n elements, a multiple of the type's block, all finite; dst: mox_type_row_bytes(type, n). */
typedef void mox_quantize_row(const float *x, uint8_t *dst, uint64_t n);

/* mox_quantizer_of: the function of a type, NULL if moxie does not write it. Threads: any. */
mox_quantize_row *mox_quantizer_of(uint32_t type);

mox_quantize_row mox_quantize_f16, mox_quantize_bf16; /* rows_float.c */
mox_quantize_row mox_quantize_q4_0, mox_quantize_q4_1, mox_quantize_q5_0, mox_quantize_q5_1,
    mox_quantize_q8_0; /* rows_32.c */
mox_quantize_row mox_quantize_q2_k, mox_quantize_q3_k, mox_quantize_q4_k, mox_quantize_q5_k,
    mox_quantize_q6_k;                                                         /* rows_k.c */
mox_quantize_row mox_quantize_iq4_nl, mox_quantize_iq4_xs, mox_quantize_mxfp4; /* rows_book.c */

#endif
