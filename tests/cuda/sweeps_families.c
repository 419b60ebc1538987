/* Sweeps of what only some models have (sweeps.h). */
#include "cuda/sweeps.h"

#include "cuda/device.h"
#include "kernels/mat_fixture.h"
#include "kernels/mat_mul.h"
#include "kernels/rand.h"
#include "kernels/vec.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_FLOATS = 1 << 16 };

static float in[MAX_FLOATS], in2[MAX_FLOATS], in3[MAX_FLOATS], want[MAX_FLOATS], got[MAX_FLOATS];

static mox_pool *pool(void)
{
    static mox_pool *p;
    if (p == NULL) {
        p = fx_pool(1);
    }
    return p;
}

static float *up(const float *x, size_t n)
{
    return device_copy(x, n * sizeof *x);
}

/* What the device made of it is what the twin made of it. */
static bool agrees(const float *y, size_t n)
{
    device_get(got, y, n * sizeof *got);
    return memcmp(got, want, n * sizeof *got) == 0;
}

const char *sweep_layer_norm(void)
{
    static const uint32_t widths[] = {1, 33, 1024, 1025, 2304, 4100};
    rng r = {21};
    for (uint32_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const uint32_t d = widths[i], n = 1 + i % 3;
        rng_fill(&r, in, (size_t)n * d, (int)i % TEMPERAMENTS);
        rng_fill(&r, in2, d, FLAT);
        rng_fill(&r, in3, d, FLAT);
        mox_layer_norm_args a = {in, in2, i % 2 == 0 ? in3 : NULL, want, n, d, 1e-5F}, g = a;
        g.x = up(in, (size_t)n * d), g.w = up(in2, d), g.bias = i % 2 == 0 ? up(in3, d) : NULL;
        g.y = device_new((size_t)n * d * sizeof *got);
        if (mox_layer_norm_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(layer_norm, &g) != MOX_OK ||
            !agrees(g.y, (size_t)n * d)) {
            return sweep_differs("layer_norm: %u rows of %u", n, d);
        }
    }
    return NULL;
}

static const char *map_case(uint32_t i, rng *r)
{
    const uint32_t n = 1 + i % 3, d = 70 + 90 * i;
    const size_t count = (size_t)n * d;
    rng_fill(r, in, count, (int)i % TEMPERAMENTS);
    rng_fill(r, in2, count, FLAT);
    for (mox_map_kind kind = MOX_MAP_SCALE; kind <= MOX_MAP_GATE; kind++) {
        memcpy(want, in, count * sizeof *in);
        mox_map_args a = {kind, want, 1.75F, in2, n, d}, g = a;
        g.x = up(in, count), g.by = up(in2, count);
        if (mox_map_cpu(pool(), &a) != MOX_OK || DEVICE(map, &g) != MOX_OK || !agrees(g.x, count)) {
            return sweep_differs("map %d: %u rows of %u", (int)kind, n, d);
        }
    }
    mox_gate_args a = {in, in2, want, 3, n, d}, g = a;
    memset(want, 0, (size_t)n * 3 * sizeof *want);
    g.x = up(in, count), g.w = up(in2, count), g.y = up(want, (size_t)n * 3);
    if (mox_gate_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(gate, &g) != MOX_OK ||
        !agrees(g.y, (size_t)n * 3)) {
        return sweep_differs("gate: %u rows of %u", n, d);
    }
    return NULL;
}

