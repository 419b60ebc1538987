/* Layer norm on the GPU: a block per row. Its warps take chunks of 1,024 of either sum, which every thread then adds in
 * order; x - mean stands in y between the two. */
#include "kernels/cuda/common.cuh"

constexpr uint32_t LAYER_NORM_THREADS = 256, LAYER_NORM_WARPS = LAYER_NORM_THREADS / MOX_WARP,
                   MOST_CHUNKS = 64;

template <class A> static __device__ __forceinline__ void chunk_sums(uint32_t d, float *sums, A product)
{
    const uint32_t lane = threadIdx.x % MOX_WARP;
    for (uint32_t c = threadIdx.x / MOX_WARP; c * REDUCE_CHUNK < d; c += LAYER_NORM_WARPS) {
        const uint32_t at = c * REDUCE_CHUNK, left = d - at, n = left < REDUCE_CHUNK ? left : REDUCE_CHUNK;
        const float sum = product(at, n, lane);
        if (lane == 0) {
            sums[c] = sum;
        }
    }
}

static __device__ __forceinline__ float in_order(uint32_t d, const float *sums)
{
    float sum = 0.0f;
    for (uint32_t c = 0; c * REDUCE_CHUNK < d; c++) {
        sum = sum + sums[c];
    }
    return sum;
}

static __global__ void __launch_bounds__(LAYER_NORM_THREADS) k_layer_norm(const mox_layer_norm_args a)
{
    MOX_SHARED(float, plain, [MOST_CHUNKS]);
    MOX_SHARED(float, squares, [MOST_CHUNKS]);
    const float *x = a.x + static_cast<size_t>(blockIdx.x) * a.d;
    float *y = a.y + static_cast<size_t>(blockIdx.x) * a.d;
    chunk_sums(a.d, plain, [=](uint32_t at, uint32_t n, uint32_t lane) {
        return chunk_dot(
            n, lane, [=](uint32_t i) { return x[at + i]; }, [](uint32_t) { return 1.0f; });
    });
    MOX_SYNC(); /* chunks of the plain sum are there */
    const float mean = in_order(a.d, plain) / static_cast<float>(a.d);
    for (uint32_t i = threadIdx.x; i < a.d; i += LAYER_NORM_THREADS) {
        y[i] = x[i] - mean;
    }
    MOX_SYNC(); /* y is there */
    chunk_sums(a.d, squares, [=](uint32_t at, uint32_t n, uint32_t lane) {
        const auto get = [=](uint32_t i) { return y[at + i]; };
        return chunk_dot(n, lane, get, get);
    });
    MOX_SYNC(); /* chunks of the squares are there, and nobody reads others' y any more */
    const float r = 1.0f / sqrtf(in_order(a.d, squares) / static_cast<float>(a.d) + a.eps);
    for (uint32_t i = threadIdx.x; i < a.d; i += LAYER_NORM_THREADS) {
        const float v = y[i] * r * a.w[i];
        y[i] = a.bias != nullptr ? v + a.bias[i] : v;
    }
}

mox_err mox_cuda_layer_norm(const mox_cuda_call *c, const mox_layer_norm_args *a)
{
    if (a->d > MOST_CHUNKS * REDUCE_CHUNK) {
        return MOX_FAIL(MOX_E_ARG, "a norm over %u elements: at most %u", a->d, MOST_CHUNKS * REDUCE_CHUNK);
    }
    MOX_LAUNCH(k_layer_norm, a->n, LAYER_NORM_THREADS, 0, c->stream, *a);
    return launched("layer_norm");
}
