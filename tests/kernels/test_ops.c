/* The operations as the runtime calls them: the same bits for any number of threads, instruction set and
 * split of a batch; right values against double precision; edges of the router; errors that name the row. */
#include "kernels/ops.h"
#include "kernels/rand.h"
#include "kernels/vec.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { POOLS = 4, TABLES = POOLS * MOX_ISA_COUNT };

typedef struct bench { /* every instruction set on 1, 2, 3 and 5 threads; [0] is the twin on one */
    mox_pool *pool[POOLS];
    mox_ops *ops[TABLES];
    int n;
} bench;

static void setup(bench *b)
{
    static const uint32_t workers[POOLS] = {1, 2, 3, 5};
    b->n = 0;
    for (int p = 0; p < POOLS; p++) {
        const mox_pool_cfg cfg = {.n_workers = workers[p]};
        cr_assert_eq(mox_pool_create(&b->pool[p], &cfg), MOX_OK);
        for (mox_isa isa = 0; isa < MOX_ISA_COUNT; isa++) {
            if (mox_isa_present(isa)) {
                cr_assert_eq(mox_ops_cpu_create(&b->ops[b->n++], b->pool[p], isa), MOX_OK, "%s",
                             mox_err_last()->msg);
            }
        }
    }
}

static void teardown(bench *b)
{
    for (int i = 0; i < b->n; i++) {
        mox_ops_destroy(&b->ops[i]);
        cr_assert_null(b->ops[i]);
    }
    for (int p = 0; p < POOLS; p++) {
        mox_pool_destroy(&b->pool[p]);
    }
}

static void *take(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    cr_assert_not_null(p);
    memset(p, 0xa5, bytes);
    return p;
}

static float *random_floats(rng *r, size_t n, int temperament)
{
    float *x = take(n * sizeof *x);
    rng_fill(r, x, n, temperament);
    return x;
}

Test(ops, an_absent_instruction_set_is_refused)
{
    mox_ops *o = NULL;
    for (mox_isa isa = 0; isa <= MOX_ISA_COUNT; isa++) {
        if (!mox_isa_present(isa)) {
            cr_assert_eq(mox_ops_cpu_create(&o, NULL, isa), MOX_E_ISA);
            cr_assert_null(o);
        }
    }
    cr_assert(mox_isa_present(mox_isa_best()));
    cr_assert_str_eq(mox_isa_name(MOX_ISA_AVX512), "avx512");
}

Test(ops, rms_norm)
{
    bench b;
    setup(&b);
    rng r = {1};
    const uint32_t n = 9, d = 2304;
    float *x = random_floats(&r, n * d, WIDE), *w = random_floats(&r, d, FLAT);
    float *want = take(n * d * 4), *y = take(n * d * 4);
    memset(x + d, 0, d * 4); /* a row of zeros: eps alone */
    for (int i = 0; i < b.n; i++) {
        mox_rms_norm_args a = {.x = x, .w = w, .y = i == 0 ? want : y, .n = n, .d = d, .eps = 1e-5f};
        cr_assert_eq(b.ops[i]->rms_norm(b.ops[i], NULL, &a), MOX_OK);
        cr_assert(i == 0 || memcmp(want, y, n * d * 4) == 0, "%s", b.ops[i]->name);
    }
    for (uint32_t row = 0; row < n; row++) {
        double sum = 0;
        for (uint32_t c = 0; c < d; c++) {
            sum += (double)x[row * d + c] * x[row * d + c];
        }
        const double s = 1.0 / sqrt(sum / d + 1e-5);
        for (uint32_t c = 0; c < d; c++) {
            const double exact = x[row * d + c] * s * w[c];
            cr_assert_leq(fabs(want[row * d + c] - exact), fabs(exact) * 64 * 0x1p-24, "row %u", row);
        }
    }
    teardown(&b);
}

