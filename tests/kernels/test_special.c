/* The operations that only some models have: right values against double precision, the same bits on every instruction
 * set and number of threads, and what they must agree with elsewhere (plain attention, a matrix by itself).
 */
#include "kernels/glu.h"
#include "kernels/ops.h"
#include "kernels/rand.h"
#include "kernels/vec.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct table {
    mox_pool *pool;
    mox_ops *ops;
} table;

static table open_table(mox_isa isa, uint32_t workers)
{
    table t;
    const mox_pool_cfg cfg = {.n_workers = workers};
    cr_assert_eq(mox_pool_create(&t.pool, &cfg), MOX_OK);
    cr_assert_eq(mox_ops_cpu_create(&t.ops, t.pool, isa), MOX_OK, "%s", mox_err_last()->msg);
    return t;
}

static void close_table(table *t)
{
    mox_ops_destroy(&t->ops);
    mox_pool_destroy(&t->pool);
}

static float *floats(rng *r, size_t n)
{
    float *x = aligned_alloc(64, (n * sizeof *x + 63) / 64 * 64);
    cr_assert_not_null(x);
    rng_fill(r, x, n, FLAT);
    return x;
}

Test(special, layer_norm_centres_and_scales)
{
    enum { N = 3, D = 1500 };
    rng r = {11};
    float *x = floats(&r, N * D), *w = floats(&r, D), *bias = floats(&r, D), *y = floats(&r, N * D);
    float *first = floats(&r, N * D);
    for (mox_isa isa = 0; isa < MOX_ISA_COUNT; isa++) {
        if (!mox_isa_present(isa)) {
            continue;
        }
        table t = open_table(isa, 1 + isa % 3);
        mox_layer_norm_args a = {.x = x, .w = w, .bias = bias, .y = y, .n = N, .d = D, .eps = 1e-5f};
        cr_assert_eq(t.ops->layer_norm(t.ops, NULL, &a), MOX_OK);
        if (isa == 0) {
            memcpy(first, y, N * D * sizeof *y);
        }
        cr_expect_eq(memcmp(first, y, N * D * sizeof *y), 0, "%s", mox_isa_name(isa));
        close_table(&t);
    }
    for (int i = 0; i < N; i++) {
        double mean = 0.0, ss = 0.0;
        for (int c = 0; c < D; c++) {
            mean += (double)x[i * D + c] / D;
        }
        for (int c = 0; c < D; c++) {
            ss += pow((double)x[i * D + c] - mean, 2) / D;
        }
        for (int c = 0; c < D; c++) {
            double want = ((double)x[i * D + c] - mean) / sqrt(ss + 1e-5) * (double)w[c] + (double)bias[c];
            cr_assert_float_eq((double)y[i * D + c], want, 1e-5);
        }
    }
    free(x), free(w), free(bias), free(y), free(first);
}

Test(special, activations_have_the_same_bits_however_compiled)
{
    enum { N = 1003 };
    rng r = {12};
    float *gate = floats(&r, N), *up = floats(&r, N), *a = floats(&r, N), *b = floats(&r, N);
    for (int i = 0; i < N; i++) {
        gate[i] *= 20.0f;
        up[i] *= 20.0f;
    }
    for (mox_glu g = MOX_GLU_GELU; g < MOX_GLU_KINDS; g++) {
        mox_glu_plain.of[g](gate, up, a, N);
        mox_glu_row(g, mox_vec_of(mox_isa_best()), gate, up, b, N);
        cr_expect_eq(memcmp(a, b, N * sizeof *a), 0, "activation %d", (int)g);
    }
    for (int i = 0; i < N; i++) {
        double x = (double)gate[i], g = fmin(x, 7.0), u = fmax(fmin((double)up[i], 7.0), -7.0);
        double limited = g / (1.0 + exp(-1.702 * g)) * (u + 1.0);
        cr_assert_float_eq((double)a[i], limited, 1e-5 * (1.0 + fabs(limited)));
        mox_glu_row(MOX_GLU_GELU, mox_vec_of(MOX_ISA_SCALAR), gate + i, up + i, b, 1);
        double gelu = 0.5 * x * (1.0 + tanh(sqrt(2.0 / 3.14159265358979) * (x + 0.044715 * x * x * x)));
        cr_assert_float_eq((double)b[0], gelu * (double)up[i], 1e-5 * (1.0 + fabs(gelu * (double)up[i])));
    }
    free(gate), free(up), free(a), free(b);
}

