/* Flags in mapped host memory: the GPU writes one behind what it has written, or waits until the host has written one.
 * Neither side synchronises. What lies in mapped memory before a flag is there when the flag is. */
#include "kernels/cuda/common.cuh"

static __global__ void __launch_bounds__(1) k_flag_write(volatile uint32_t *flag, uint32_t value)
{
#ifdef __CUDA_ARCH__
    __threadfence_system();
#endif
    *flag = value;
}

#ifdef __CUDACC__
static __global__ void __launch_bounds__(1) k_flag_wait(const volatile uint32_t *flag, uint32_t value)
{
    while (*flag != value) {
    }
#ifdef __CUDA_ARCH__
    __threadfence_system();
#endif
}
#endif

mox_err mox_cuda_flag_write(struct CUstream_st *stream, volatile uint32_t *flag, uint32_t value)
{
    MOX_LAUNCH(k_flag_write, 1, 1, 0, stream, flag, value);
    return launched("flag_write");
}

mox_err mox_cuda_flag_wait(struct CUstream_st *stream, volatile uint32_t *flag, uint32_t value)
{
    MOX_WAIT_VALUE(k_flag_wait, stream, flag, value);
    return launched("flag_wait");
}

uint32_t mox_cuda_flag_poll(volatile uint32_t *flag)
{
    MOX_POLL();
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}
