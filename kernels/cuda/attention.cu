/* Attention on the GPU: a block per (row, head), keys in chunks of 256 at absolute positions (docs/numerics.md,
 * section 7). In a chunk a warp scores a key, its lanes being the 32 of the reduction; every warp finds the maximum and
 * the sum of the weights for itself, which costs less than waiting; then a thread owns elements of the value vector
 * and takes the keys in order. The running output is each thread's own, in shared memory, so nobody else reads it.
 * Windows, blocks of keys, caps, sinks and compressed keys are asked for once per chunk or key. */
#include "kernels/cuda/kv.cuh"

constexpr uint32_t ATTENTION_THREADS = 128, ATTENTION_WARPS = ATTENTION_THREADS / MOX_WARP, KEY_CHUNK = 256;
constexpr size_t MAX_DYN_BYTES = 46 << 10; /* with the weights of a chunk: 47 of 48 KiB */

struct attention_params {
    const float *q, *q_latent;
    float *out;
    const uint8_t *k, *v;
    const mox_place *place;
    const float *sinks;
    uint32_t n_heads, n_kv_heads, head_dim, v_dim, n_ctx, k_row, v_row;
    uint32_t window, chunk;
    float scale, softcap;
};

/* The first key that a row at a position sees. */
static __device__ __forceinline__ uint32_t first_key(const attention_params &p, uint32_t pos)
{
    if (p.window != 0 && pos >= p.window) {
        return pos - p.window + 1;
    }
    return p.chunk != 0 ? pos - pos % p.chunk : 0;
}

/* Scores of n keys, by all warps. */
template <class KV>
static __device__ void score_keys(const attention_params &p, const float *q, const float *latent,
                                  const uint8_t *k, const uint8_t *v, uint32_t n, float *s)
{
    const uint32_t lane = threadIdx.x % MOX_WARP;
    for (uint32_t t = threadIdx.x / MOX_WARP; t < n; t += ATTENTION_WARPS) {
        const uint8_t *key = k + static_cast<size_t>(t) * p.k_row,
                      *value = v + static_cast<size_t>(t) * p.v_row;
        float sum = warp_dot(
            p.head_dim, lane, [=](uint32_t i) { return q[i]; },
            [=, &p](uint32_t i) { return KV::at(key, p.head_dim, i); });
        if (p.q_latent != nullptr) { /* what is stored as V is the rest of the key */
            sum = sum + warp_dot(
                            p.v_dim, lane, [=](uint32_t i) { return latent[i]; },
                            [=, &p](uint32_t i) { return KV::at(value, p.v_dim, i); });
        }
        if (lane == 0) {
            const float score = sum * p.scale;
            s[t] = p.softcap != 0.0f ? p.softcap * mox_tanhf(score / p.softcap) : score;
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
    MOX_DYN_SHARED(float, shared); /* o, q, latent */
    float *o = shared, *q = shared + p.v_dim, *latent = q + p.head_dim;
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const uint32_t head = blockIdx.x, row = blockIdx.y, kv_head = head / (p.n_heads / p.n_kv_heads);
    const size_t vector = static_cast<size_t>(row) * p.n_heads + head;
    const mox_place at = p.place[row];
    const size_t base = (static_cast<size_t>(at.seq) * p.n_kv_heads + kv_head) * p.n_ctx;
    for (uint32_t i = threadIdx.x; i < p.head_dim; i += ATTENTION_THREADS) {
        q[i] = p.q[vector * p.head_dim + i];
    }
    for (uint32_t i = threadIdx.x; i < p.v_dim; i += ATTENTION_THREADS) {
        o[i] = 0.0f;
        if (p.q_latent != nullptr) {
            latent[i] = p.q_latent[vector * p.v_dim + i];
        }
    }
    float m = p.sinks != nullptr ? p.sinks[head] : -INFINITY, l = p.sinks != nullptr ? 1.0f : 0.0f;
    uint32_t n;
    for (uint32_t first = first_key(p, at.pos); first <= at.pos; first += n) {
        const uint32_t left = at.pos + 1 - first, room = KEY_CHUNK - first % KEY_CHUNK;
        const uint8_t *k = p.k + (base + first) * p.k_row, *v = p.v + (base + first) * p.v_row;
        n = left < room ? left : room;
        MOX_SYNC(); /* q is there; the last chunk's weights have been used */
        score_keys<KV>(p, q, latent, k, v, n, s);
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
        for (uint32_t i = threadIdx.x; i < p.v_dim; i += ATTENTION_THREADS) {
            float part = 0.0f;
            for (uint32_t t = 0; t < n; t++) {
                part = mox_fmaf(s[t], KV::at(v + static_cast<size_t>(t) * p.v_row, p.v_dim, i), part);
            }
            o[i] = mox_fmaf(o[i], a, part * b);
        }
    }
    for (uint32_t i = threadIdx.x; i < p.v_dim; i += ATTENTION_THREADS) {
        p.out[vector * p.v_dim + i] = o[i] / l;
    }
}

mox_err mox_cuda_attention(const mox_cuda_call *c, const mox_attention_args *a)
{
    const mox_kv_view *kv = &a->kv;
    const uint32_t n_kv = kv->n_kv_heads, v_dim = mox_kv_v_dim(kv),
                   k_row = static_cast<uint32_t>(mox_kv_row_bytes(kv->type, kv->head_dim)),
                   v_row = static_cast<uint32_t>(mox_kv_row_bytes(kv->type, v_dim));
    const size_t dyn = (v_dim + kv->head_dim + (a->q_latent != nullptr ? v_dim : 0)) * sizeof(float);
    if (n_kv == 0 || a->n_heads % n_kv != 0 || k_row == 0 || v_row == 0 || dyn > MAX_DYN_BYTES) {
        return MOX_FAIL(MOX_E_ARG, "%u heads of %u and %u elements over %u key/value heads in %s", a->n_heads,
                        kv->head_dim, v_dim, n_kv, mox_kv_type_name(kv->type));
    }
    const attention_params p = {a->q,     a->q_latent, a->out,    kv->k,        kv->v,    a->place,
                                a->sinks, a->n_heads,  n_kv,      kv->head_dim, v_dim,    kv->n_ctx,
                                k_row,    v_row,       a->window, a->chunk,     a->scale, a->softcap};
    const dim3 grid(a->n_heads, a->n);
    switch (kv->type) {
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
