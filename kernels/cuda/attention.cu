/* Attention on the GPU: a block per (row, head), keys in chunks of 256 at absolute positions (docs/numerics.md,
 * section 7). In a chunk a warp scores a key, its lanes being the 32 of the reduction; every warp finds the maximum and
 * the sum of the weights for itself, which costs less than waiting; then a thread owns elements of the value vector
 * and takes the keys in order. The running output is each thread's own, in shared memory, so nobody else reads it. */
#include "kernels/cuda/kv.cuh"

constexpr uint32_t ATTENTION_THREADS = 128, ATTENTION_WARPS = ATTENTION_THREADS / MOX_WARP, KEY_CHUNK = 256;

struct attention_params {
    const float *q;
    float *out;
    const uint8_t *k, *v;
    const mox_place *place;
    uint32_t n_heads, n_kv_heads, head_dim, n_ctx, row_bytes;
    float scale;
};

/* Scores of the chunk's keys, by all warps. */
template <class KV>
static __device__ void score_chunk(const attention_params &p, const float *q, const uint8_t *k, uint32_t n,
                                   float *s)
{
    const uint32_t lane = threadIdx.x % MOX_WARP;
    for (uint32_t t = threadIdx.x / MOX_WARP; t < n; t += ATTENTION_WARPS) {
        const uint8_t *key = k + static_cast<size_t>(t) * p.row_bytes;
        const float sum = warp_dot(
            p.head_dim, lane, [=](uint32_t i) { return q[i]; },
            [=, &p](uint32_t i) { return KV::at(key, p.head_dim, i); });
        if (lane == 0) {
            s[t] = sum * p.scale;
        }
    }
}

static __device__ float chunk_max(const float *s, uint32_t n, uint32_t lane)
{
    float most = -INFINITY;
    for (uint32_t t = lane; t < n; t += MOX_WARP) {
        most = s[t] > most ? s[t] : most;
    }
    return warp_max(most);
}

static __device__ float chunk_sum(const float *s, uint32_t n, uint32_t lane)
{
    float sum = 0.0f;
    for (uint32_t t = lane; t < n; t += MOX_WARP) {
        sum = sum + s[t];
    }
    return 0.0f + warp_sum(sum);
}

template <class KV>
static __global__ void __launch_bounds__(ATTENTION_THREADS) k_attention(const attention_params p)
{
    MOX_SHARED(float, s, [KEY_CHUNK]);
    MOX_DYN_SHARED(float, shared); /* q, then o */
    float *q = shared, *o = shared + p.head_dim;
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const uint32_t head = blockIdx.x, row = blockIdx.y, kv_head = head / (p.n_heads / p.n_kv_heads);
    const size_t vector = (static_cast<size_t>(row) * p.n_heads + head) * p.head_dim;
    const mox_place at = p.place[row];
    const size_t base = (static_cast<size_t>(at.seq) * p.n_kv_heads + kv_head) * p.n_ctx * p.row_bytes;
    for (uint32_t i = threadIdx.x; i < p.head_dim; i += ATTENTION_THREADS) {
        q[i] = p.q[vector + i];
        o[i] = 0.0f;
    }
    float m = -INFINITY, l = 0.0f;
    for (uint32_t first = 0; first <= at.pos; first += KEY_CHUNK) {
        const uint32_t left = at.pos + 1 - first, n = left < KEY_CHUNK ? left : KEY_CHUNK;
        const size_t chunk = base + static_cast<size_t>(first) * p.row_bytes;
        MOX_SYNC(); /* q is there; the last chunk's weights have been used */
        score_chunk<KV>(p, q, p.k + chunk, n, s);
        MOX_SYNC(); /* scores are there */
        const float mc = chunk_max(s, n, lane);
        MOX_SYNC(); /* every warp has seen the scores, which become weights */
        for (uint32_t t = threadIdx.x; t < n; t += ATTENTION_THREADS) {
            s[t] = mox_expf(s[t] - mc);
        }
        MOX_SYNC(); /* weights are there */
        const float lc = chunk_sum(s, n, lane);
        const float most = m > mc ? m : mc, a = mox_expf(m - most), b = mox_expf(mc - most);
        l = mox_fmaf(l, a, lc * b);
        m = most;
        for (uint32_t i = threadIdx.x; i < p.head_dim; i += ATTENTION_THREADS) {
            float part = 0.0f;
            for (uint32_t t = 0; t < n; t++) {
                part = mox_fmaf(
                    s[t], KV::at(p.v + chunk + static_cast<size_t>(t) * p.row_bytes, p.head_dim, i), part);
            }
            o[i] = mox_fmaf(o[i], a, part * b);
        }
    }
    for (uint32_t i = threadIdx.x; i < p.head_dim; i += ATTENTION_THREADS) {
        p.out[vector + i] = o[i] / l;
    }
}

mox_err mox_cuda_attention(const mox_cuda_call *c, const mox_attention_args *a)
{
    const uint32_t n_kv = a->kv.n_kv_heads,
                   row_bytes = static_cast<uint32_t>(mox_kv_row_bytes(a->kv.type, a->kv.head_dim));
    if (n_kv == 0 || a->n_heads % n_kv != 0 || row_bytes == 0) {
        return MOX_FAIL(MOX_E_ARG, "%u heads of %u elements over %u key/value heads in %s", a->n_heads,
                        a->kv.head_dim, n_kv, a->kv.type == MOX_KV_Q8_0 ? "q8_0" : "floats");
    }
    if (a->window != 0 || a->chunk != 0 || a->softcap != 0.0f || a->sinks != nullptr ||
        a->q_latent != nullptr || mox_kv_v_dim(&a->kv) != a->kv.head_dim) {
        return MOX_FAIL(MOX_E_ARG,
                        "windows, caps, sinks and compressed keys have no attention kernel on the GPU");
    }
    const attention_params p = {a->q, a->out,         a->kv.k,     a->kv.v,   a->place, a->n_heads,
                                n_kv, a->kv.head_dim, a->kv.n_ctx, row_bytes, a->scale};
    const dim3 grid(a->n_heads, a->n);
    const size_t dyn = 2 * a->kv.head_dim * sizeof(float);
    switch (a->kv.type) {
    case MOX_KV_F16:
        MOX_LAUNCH((k_attention<kv_f16>), grid, ATTENTION_THREADS, dyn, c->stream, p);
        break;
    case MOX_KV_Q8_0:
        MOX_LAUNCH((k_attention<kv_q8_0>), grid, ATTENTION_THREADS, dyn, c->stream, p);
        break;
    default:
        MOX_LAUNCH((k_attention<kv_f32>), grid, ATTENTION_THREADS, dyn, c->stream, p);
    }
    return launched("attention");
}
