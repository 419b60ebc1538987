/* Router on the GPU: a block per row. Warps score experts; the first warp makes probabilities (the reduction of up to
 * 1,024 is one chunk, so its 32 lanes are the warp's), and picks the k largest one after the other, equal ones by
 * lower id. */
#include "kernels/cuda/common.cuh"

constexpr uint32_t ROUTER_THREADS = 256, ROUTER_WARPS = ROUTER_THREADS / MOX_WARP, MAX_EXPERTS = REDUCE_CHUNK;

struct router_params {
    const float *x, *w;
    uint32_t d, n_experts, k;
    uint32_t *ids;
    float *weights;
    uint32_t *bad_row;
};

/* Scores to probabilities, by one warp; false: a score is not finite. Every lane reads what it wrote itself. */
static __device__ bool softmax_warp(float *s, uint32_t n, uint32_t lane)
{
    float most = s[0];
    bool finite = true;
    for (uint32_t e = lane; e < n; e += MOX_WARP) {
        finite = finite && (mox_f32_bits(s[e]) & 0x7fffffffU) < 0x7f800000U;
        most = s[e] > most ? s[e] : most;
    }
    if (__ballot_sync(MOX_ALL_LANES, finite) != MOX_ALL_LANES) {
        return false;
    }
    most = warp_max(most);
    float sum = 0.0f;
    for (uint32_t e = lane; e < n; e += MOX_WARP) {
        s[e] = mox_expf(s[e] - most);
        sum = sum + s[e];
    }
    sum = 0.0f + warp_sum(sum);
    for (uint32_t e = lane; e < n; e += MOX_WARP) {
        s[e] = s[e] / sum;
    }
    return true;
}

/* The largest of what is left, the lower id among equals; lanes own their experts. */
static __device__ uint32_t best_left(const float *s, uint32_t n, uint32_t lane, float *value)
{
    float best = -2.0f; /* below what has been taken */
    uint32_t id = 0;
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
    *value = best;
    return id;
}

static __device__ void choose(const router_params &p, float *s, uint32_t row, uint32_t lane)
{
    uint32_t *ids = p.ids + static_cast<size_t>(row) * p.k;
    float *weights = p.weights + static_cast<size_t>(row) * p.k;
    float chosen = 0.0f;
    for (uint32_t r = 0; r < p.k; r++) {
        float value;
        const uint32_t id = best_left(s, p.n_experts, lane, &value);
        chosen = chosen + value;
        if (id % MOX_WARP == lane) { /* its owner */
            ids[r] = id;
            weights[r] = value;
            s[id] = -1.0f;
        }
    }
    __syncwarp();
    for (uint32_t r = lane; r < p.k; r += MOX_WARP) {
        weights[r] = weights[r] / chosen;
    }
}

static __global__ void __launch_bounds__(ROUTER_THREADS) k_router(const router_params p)
{
    MOX_SHARED(float, s, [MAX_EXPERTS]);
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const uint32_t row = blockIdx.x, warp = threadIdx.x / MOX_WARP;
    const float *x = p.x + static_cast<size_t>(row) * p.d;
    for (uint32_t e = warp; e < p.n_experts; e += ROUTER_WARPS) {
        const float *w = p.w + static_cast<size_t>(e) * p.d;
        const float score = warp_dot(
            p.d, lane, [=](uint32_t i) { return w[i]; }, [=](uint32_t i) { return x[i]; });
        if (lane == 0) {
            s[e] = score;
        }
    }
    MOX_SYNC();
    if (warp != 0) {
        return;
    }
    if (softmax_warp(s, p.n_experts, lane)) {
        choose(p, s, row, lane);
        return;
    }
    if (lane == 0) {
        atomicMin(p.bad_row, row);
    }
    for (uint32_t r = lane; r < p.k; r += MOX_WARP) {
        p.ids[static_cast<size_t>(row) * p.k + r] = r;
        p.weights[static_cast<size_t>(row) * p.k + r] = 0.0f;
    }
}

mox_err mox_cuda_router(const mox_cuda_call *c, const mox_router_args *a)
{
    if (a->n_experts == 0 || a->n_experts > MAX_EXPERTS || a->k == 0 || a->k > a->n_experts) {
        return MOX_FAIL(MOX_E_ARG, "%u of %u experts: at most %u can be ranked", a->k, a->n_experts,
                        MAX_EXPERTS);
    }
    if (a->rule != nullptr || a->bias != nullptr || a->select_bias != nullptr) {
        return MOX_FAIL(MOX_E_ARG, "the GPU ranks experts by softmax alone");
    }
    const router_params p = {a->x, a->w, a->d, a->n_experts, a->k, a->ids, a->weights, c->bad_row};
    MOX_LAUNCH(k_router, a->n, ROUTER_THREADS, 0, c->stream, p);
    return launched("router");
}
