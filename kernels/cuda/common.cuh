/* What several kernels share: the reduction of docs/numerics.md section 6 by a warp, loads, launch results. */
#ifndef MOX_KERNELS_CUDA_COMMON_CUH
#define MOX_KERNELS_CUDA_COMMON_CUH

#include "kernels/cuda/cuda_ops.h"
#include "kernels/cuda/port.h"
#include "kernels/fmath.h"
#include "kernels/half.h"

constexpr uint32_t REDUCE_CHUNK = 1024;

/* Lane l with l xor 16, 8, 4, 2, 1: every lane ends with the sum. */
static __device__ __forceinline__ float warp_sum(float v)
{
    MOX_UNROLL
    for (uint32_t distance = MOX_WARP / 2; distance != 0; distance /= 2) {
        v = v + __shfl_xor_sync(MOX_ALL_LANES, v, distance);
    }
    return v;
}

/* The largest; a NaN is passed over. */
template <class T> static __device__ __forceinline__ T warp_max(T v)
{
    MOX_UNROLL
    for (uint32_t distance = MOX_WARP / 2; distance != 0; distance /= 2) {
        const T other = __shfl_xor_sync(MOX_ALL_LANES, v, distance);
        v = other > v ? other : v;
    }
    return v;
}

/* One chunk's sum of a[i] * b[i], n <= REDUCE_CHUNK. A and B: functions of the index. */
template <class A, class B>
static __device__ __forceinline__ float chunk_dot(uint32_t n, uint32_t lane, A a, B b)
{
    float sum = 0.0f;
    for (uint32_t i = lane; i < n; i += MOX_WARP) {
        sum = mox_fmaf(a(i), b(i), sum);
    }
    return warp_sum(sum);
}

/* The whole reduction by one warp. */
template <class A, class B>
static __device__ __forceinline__ float warp_dot(uint32_t n, uint32_t lane, A a, B b)
{
    float sum = 0.0f;
    for (uint32_t c = 0; c < n; c += REDUCE_CHUNK) {
        const uint32_t len = n - c < REDUCE_CHUNK ? n - c : REDUCE_CHUNK;
        sum =
            sum + chunk_dot(
                      len, lane, [&](uint32_t i) { return a(c + i); }, [&](uint32_t i) { return b(c + i); });
    }
    return sum;
}

template <class T> static __device__ __forceinline__ T load(const void *p)
{
    return __ldg(static_cast<const T *>(p));
}

static __device__ __forceinline__ float load_f16(const void *p)
{
    return mox_f16_to_f32(load<uint16_t>(p));
}

static inline uint32_t div_up(uint64_t a, uint32_t b)
{
    return static_cast<uint32_t>((a + b - 1) / b);
}

static inline mox_err launched(const char *what)
{
    const cudaError_t e = cudaGetLastError();
    if (e == cudaSuccess) {
        return MOX_OK;
    }
    (void)MOX_FAIL(MOX_E_DEVICE, "%s was not launched: %s (%d)", what, cudaGetErrorString(e),
                   static_cast<int>(e));
    return mox_err_fix("--device cpu; the driver's log (dmesg) may say more");
}

#endif