Test(ops, rope_turns_pairs)
{
    bench b;
    setup(&b);
    rng r = {2};
    const uint32_t n = 5, heads = 3, hd = 20, pairs = 8;
    for (int neox = 0; neox < 2; neox++) {
        float *x = random_floats(&r, n * heads * hd, FLAT), *y = take(n * heads * hd * 4);
        float cos_sin[5 * 8 * 2];
        for (uint32_t i = 0; i < n * pairs; i++) {
            cos_sin[2 * i] = (float)cos(0.3 * i);
            cos_sin[2 * i + 1] = (float)sin(0.3 * i);
        }
        for (int i = 0; i < b.n; i++) {
            memcpy(y, x, n * heads * hd * 4);
            mox_rope_args a = {y, cos_sin, n, heads, hd, pairs, neox == 1};
            cr_assert_eq(b.ops[i]->rope(b.ops[i], NULL, &a), MOX_OK);
            for (uint32_t v = 0; v < n * heads; v++) {
                for (uint32_t p = 0; p < pairs; p++) {
                    const uint32_t i0 = neox ? p : 2 * p, i1 = neox ? p + pairs : 2 * p + 1;
                    const float c = cos_sin[2 * (v / heads * pairs + p)];
                    const float s = cos_sin[2 * (v / heads * pairs + p) + 1];
                    const float *in = x + v * hd, *out = y + v * hd;
                    const float cx = in[i0] * c, sx = in[i1] * s, cy = in[i1] * c, sy = in[i0] * s;
                    cr_assert_eq(out[i0], cx - sx);
                    cr_assert_eq(out[i1], sy + cy);
                }
                for (uint32_t e = 2 * pairs; e < hd; e++) {
                    cr_assert_eq(y[v * hd + e], x[v * hd + e]); /* passed through */
                }
            }
        }
    }
    teardown(&b);
}

Test(ops, quantize_gives_every_row_and_names_the_bad_one)
{
    bench b;
    setup(&b);
    rng r = {3};
    const uint32_t n = 13, cols = 2880;
    float *x = random_floats(&r, n * 3000, WIDE);
    for (int kind = 0; kind < MOX_ACT_KINDS; kind++) {
        const size_t row_bytes = mox_act_row_bytes(kind, cols);
        uint8_t *want = take(n * row_bytes), *got = take(n * row_bytes);
        cr_assert_eq(row_bytes, kind == MOX_ACT_F32 ? 2880u * 4 : 12u * 320);
        for (int i = 0; i < b.n; i++) {
            mox_quantize_args a = {x, n, 3000, {kind, cols, row_bytes, i == 0 ? want : got}};
            cr_assert_eq(b.ops[i]->quantize(b.ops[i], NULL, &a), MOX_OK);
            cr_assert(i == 0 || memcmp(want, got, n * row_bytes) == 0);
        }
        if (kind == MOX_ACT_F32) {
            cr_assert_arr_eq(want + row_bytes, x + 3000, row_bytes);
        }
    }
    x[7 * 3000 + 2000] = INFINITY;
    x[4 * 3000] = NAN;
    for (int i = 0; i < b.n; i++) {
        const size_t row_bytes = mox_act_row_bytes(MOX_ACT_K, cols);
        mox_quantize_args a = {x, n, 3000, {MOX_ACT_K, cols, row_bytes, take(n * row_bytes)}};
        cr_assert_eq(b.ops[i]->quantize(b.ops[i], NULL, &a), MOX_E_NUMERIC);
        cr_assert_not_null(strstr(mox_err_last()->msg, "row 4 "), "%s", mox_err_last()->msg);
    }
    teardown(&b);
}

