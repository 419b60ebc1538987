/* The inner loops: AVX2 and AVX-512 against the plain-C twin, bit by bit, on many shapes and contents; and
 * the twin against double precision. */
#include "kernels/fmath.h"
#include "kernels/half.h"
#include "kernels/rand.h"
#include "kernels/vec.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 300, N_MAX = 2304 };

typedef void check_fn(const mox_vec *vec, const char *isa, rng *r, int round);

/* Scalar too: its table may be the twin's source compiled with AVX2. */
static void for_each_isa(check_fn *check)
{
    for (mox_isa isa = MOX_ISA_SCALAR; isa < MOX_ISA_COUNT; isa++) {
        if (mox_isa_present(isa)) {
            rng r = {42};
            for (int round = 0; round < ROUNDS; round++) {
                check(mox_vec_of(isa), mox_isa_name(isa), &r, round);
            }
        }
    }
}

#define SAME(a, b, bytes, what)                                                                              \
    cr_assert(memcmp(a, b, bytes) == 0, "%s differs from the twin: %s round %d", what, isa, round)

static float xs[N_MAX], ys[N_MAX], want_f[N_MAX], got_f[N_MAX];

static uint32_t ragged(rng *r)
{
    return 1 + rng_below(r, rng_below(r, 2) ? 70 : N_MAX);
}

static void check_dot(const mox_vec *vec, const char *isa, rng *r, int round)
{
    const uint32_t n = ragged(r);
    rng_fill(r, xs, n, round % TEMPERAMENTS);
    rng_fill(r, ys, n, (round / 4) % TEMPERAMENTS);
    const float want = mox_vec_ref.dot(xs, ys, n), got = vec->dot(xs, ys, n);
    SAME(&want, &got, sizeof want, "dot");
}

Test(vec, dot_is_the_twin)
{
    for_each_isa(check_dot);
}

static void check_softmax(const mox_vec *vec, const char *isa, rng *r, int round)
{
    const uint32_t n = 1 + rng_below(r, round % 2 ? MOX_KEY_CHUNK : MOX_REDUCE_CHUNK);
    rng_fill(r, want_f, n, round % TEMPERAMENTS);
    float m = want_f[0];
    for (uint32_t i = 0; i < n; i++) {
        m = fmaxf(m, want_f[i]);
    }
    memcpy(got_f, want_f, n * sizeof(float));
    const float want = mox_vec_ref.softmax(want_f, n, m), got = vec->softmax(got_f, n, m);
    SAME(&want, &got, sizeof want, "softmax sum");
    SAME(want_f, got_f, n * sizeof(float), "softmax");
}

Test(vec, softmax_is_the_twin)
{
    for_each_isa(check_softmax);
}

static void check_quantize(const mox_vec *vec, const char *isa, rng *r, int round)
{
    static mox_act_k k[2][N_MAX / 256];
    static mox_act_b b[2][N_MAX / 256];
    const uint32_t n = ragged(r);
    rng_fill(r, xs, n, round % TEMPERAMENTS);
    if (round % 10 == 9) { /* a value that is not finite is found wherever it stands */
        const float bad[3] = {NAN, INFINITY, -INFINITY};
        xs[rng_below(r, n)] = bad[rng_below(r, 3)];
        cr_assert(!mox_vec_ref.quantize_k(xs, n, k[0]) && !vec->quantize_k(xs, n, k[1]));
        cr_assert(!mox_vec_ref.quantize_b(xs, n, b[0]) && !vec->quantize_b(xs, n, b[1]));
        return;
    }
    memset(k, round & 1 ? 0xff : 0, sizeof k);
    memset(b, round & 1 ? 0xff : 0, sizeof b);
    cr_assert(mox_vec_ref.quantize_k(xs, n, k[0]) && vec->quantize_k(xs, n, k[1]));
    cr_assert(mox_vec_ref.quantize_b(xs, n, b[0]) && vec->quantize_b(xs, n, b[1]));
    SAME(k[0], k[1], sizeof k[0], "quantize_k");
    SAME(b[0], b[1], sizeof b[0], "quantize_b");
}

