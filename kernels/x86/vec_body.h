/* The table of vec.h written once for both widths of vf.h. vec_avx2.c and vec_avx512.c include this file,
 * each with its own compiler flags; MOX_VEC_TABLE is the name of the table it defines.
 *
 * What makes it fast: attention takes four keys at a time and finishes their four reductions together (a
 * transpose replaces shuffles), and keeps eight vectors of the value sum in registers while it walks the
 * keys. Ragged ends go through small arrays or scalar code with the same operations; -mfma makes mox_fmaf one
 * instruction here. */
#include "kernels/x86/vf.h"

#include <math.h>
#include <string.h>

enum {
    AMAX_NOT_FINITE = 0x7f800000,
    AMAX_TOO_SMALL = 0x0d800000 /* 2^-100 */,
    KEYS_AT_ONCE = 4,
    VALUE_VECTORS = 8,
    DELTA_VECTORS = 4
};

/* The last three steps of the butterfly: xor 4, 2, 1. */
static inline float fold_8(__m256 a)
{
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}

/* The same for four accumulators, into four lanes. */
static inline __m128 fold_8x4(const __m256 a[4])
{
    __m128 x[4];
    for (int i = 0; i < 4; i++) {
        x[i] = _mm_add_ps(_mm256_castps256_ps128(a[i]), _mm256_extractf128_ps(a[i], 1));
    }
    _MM_TRANSPOSE4_PS(x[0], x[1], x[2], x[3]);
    return _mm_add_ps(_mm_add_ps(x[0], x[2]), _mm_add_ps(x[1], x[3]));
}

static inline void zero_lanes(vf acc[MOX_VF_LANES])
{
    for (int l = 0; l < MOX_VF_LANES; l++) {
        acc[l] = vf_set(0.0f);
    }
}

static inline void store_lanes(float lane[MOX_REDUCE_LANES], const vf acc[MOX_VF_LANES])
{
    for (int l = 0; l < MOX_VF_LANES; l++) {
        vf_store(lane + l * VF, acc[l]);
    }
}

static inline void load_lanes(vf acc[MOX_VF_LANES], const float lane[MOX_REDUCE_LANES])
{
    for (int l = 0; l < MOX_VF_LANES; l++) {
        acc[l] = vf_load(lane + l * VF);
    }
}

static float dot(const float *a, const float *b, uint32_t n)
{
    float sum = 0.0f;
    for (uint32_t c = 0; c < n; c += MOX_REDUCE_CHUNK) {
        const uint32_t end = n - c < MOX_REDUCE_CHUNK ? n : c + MOX_REDUCE_CHUNK;
        vf acc[MOX_VF_LANES];
        zero_lanes(acc);
        uint32_t i = c;
        for (; end - i >= MOX_REDUCE_LANES; i += MOX_REDUCE_LANES) {
            for (int l = 0; l < MOX_VF_LANES; l++) {
                acc[l] = vf_fma(vf_load(a + i + l * VF), vf_load(b + i + l * VF), acc[l]);
            }
        }
        if (i < end) {
            float lane[MOX_REDUCE_LANES];
            store_lanes(lane, acc);
            for (int l = 0; i < end; i++, l++) {
                lane[l] = mox_fmaf(a[i], b[i], lane[l]);
            }
            load_lanes(acc, lane);
        }
        sum = sum + fold_8(vf_fold(acc));
    }
    return sum;
}

static float softmax(float *s, uint32_t n, float m)
{
    vf acc[MOX_VF_LANES];
    zero_lanes(acc);
    uint32_t i = 0;
    for (; n - i >= MOX_REDUCE_LANES; i += MOX_REDUCE_LANES) {
        for (int l = 0; l < MOX_VF_LANES; l++) {
            const vf e = vf_exp(vf_sub(vf_load(s + i + l * VF), vf_set(m)));
            vf_store(s + i + l * VF, e);
            acc[l] = vf_add(acc[l], e);
        }
    }
    if (i < n) {
        float e[MOX_REDUCE_LANES] = {0}, lane[MOX_REDUCE_LANES];
        memcpy(e, s + i, (n - i) * sizeof *e);
        for (int l = 0; l < MOX_VF_LANES; l++) {
            vf_store(e + l * VF, vf_exp(vf_sub(vf_load(e + l * VF), vf_set(m))));
        }
        memcpy(s + i, e, (n - i) * sizeof *e);
        store_lanes(lane, acc);
        for (uint32_t l = 0; l < n - i; l++) {
            lane[l] = lane[l] + e[l];
        }
        load_lanes(acc, lane);
    }
    return 0.0f + fold_8(vf_fold(acc));
}

