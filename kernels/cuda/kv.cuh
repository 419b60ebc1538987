/* The stored forms of keys and values on the GPU (kernels/kv.c has the picture). One struct per form: elements. */
#ifndef MOX_KERNELS_CUDA_KV_CUH
#define MOX_KERNELS_CUDA_KV_CUH

#include "kernels/cuda/common.cuh"

struct kv_f16 {
    static __device__ __forceinline__ float at(const uint8_t *row, uint32_t head_dim, uint32_t i)
    {
        (void)head_dim;
        return load_f16(row + 2 * i);
    }
};

struct kv_q8_0 {
    static __device__ __forceinline__ float at(const uint8_t *row, uint32_t head_dim, uint32_t i)
    {
        return static_cast<float>(load<int8_t>(row + i)) * load_f16(row + head_dim + 2 * (i / 32));
    }
};

struct kv_f32 {
    static __device__ __forceinline__ float at(const uint8_t *row, uint32_t head_dim, uint32_t i)
    {
        (void)head_dim;
        return load<float>(row + 4 * i);
    }
};

#endif