Test(ops, merge_add_and_swiglu)
{
    bench b;
    setup(&b);
    rng r = {4};
    const uint32_t n = 11, k = 3, d = 1411;
    float *e = random_floats(&r, n * k * d, WIDE), *w = random_floats(&r, n * k, FLAT);
    float *x = random_floats(&r, n * d, WIDE), *u = random_floats(&r, n * d, FLAT);
    float *want = take(3 * n * d * 4), *got = take(3 * n * d * 4);
    for (int i = 0; i < b.n; i++) {
        float *y = i == 0 ? want : got;
        memcpy(y, x, n * d * 4); /* merge in place */
        mox_merge_args m = {e, w, y, y, n, k, d};
        mox_swiglu_args g = {x, u, y + n * d, n, d};
        mox_add_args s = {x, u, y + 2 * n * d, n * d};
        cr_assert_eq(b.ops[i]->merge(b.ops[i], NULL, &m), MOX_OK);
        cr_assert_eq(b.ops[i]->swiglu(b.ops[i], NULL, &g), MOX_OK);
        cr_assert_eq(b.ops[i]->add(b.ops[i], NULL, &s), MOX_OK);
        cr_assert(i == 0 || memcmp(want, got, 3 * n * d * 4) == 0, "%s", b.ops[i]->name);
    }
    for (uint32_t i = 0; i < n * d; i++) {
        double sum = 0, size = fabs(x[i]);
        for (uint32_t j = 0; j < k; j++) {
            const double t = (double)w[i / d * k + j] * e[(i / d * k + j) * d + i % d];
            sum += t;
            size += fabs(t);
        }
        cr_assert_leq(fabs(want[i] - (x[i] + sum)), 4 * size * 0x1p-24);
        /* e^-x is infinite in f32 below -88.7: the true value, under 3e-37, becomes zero. */
        const double glu = x[i] / (1.0 + exp(-(double)x[i])) * u[i];
        cr_assert_leq(fabs(want[n * d + i] - glu), fabs(glu) * 4 * 0x1p-23 + 4e-37);
        cr_assert_eq(want[2 * n * d + i], x[i] + u[i]);
    }
    teardown(&b);
}

/* --- router --- */

static mox_err route(mox_ops *o, const float *scores, uint32_t n_experts, uint32_t k, uint32_t *ids,
                     float *weights)
{
    const float one = 1.0f; /* d = 1: the scores are the weights of the router */
    mox_router_args a = {&one, scores, 1, 1, n_experts, k, ids, weights, NULL, NULL, NULL};
    return o->router(o, NULL, &a);
}

Test(router, ties_zeros_and_nan)
{
    bench b;
    setup(&b);
    uint32_t ids[4];
    float w[4];
    for (int i = 0; i < b.n; i++) {
        mox_ops *o = b.ops[i];
        const float equal[6] = {1, 2, 2, -3, 2, 1};
        cr_assert_eq(route(o, equal, 6, 4, ids, w), MOX_OK);
        cr_assert(ids[0] == 1 && ids[1] == 2 && ids[2] == 4 && ids[3] == 0);
        cr_assert(w[0] == w[1] && w[1] == w[2] && w[2] > w[3]);
        const float zeros[4] = {-0.0f, 0.0f, -0.0f, 0.0f};
        cr_assert_eq(route(o, zeros, 4, 4, ids, w), MOX_OK);
        cr_assert(ids[0] == 0 && ids[1] == 1 && ids[2] == 2 && ids[3] == 3);
        cr_assert(w[0] == 0.25f && w[3] == 0.25f);
        const float far[4] = {-500, 0, -600, -500}; /* probabilities that are 0 are ranked too */
        cr_assert_eq(route(o, far, 4, 4, ids, w), MOX_OK);
        cr_assert(ids[0] == 1 && ids[1] == 0 && ids[2] == 2 && ids[3] == 3);
        cr_assert(w[0] == 1.0f && w[1] == 0.0f);
        const float bad[3][3] = {{1, NAN, 2}, {INFINITY, 0, 0}, {0, 0, -INFINITY}};
        for (int t = 0; t < 3; t++) {
            cr_assert_eq(route(o, bad[t], 3, 1, ids, w), MOX_E_NUMERIC);
        }
        cr_assert_eq(route(o, equal, 6, 7, ids, w), MOX_E_ARG);
    }
    teardown(&b);
}