/* Largest magnitude of n values (a multiple of 32), as bits. */
static inline uint32_t largest(const float *x, uint32_t n)
{
    __m256i most = _mm256_setzero_si256();
    for (uint32_t i = 0; i < n; i += 8) {
        const __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)(x + i));
        most = _mm256_max_epi32(most, _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)));
    }
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(m);
}

/* 32 codes x * r, rounded to nearest even. */
static inline __m256i codes_32(const float *x, __m256 r)
{
    __m256i i[4];
    for (int k = 0; k < 4; k++) {
        i[k] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * k), r));
    }
    const __m256i q =
        _mm256_packs_epi16(_mm256_packs_epi32(i[0], i[1]), _mm256_packs_epi32(i[2], i[3])); /* per 128 bits */
    return _mm256_permutevar8x32_epi32(q, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

/* Sums of the four runs of 8 codes. */
static inline void sums_of_8(__m256i q, int64_t sum[4])
{
    const __m256i biased = _mm256_xor_si256(q, _mm256_set1_epi8(-128));
    const __m256i s =
        _mm256_sub_epi64(_mm256_sad_epu8(biased, _mm256_setzero_si256()), _mm256_set1_epi64x(8 * 128));
    _mm256_storeu_si256((__m256i *)(void *)sum, s);
}

/* The scale and reciprocal for a largest magnitude; r = 0 makes every code 0. */
static inline float scale_of(uint32_t amax, float *d)
{
    const bool small = amax < AMAX_TOO_SMALL;
    *d = small ? 0.0f : mox_f32_from_bits(amax) / 127.0f;
    return small ? 0.0f : 127.0f / mox_f32_from_bits(amax);
}

static bool quantize_k(const float *x, uint32_t n, mox_act_k *y)
{
    for (; n >= MOX_BLOCK; n -= MOX_BLOCK, x += MOX_BLOCK, y++) {
        const uint32_t amax = largest(x, MOX_BLOCK);
        if (amax >= AMAX_NOT_FINITE) {
            return false;
        }
        const __m256 r = _mm256_set1_ps(scale_of(amax, &y->d));
        for (int j = 0; j < MOX_BLOCK / 32; j++) {
            const __m256i q = codes_32(x + 32 * j, r);
            int64_t sum[4];
            sums_of_8(q, sum);
            _mm256_store_si256((__m256i *)(void *)(y->q + 32 * j), q);
            y->sum[2 * j] = (int16_t)(sum[0] + sum[1]);
            y->sum[2 * j + 1] = (int16_t)(sum[2] + sum[3]);
        }
        memset(y->pad, 0, sizeof y->pad);
    }
    return mox_vec_ref.quantize_k(x, n, y);
}

static bool quantize_b(const float *x, uint32_t n, mox_act_b *y)
{
    for (; n >= MOX_BLOCK; n -= MOX_BLOCK, y++) {
        for (int j = 0; j < MOX_BLOCK / 32; j++, x += 32) {
            const uint32_t amax = largest(x, 32);
            if (amax >= AMAX_NOT_FINITE) {
                return false;
            }
            const __m256i q = codes_32(x, _mm256_set1_ps(scale_of(amax, &y->d[j])));
            int64_t sum[4];
            sums_of_8(q, sum);
            _mm256_store_si256((__m256i *)(void *)(y->q + 32 * j), q);
            y->sum[j] = (int16_t)(sum[0] + sum[1] + sum[2] + sum[3]);
        }
        memset(y->pad, 0, sizeof y->pad);
    }
    return mox_vec_ref.quantize_b(x, n, y);
}

static void swiglu(const float *gate, const float *up, float *h, size_t n)
{
    size_t i = 0;
    for (; n - i >= VF; i += VF) {
        const vf g = vf_load(gate + i);
        const vf e = vf_exp(vf_sub(vf_set(-0.0f), g));
        vf_store(h + i, vf_mul(vf_div(g, vf_add(vf_set(1.0f), e)), vf_load(up + i)));
    }
    for (; i < n; i++) {
        h[i] = mox_siluf(gate[i]) * up[i];
    }
}

static void merge(const float *e, size_t stride, const float *w, uint32_t k, const float *x, float *y,
                  uint32_t d)
{
    uint32_t i = 0;
    for (; d - i >= VF; i += VF) {
        vf sum = vf_set(0.0f);
        for (uint32_t j = 0; j < k; j++) {
            sum = vf_fma(vf_set(w[j]), vf_load(e + j * stride + i), sum);
        }
        vf_store(y + i, vf_add(vf_load(x + i), sum));
    }
    for (; i < d; i++) {
        float sum = 0.0f;
        for (uint32_t j = 0; j < k; j++) {
            sum = mox_fmaf(w[j], e[j * stride + i], sum);
        }
        y[i] = x[i] + sum;
    }
}

static void combine(float *o, float a, const float *part, float b, uint32_t n)
{
    uint32_t i = 0;
    for (; n - i >= VF; i += VF) {
        vf_store(o + i, vf_fma(vf_load(o + i), vf_set(a), vf_mul(vf_load(part + i), vf_set(b))));
    }
    for (; i < n; i++) {
        o[i] = mox_fmaf(o[i], a, part[i] * b);
    }
}

/* `vectors` vectors of columns, from column j. */
static inline __attribute__((always_inline)) void delta_tile(const mox_delta_cols *c, float decay, float beta,
                                                             uint32_t j, uint32_t vectors)
{
    vf t[DELTA_VECTORS], o[DELTA_VECTORS];
    const vf fade = vf_set(decay);
    for (uint32_t l = 0; l < vectors; l++) {
        t[l] = o[l] = vf_set(0.0f);
    }
    const float *from = c->from + j;
    for (uint32_t i = 0; i < c->k_dim; i++, from += c->stride) {
        const vf k = vf_set(c->k[i]);
        for (uint32_t l = 0; l < vectors; l++) {
            t[l] = vf_fma(vf_mul(vf_load(from + l * VF), fade), k, t[l]);
        }
    }
    for (uint32_t l = 0; l < vectors; l++) {
        t[l] = vf_mul(vf_sub(vf_load(c->v + j + l * VF), t[l]), vf_set(beta));
    }
    from = c->from + j;
    float *to = c->to + j;
    for (uint32_t i = 0; i < c->k_dim; i++, from += c->stride, to += c->stride) {
        const vf k = vf_set(c->k[i]), q = vf_set(c->q[i]);
        for (uint32_t l = 0; l < vectors; l++) {
            const vf s = vf_fma(k, t[l], vf_mul(vf_load(from + l * VF), fade));
            vf_store(to + l * VF, s);
            o[l] = vf_fma(s, q, o[l]);
        }
    }
    for (uint32_t l = 0; l < vectors; l++) {
        vf_store(c->o + j + l * VF, o[l]);
    }
}

static void delta(const mox_delta_cols *c, float decay, float beta, uint32_t n)
{
    uint32_t j = 0;
    for (; n - j >= DELTA_VECTORS * VF; j += DELTA_VECTORS * VF) {
        delta_tile(c, decay, beta, j, DELTA_VECTORS);
    }
    for (; n - j >= VF; j += VF) {
        delta_tile(c, decay, beta, j, 1);
    }
    mox_delta_cols rest = *c;
    rest.from += j;
    rest.to += j;
    rest.v += j;
    rest.o += j;
    if (j < n) {
        mox_vec_ref.delta(&rest, decay, beta, n - j);
    }
}

static bool store_f16(const float *x, uint32_t head_dim, uint8_t *row)
{
    uint32_t i = 0;
    for (; head_dim - i >= VF; i += VF) {
        const vf v = vf_load(x + i);
        if (!vf_all_le_magnitude(v, MOX_F16_MAX)) {
            return false;
        }
        vf_store_f16(row + 2 * i, v);
    }
    return mox_vec_ref.kv_store[MOX_KV_F16](x + i, head_dim - i, row + 2 * i);
}

static bool store_q8_0(const float *x, uint32_t head_dim, uint8_t *row)
{
    for (uint32_t i = 0; i < head_dim; i += 32) {
        const uint32_t amax = largest(x + i, 32);
        float d;
        const float r = scale_of(amax, &d);
        if (amax >= AMAX_NOT_FINITE || !(d <= MOX_F16_MAX)) {
            return false;
        }
        _mm256_storeu_si256((__m256i *)(void *)(row + i), codes_32(x + i, _mm256_set1_ps(r)));
        const uint16_t h = mox_f32_to_f16(d);
        memcpy(row + head_dim + i / 16, &h, sizeof h);
    }
    return true;
}

/* Elements i .. i + VF of a stored vector. */
static inline __attribute__((always_inline)) vf kv_load(mox_kv_type type, const uint8_t *row,
                                                        uint32_t head_dim, uint32_t i)
{
    if (type == MOX_KV_F16) {
        return vf_load_f16(row + 2 * i);
    }
    if (type == MOX_KV_Q8_0) {
        uint16_t d;
        memcpy(&d, row + head_dim + 2 * (i / 32), sizeof d);
        return vf_mul(vf_load_i8(row + i), vf_set(_cvtsh_ss(d)));
    }
    return vf_load((const float *)(const void *)(row + 4 * i));
}

/* One element, for ragged ends; q8_0 vectors have none. */
static inline float kv_element(mox_kv_type type, const uint8_t *row, uint32_t i)
{
    uint16_t h;
    float f;
    if (type == MOX_KV_F16) {
        memcpy(&h, row + 2 * i, sizeof h);
        return _cvtsh_ss(h);
    }
    memcpy(&f, row + 4 * i, sizeof f);
    return f;
}

/* Accumulators of one chunk of one key; c .. end of its elements. */
static inline __attribute__((always_inline)) __m256
key_chunk(mox_kv_type type, const float *q, const uint8_t *k, uint32_t head_dim, uint32_t c, uint32_t end)
{
    vf acc[MOX_VF_LANES];
    zero_lanes(acc);
    uint32_t i = c;
    for (; end - i >= MOX_REDUCE_LANES; i += MOX_REDUCE_LANES) {
        for (uint32_t l = 0; l < MOX_VF_LANES; l++) {
            acc[l] = vf_fma(vf_load(q + i + l * VF), kv_load(type, k, head_dim, i + l * VF), acc[l]);
        }
    }
    if (i < end) {
        float lane[MOX_REDUCE_LANES];
        store_lanes(lane, acc);
        for (int l = 0; i < end; i++, l++) {
            lane[l] = mox_fmaf(q[i], kv_element(type, k, i), lane[l]);
        }
        load_lanes(acc, lane);
    }
    return vf_fold(acc);
}

static inline __attribute__((always_inline)) float scores(mox_kv_type type, const float *q, const uint8_t *k,
                                                          size_t row_bytes, uint32_t n, uint32_t head_dim,
                                                          float scale, float *s)
{
    float m = -INFINITY;
    for (uint32_t t = 0; t < n; t += KEYS_AT_ONCE) {
        const uint32_t keys = n - t < KEYS_AT_ONCE ? n - t : KEYS_AT_ONCE;
        __m128 sum = _mm_setzero_ps();
        for (uint32_t c = 0; c < head_dim; c += MOX_REDUCE_CHUNK) {
            const uint32_t end = head_dim - c < MOX_REDUCE_CHUNK ? head_dim : c + MOX_REDUCE_CHUNK;
            __m256 part[KEYS_AT_ONCE];
            for (uint32_t j = 0; j < KEYS_AT_ONCE; j++) { /* beyond the last key: the last again */
                const uint32_t key = t + (j < keys ? j : keys - 1);
                part[j] = key_chunk(type, q, k + key * row_bytes, head_dim, c, end);
            }
            sum = _mm_add_ps(sum, fold_8x4(part));
        }
        float four[KEYS_AT_ONCE];
        _mm_storeu_ps(four, _mm_mul_ps(sum, _mm_set1_ps(scale)));
        for (uint32_t j = 0; j < keys; j++) {
            s[t + j] = four[j];
            m = four[j] > m ? four[j] : m;
        }
    }
    return m;
}

/* `vectors` vectors of the value sum, from element j. */
static inline __attribute__((always_inline)) void value_tile(mox_kv_type type, const float *p,
                                                             const uint8_t *v, size_t row_bytes, uint32_t n,
                                                             uint32_t head_dim, uint32_t j, uint32_t vectors,
                                                             float *o)
{
    vf acc[VALUE_VECTORS];
    for (uint32_t i = 0; i < vectors; i++) {
        acc[i] = vf_set(0.0f);
    }
    for (uint32_t t = 0; t < n; t++, v += row_bytes) {
        const vf weight = vf_set(p[t]);
        for (uint32_t i = 0; i < vectors; i++) {
            acc[i] = vf_fma(weight, kv_load(type, v, head_dim, j + i * VF), acc[i]);
        }
    }
    for (uint32_t i = 0; i < vectors; i++) {
        vf_store(o + j + i * VF, acc[i]);
    }
}

static inline __attribute__((always_inline)) void values(mox_kv_type type, const float *p, const uint8_t *v,
                                                         size_t row_bytes, uint32_t n, uint32_t head_dim,
                                                         float *o)
{
    uint32_t j = 0;
    for (; head_dim - j >= VALUE_VECTORS * VF; j += VALUE_VECTORS * VF) {
        value_tile(type, p, v, row_bytes, n, head_dim, j, VALUE_VECTORS, o);
    }
    for (; head_dim - j >= VF; j += VF) {
        value_tile(type, p, v, row_bytes, n, head_dim, j, 1, o);
    }
    for (; j < head_dim; j++) {
        float sum = 0.0f;
        for (uint32_t t = 0; t < n; t++) {
            sum = mox_fmaf(p[t], kv_element(type, v + t * row_bytes, j), sum);
        }
        o[j] = sum;
    }
}

#define KV_KERNELS(name, type)                                                                               \
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
KV_KERNELS(f16, MOX_KV_F16)
KV_KERNELS(q8_0, MOX_KV_Q8_0)
KV_KERNELS(f32, MOX_KV_F32)

static bool store_f32(const float *x, uint32_t head_dim, uint8_t *row)
{
    return mox_vec_ref.kv_store[MOX_KV_F32](x, head_dim, row);
}

const mox_vec MOX_VEC_TABLE = {
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
