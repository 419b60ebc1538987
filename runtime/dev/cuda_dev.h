/* Shared by the files of a device module: the device, and CUDA's refusals as errors of moxie. */
#ifndef MOX_RUNTIME_DEV_CUDA_DEV_H
#define MOX_RUNTIME_DEV_CUDA_DEV_H

#include "runtime/dev/module.h"

#include <cuda_runtime_api.h>

typedef struct cuda_dev {
    mox_dev base; /* first: a mox_dev * is a cuda_dev * */
    int id;
    uint64_t vram_limit, vram_used; /* bytes */
    bool told_pageable;             /* that host memory is not pinned */
    const mox_log *log;
} cuda_dev;

struct mox_stream {
    mox_dev *dev;
    cudaStream_t stream;
};

/* mox_cuda_refused: CUDA's answer `e` to `call` as a record: device, call, what it was for, why, what would help. */
mox_err mox_cuda_refused(int device, cudaError_t e, const char *call, const char *fmt, ...) MOX_PRINTF(4, 5);

/* CUDA_TRY(device, call, "what for", ...) returns the error of a CUDA call that fails. */
#define CUDA_TRY(device, call, ...)                                                                          \
    do {                                                                                                     \
        const cudaError_t cuda_e = (call);                                                                   \
        if (cuda_e != cudaSuccess) {                                                                         \
            return mox_cuda_refused(device, cuda_e, #call, __VA_ARGS__);                                     \
        }                                                                                                    \
    } while (0)

MOX_NODISCARD mox_err mox_cuda_dev_create(mox_dev **out, uint32_t id, const mox_dev_open_cfg *cfg);
/* cuda_ops.c */
MOX_NODISCARD mox_err mox_cuda_ops_create(mox_ops **out, mox_dev *dev);

/* The two kinds of module differ here alone (backend_cuda.c, backend_emu.c). */
extern const char mox_backend_name[];
MOX_NODISCARD mox_err mox_backend_start(const mox_dev_spec *spec);

#endif