Test(vec, quantize_is_the_twin)
{
    for_each_isa(check_quantize);
}

static void check_elementwise(const mox_vec *vec, const char *isa, rng *r, int round)
{
    const uint32_t n = 1 + rng_below(r, 300), k = 1 + rng_below(r, 6);
    float w[8];
    rng_fill(r, xs, n, round % TEMPERAMENTS);
    rng_fill(r, ys, n * k, (round / 4) % TEMPERAMENTS);
    rng_fill(r, w, 8, FLAT);
    for (uint32_t i = 0; round % 3 == 0 && i < n; i++) {
        xs[i] *= 100.0f; /* beyond the range of exp on both sides */
    }
    mox_vec_ref.swiglu(xs, ys, want_f, n);
    vec->swiglu(xs, ys, got_f, n);
    SAME(want_f, got_f, n * sizeof(float), "swiglu");
    mox_vec_ref.merge(ys, n, w, k, xs, want_f, n);
    vec->merge(ys, n, w, k, xs, got_f, n);
    SAME(want_f, got_f, n * sizeof(float), "merge");
    mox_vec_ref.combine(want_f, w[0], ys, w[1], n);
    vec->combine(got_f, w[0], ys, w[1], n);
    SAME(want_f, got_f, n * sizeof(float), "combine");
}

Test(vec, swiglu_merge_and_combine_are_the_twins)
{
    for_each_isa(check_elementwise);
}

enum { KEYS_MAX = 40, HEAD_MAX = 288 };

static void check_kv(const mox_vec *vec, const char *isa, rng *r, int round)
{
    static uint8_t rows[2][KEYS_MAX][HEAD_MAX * 4];
    float p[KEYS_MAX], s[2][KEYS_MAX];
    const mox_kv_type type = round % MOX_KV_TYPES;
    const uint32_t step = type == MOX_KV_Q8_0 ? 32 : 1;
    const uint32_t head_dim = step * (1 + rng_below(r, HEAD_MAX / step)), n = 1 + rng_below(r, KEYS_MAX);
    const size_t row_bytes = mox_kv_row_bytes(type, head_dim);
    uint8_t *k[2] = {rows[0][0], rows[1][0]};
    for (uint32_t t = 0; t < n; t++) {
        rng_fill(r, xs, head_dim, round / 3 % TEMPERAMENTS);
        cr_assert(mox_vec_ref.kv_store[type](xs, head_dim, k[0] + t * row_bytes));
        cr_assert(vec->kv_store[type](xs, head_dim, k[1] + t * row_bytes));
    }
    SAME(k[0], k[1], n * row_bytes, "kv_store");
    rng_fill(r, xs, head_dim, round / 12 % TEMPERAMENTS);
    rng_fill(r, p, n, round / 12 % TEMPERAMENTS);
    const float m = mox_vec_ref.scores[type](xs, k[0], row_bytes, n, head_dim, 0.088f, s[0]);
    const float g = vec->scores[type](xs, k[0], row_bytes, n, head_dim, 0.088f, s[1]);
    SAME(s[0], s[1], n * sizeof(float), "scores");
    cr_assert_eq(m, g);
    mox_vec_ref.values[type](p, k[0], row_bytes, n, head_dim, want_f);
    vec->values[type](p, k[0], row_bytes, n, head_dim, got_f);
    SAME(want_f, got_f, head_dim * sizeof(float), "values");
}

Test(vec, kv_scores_and_values_are_the_twins)
{
    for_each_isa(check_kv);
}

