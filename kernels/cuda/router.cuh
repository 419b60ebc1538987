/* What both routers share: scores by all warps of a block, a softmax and a choice by one warp. */
#ifndef MOX_KERNELS_CUDA_ROUTER_CUH
#define MOX_KERNELS_CUDA_ROUTER_CUH

#include "kernels/cuda/common.cuh"

constexpr uint32_t ROUTER_THREADS = 256, ROUTER_WARPS = ROUTER_THREADS / MOX_WARP, MAX_EXPERTS = REDUCE_CHUNK;

struct router_params {
    const float *x, *w;
    uint32_t d, n_experts, k;
    uint32_t *ids;
    float *weights;
    uint32_t *bad_row;
    mox_router_rule rule;
    const float *bias, *select_bias;
};

/* The row's scores, by the warps of the block. */
static __device__ __forceinline__ void score_experts(const router_params &p, float *s)
{
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const float *x = p.x + static_cast<size_t>(blockIdx.x) * p.d;
    for (uint32_t e = threadIdx.x / MOX_WARP; e < p.n_experts; e += ROUTER_WARPS) {
        const float *w = p.w + static_cast<size_t>(e) * p.d;
        const float score = warp_dot(
            p.d, lane, [=](uint32_t i) { return w[i]; }, [=](uint32_t i) { return x[i]; });
        if (lane == 0) {
            s[e] = score;
        }
    }
}

/* s[i] = exp(s[i] - m), n <= REDUCE_CHUNK; returns the sum. Every lane touches its own alone. */
static __device__ __forceinline__ float softmax_warp(float *s, uint32_t n, float m, uint32_t lane)
{
    float sum = 0.0f;
    for (uint32_t e = lane; e < n; e += MOX_WARP) {
        s[e] = mox_expf(s[e] - m);
        sum = sum + s[e];
    }
    return 0.0f + warp_sum(sum);
}

/* The largest, the lower index among equals; every lane gets it. */
static __device__ __forceinline__ uint32_t best_warp(const float *s, uint32_t n, uint32_t lane)
{
    float best = -INFINITY;
    uint32_t id = lane < n ? lane : 0xffffffffU;
    for (uint32_t e = lane; e < n; e += MOX_WARP) {
        if (s[e] > best) {
            best = s[e];
            id = e;
        }
    }
    MOX_UNROLL
    for (uint32_t distance = MOX_WARP / 2; distance != 0; distance /= 2) {
        const float other = __shfl_xor_sync(MOX_ALL_LANES, best, distance);
        const uint32_t other_id = __shfl_xor_sync(MOX_ALL_LANES, id, distance);
        if (other > best || (other == best && other_id < id)) {
            best = other;
            id = other_id;
        }
    }
    return id;
}

static __device__ __forceinline__ bool all_finite(const float *s, uint32_t n, uint32_t lane)
{
    bool finite = true;
    for (uint32_t e = lane; e < n; e += MOX_WARP) {
        finite = finite && (mox_f32_bits(s[e]) & 0x7fffffffU) < 0x7f800000U;
    }
    return __ballot_sync(MOX_ALL_LANES, finite) == MOX_ALL_LANES;
}

/* Of a row that cannot be ranked: ids in bounds, and its number. */
static __device__ __forceinline__ void refuse_row(const router_params &p, uint32_t lane)
{
    if (lane == 0) {
        atomicMin(p.bad_row, blockIdx.x);
    }
    for (uint32_t r = lane; r < p.k; r += MOX_WARP) {
        p.ids[static_cast<size_t>(blockIdx.x) * p.k + r] = r;
        p.weights[static_cast<size_t>(blockIdx.x) * p.k + r] = 0.0f;
    }
}

/* router_rule.cu: every rule but Mixtral's */
mox_err router_launch_rule(const router_params &p, uint32_t n, struct CUstream_st *stream);

#endif
