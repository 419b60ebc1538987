/* CUDA launchers of the operations in kernels/ops.h: the same structs, the same bits (docs/numerics.md).
 *
 * Structs, mox_mat and mox_acts themselves are read here, on the host, before the call returns; whatever their
 * pointers point to is device memory (or pinned memory, which a device reads over the link) and is used when the
 * work runs, in `stream`. Nothing is allocated, nothing waits. A value that cannot be rounded or ranked cannot be
 * returned as an error from a queue: the first row that holds one goes to *bad_row (device memory, preset to
 * MOX_CUDA_NO_BAD_ROW by mox_cuda_clear_bad_row), the results stay in bounds, and the caller looks when it next waits.
 *
 * The sources compile twice: with nvcc, and as C++ on the emulator (tests/emu). Errors of all: MOX_E_ARG, a shape or
 * type that has no kernel; MOX_E_DEVICE, the launch was refused. Threads: the step thread.
 */
#ifndef MOX_KERNELS_CUDA_OPS_H
#define MOX_KERNELS_CUDA_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" { /* the headers of C sources do not say so themselves */
#endif

#include "kernels/ops.h"

struct CUstream_st;

#define MOX_CUDA_NO_BAD_ROW 0xffffffffU

typedef struct mox_cuda_call {
    struct CUstream_st *stream; /* a cudaStream_t */
    uint32_t *bad_row;          /* device memory */
} mox_cuda_call;

MOX_NODISCARD mox_err mox_cuda_clear_bad_row(const mox_cuda_call *c);

/* Flags in mapped memory (dev.h). poll: the host's side. */
MOX_NODISCARD mox_err mox_cuda_flag_write(struct CUstream_st *stream, volatile uint32_t *flag,
                                          uint32_t value);
MOX_NODISCARD mox_err mox_cuda_flag_wait(struct CUstream_st *stream, volatile uint32_t *flag, uint32_t value);
uint32_t mox_cuda_flag_poll(volatile uint32_t *flag);

MOX_NODISCARD mox_err mox_cuda_embed(const mox_cuda_call *c, const mox_embed_args *a);
MOX_NODISCARD mox_err mox_cuda_rms_norm(const mox_cuda_call *c, const mox_rms_norm_args *a);
MOX_NODISCARD mox_err mox_cuda_quantize(const mox_cuda_call *c, const mox_quantize_args *a);
MOX_NODISCARD mox_err mox_cuda_mat_mul(const mox_cuda_call *c, const mox_mat_mul_args *a); /* scratch: none */
MOX_NODISCARD mox_err mox_cuda_rope(const mox_cuda_call *c, const mox_rope_args *a);
MOX_NODISCARD mox_err mox_cuda_kv_append(const mox_cuda_call *c, const mox_kv_append_args *a);
MOX_NODISCARD mox_err mox_cuda_attention(const mox_cuda_call *c,
                                         const mox_attention_args *a); /* scratch: none */
/* A row whose scores are not finite gets ids 0 .. k - 1 with weights 0. */
MOX_NODISCARD mox_err mox_cuda_router(const mox_cuda_call *c, const mox_router_args *a);
MOX_NODISCARD mox_err mox_cuda_layer_norm(const mox_cuda_call *c, const mox_layer_norm_args *a);
MOX_NODISCARD mox_err mox_cuda_map(const mox_cuda_call *c, const mox_map_args *a);
MOX_NODISCARD mox_err mox_cuda_gate(const mox_cuda_call *c, const mox_gate_args *a);
MOX_NODISCARD mox_err mox_cuda_head_mul(const mox_cuda_call *c, const mox_head_mul_args *a);
MOX_NODISCARD mox_err mox_cuda_conv(const mox_cuda_call *c, const mox_conv_args *a);
MOX_NODISCARD mox_err mox_cuda_delta_prepare(const mox_cuda_call *c, const mox_delta_prepare_args *a);
MOX_NODISCARD mox_err mox_cuda_delta_rule(const mox_cuda_call *c, const mox_delta_rule_args *a);
MOX_NODISCARD mox_err mox_cuda_part(const mox_cuda_call *c, const mox_part_args *a);
MOX_NODISCARD mox_err mox_cuda_weigh(const mox_cuda_call *c, const mox_weigh_args *a);
MOX_NODISCARD mox_err mox_cuda_ranks(const mox_cuda_call *c, const mox_ranks_args *a);
MOX_NODISCARD mox_err mox_cuda_swiglu(const mox_cuda_call *c, const mox_swiglu_args *a);
MOX_NODISCARD mox_err mox_cuda_merge(const mox_cuda_call *c, const mox_merge_args *a);
MOX_NODISCARD mox_err mox_cuda_add(const mox_cuda_call *c, const mox_add_args *a);

/* Matrices of slots lie as in RAM (mat.h), their parts at the same offsets in every slot. `use` itself is read before the
 * call returns; tok and out_row are device memory. Scratch: mox_experts_device_lay_out. */
MOX_NODISCARD mox_err mox_cuda_experts(const mox_cuda_call *c, const mox_experts_args *a);

/* Whether there are kernels for a type: products, and embedding rows. */
bool mox_cuda_has_type(mox_type type);

#ifdef __cplusplus
}
#endif

#endif