Test(router, random_rows_match_double)
{
    bench b;
    setup(&b);
    rng r = {6};
    const uint32_t n = 17, d = 2304, ne = 37, k = 6;
    float *x = random_floats(&r, n * d, FLAT), *w = random_floats(&r, ne * d, FLAT);
    uint32_t *ids = take(2 * n * k * 4), *one_id = take(k * 4);
    float *weights = take(2 * n * k * 4), *one_w = take(k * 4);
    for (int i = 0; i < b.n; i++) {
        const size_t at = i == 0 ? 0 : n * k;
        mox_router_args a = {x, w, n, d, ne, k, ids + at, weights + at, NULL, NULL, NULL};
        cr_assert_eq(b.ops[i]->router(b.ops[i], NULL, &a), MOX_OK);
        cr_assert(i == 0 ||
                  (memcmp(ids, ids + at, n * k * 4) == 0 && memcmp(weights, weights + at, n * k * 4) == 0));
        for (uint32_t row = 0; row < n; row++) { /* alone: the experts are dealt to the workers */
            mox_router_args s = {x + row * d, w, 1, d, ne, k, one_id, one_w, NULL, NULL, NULL};
            cr_assert_eq(b.ops[i]->router(b.ops[i], NULL, &s), MOX_OK);
            cr_assert(memcmp(one_id, ids + row * k, k * 4) == 0 &&
                      memcmp(one_w, weights + row * k, k * 4) == 0);
        }
    }
    for (uint32_t row = 0; row < n; row++) {
        double s[37], chosen = 0;
        for (uint32_t e = 0; e < ne; e++) {
            s[e] = 0;
            for (uint32_t c = 0; c < d; c++) {
                s[e] += (double)w[e * d + c] * x[row * d + c];
            }
        }
        for (uint32_t j = 0; j < k; j++) {
            chosen += exp(s[ids[row * k + j]] - s[ids[row * k]]);
        }
        for (uint32_t j = 0; j < k; j++) {
            const uint32_t id = ids[row * k + j];
            cr_assert_float_eq(weights[row * k + j], exp(s[id] - s[ids[row * k]]) / chosen, 1e-4);
            for (uint32_t e = 0; e < ne; e++) {
                bool before = false;
                for (uint32_t t = 0; t <= j; t++) {
                    before |= ids[row * k + t] == e;
                }
                cr_assert(before || s[e] <= s[id] + 1e-3, "row %u: %u was passed over", row, e);
            }
        }
    }
    teardown(&b);
}

/* --- attention --- */

typedef struct scene {
    mox_kv_view kv;
    uint32_t n, n_heads;
    float *q, *k, *v;
    mox_place *place;
} scene;

/* Two sequences, interleaved in one list of rows; positions 0, 1, ... of each. */
static scene make_scene(rng *r, mox_kv_type type, uint32_t len, uint32_t heads, uint32_t kv_heads,
                        uint32_t hd)
{
    scene s = {.n = 2 * len, .n_heads = heads};
    const size_t bytes = mox_kv_row_bytes(type, hd) * 2 * kv_heads * (len + 3);
    s.kv = (mox_kv_view){type, take(bytes), take(bytes), 2, len + 3, kv_heads, hd, 0};
    s.q = random_floats(r, (size_t)s.n * heads * hd, FLAT);
    s.k = random_floats(r, (size_t)s.n * kv_heads * hd, FLAT);
    s.v = random_floats(r, (size_t)s.n * kv_heads * hd, FLAT);
    s.place = take(s.n * sizeof *s.place);
    for (uint32_t i = 0; i < s.n; i++) {
        s.place[i] = (mox_place){i % 2, i / 2};
    }
    return s;
}