Test(special, maps_do_what_they_say)
{
    float x[] = {-9.0f, -1.0f, 0.0f, 2.5f, 40.0f, 0.5f}, by[] = {2.0f, -1.0f};
    table t = open_table(MOX_ISA_SCALAR, 1);
    float y[6];
    memcpy(y, x, sizeof y);
    mox_map_args clamp = {.kind = MOX_MAP_CLAMP, .x = y, .a = 2.0f, .n = 2, .d = 3};
    cr_assert_eq(t.ops->map(t.ops, NULL, &clamp), MOX_OK);
    cr_assert(y[0] == -2.0f && y[1] == -1.0f && y[3] == 2.0f && y[5] == 0.5f);
    memcpy(y, x, sizeof y);
    mox_map_args cap = {.kind = MOX_MAP_SOFTCAP, .x = y, .a = 5.0f, .n = 2, .d = 3};
    cr_assert_eq(t.ops->map(t.ops, NULL, &cap), MOX_OK);
    for (int i = 0; i < 6; i++) {
        cr_assert_float_eq((double)y[i], 5.0 * tanh((double)x[i] / 5.0), 1e-6 * 5.0);
    }
    memcpy(y, x, sizeof y);
    mox_map_args rows = {.kind = MOX_MAP_ROWS, .x = y, .by = by, .n = 2, .d = 3};
    cr_assert_eq(t.ops->map(t.ops, NULL, &rows), MOX_OK);
    cr_assert(y[0] == -18.0f && y[3] == -2.5f);
    close_table(&t);
}

/* Scores by hand: d = 1, so the router's weights are the scores. */
static void route(const mox_router_rule *rule, const float *scores, const float *select, uint32_t n,
                  uint32_t k, uint32_t *ids, float *weights)
{
    const float one = 1.0f;
    table t = open_table(MOX_ISA_SCALAR, 1);
    mox_router_args a = {.x = &one,
                         .w = scores,
                         .n = 1,
                         .d = 1,
                         .n_experts = n,
                         .k = k,
                         .ids = ids,
                         .weights = weights,
                         .rule = rule,
                         .select_bias = select};
    cr_assert_eq(t.ops->router(t.ops, NULL, &a), MOX_OK);
    close_table(&t);
}

Test(special, routers_by_rule)
{
    const float scores[8] = {0.1f, 2.0f, -1.0f, 1.0f, 1.9f, 0.0f, 0.5f, -2.0f};
    const float select[8] = {0, 0, 5.0f, 0, 0, 0, 0, 0};
    uint32_t ids[8];
    float w[8];
    /* the bias chooses and does not weigh */
    mox_router_rule sigmoid = {.gating = MOX_GATING_SIGMOID, .not_normalised = true, .scale = 2.0f};
    route(&sigmoid, scores, select, 8, 2, ids, w);
    cr_assert(ids[0] == 2 && ids[1] == 1);
    cr_assert_float_eq((double)w[0], 2.0 / (1.0 + exp(1.0)), 1e-6);
    /* groups of two: by their best, {4, 5} and {0, 1}; by their sum, {0, 1} and {4, 5} need not win: here {2, 3} does not */
    mox_router_rule groups = {.n_groups = 4, .n_groups_used = 1, .not_normalised = true};
    route(&groups, scores, NULL, 8, 2, ids, w);
    cr_assert(ids[0] == 1 && ids[1] == 0, "%u %u", ids[0], ids[1]);
    mox_router_rule by_sum = {.gating = MOX_GATING_SIGMOID, .n_groups = 4, .n_groups_used = 2};
    const float close[8] = {3.0f, -9.0f, 1.0f, 1.0f, 1.2f, 1.1f, -9.0f, -9.0f};
    route(&by_sum, close, NULL, 8, 2, ids, w);
    cr_assert(ids[0] == 4 && ids[1] == 5, "%u %u: two good ones beat one better", ids[0], ids[1]);
    cr_assert_float_eq((double)w[0] + (double)w[1], 1.0, 1e-6);
    /* softmax over the chosen; sigmoid of the chosen */
    mox_router_rule top = {.gating = MOX_GATING_SOFTMAX_TOP};
    route(&top, scores, NULL, 8, 2, ids, w);
    cr_assert(ids[0] == 1 && ids[1] == 4);
    cr_assert_float_eq((double)w[0], 1.0 / (1.0 + exp(-0.1)), 1e-6);
    /* the mixer: 1.9 is too far from 2 to count (5 % > 2 %), so each is alone */
    mox_router_rule mixer = {.gating = MOX_GATING_SPARSE_MIXER};
    route(&mixer, scores, NULL, 8, 2, ids, w);
    cr_assert(ids[0] == 1 && ids[1] == 4 && w[0] == 1.0f && w[1] == 1.0f);
}

