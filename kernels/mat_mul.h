/* Products with weights in the compute layout on the CPU: matrix times rows, a whole expert, embedding rows.
 *
 * Called by the CPU's table of operations (cpu_ops.c). The work is cut by row groups over the pool; whatever
 * the cut, the batch or the instruction set, every output has the same bits (docs/numerics.md).
 */
#ifndef MOX_KERNELS_MAT_MUL_H
#define MOX_KERNELS_MAT_MUL_H

#include "kernels/ops.h"

/* mox_mat_mul_cpu: y[i] = W x[i] (+ bias). x.kind is the kind of W's type, or MOX_ACT_F32 for any type (then
 * the weights are dequantised: --act f32). Errors MOX_E_ARG: kinds do not match. */
MOX_NODISCARD mox_err mox_mat_mul_cpu(mox_pool *pool, mox_isa isa, const mox_mat_mul_args *a);

/* mox_mat_muls_cpu: several of these; those of few rows are dealt out together, so that workers wait once. */
MOX_NODISCARD mox_err mox_mat_muls_cpu(mox_pool *pool, mox_isa isa, const mox_mat_muls_args *a);

/* mox_experts_cpu: gate, up, silu, rounding of h, down, for the rows of several experts; merge. Errors
 * MOX_E_NUMERIC: h is not finite. */
MOX_NODISCARD mox_err mox_experts_cpu(mox_pool *pool, mox_isa isa, const mox_experts_args *a);

/* between.c: on the calling thread */
MOX_NODISCARD mox_err mox_part_cpu(const mox_part_args *a);
MOX_NODISCARD mox_err mox_weigh_cpu(const mox_weigh_args *a);
MOX_NODISCARD mox_err mox_ranks_cpu(const mox_ranks_args *a);

/* mox_head_mul_cpu: head by head, each with a matrix of its own; sums as in mox_mat_mul_cpu. */
MOX_NODISCARD mox_err mox_head_mul_cpu(mox_pool *pool, mox_isa isa, const mox_head_mul_args *a);

/* mox_embed_cpu: rows of W as floats. Ids are below W's rows (the caller has checked the tokens). */
MOX_NODISCARD mox_err mox_embed_cpu(mox_pool *pool, mox_isa isa, const mox_embed_args *a);

/* mox_mat_self_check: three tiny products per kernel of this ISA against the plain-C twin.
 * Errors MOX_E_ISA: this machine computes differently (the message names type and ISA). */
MOX_NODISCARD mox_err mox_mat_self_check(mox_isa isa);

#endif