/* Rows [from, to): append their keys, then attend. */
static void attend(mox_ops *o, const scene *s, uint32_t from, uint32_t to, float *out)
{
    const size_t kv_row = (size_t)s->kv.n_kv_heads * s->kv.head_dim,
                 q_row = (size_t)s->n_heads * s->kv.head_dim;
    static _Alignas(64) uint8_t scratch[1 << 16];
    cr_assert_leq(mox_attention_scratch_bytes(s->kv.n_ctx, s->kv.head_dim, 5), sizeof scratch);
    mox_kv_append_args p = {s->kv, s->k + from * kv_row, s->v + from * kv_row, s->place + from, to - from};
    cr_assert_eq(o->kv_append(o, NULL, &p), MOX_OK, "%s", mox_err_last()->msg);
    mox_attention_args a = {.kv = s->kv,
                            .q = s->q + from * q_row,
                            .out = out + from * q_row,
                            .place = s->place + from,
                            .n = to - from,
                            .n_heads = s->n_heads,
                            .scale = 0.7f,
                            .scratch = scratch};
    cr_assert_eq(o->attention(o, NULL, &a), MOX_OK);
}

static float kv_value(const mox_kv_view *kv, const uint8_t *data, uint32_t seq, uint32_t head, uint32_t pos,
                      uint32_t i)
{
    const size_t row_bytes = mox_kv_row_bytes(kv->type, kv->head_dim);
    const uint8_t *row = data + (((size_t)seq * kv->n_kv_heads + head) * kv->n_ctx + pos) * row_bytes;
    float f;
    uint16_t h;
    if (kv->type == MOX_KV_F32) {
        memcpy(&f, row + 4 * i, 4);
        return f;
    }
    memcpy(&h, kv->type == MOX_KV_F16 ? row + 2 * i : row + kv->head_dim + i / 32 * 2, 2);
    const int e = h >> 10 & 31, man = h & 1023;
    f = ldexpf((float)(e ? man + 1024 : man), (e ? e : 1) - 25) * (h >> 15 ? -1.0f : 1.0f);
    return kv->type == MOX_KV_F16 ? f : f * (float)(int8_t)row[i];
}

/* Row i against softmax in double over what the cache holds. */
static void check_row(const scene *s, const float *out, uint32_t i)
{
    const uint32_t hd = s->kv.head_dim, group = s->n_heads / s->kv.n_kv_heads, len = s->place[i].pos + 1;
    double *p = take(len * sizeof *p);
    for (uint32_t h = 0; h < s->n_heads; h++) {
        const float *q = s->q + ((size_t)i * s->n_heads + h) * hd,
                    *o = out + ((size_t)i * s->n_heads + h) * hd;
        double sum = 0;
        for (uint32_t t = 0; t < len; t++) {
            double dot = 0;
            for (uint32_t c = 0; c < hd; c++) {
                dot += (double)q[c] * kv_value(&s->kv, s->kv.k, s->place[i].seq, h / group, t, c);
            }
            p[t] = exp(0.7f * dot); /* small scores: no maximum needed in double */
            sum += p[t];
        }
        for (uint32_t c = 0; c < hd; c++) {
            double exact = 0;
            for (uint32_t t = 0; t < len; t++) {
                exact += p[t] / sum * kv_value(&s->kv, s->kv.v, s->place[i].seq, h / group, t, c);
            }
            cr_assert_float_eq(o[c], exact, 2e-5, "row %u head %u: %g, not %g", i, h, o[c], exact);
        }
    }
    free(p);
}