enum { HEADS = 6, KV_HEADS = 2, DIM = 48, ROWS = 600 };

typedef struct scene {
    float *q, *k, *v, *out;
    mox_place *place;
    mox_kv_view kv;
} scene;

static scene make_scene(table *t)
{
    rng r = {21};
    scene s = {.q = floats(&r, (size_t)ROWS * HEADS * DIM), .k = floats(&r, (size_t)ROWS * KV_HEADS * DIM)};
    s.v = floats(&r, (size_t)ROWS * KV_HEADS * DIM);
    s.out = floats(&r, (size_t)ROWS * HEADS * DIM);
    s.place = calloc(ROWS, sizeof *s.place);
    s.kv =
        (mox_kv_view){.type = MOX_KV_F32, .n_seq = 1, .n_ctx = ROWS, .n_kv_heads = KV_HEADS, .head_dim = DIM};
    s.kv.k = calloc((size_t)ROWS * KV_HEADS * DIM, 4);
    s.kv.v = calloc((size_t)ROWS * KV_HEADS * DIM, 4);
    for (uint32_t i = 0; i < ROWS; i++) {
        s.place[i].pos = i;
    }
    mox_kv_append_args a = {.kv = s.kv, .k = s.k, .v = s.v, .place = s.place, .n = ROWS};
    cr_assert_eq(t->ops->kv_append(t->ops, NULL, &a), MOX_OK);
    return s;
}

static mox_attention_args args_of(const scene *s, void *scratch)
{
    return (mox_attention_args){.kv = s->kv,
                                .q = s->q,
                                .out = s->out,
                                .place = s->place,
                                .n = ROWS,
                                .n_heads = HEADS,
                                .scale = 0.4f,
                                .scratch = scratch};
}

/* One element in double, from the definition. */
static double want_of(const scene *s, const mox_attention_args *a, uint32_t row, uint32_t head, uint32_t i)
{
    uint32_t kv_head = head / (HEADS / KV_HEADS),
             first = a->window && row >= a->window ? row - a->window + 1 : 0;
    first = a->chunk ? row - row % a->chunk : first;
    double sum = a->sinks ? exp((double)a->sinks[head]) : 0.0, o = 0.0;
    for (uint32_t t = first; t <= row; t++) {
        double score = 0.0;
        for (uint32_t c = 0; c < DIM; c++) {
            score += (double)s->q[((size_t)row * HEADS + head) * DIM + c] *
                     (double)s->k[((size_t)t * KV_HEADS + kv_head) * DIM + c];
        }
        score *= (double)a->scale;
        score = a->softcap != 0.0f ? (double)a->softcap * tanh(score / (double)a->softcap) : score;
        sum += exp(score);
        o += exp(score) * (double)s->v[((size_t)t * KV_HEADS + kv_head) * DIM + i];
    }
    return o / sum;
}