static const char *rows_case(uint32_t i, rng *r)
{
    const uint32_t n = 1 + i % 3, k = 1 + i % 4, d = 20 + 31 * i, ranks = k + i % 2;
    rng_fill(r, in, (size_t)n * d, FLAT);
    rng_fill(r, in2, (size_t)n * (k + 1), FLAT);
    const mox_part_args part = {in, want, n, d, i, d - 2 * i};
    mox_part_args gp = part;
    gp.x = up(in, (size_t)n * d), gp.y = device_new(n * part.len * sizeof *got);
    if (mox_part_cpu(&part) != MOX_OK || DEVICE(part, &gp) != MOX_OK || !agrees(gp.y, (size_t)n * part.len)) {
        return sweep_differs("part: %u of %u", part.len, d);
    }
    const mox_weigh_args weigh = {in, in2, want, n, k, d};
    mox_weigh_args gw = weigh;
    gw.x = gp.x, gw.weights = up(in2, (size_t)n * k), gw.y = device_new((size_t)n * k * d * sizeof *got);
    if (mox_weigh_cpu(&weigh) != MOX_OK || DEVICE(weigh, &gw) != MOX_OK || !agrees(gw.y, (size_t)n * k * d)) {
        return sweep_differs("weigh: %u rows, %u ranks", n, k);
    }
    memcpy(want, in2, (size_t)n * ranks * sizeof *want);
    mox_ranks_args ranks_of = {i % 3 == 0 ? NULL : in,   want, n, k, ranks, i % 4 == 1,
                               i % 2 == 0 ? 1.0F : 0.22F},
                   gr = ranks_of;
    gr.y = up(in2, (size_t)n * ranks), gr.weights = ranks_of.weights ? gp.x : NULL;
    if (mox_ranks_cpu(&ranks_of) != MOX_OK || DEVICE(ranks, &gr) != MOX_OK ||
        !agrees(gr.y, (size_t)n * ranks)) {
        return sweep_differs("ranks: %u of %u", k, ranks);
    }
    return NULL;
}

const char *sweep_between(void)
{
    rng r = {22};
    const char *bad = NULL;
    for (uint32_t i = 0; i < 6 && bad == NULL; i += sweep_step(5)) {
        bad = map_case(i, &r);
        bad = bad ? bad : rows_case(i, &r);
    }
    return bad;
}

const char *sweep_router_rule(void)
{
    enum { MAX = 3 * 12 };
    static const mox_router_rule rules[] = {
        {MOX_GATING_SOFTMAX, true, 0.0F, 0, 0},      {MOX_GATING_SOFTMAX, false, 2.5F, 4, 2},
        {MOX_GATING_SIGMOID, false, 2.5F, 8, 3},     {MOX_GATING_SIGMOID, true, 0.0F, 0, 0},
        {MOX_GATING_SOFTMAX_TOP, false, 0.0F, 0, 0}, {MOX_GATING_SIGMOID_TOP, false, 0.0F, 0, 0},
        {MOX_GATING_SPARSE_MIXER, false, 0.0F, 0, 0}};
    static const uint32_t experts[] = {8, 40, 64, 256};
    uint32_t ids[2][MAX];
    rng r = {23};
    for (uint32_t i = 0; i < 4 * sizeof rules / sizeof *rules; i += sweep_step(5)) {
        const uint32_t e = experts[i % 4], d = 40 + i, n = 1 + i % 3, k = 1 + i % 6;
        rng_fill(&r, in, (size_t)n * d, FLAT);
        rng_fill(&r, in2, (size_t)e * d, FLAT);
        rng_fill(&r, in3, (size_t)2 * e, FLAT);
        for (uint32_t t = 1; t < e && i % 2 == 1; t += 3) { /* equal scores: the lower id first */
            memcpy(in2 + (size_t)t * d, in2, d * sizeof *in2);
            in3[t] = in3[0], in3[e + t] = in3[e];
        }
        mox_router_args a = {in, in2, n, d, e, k, ids[0], want, &rules[i / 4], NULL, NULL};
        a.bias = i % 3 == 1 ? in3 : NULL;
        a.select_bias = i % 2 == 0 ? in3 + e : NULL;
        mox_router_args g = a;
        g.x = up(in, (size_t)n * d), g.w = up(in2, (size_t)e * d);
        g.bias = a.bias ? up(a.bias, e) : NULL, g.select_bias = a.select_bias ? up(a.select_bias, e) : NULL;
        g.ids = device_new(n * k * sizeof *g.ids), g.weights = device_new(n * k * sizeof *g.weights);
        if (mox_router_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(router, &g) != MOX_OK ||
            !agrees(g.weights, (size_t)n * k)) {
            return sweep_differs("router: rule %u, %u of %u experts", i / 4, k, e);
        }
        device_get(ids[1], g.ids, n * k * sizeof *g.ids);
        if (memcmp(ids[0], ids[1], n * k * sizeof *g.ids) != 0) {
            return sweep_differs("router: ids of rule %u, %u of %u experts", i / 4, k, e);
        }
    }
    return device_bad_row() == NO_BAD_ROW ? NULL : "router: a bad row";
}

