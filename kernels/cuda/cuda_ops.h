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
MOX_NODISCARD mox_err mox_cuda_swiglu(const mox_cuda_call *c, const mox_swiglu_args *a);
MOX_NODISCARD mox_err mox_cuda_merge(const mox_cuda_call *c, const mox_merge_args *a);
MOX_NODISCARD mox_err mox_cuda_add(const mox_cuda_call *c, const mox_add_args *a);

/* Experts. Their slots hold the bytes of RAM slots (mat.h), so one layout serves all of a call. */
typedef struct mox_cuda_use {
    const uint8_t *slot;
    uint32_t first, n; /* its rows: tok[first .. first + n) */
} mox_cuda_use;

typedef struct mox_cuda_experts_args { /* e[out_row[j]] = down(silu(gate x[tok[j]]) * (up x[tok[j]])) */
    const mox_expert_layout *layout;
    const mox_cuda_use *use;            /* [n_uses], device memory; their rows are 0 .. n_rows without gaps */
    uint32_t n_uses, n_rows, most_rows; /* most_rows: of one use, at most */
    const mox_acts *x;                  /* [MOX_ACT_KINDS]; the kinds of gate and up are present */
    const uint32_t *tok, *out_row;      /* [n_rows], device memory */
    float *e;                           /* [..][d_model] */
    void *scratch;                      /* mox_cuda_experts_scratch_bytes, device memory */
} mox_cuda_experts_args;

size_t mox_cuda_experts_scratch_bytes(const mox_expert_layout *l, uint32_t n_rows);
MOX_NODISCARD mox_err mox_cuda_experts(const mox_cuda_call *c, const mox_cuda_experts_args *a);

/* Whether there are kernels for a type: products, and embedding rows. */
bool mox_cuda_has_type(mox_type type);

#ifdef __cplusplus
}
#endif

#endif