Test(special, attention_with_windows_blocks_caps_and_sinks)
{
    const float sinks[HEADS] = {0.5f, -1.0f, 3.0f, 0.0f, 1.0f, 2.0f};
    table t = open_table(mox_isa_best(), 3), plain = open_table(MOX_ISA_SCALAR, 1);
    scene s = make_scene(&t);
    void *scratch = aligned_alloc(64, (mox_attention_scratch_bytes(ROWS, DIM, 3) + 63) / 64 * 64);
    float *again = calloc((size_t)ROWS * HEADS * DIM, sizeof *again);
    mox_attention_args cases[5];
    for (int i = 0; i < 5; i++) {
        cases[i] = args_of(&s, scratch);
    }
    cases[0].window = 100;
    cases[1].chunk = 170;
    cases[2].softcap = 1.5f;
    cases[3].sinks = sinks;
    cases[4].sinks = sinks;
    cases[4].window = 300;
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(t.ops->attention(t.ops, NULL, &cases[i]), MOX_OK);
        for (uint32_t row = 0; row < ROWS; row += 37) {
            for (uint32_t head = 0; head < HEADS; head++) {
                double got = (double)s.out[((size_t)row * HEADS + head) * DIM + 7];
                cr_assert_float_eq(got, want_of(&s, &cases[i], row, head, 7), 2e-5, "case %d, row %u", i,
                                   row);
            }
        }
        cases[i].out = again;
        cr_assert_eq(plain.ops->attention(plain.ops, NULL, &cases[i]), MOX_OK);
        cr_expect_eq(memcmp(s.out, again, (size_t)ROWS * HEADS * DIM * sizeof *again), 0, "case %d", i);
    }
    /* a window that hides nothing is plain attention, to the bit */
    mox_attention_args wide = args_of(&s, scratch), none = args_of(&s, scratch);
    wide.window = ROWS;
    none.out = again;
    cr_assert_eq(t.ops->attention(t.ops, NULL, &wide), MOX_OK);
    cr_assert_eq(t.ops->attention(t.ops, NULL, &none), MOX_OK);
    cr_expect_eq(memcmp(s.out, again, (size_t)ROWS * HEADS * DIM * sizeof *again), 0);
    close_table(&t);
    close_table(&plain);
    free(scratch), free(again), free(s.q), free(s.k), free(s.v), free(s.out), free(s.place), free(s.kv.k),
        free(s.kv.v);
}

Test(special, a_matrix_for_each_head_is_a_matrix_by_itself)
{
    enum { N = 7, H = 3, R = 37, C = 300 };
    rng r = {31};
    float *w = floats(&r, (size_t)H * R * C), *x = floats(&r, (size_t)N * H * C),
          *y = floats(&r, (size_t)N * H * R);
    float *one = floats(&r, (size_t)N * R);
    size_t each = mox_mat_bytes(MOX_TYPE_F32, R, C);
    uint8_t *data = aligned_alloc(64, (H * each + 63) / 64 * 64);
    mox_mat mats[H];
    for (int h = 0; h < H; h++) {
        mats[h] = mox_mat_dense(MOX_TYPE_F32, R, C, data + (size_t)h * each);
        mox_mat_repack_rows(&mats[h], 0, R, (const uint8_t *)(w + (size_t)h * R * C));
    }
    table t = open_table(mox_isa_best(), 2);
    mox_acts acts = {.kind = MOX_ACT_F32, .n_cols = C, .row_bytes = C * sizeof(float), .data = x};
    mox_head_mul_args a = {.w = mats, .x = acts, .y = y, .n = N, .n_heads = H};
    cr_assert_eq(t.ops->head_mul(t.ops, NULL, &a), MOX_OK);
    for (int h = 0; h < H; h++) {
        for (int i = 0; i < N; i++) {
            mox_acts row = acts;
            row.data = x + ((size_t)i * H + h) * C;
            mox_mat_mul_args m = {.w = &mats[h], .x = row, .y = one, .y_stride = R, .n = 1};
            cr_assert_eq(t.ops->mat_mul(t.ops, NULL, &m), MOX_OK);
            cr_assert_eq(memcmp(one, y + ((size_t)i * H + h) * R, R * sizeof *one), 0, "head %d, row %d", h,
                         i);
        }
    }
    close_table(&t);
    free(w), free(x), free(y), free(one), free(data);
}
