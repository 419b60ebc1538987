/* What stands between the large operations, on the GPU: functions of elements (map), the share of a shared expert (gate),
 * parts of rows, rows times weights, the weights of a merge. A thread per element; gate takes a warp per row. */
#include "kernels/cuda/common.cuh"

constexpr uint32_t BETWEEN_THREADS = 256, BETWEEN_WARPS = BETWEEN_THREADS / MOX_WARP;

static __device__ __forceinline__ size_t element(void)
{
    return static_cast<size_t>(blockIdx.x) * BETWEEN_THREADS + threadIdx.x;
}

static __device__ float mapped(const mox_map_args &a, float x, size_t i)
{
    switch (a.kind) {
    case MOX_MAP_SCALE:
        return x * a.a;
    case MOX_MAP_CLAMP: /* a NaN stays */
        return x > a.a ? a.a : x < -a.a ? -a.a : x;
    case MOX_MAP_SOFTCAP:
        return a.a * mox_tanhf(x / a.a);
    case MOX_MAP_ROWS:
        return x * a.by[i / a.d];
    default:
        return x * mox_sigmoidf(a.by[i]);
    }
}

static __global__ void __launch_bounds__(BETWEEN_THREADS) k_map(const mox_map_args a)
{
    const size_t i = element();
    if (i < static_cast<size_t>(a.n) * a.d) {
        a.x[i] = mapped(a, a.x[i], i);
    }
}

static __global__ void __launch_bounds__(BETWEEN_THREADS) k_gate(const mox_gate_args a)
{
    const uint32_t row = blockIdx.x * BETWEEN_WARPS + threadIdx.x / MOX_WARP, lane = threadIdx.x % MOX_WARP;
    if (row >= a.n) {
        return; /* a whole warp */
    }
    const float *x = a.x + static_cast<size_t>(row) * a.d, *w = a.w;
    const float sum = warp_dot(
        a.d, lane, [=](uint32_t i) { return w[i]; }, [=](uint32_t i) { return x[i]; });
    if (lane == 0) {
        a.y[row * a.y_stride] = mox_sigmoidf(sum);
    }
}

static __global__ void __launch_bounds__(BETWEEN_THREADS) k_part(const mox_part_args a)
{
    const size_t i = element();
    if (i < static_cast<size_t>(a.n) * a.len) {
        a.y[i] = a.x[i / a.len * a.from + a.at + i % a.len];
    }
}

static __global__ void __launch_bounds__(BETWEEN_THREADS) k_weigh(const mox_weigh_args a)
{
    const size_t i = element();
    if (i < static_cast<size_t>(a.n) * a.k * a.d) {
        const size_t use = i / a.d;
        a.y[i] = a.x[use / a.k * a.d + i % a.d] * a.weights[use];
    }
}

static __global__ void __launch_bounds__(BETWEEN_THREADS) k_ranks(const mox_ranks_args a)
{
    const size_t i = element();
    if (i >= static_cast<size_t>(a.n) * a.ranks) {
        return;
    }
    const size_t row = i / a.ranks, r = i % a.ranks;
    float w = 1.0f;
    if (r < a.k) {
        w = a.weights != nullptr ? a.weights[row * a.k + r] : 1.0f;
    } else if (!a.last_is_one) {
        w = a.y[i];
    }
    a.y[i] = a.scale != 1.0f ? w * a.scale : w;
}

mox_err mox_cuda_map(const mox_cuda_call *c, const mox_map_args *a)
{
    MOX_LAUNCH(k_map, div_up(static_cast<uint64_t>(a->n) * a->d, BETWEEN_THREADS), BETWEEN_THREADS, 0,
               c->stream, *a);
    return launched("map");
}

mox_err mox_cuda_gate(const mox_cuda_call *c, const mox_gate_args *a)
{
    MOX_LAUNCH(k_gate, div_up(a->n, BETWEEN_WARPS), BETWEEN_THREADS, 0, c->stream, *a);
    return launched("gate");
}

mox_err mox_cuda_part(const mox_cuda_call *c, const mox_part_args *a)
{
    MOX_LAUNCH(k_part, div_up(static_cast<uint64_t>(a->n) * a->len, BETWEEN_THREADS), BETWEEN_THREADS, 0,
               c->stream, *a);
    return launched("part");
}

mox_err mox_cuda_weigh(const mox_cuda_call *c, const mox_weigh_args *a)
{
    MOX_LAUNCH(k_weigh, div_up(static_cast<uint64_t>(a->n) * a->k * a->d, BETWEEN_THREADS), BETWEEN_THREADS,
               0, c->stream, *a);
    return launched("weigh");
}

mox_err mox_cuda_ranks(const mox_cuda_call *c, const mox_ranks_args *a)
{
    MOX_LAUNCH(k_ranks, div_up(static_cast<uint64_t>(a->n) * a->ranks, BETWEEN_THREADS), BETWEEN_THREADS, 0,
               c->stream, *a);
    return launched("ranks");
}