Test(attention, same_bits_for_any_split_isa_and_thread_count)
{
    bench b;
    setup(&b);
    rng r = {8};
    static const uint32_t shape[4][3] = {
        {4, 2, 64}, {3, 1, 32}, {6, 6, 96}, {8, 2, 128}}; /* heads, kv heads, dim */
    const uint32_t len = 270;                             /* beyond a chunk of 256 */
    for (int c = 0; c < 4; c++) {
        for (mox_kv_type type = 0; type < MOX_KV_TYPES; type++) {
            scene s = make_scene(&r, type, len, shape[c][0], shape[c][1], shape[c][2]);
            const size_t bytes = (size_t)s.n * s.n_heads * s.kv.head_dim * 4;
            float *want = take(bytes), *got = take(bytes);
            attend(b.ops[0], &s, 0, s.n, want);
            for (uint32_t i = 0; i < s.n; i += 97) {
                check_row(&s, want, i);
            }
            check_row(&s, want, s.n - 1);
            for (int i = 1; i < b.n; i++) { /* another split for each table: 1 row, 7, 64, all, ... */
                const uint32_t steps[5] = {s.n, 1, 7, 64, 255};
                memset(s.kv.k, 0xff, 64); /* stale bytes are overwritten by the first rows */
                memset(got, 0xff, bytes);
                for (uint32_t at = 0; at < s.n; at += steps[i % 5]) {
                    attend(b.ops[i], &s, at, at + steps[i % 5] < s.n ? at + steps[i % 5] : s.n, got);
                }
                cr_assert(memcmp(want, got, bytes) == 0, "%s, steps of %u", b.ops[i]->name, steps[i % 5]);
            }
            free(want);
            free(got);
        }
    }
    teardown(&b);
}

Test(attention, a_head_dim_that_is_no_multiple_of_the_vector)
{
    bench b;
    setup(&b);
    rng r = {9};
    scene s = make_scene(&r, MOX_KV_F16, 40, 2, 1, 45);
    const size_t bytes = (size_t)s.n * s.n_heads * s.kv.head_dim * 4;
    float *want = take(bytes), *got = take(bytes);
    attend(b.ops[0], &s, 0, s.n, want);
    check_row(&s, want, s.n - 1);
    for (int i = 1; i < b.n; i++) {
        attend(b.ops[i], &s, 0, s.n, got);
        cr_assert(memcmp(want, got, bytes) == 0, "%s", b.ops[i]->name);
    }
    teardown(&b);
}

Test(attention, large_scores_do_not_overflow)
{
    bench b;
    setup(&b);
    rng r = {10};
    scene s = make_scene(&r, MOX_KV_F32, 280, 1, 1, 32);
    float *out = take((size_t)s.n * 32 * 4);
    for (uint32_t i = 0; i < s.n * 32; i++) {
        s.q[i] *= 1e3f;
        s.k[i] *= 1e3f;
    }
    for (int t = 0; t < b.n; t++) {
        attend(b.ops[t], &s, 0, s.n, out);
        for (uint32_t i = 0; i < s.n * 32; i++) {
            cr_assert(fabsf(out[i]) <= 1.0f); /* a mean of values in +-1, and no NaN */
        }
    }
    teardown(&b);
}

Test(kv, append_names_the_row_that_does_not_fit)
{
    bench b;
    setup(&b);
    rng r = {12};
    scene s = make_scene(&r, MOX_KV_F16, 6, 1, 1, 32);
    s.v[9 * 32 + 5] = 70000.0f;
    s.k[11 * 32] = NAN;
    for (int i = 0; i < b.n; i++) {
        mox_kv_append_args a = {s.kv, s.k, s.v, s.place, s.n};
        cr_assert_eq(b.ops[i]->kv_append(b.ops[i], NULL, &a), MOX_E_NUMERIC);
        cr_assert_not_null(strstr(mox_err_last()->msg, "row 9 "), "%s", mox_err_last()->msg);
    }
    cr_assert_eq(mox_kv_row_bytes(MOX_KV_Q8_0, 128), 136);
    cr_assert_eq(mox_kv_row_bytes(MOX_KV_Q8_0, 48), 0);
    cr_assert_eq(mox_kv_row_bytes(MOX_KV_F16, 48), 96);
    cr_assert_str_eq(mox_kv_type_name(MOX_KV_Q8_0), "q8_0");
    teardown(&b);
}
