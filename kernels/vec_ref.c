/* The plain-C twin of every inner loop in vec.h: written to be read, and the definition of the results. Each
 * float operation here is one IEEE operation in a fixed place; the SIMD versions must give the same bits. */
#include "kernels/vec.h"

#include "kernels/fmath.h"
#include "kernels/half.h"
#include "runtime/core/bits.h"

#include <math.h>

#ifndef MOX_REF_VEC
#define MOX_REF_VEC mox_vec_ref
#endif

enum { AMAX_NOT_FINITE = 0x7f800000, AMAX_TOO_SMALL = 0x0d800000 /* 2^-100 */ };

/* Butterfly: after the step with w, lane l holds what lanes l and l xor w held; all lanes end with the sum.
 */
static float butterfly(float lane[MOX_REDUCE_LANES])
{
    for (int w = MOX_REDUCE_LANES / 2; w != 0; w /= 2) {
        for (int l = 0; l < w; l++) {
            lane[l] = lane[l] + lane[l + w];
        }
    }
    return lane[0];
}

static float dot(const float *a, const float *b, uint32_t n)
{
    float sum = 0.0f;
    for (uint32_t c = 0; c < n; c += MOX_REDUCE_CHUNK) {
        const uint32_t end = n - c < MOX_REDUCE_CHUNK ? n : c + MOX_REDUCE_CHUNK;
        float lane[MOX_REDUCE_LANES] = {0};
        for (uint32_t i = c; i < end; i++) {
            lane[i % MOX_REDUCE_LANES] = mox_fmaf(a[i], b[i], lane[i % MOX_REDUCE_LANES]);
        }
        sum = sum + butterfly(lane);
    }
    return sum;
}

static float softmax(float *s, uint32_t n, float m)
{
    float lane[MOX_REDUCE_LANES] = {0};
    for (uint32_t i = 0; i < n; i++) {
        s[i] = mox_expf(s[i] - m);
        lane[i % MOX_REDUCE_LANES] = lane[i % MOX_REDUCE_LANES] + s[i];
    }
    return 0.0f + butterfly(lane);
}

/* n values to codes by one scale; false if one is not finite. */
static bool quantize_run(const float *x, uint32_t n, int8_t *q, float *scale)
{
    uint32_t amax = 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t mag = mox_f32_bits(x[i]) & 0x7fffffffu;
        amax = mag > amax ? mag : amax;
    }
    if (amax >= AMAX_NOT_FINITE) {
        return false;
    }
    if (amax < AMAX_TOO_SMALL) {
        *scale = 0.0f;
        memset(q, 0, n);
        return true;
    }
    *scale = mox_f32_from_bits(amax) / 127.0f;
    const float r = 127.0f / mox_f32_from_bits(amax);
    for (uint32_t i = 0; i < n; i++) {
        q[i] = (int8_t)mox_round_int(x[i] * r);
    }
    return true;
}

static void sum_runs(const int8_t *q, int run, int16_t *sum)
{
    for (int s = 0; s < MOX_BLOCK / run; s++) {
        int total = 0;
        for (int i = 0; i < run; i++) {
            total += q[s * run + i];
        }
        sum[s] = (int16_t)total;
    }
}

static bool quantize_k(const float *x, uint32_t n, mox_act_k *y)
{
    for (; n != 0; y++) {
        const uint32_t cols = n < MOX_BLOCK ? n : MOX_BLOCK;
        memset(y, 0, sizeof *y);
        if (!quantize_run(x, cols, y->q, &y->d)) {
            return false;
        }
        sum_runs(y->q, 16, y->sum);
        x += cols;
        n -= cols;
    }
    return true;
}

static bool quantize_b(const float *x, uint32_t n, mox_act_b *y)
{
    for (; n != 0; y++) {
        memset(y, 0, sizeof *y);
        for (int j = 0; j < MOX_BLOCK / 32 && n != 0; j++) {
            const uint32_t cols = n < 32 ? n : 32;
            if (!quantize_run(x, cols, y->q + 32 * j, &y->d[j])) {
                return false;
            }
            x += cols;
            n -= cols;
        }
        sum_runs(y->q, 32, y->sum);
    }
    return true;
}

static void swiglu(const float *gate, const float *up, float *h, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        h[i] = mox_siluf(gate[i]) * up[i];
    }
}

static void merge(const float *e, size_t stride, const float *w, uint32_t k, const float *x, float *y,
                  uint32_t d)
{
    for (uint32_t i = 0; i < d; i++) {
        float sum = 0.0f;
        for (uint32_t j = 0; j < k; j++) {
            sum = mox_fmaf(w[j], e[j * stride + i], sum);
        }
        y[i] = x[i] + sum;
    }
}

static void combine(float *o, float a, const float *part, float b, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        o[i] = mox_fmaf(o[i], a, part[i] * b);
    }
}

