/* RMS norm on the GPU: a block per row; its warps take chunks of 1,024 of the sum of squares, which are then added in
 * order by every thread, so that nobody waits a second time. */
#include "kernels/cuda/common.cuh"

constexpr uint32_t NORM_THREADS = 256, NORM_WARPS = NORM_THREADS / MOX_WARP, MAX_CHUNKS = 64;

static __global__ void __launch_bounds__(NORM_THREADS)
    k_rms_norm(const float *x, const float *w, float *y, uint32_t d, float eps)
{
    MOX_SHARED(float, chunk_sum, [MAX_CHUNKS]);
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const size_t row = static_cast<size_t>(blockIdx.x) * d;
    const uint32_t n_chunks = (d + REDUCE_CHUNK - 1) / REDUCE_CHUNK;
    for (uint32_t c = threadIdx.x / MOX_WARP; c < n_chunks; c += NORM_WARPS) {
        const float *from = x + row + c * REDUCE_CHUNK;
        const uint32_t left = d - c * REDUCE_CHUNK, n = left < REDUCE_CHUNK ? left : REDUCE_CHUNK;
        const auto at = [=](uint32_t i) { return from[i]; };
        const float sum = chunk_dot(n, lane, at, at);
        if (lane == 0) {
            chunk_sum[c] = sum;
        }
    }
    MOX_SYNC();
    float sum = 0.0f;
    for (uint32_t c = 0; c < n_chunks; c++) {
        sum = sum + chunk_sum[c];
    }
    const float r = 1.0f / sqrtf(sum / static_cast<float>(d) + eps);
    for (uint32_t i = threadIdx.x; i < d; i += NORM_THREADS) {
        const float v = x[row + i] * r;
        y[row + i] = w != nullptr ? v * w[i] : v;
    }
}

mox_err mox_cuda_rms_norm(const mox_cuda_call *c, const mox_rms_norm_args *a)
{
    if (a->d > MAX_CHUNKS * REDUCE_CHUNK) {
        return MOX_FAIL(MOX_E_ARG, "a norm over %u elements: at most %u", a->d, MAX_CHUNKS * REDUCE_CHUNK);
    }
    MOX_LAUNCH(k_rms_norm, a->n, NORM_THREADS, 0, c->stream, a->x, a->w, a->y, a->d, a->eps);
    return launched("rms_norm");
}