typedef struct special_case {
    uint32_t heads, kv_heads, head_dim, v_dim, window, chunk;
    float softcap;
    bool sinks, latent;
} special_case;

static const char *special_run(const special_case *c, mox_kv_type type, rng *r)
{
    enum { CTX = 530, N = 4 };
    const mox_place place[N] = {{0, 0}, {0, 300}, {1, 529}, {0, 257}};
    mox_kv_view kv = {type, NULL, NULL, 2, CTX, c->kv_heads, c->head_dim, c->v_dim};
    const size_t k_bytes = 2 * (size_t)c->kv_heads * CTX * mox_kv_row_bytes(type, c->head_dim),
                 v_bytes = 2 * (size_t)c->kv_heads * CTX * mox_kv_row_bytes(type, c->v_dim);
    kv.k = calloc(1, k_bytes), kv.v = calloc(1, v_bytes);
    mox_kv_view dev = kv;
    dev.k = device_copy(kv.k, k_bytes), dev.v = device_copy(kv.v, v_bytes);
    const char *bad = NULL;
    for (uint32_t p = 0; p < 2 * CTX && bad == NULL;
         p += p % 53 == 0 ? 1 : sweep_step(4) * 13) { /* the rest stays zero */
        const mox_place at = {p / CTX, p % CTX};
        rng_fill(r, in, (size_t)c->kv_heads * c->head_dim, FLAT);
        rng_fill(r, in2, (size_t)c->kv_heads * c->v_dim, FLAT);
        mox_kv_append_args a = {kv, in, in2, &at, 1}, g = a;
        g.kv = dev, g.k = up(in, (size_t)c->kv_heads * c->head_dim),
        g.v = up(in2, (size_t)c->kv_heads * c->v_dim);
        g.place = device_copy(&at, sizeof at);
        bad = mox_kv_append_cpu(pool(), &mox_vec_ref, &a) == MOX_OK && DEVICE(kv_append, &g) == MOX_OK
                  ? NULL
                  : "kv_append failed";
    }
    rng_fill(r, in, (size_t)N * c->heads * c->head_dim, FLAT);
    rng_fill(r, in2, (size_t)N * c->heads * c->v_dim, FLAT);
    rng_fill(r, in3, c->heads, FLAT);
    mox_attention_args a = {.kv = kv, .q = in, .out = want, .place = place, .n = N, .n_heads = c->heads};
    a.scale = 0.25F, a.window = c->window, a.chunk = c->chunk, a.softcap = c->softcap;
    a.sinks = c->sinks ? in3 : NULL, a.q_latent = c->latent ? in2 : NULL;
    const size_t count = (size_t)N * c->heads * c->v_dim;
    mox_attention_args g = a;
    g.kv = dev, g.q = up(in, (size_t)N * c->heads * c->head_dim), g.place = device_copy(place, sizeof place);
    g.sinks = c->sinks ? up(in3, c->heads) : NULL, g.q_latent = c->latent ? up(in2, count) : NULL;
    g.out = device_new(count * sizeof *got);
    a.scratch = calloc(1, mox_attention_scratch_bytes(CTX, c->head_dim, 1) + 64);
    if (bad == NULL && (mox_attention_cpu(pool(), &mox_vec_ref, &a) != MOX_OK ||
                        DEVICE(attention, &g) != MOX_OK || !agrees(g.out, count))) {
        bad = sweep_differs("attention: window %u, blocks of %u, cap %g, %s, %s, %s", c->window, c->chunk,
                            (double)c->softcap, c->sinks ? "sinks" : "no sinks",
                            c->latent ? "compressed" : "plain", mox_kv_type_name(type));
    }
    free(a.scratch), free(kv.k), free(kv.v);
    return bad;
}