Test(vec, a_head_longer_than_a_chunk_is_the_twin)
{
    enum { HEAD = 2080 };
    static uint8_t rows[3][HEAD * 4];
    rng r = {7};
    for (mox_isa isa = MOX_ISA_AVX2; isa < MOX_ISA_COUNT; isa++) {
        for (int type = 0; mox_isa_present(isa) && type < MOX_KV_TYPES; type++) {
            const size_t row_bytes = mox_kv_row_bytes(type, HEAD);
            float s[2][3];
            for (int t = 0; t < 3; t++) {
                rng_fill(&r, xs, HEAD, FLAT);
                cr_assert(mox_vec_ref.kv_store[type](xs, HEAD, rows[0] + t * row_bytes));
            }
            mox_vec_ref.scores[type](xs, rows[0], row_bytes, 3, HEAD, 1.0f, s[0]);
            mox_vec_of(isa)->scores[type](xs, rows[0], row_bytes, 3, HEAD, 1.0f, s[1]);
            cr_assert_arr_eq(s[0], s[1], sizeof s[0]);
        }
    }
}

Test(vec, self_check_passes_here_and_finds_a_wrong_sum)
{
    for (mox_isa isa = 0; isa < MOX_ISA_COUNT; isa++) {
        if (mox_isa_present(isa)) {
            cr_assert_eq(mox_vec_self_check(mox_vec_of(isa), mox_isa_name(isa)), MOX_OK);
        }
    }
    mox_vec wrong = mox_vec_ref; /* one step of the chain rounded twice, as without fma */
    wrong.values[MOX_KV_F16] = mox_vec_ref.values[MOX_KV_F32];
    cr_assert_eq(mox_vec_self_check(&wrong, "wrong"), MOX_E_ISA);
}

/* |dot - exact| against n * 2^-24 * sum|a b|, the bound of any order of summation (ours is far below it). */
Test(vec, dot_is_close_to_double)
{
    rng r = {11};
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t n = ragged(&r);
        rng_fill(&r, xs, n, round % 3);
        rng_fill(&r, ys, n, round % 3);
        double exact = 0, magnitude = 0;
        for (uint32_t i = 0; i < n; i++) {
            exact += (double)xs[i] * ys[i];
            magnitude += fabs((double)xs[i] * ys[i]);
        }
        const double chain =
            (n < 1024 ? n : 1024) / 32.0 + 8 + n / 1024.0; /* roundings on the longest path */
        cr_assert_leq(fabs(mox_vec_ref.dot(xs, ys, n) - exact), chain * 0x1p-24 * magnitude + 0x1p-149 * n);
    }
}

Test(vec, reduction_follows_the_written_order)
{
    /* Large terms cancel only if lanes 0 and 16 meet before anything else is added, and chunks come in order.
     */
    float a[2048], one[2048];
    for (int i = 0; i < 2048; i++) {
        a[i] = 0.0f;
        one[i] = 1.0f;
    }
    a[0] = 0x1p30f;
    a[16] = -0x1p30f;
    a[8] = 1.0f; /* lost if it met lane 0 first */
    cr_assert_eq(mox_vec_ref.dot(a, one, 32), 1.0f);
    a[1024] = 0x1p24f;
    a[1025] = 1.0f;
    cr_assert_eq(mox_vec_ref.dot(a, one, 2048), 0x1p24f); /* (2^24 + 1 rounds to 2^24) + 1 from chunk 0 */
    a[32] = 0x1p30f;                                      /* lane 0 again: fma order within the lane */
    a[64] = -0x1p30f;
    cr_assert_eq(mox_vec_ref.dot(a, one, 1024), 1.0f);
}

static void act_matches(const float *x, uint32_t n, uint32_t block, const int8_t *q, float d)
{
    double amax = 0;
    for (uint32_t i = 0; i < n; i++) {
        amax = fmax(amax, fabs((double)x[i]));
    }
    if (amax < 0x1p-100) {
        cr_assert_eq(d, 0.0f);
    }
    for (uint32_t i = 0; i < block; i++) {
        cr_assert(q[i] >= -127);
        if (i >= n || d == 0.0f) {
            cr_assert_eq(q[i], 0);
        } else { /* half a code, and the rounding of d, r and x * r */
            cr_assert_leq(fabs((double)q[i] * d - x[i]), d * (0.5 + 127 * 4 * 0x1p-24));
        }
    }
}

