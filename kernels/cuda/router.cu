/* Router on the GPU: a block per row. Warps score experts; the first warp makes probabilities (the reduction of up to
 * 1,024 is one chunk, so its 32 lanes are the warp's), and picks the k largest one after the other, equal ones by
 * lower id. Other rules than Mixtral's: router_rule.cu. */
#include "kernels/cuda/router.cuh"

static __device__ void choose(const router_params &p, float *s, uint32_t lane)
{
    uint32_t *ids = p.ids + static_cast<size_t>(blockIdx.x) * p.k;
    float *weights = p.weights + static_cast<size_t>(blockIdx.x) * p.k;
    const uint32_t first = best_warp(s, p.n_experts, lane);
    const float most = s[first];
    __syncwarp(); /* everybody has read it */
    const float sum = softmax_warp(s, p.n_experts, most, lane);
    for (uint32_t e = lane; e < p.n_experts; e += MOX_WARP) {
        s[e] = s[e] / sum;
    }
    __syncwarp();
    float chosen = 0.0f;
    for (uint32_t r = 0; r < p.k; r++) {
        const uint32_t id = best_warp(s, p.n_experts, lane);
        chosen = chosen + s[id];
        __syncwarp(); /* everybody has read it */
        if (lane == 0) {
            ids[r] = id;
            weights[r] = s[id];
            s[id] = -1.0f; /* below every probability */
        }
        __syncwarp();
    }
    for (uint32_t r = lane; r < p.k; r += MOX_WARP) {
        weights[r] = weights[r] / chosen;
    }
}

static __global__ void __launch_bounds__(ROUTER_THREADS) k_router(const router_params p)
{
    MOX_SHARED(float, s, [MAX_EXPERTS]);
    const uint32_t lane = threadIdx.x % MOX_WARP;
    score_experts(p, s);
    MOX_SYNC();
    if (threadIdx.x >= MOX_WARP) {
        return;
    }
    if (all_finite(s, p.n_experts, lane)) {
        choose(p, s, lane);
    } else {
        refuse_row(p, lane);
    }
}

mox_err mox_cuda_router(const mox_cuda_call *c, const mox_router_args *a)
{
    if (a->n_experts == 0 || a->n_experts > MAX_EXPERTS || a->k == 0 || a->k > a->n_experts) {
        return MOX_FAIL(MOX_E_ARG, "%u of %u experts: at most %u can be ranked", a->k, a->n_experts,
                        MAX_EXPERTS);
    }
    router_params p = {a->x,       a->w,       a->d, a->n_experts, a->k,          a->ids,
                       a->weights, c->bad_row, {},   a->bias,      a->select_bias};
    if (a->rule != nullptr) {
        p.rule = *a->rule;
        return router_launch_rule(p, a->n, c->stream);
    }
    if (a->bias != nullptr || a->select_bias != nullptr) {
        return MOX_FAIL(MOX_E_ARG, "a router's bias without a rule");
    }
    MOX_LAUNCH(k_router, a->n, ROUTER_THREADS, 0, c->stream, p);
    return launched("router");
}