const char *sweep_attention_special(void)
{
    static const special_case cases[] = {
        {4, 2, 32, 32, 17, 0, 0.0F, false, false},  {2, 1, 64, 64, 300, 0, 0.0F, true, false},
        {3, 3, 32, 32, 0, 200, 0.0F, false, false}, {2, 2, 32, 64, 0, 0, 30.0F, false, false},
        {4, 1, 32, 96, 0, 0, 0.0F, false, true},    {2, 1, 32, 32, 256, 0, 50.0F, true, true},
    };
    rng r = {24};
    const char *bad = NULL;
    for (uint32_t i = sweep_small() ? 5 : 0; i < sizeof cases / sizeof *cases && bad == NULL; i++) {
        bad = special_run(&cases[i], (mox_kv_type)(i % MOX_KV_TYPES), &r);
    }
    return bad ? bad : device_bad_row() == NO_BAD_ROW ? NULL : "kv_append: a bad row";
}

const char *sweep_head_mul(void)
{
    enum { HEADS = 3 };
    static const mox_type types[] = {MOX_TYPE_F16, MOX_TYPE_Q8_0, MOX_TYPE_Q4_K};
    uint64_t s = 25;
    for (uint32_t i = 0; i < 6; i += sweep_step(2)) {
        const mox_format *f = mox_format_of(types[i % 3]);
        const uint32_t rows = 20 + 30 * i, cols = f->kind == MOX_ACT_K ? 256 : 64 + 32 * i,
                       n = 1 + 2 * (i % 2);
        mox_mat host[HEADS], dev[HEADS];
        uint8_t *x16[HEADS];
        const size_t bytes = mox_mat_bytes(f->type, rows, cols);
        uint8_t *all = device_new(HEADS * bytes), *joined = malloc(HEADS * bytes);
        for (int h = 0; h < HEADS; h++) {
            uint8_t *file = fx_weights(f, rows, cols, &s);
            x16[h] = fx_repack(f->type, rows, cols, file);
            memcpy(joined + (size_t)h * bytes, x16[h], bytes);
            host[h] = mox_mat_dense(f->type, rows, cols, x16[h]);
            free(file);
        }
        all = device_copy(joined, HEADS * bytes);
        for (int h = 0; h < HEADS; h++) {
            dev[h] = mox_mat_dense(f->type, rows, cols, all + (size_t)h * bytes);
        }
        mox_acts x = fx_acts(f->kind, n * HEADS, cols, &s), dx = x;
        dx.data = device_copy(x.data, n * HEADS * x.row_bytes);
        const size_t count = (size_t)n * HEADS * rows;
        mox_head_mul_args a = {host, x, want, n, HEADS},
                          g = {dev, dx, device_new(count * sizeof *got), n, HEADS};
        const bool ok = mox_head_mul_cpu(pool(), MOX_ISA_SCALAR, &a) == MOX_OK &&
                        DEVICE(head_mul, &g) == MOX_OK && agrees(g.y, count);
        for (int h = 0; h < HEADS; h++) {
            free(x16[h]);
        }
        free(joined), free(x.data);
        if (!ok) {
            return sweep_differs("head_mul: %s, %u x %u, %u rows", mox_type_info(f->type)->name, rows, cols,
                                 n);
        }
    }
    return NULL;
}