Test(vec, quantize_rounds_to_the_nearest_code_and_sums)
{
    static mox_act_k k[N_MAX / 256];
    static mox_act_b b[N_MAX / 256];
    rng r = {5};
    for (int round = 0; round < ROUNDS; round++) {
        const uint32_t n = ragged(&r);
        rng_fill(&r, xs, n, round % TEMPERAMENTS);
        cr_assert(mox_vec_ref.quantize_k(xs, n, k) && mox_vec_ref.quantize_b(xs, n, b));
        for (uint32_t c = 0; c < n; c += 256) {
            act_matches(xs + c, n - c < 256 ? n - c : 256, 256, k[c / 256].q, k[c / 256].d);
            for (int s = 0; s < 16; s++) {
                int sum = 0;
                for (int i = 0; i < 16; i++) {
                    sum += k[c / 256].q[16 * s + i];
                }
                cr_assert_eq(sum, k[c / 256].sum[s]);
            }
        }
        for (uint32_t c = 0; c < n; c += 32) {
            const mox_act_b *blk = &b[c / 256];
            const int j = c % 256 / 32;
            act_matches(xs + c, n - c < 32 ? n - c : 32, 32, blk->q + 32 * j, blk->d[j]);
            int sum = 0;
            for (int i = 0; i < 32; i++) {
                sum += blk->q[32 * j + i];
            }
            cr_assert_eq(sum, blk->sum[j]);
        }
    }
}

Test(vec, quantize_edges)
{
    mox_act_k k;
    float x[256] = {0};
    x[3] = 0x1p-100f; /* the smallest largest value that is kept */
    cr_assert(mox_vec_ref.quantize_k(x, 256, &k));
    cr_assert(k.q[3] == 127 && k.d == 0x1p-100f / 127.0f);
    x[3] = 0x1.fffffep-101f;
    cr_assert(mox_vec_ref.quantize_k(x, 256, &k));
    cr_assert(k.q[3] == 0 && k.d == 0.0f);
    x[3] = 127.0f; /* r = 1: ties go to the even code, on both sides */
    x[0] = 0.5f;
    x[1] = 1.5f;
    x[2] = -2.5f;
    x[4] = -127.0f;
    cr_assert(mox_vec_ref.quantize_k(x, 256, &k));
    cr_assert(k.d == 1.0f && k.q[0] == 0 && k.q[1] == 2 && k.q[2] == -2 && k.q[3] == 127 && k.q[4] == -127);
    x[3] = 0x1.fffffep127f; /* the largest float is ordinary */
    cr_assert(mox_vec_ref.quantize_k(x, 256, &k));
    cr_assert(k.q[3] == 127 && k.q[0] == 0);
    x[255] = NAN;
    cr_assert(!mox_vec_ref.quantize_k(x, 256, &k));
    cr_assert(mox_vec_ref.quantize_k(x, 255, &k));
}

Test(vec, kv_refuses_what_it_cannot_store)
{
    float x[32] = {0};
    uint8_t row[128];
    for (mox_isa isa = 0; isa < MOX_ISA_COUNT; isa++) {
        if (!mox_isa_present(isa)) {
            continue;
        }
        const mox_vec *vec = mox_vec_of(isa);
        x[17] = -65504.0f;
        cr_assert(vec->kv_store[MOX_KV_F16](x, 32, row));
        x[17] = 65504.0039f;
        cr_assert(!vec->kv_store[MOX_KV_F16](x, 32, row));
        cr_assert(vec->kv_store[MOX_KV_Q8_0](x, 32, row) && vec->kv_store[MOX_KV_F32](x, 32, row));
        x[17] = 127.0f * 65504.0f;
        cr_assert(vec->kv_store[MOX_KV_Q8_0](x, 32, row));
        x[17] = 127.0f * 65536.0f;
        cr_assert(!vec->kv_store[MOX_KV_Q8_0](x, 32, row) && vec->kv_store[MOX_KV_F32](x, 32, row));
        x[17] = NAN;
        for (int t = 0; t < MOX_KV_TYPES; t++) {
            cr_assert(!vec->kv_store[t](x, 32, row));
        }
        x[17] = 0.0f;
    }
}
