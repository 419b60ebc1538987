/* Routers other than Mixtral's on the GPU (kernels/router_rule.c is the twin): a block per row; warps score experts, then
 * the first warp makes selection values, limits groups, chooses and finishes the weights, all in shared memory. */
#include "kernels/cuda/router.cuh"

#include <float.h>

constexpr float MIXER_RANGE = 0.02f, LEAST_SUM = 1.0e-20f;

struct router_room { /* shared memory of a row */
    float *s, *value, *near, *weights;
};

/* The score of the n values of a group: the best, or the sum of the two best. */
static __device__ float group_score(const float *value, uint32_t n, bool by_best)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t e = 0; e < n; e++) {
        if (value[e] > first) {
            second = first;
            first = value[e];
        } else if (value[e] > second) {
            second = value[e];
        }
    }
    return by_best || n == 1 ? first : first + second;
}

/* Experts of other groups than the best: below every value that can be chosen. A chosen group's score becomes NaN, which
 * no comparison takes for the best again. */
static __device__ void limit_groups(const router_params &p, const router_room &m, uint32_t lane)
{
    const uint32_t n_groups = p.rule.n_groups, each = p.n_experts / n_groups;
    float *score = m.near;
    for (uint32_t g = lane; g < n_groups; g += MOX_WARP) {
        score[g] = group_score(m.value + g * each, each, p.rule.gating == MOX_GATING_SOFTMAX);
    }
    __syncwarp();
    for (uint32_t i = 0; i < p.rule.n_groups_used; i++) {
        const uint32_t g = best_warp(score, n_groups, lane);
        __syncwarp(); /* everybody has looked */
        if (lane == 0) {
            score[g] = NAN;
        }
        __syncwarp();
    }
    for (uint32_t e = lane; e < p.n_experts; e += MOX_WARP) {
        const float of = e / each < n_groups ? score[e / each] : 0.0f;
        m.value[e] = of != of ? m.value[e] : -FLT_MAX;
    }
    __syncwarp();
}

/* One expert's weight in the sparse mixer: softmax over the scores near the largest of those left. */
static __device__ float mixer_weight(const router_params &p, const router_room &m, uint32_t best,
                                     uint32_t lane)
{
    const float most = m.value[best];
    for (uint32_t e = lane; e < p.n_experts; e += MOX_WARP) {
        const float mag = m.s[e] < 0.0f ? -m.s[e] : m.s[e];
        const float far = (most - m.s[e]) / (mag < most ? most : mag);
        m.near[e] = far > MIXER_RANGE ? -INFINITY : m.value[e];
    }
    const float sum = softmax_warp(m.near, p.n_experts, most, lane);
    __syncwarp();
    return m.near[best] / sum;
}

/* Scores to what weights are made of, and to what is compared. */
static __device__ void probabilities(const router_params &p, const router_room &m, uint32_t lane)
{
    if (p.rule.gating == MOX_GATING_SOFTMAX) {
        const float most = m.s[best_warp(m.s, p.n_experts, lane)];
        __syncwarp(); /* everybody has read it */
        const float sum = softmax_warp(m.s, p.n_experts, most, lane);
        for (uint32_t e = lane; e < p.n_experts; e += MOX_WARP) {
            m.s[e] = m.s[e] / sum;
        }
    } else if (p.rule.gating == MOX_GATING_SIGMOID) {
        for (uint32_t e = lane; e < p.n_experts; e += MOX_WARP) {
            m.s[e] = mox_sigmoidf(m.s[e]);
        }
    }
    for (uint32_t e = lane; e < p.n_experts; e += MOX_WARP) {
        m.value[e] = p.select_bias != nullptr ? m.s[e] + p.select_bias[e] : m.s[e];
    }
    __syncwarp();
}

static __device__ void choose(const router_params &p, const router_room &m, uint32_t lane)
{
    for (uint32_t r = 0; r < p.k; r++) {
        const uint32_t best = best_warp(m.value, p.n_experts, lane);
        const float w = p.rule.gating == MOX_GATING_SPARSE_MIXER ? mixer_weight(p, m, best, lane) : m.s[best];
        __syncwarp(); /* nobody reads the value any more */
        if (lane == 0) {
            p.ids[static_cast<size_t>(blockIdx.x) * p.k + r] = best;
            m.weights[r] = w;
            m.value[best] = -INFINITY;
        }
        __syncwarp();
    }
}

static __device__ void finish_weights(const router_params &p, const router_room &m, uint32_t lane)
{
    const mox_router_rule &rule = p.rule;
    float by = 1.0f; /* x / 1 is x */
    if (rule.gating == MOX_GATING_SIGMOID_TOP) {
        for (uint32_t r = lane; r < p.k; r += MOX_WARP) {
            m.weights[r] = mox_sigmoidf(m.weights[r]);
        }
    } else if (rule.gating == MOX_GATING_SOFTMAX_TOP) {
        const float first = m.weights[0];
        __syncwarp(); /* everybody has read it */
        by = softmax_warp(m.weights, p.k, first, lane);
    } else if (!rule.not_normalised && rule.gating != MOX_GATING_SPARSE_MIXER) {
        float sum = 0.0f;
        for (uint32_t r = 0; r < p.k; r++) {
            sum = sum + m.weights[r];
        }
        by = sum < LEAST_SUM ? LEAST_SUM : sum;
    }
    for (uint32_t r = lane; r < p.k; r += MOX_WARP) {
        const float w = m.weights[r] / by;
        p.weights[static_cast<size_t>(blockIdx.x) * p.k + r] = rule.scale != 0.0f ? w * rule.scale : w;
    }
}

static __global__ void __launch_bounds__(ROUTER_THREADS) k_router_rule(const router_params p)
{
    MOX_SHARED(float, s, [MAX_EXPERTS]);
    MOX_SHARED(float, value, [MAX_EXPERTS]);
    MOX_SHARED(float, near, [MAX_EXPERTS]);
    MOX_SHARED(float, weights, [MAX_EXPERTS]);
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const router_room room = {s, value, near, weights};
    score_experts(p, s);
    MOX_SYNC();
    if (threadIdx.x >= MOX_WARP) {
        return;
    }
    for (uint32_t e = lane; p.bias != nullptr && e < p.n_experts; e += MOX_WARP) {
        s[e] = s[e] + p.bias[e];
    }
    if (!all_finite(s, p.n_experts, lane)) {
        refuse_row(p, lane);
        return;
    }
    __syncwarp();
    probabilities(p, room, lane);
    if (p.rule.n_groups > 1) {
        limit_groups(p, room, lane);
    }
    choose(p, room, lane);
    finish_weights(p, room, lane);
}

mox_err router_launch_rule(const router_params &p, uint32_t n, struct CUstream_st *stream)
{
    MOX_LAUNCH(k_router_rule, n, ROUTER_THREADS, 0, stream, p);
    return launched("router");
}