static void delta(const mox_delta_cols *c, float decay, float beta, uint32_t n)
{
    float t[MOX_DELTA_COLS] = {0}, d[MOX_DELTA_COLS], o[MOX_DELTA_COLS] = {0};
    for (uint32_t i = 0; i < c->k_dim; i++) {
        for (uint32_t j = 0; j < n; j++) {
            t[j] = mox_fmaf(c->from[i * c->stride + j] * decay, c->k[i], t[j]);
        }
    }
    for (uint32_t j = 0; j < n; j++) {
        d[j] = (c->v[j] - t[j]) * beta;
    }
    for (uint32_t i = 0; i < c->k_dim; i++) {
        for (uint32_t j = 0; j < n; j++) {
            const float s = mox_fmaf(c->k[i], d[j], c->from[i * c->stride + j] * decay);
            c->to[i * c->stride + j] = s;
            o[j] = mox_fmaf(s, c->q[i], o[j]);
        }
    }
    memcpy(c->o, o, n * sizeof *o);
}

static bool store_f16(const float *x, uint32_t head_dim, uint8_t *row)
{
    for (uint32_t i = 0; i < head_dim; i++) {
        if (!(fabsf(x[i]) <= MOX_F16_MAX)) {
            return false;
        }
        const uint16_t h = mox_f32_to_f16(x[i]);
        memcpy(row + 2 * i, &h, sizeof h);
    }
    return true;
}

static bool store_q8_0(const float *x, uint32_t head_dim, uint8_t *row)
{
    for (uint32_t b = 0; b < head_dim / 32; b++) {
        float d;
        if (!quantize_run(x + 32 * b, 32, (int8_t *)row + 32 * b, &d) || !(d <= MOX_F16_MAX)) {
            return false;
        }
        const uint16_t h = mox_f32_to_f16(d);
        memcpy(row + head_dim + 2 * b, &h, sizeof h);
    }
    return true;
}

static bool store_f32(const float *x, uint32_t head_dim, uint8_t *row)
{
    for (uint32_t i = 0; i < head_dim; i++) {
        if ((mox_f32_bits(x[i]) & 0x7fffffffu) >= AMAX_NOT_FINITE) {
            return false;
        }
    }
    memcpy(row, x, head_dim * sizeof *x);
    return true;
}

/* Element i of a stored vector. */
static float kv_element(mox_kv_type type, const uint8_t *row, uint32_t head_dim, uint32_t i)
{
    if (type == MOX_KV_F16) {
        return mox_f16_to_f32(mox_le16(row + 2 * i));
    }
    if (type == MOX_KV_Q8_0) {
        return (float)(int8_t)row[i] * mox_f16_to_f32(mox_le16(row + head_dim + 2 * (i / 32)));
    }
    return mox_f32_from_bits(mox_le32(row + 4 * i));
}

static float scores(mox_kv_type type, const float *q, const uint8_t *k, size_t row_bytes, uint32_t n,
                    uint32_t head_dim, float scale, float *s)
{
    float m = -INFINITY;
    for (uint32_t t = 0; t < n; t++, k += row_bytes) {
        float sum = 0.0f;
        for (uint32_t c = 0; c < head_dim; c += MOX_REDUCE_CHUNK) {
            const uint32_t len = head_dim - c < MOX_REDUCE_CHUNK ? head_dim - c : MOX_REDUCE_CHUNK;
            float chunk[MOX_REDUCE_CHUNK];
            for (uint32_t i = 0; i < len; i++) {
                chunk[i] = kv_element(type, k, head_dim, c + i);
            }
            sum = sum + dot(q + c, chunk, len);
        }
        s[t] = sum * scale;
        m = s[t] > m ? s[t] : m;
    }
    return m;
}

static void values(mox_kv_type type, const float *p, const uint8_t *v, size_t row_bytes, uint32_t n,
                   uint32_t head_dim, float *o)
{
    memset(o, 0, head_dim * sizeof *o);
    for (uint32_t t = 0; t < n; t++, v += row_bytes) {
        for (uint32_t i = 0; i < head_dim; i++) {
            o[i] = mox_fmaf(p[t], kv_element(type, v, head_dim, i), o[i]);
        }
    }
}

#define KV_TWINS(name, type)                                                                                 \
    static float scores_##name(const float *q, const uint8_t *k, size_t row_bytes, uint32_t n,               \
                               uint32_t head_dim, float scale, float *s)                                     \
    {                                                                                                        \
        return scores(type, q, k, row_bytes, n, head_dim, scale, s);                                         \
    }                                                                                                        \
    static void values_##name(const float *p, const uint8_t *v, size_t row_bytes, uint32_t n,                \
                              uint32_t head_dim, float *o)                                                   \
    {                                                                                                        \
        values(type, p, v, row_bytes, n, head_dim, o);                                                       \
    }
KV_TWINS(f16, MOX_KV_F16)
KV_TWINS(q8_0, MOX_KV_Q8_0)
KV_TWINS(f32, MOX_KV_F32)

const mox_vec MOX_REF_VEC = {
    .dot = dot,
    .softmax = softmax,
    .quantize_k = quantize_k,
    .quantize_b = quantize_b,
    .swiglu = swiglu,
    .merge = merge,
    .kv_store = {[MOX_KV_F16] = store_f16, [MOX_KV_Q8_0] = store_q8_0, [MOX_KV_F32] = store_f32},
    .scores = {[MOX_KV_F16] = scores_f16, [MOX_KV_Q8_0] = scores_q8_0, [MOX_KV_F32] = scores_f32},
    .values = {[MOX_KV_F16] = values_f16, [MOX_KV_Q8_0] = values_q8_0, [MOX_KV_F32] = values_f32},
    .combine = combine,
    .delta = delta,
};
