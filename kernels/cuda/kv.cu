/* Appending a step's keys and values to the cache on the GPU: a warp per vector, a lane per element of each 32, which
 * is also q8_0's run. A value that cannot be stored marks its row; what is stored for it then is of no account. */
#include "kernels/cuda/kv.cuh"

constexpr uint32_t APPEND_THREADS = 128, APPEND_WARPS = APPEND_THREADS / MOX_WARP, NOT_FINITE = 0x7f800000,
                   TOO_SMALL = 0x0d800000;

struct append_params {
    mox_kv_view kv;
    const float *k, *v;
    const mox_place *place;
    uint32_t n, v_dim, k_row, v_row; /* rows in bytes */
    uint32_t *bad_row;
};

static __device__ bool store_f16(float x, uint8_t *row, uint32_t i)
{
    *reinterpret_cast<uint16_t *>(row + 2 * i) = mox_f32_to_f16(x);
    return fabsf(x) <= MOX_F16_MAX;
}

static __device__ bool store_f32(float x, uint8_t *row, uint32_t i)
{
    *reinterpret_cast<float *>(row + 4 * i) = x;
    return (mox_f32_bits(x) & 0x7fffffffU) < NOT_FINITE;
}

/* All lanes of a warp: one run of 32. */
static __device__ bool store_q8_0(float x, uint8_t *row, uint32_t head_dim, uint32_t i, uint32_t lane)
{
    const uint32_t amax = warp_max(mox_f32_bits(x) & 0x7fffffffU);
    const bool sound = amax < NOT_FINITE && amax >= TOO_SMALL;
    const float d = sound ? mox_f32_from_bits(amax) / 127.0f : 0.0f;
    const float r = sound ? 127.0f / mox_f32_from_bits(amax) : 0.0f;
    row[i] = sound ? static_cast<uint8_t>(mox_round_int(x * r)) : 0;
    if (lane == 0) {
        *reinterpret_cast<uint16_t *>(row + head_dim + 2 * (i / 32)) = mox_f32_to_f16(d);
    }
    return amax < NOT_FINITE && d <= MOX_F16_MAX;
}

static __global__ void __launch_bounds__(APPEND_THREADS) k_kv_append(const append_params p)
{
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const uint32_t item = blockIdx.x * APPEND_WARPS + threadIdx.x / MOX_WARP; /* [row][head][k, v] */
    const uint32_t heads = p.kv.n_kv_heads, is_v = item % 2, head_dim = is_v != 0 ? p.v_dim : p.kv.head_dim;
    if (item >= p.n * heads * 2) {
        return; /* a whole warp */
    }
    const uint32_t row = item / 2 / heads, head = item / 2 % heads;
    const float *from = (is_v == 0 ? p.k : p.v) + (static_cast<size_t>(row) * heads + head) * head_dim;
    const mox_place at = p.place[row];
    uint8_t *to =
        (is_v == 0 ? p.kv.k : p.kv.v) + ((static_cast<size_t>(at.seq) * heads + head) * p.kv.n_ctx + at.pos) *
                                            (is_v == 0 ? p.k_row : p.v_row);
    bool good = true;
    for (uint32_t i = lane; i < head_dim; i += MOX_WARP) {
        switch (p.kv.type) {
        case MOX_KV_F16:
            good = store_f16(from[i], to, i) && good;
            break;
        case MOX_KV_Q8_0: /* head_dim is a multiple of 32: all lanes are here */
            good = store_q8_0(from[i], to, head_dim, i, lane) && good;
            break;
        default:
            good = store_f32(from[i], to, i) && good;
        }
    }
    if (!good) {
        atomicMin(p.bad_row, row);
    }
}

mox_err mox_cuda_kv_append(const mox_cuda_call *c, const mox_kv_append_args *a)
{
    const uint32_t v_dim = mox_kv_v_dim(&a->kv);
    const uint32_t k_row = static_cast<uint32_t>(mox_kv_row_bytes(a->kv.type, a->kv.head_dim)),
                   v_row = static_cast<uint32_t>(mox_kv_row_bytes(a->kv.type, v_dim));
    if (k_row == 0 || v_row == 0) {
        return MOX_FAIL(MOX_E_ARG, "heads of %u and %u elements cannot be stored as q8_0", a->kv.head_dim,
                        v_dim);
    }
    const append_params p = {a->kv, a->k, a->v, a->place, a->n, v_dim, k_row, v_row, c->bad_row};
    MOX_LAUNCH(k_kv_append, div_up(static_cast<uint64_t>(a->n) * a->kv.n_kv_heads * 2, APPEND_WARPS),
               APPEND_THREADS, 0, c->stream, p);
    return launched("kv_append");
}
