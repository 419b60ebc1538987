/* Kernels that do one thing as fast as the device can (ceilings.h): read its memory, multiply bytes, nothing. */
#include "bench/gpu/ceilings.h"

#include "kernels/cuda/port.h"

namespace
{
constexpr unsigned THREADS = 256, UNROLLED = 4;

__global__ void __launch_bounds__(256) k_read(const uint4 *p, size_t n, uint32_t *out)
{
    const size_t stride = static_cast<size_t>(gridDim.x) * THREADS;
    uint32_t sum = 0;
    for (size_t i = static_cast<size_t>(blockIdx.x) * THREADS + threadIdx.x; i < n; i += stride * UNROLLED) {
        MOX_UNROLL
        for (unsigned k = 0; k < UNROLLED; k++) {
            if (i + k * stride < n) {
                const uint4 v = p[i + k * stride];
                sum += v.x ^ v.y ^ v.z ^ v.w;
            }
        }
    }
    out[blockIdx.x * THREADS + threadIdx.x] = sum;
}

__global__ void __launch_bounds__(256) k_dp4a(unsigned rounds, uint32_t *out)
{
    constexpr int CHAINS = 8;
    int sum[CHAINS];
    MOX_UNROLL
    for (int c = 0; c < CHAINS; c++) {
        sum[c] = static_cast<int>(threadIdx.x) + c;
    }
    for (unsigned r = 0; r < rounds; r++) {
        MOX_UNROLL
        for (int c = 0; c < CHAINS; c++) {
            sum[c] = __dp4a(sum[c], 0x01020304, sum[c]);
        }
    }
    int all = 0;
    MOX_UNROLL
    for (int c = 0; c < CHAINS; c++) {
        all += sum[c];
    }
    out[blockIdx.x * THREADS + threadIdx.x] = static_cast<uint32_t>(all);
}

__global__ void __launch_bounds__(32) k_empty(uint32_t *out)
{
    if (out != nullptr) { /* never */
        *out = 0;
    }
}
} // namespace

extern "C" cudaError_t ceilings_read(const void *p, size_t bytes, unsigned blocks, uint32_t *out,
                                     cudaStream_t stream)
{
    MOX_LAUNCH(k_read, blocks, THREADS, 0, stream, static_cast<const uint4 *>(p), bytes / sizeof(uint4), out);
    return cudaGetLastError();
}

extern "C" cudaError_t ceilings_dp4a(unsigned rounds, unsigned blocks, uint32_t *out, cudaStream_t stream)
{
    MOX_LAUNCH(k_dp4a, blocks, THREADS, 0, stream, rounds, out);
    return cudaGetLastError();
}

extern "C" cudaError_t ceilings_empty(cudaStream_t stream)
{
    MOX_LAUNCH(k_empty, 1, 32, 0, stream, static_cast<uint32_t *>(nullptr));
    return cudaGetLastError();
}
