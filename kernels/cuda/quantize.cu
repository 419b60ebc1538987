/* Activations to int8 on the GPU: a warp per block of 256, eight elements a lane, so that two lanes are a run of 16
 * and four a run of 32. Codes past the row's end and padding are zero, as in the twin. */
#include "kernels/act.h"
#include "kernels/cuda/common.cuh"

constexpr uint32_t QUANT_THREADS = 128, QUANT_WARPS = QUANT_THREADS / MOX_WARP,
                   PER_LANE = MOX_BLOCK / MOX_WARP, AMAX_NOT_FINITE = 0x7f800000,
                   AMAX_TOO_SMALL = 0x0d800000; /* AMAX_TOO_SMALL: 2^-100 */

struct lane_codes {
    float scale;
    int sum;
    uint32_t q[2]; /* eight codes */
};

/* amax: of the whole run, as bits. */
static __device__ lane_codes round_lane(const float (&x)[PER_LANE], uint32_t amax)
{
    lane_codes o = {0.0f, 0, {0, 0}};
    if (amax < AMAX_TOO_SMALL || amax >= AMAX_NOT_FINITE) {
        return o;
    }
    o.scale = mox_f32_from_bits(amax) / 127.0f;
    const float r = 127.0f / mox_f32_from_bits(amax);
    MOX_UNROLL
    for (uint32_t i = 0; i < PER_LANE; i++) {
        const int code = mox_round_int(x[i] * r);
        o.sum += code;
        o.q[i / 4] |= (static_cast<uint32_t>(code) & 255U) << 8 * (i % 4);
    }
    return o;
}

/* The lane's eight elements, zeros past n, and the largest magnitude of its run: the warp's or its four lanes'. */
template <bool K>
static __device__ uint32_t load_lane(const float *x, uint32_t n, uint32_t lane, float (&v)[PER_LANE])
{
    uint32_t amax = 0;
    MOX_UNROLL
    for (uint32_t i = 0; i < PER_LANE; i++) {
        const uint32_t at = lane * PER_LANE + i;
        v[i] = at < n ? x[at] : 0.0f;
        const uint32_t mag = mox_f32_bits(v[i]) & 0x7fffffffU;
        amax = mag > amax ? mag : amax;
    }
    MOX_UNROLL
    for (uint32_t distance = 1; distance < (K ? MOX_WARP : 4); distance *= 2) {
        const uint32_t other = __shfl_xor_sync(MOX_ALL_LANES, amax, distance);
        amax = other > amax ? other : amax;
    }
    return amax;
}

struct quant_params {
    const float *x;
    size_t x_stride;
    uint8_t *y;
    size_t row_bytes;
    uint32_t cols, blocks, total; /* total: blocks of all rows */
    uint32_t *bad_row;
};

template <bool K> static __global__ void __launch_bounds__(QUANT_THREADS) k_quantize(const quant_params p)
{
    const uint32_t lane = threadIdx.x % MOX_WARP;
    const uint32_t item = blockIdx.x * QUANT_WARPS + threadIdx.x / MOX_WARP;
    if (item >= p.total) {
        return; /* a whole warp */
    }
    const uint32_t row = item / p.blocks, b = item % p.blocks, left = p.cols - b * MOX_BLOCK;
    float v[PER_LANE];
    const uint32_t amax = load_lane<K>(p.x + row * p.x_stride + b * MOX_BLOCK, left, lane, v);
    if (amax >= AMAX_NOT_FINITE) {
        atomicMin(p.bad_row, row);
    }
    const lane_codes o = round_lane(v, amax);
    int sum = o.sum + __shfl_xor_sync(MOX_ALL_LANES, o.sum, 1); /* of 16 */
    if (!K) {
        sum += __shfl_xor_sync(MOX_ALL_LANES, sum, 2); /* of 32 */
    }
    uint8_t *block = p.y + row * p.row_bytes + b * sizeof(mox_act_k);
    uint32_t *words = reinterpret_cast<uint32_t *>(block);
    words[2 * lane] = o.q[0];
    words[2 * lane + 1] = o.q[1];
    if (K) {
        mox_act_k *y = reinterpret_cast<mox_act_k *>(block);
        if (lane % 2 == 0) {
            y->sum[lane / 2] = static_cast<int16_t>(sum);
        }
        if (lane == 0) {
            y->d = o.scale;
        }
        if (lane < sizeof y->pad) {
            y->pad[lane] = 0;
        }
    } else {
        mox_act_b *y = reinterpret_cast<mox_act_b *>(block);
        if (lane % 4 == 0) {
            y->sum[lane / 4] = static_cast<int16_t>(sum);
            y->d[lane / 4] = o.scale;
        }
        if (lane < sizeof y->pad) {
            y->pad[lane] = 0;
        }
    }
}

static __global__ void __launch_bounds__(QUANT_THREADS)
    k_copy_rows(const float *x, size_t x_stride, float *y, size_t y_stride, uint32_t cols)
{
    for (uint32_t i = threadIdx.x; i < cols; i += QUANT_THREADS) {
        y[blockIdx.x * y_stride + i] = x[blockIdx.x * x_stride + i];
    }
}

mox_err mox_cuda_quantize(const mox_cuda_call *c, const mox_quantize_args *a)
{
    if (a->y.kind == MOX_ACT_F32) {
        MOX_LAUNCH(k_copy_rows, a->n, QUANT_THREADS, 0, c->stream, a->x, a->x_stride,
                   static_cast<float *>(a->y.data), a->y.row_bytes / sizeof(float), a->y.n_cols);
        return launched("quantize");
    }
    const uint32_t blocks = div_up(a->y.n_cols, MOX_BLOCK), total = blocks * a->n;
    const quant_params p = {a->x,           a->x_stride, static_cast<uint8_t *>(a->y.data),
                            a->y.row_bytes, a->y.n_cols, blocks,
                            total,          c->bad_row};
    if (a->y.kind == MOX_ACT_K) {
        MOX_LAUNCH((k_quantize<true>), div_up(total, QUANT_WARPS), QUANT_THREADS, 0, c->stream, p);
    } else {
        MOX_LAUNCH((k_quantize<false>), div_up(total, QUANT_WARPS), QUANT_THREADS, 0, c->stream, p);
    }
    return launched("quantize");
}
