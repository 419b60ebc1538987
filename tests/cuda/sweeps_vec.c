/* Sweeps of everything that is not a matrix product (sweeps.h). */
#include "cuda/sweeps.h"

#include "cuda/device.h"
#include "kernels/act.h"
#include "kernels/rand.h"
#include "kernels/vec.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FLOATS = 1 << 16 };

static float in[MAX_FLOATS], in2[MAX_FLOATS], in3[MAX_FLOATS], want[MAX_FLOATS], got[MAX_FLOATS];

const char *sweep_differs(const char *fmt, ...)
{
    static char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return text;
}

static mox_pool *pool(void)
{
    static mox_pool *p;
    mox_pool_cfg cfg = {.n_workers = 1};
    if (p == NULL && mox_pool_create(&p, &cfg) != MOX_OK) {
        abort();
    }
    return p;
}

static bool same(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

const char *sweep_norm(void)
{
    static const uint32_t widths[] = {1, 31, 33, 257, 1024, 1025, 2304, 4100};
    rng r = {1};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        const uint32_t d = widths[i], n = 1 + (uint32_t)i % 3;
        rng_fill(&r, in, (size_t)n * d, (int)i % TEMPERAMENTS);
        rng_fill(&r, in2, d, FLAT);
        mox_rms_norm_args a = {.x = in, .w = in2, .y = want, .n = n, .d = d, .eps = 1e-5F};
        mox_rms_norm_args g = a;
        g.x = device_copy(in, n * d * sizeof *in), g.w = device_copy(in2, d * sizeof *in2);
        g.y = device_new(n * d * sizeof *got);
        if (mox_rms_norm_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(rms_norm, &g) != MOX_OK) {
            return "rms_norm failed";
        }
        device_get(got, g.y, n * d * sizeof *got);
        if (!same(got, want, n * d * sizeof *got)) {
            return sweep_differs("rms_norm: %u rows of %u", n, d);
        }
    }
    return NULL;
}

const char *sweep_quantize(void)
{
    static const uint32_t widths[] = {1, 8, 32, 40, 255, 256, 257, 700, 1056};
    static _Alignas(64) uint8_t acts[2][MAX_FLOATS];
    rng r = {2};
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        for (mox_act_kind kind = 0; kind < MOX_ACT_KINDS; kind++) {
            const uint32_t cols = widths[i], n = 1 + (uint32_t)i % 3, stride = cols + 3;
            rng_fill(&r, in, (size_t)n * stride, ((int)i + (int)kind) % TEMPERAMENTS);
            mox_quantize_args a = {.x = in, .n = n, .x_stride = stride};
            a.y = (mox_acts){
                .kind = kind, .n_cols = cols, .row_bytes = mox_act_row_bytes(kind, cols), .data = acts[0]};
            mox_quantize_args g = a;
            const size_t bytes = n * a.y.row_bytes;
            g.x = device_copy(in, n * stride * sizeof *in), g.y.data = device_new(bytes);
            if (mox_quantize_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(quantize, &g) != MOX_OK) {
                return "quantize failed";
            }
            device_get(acts[1], g.y.data, bytes);
            if (!same(acts[0], acts[1], bytes)) {
                return sweep_differs("quantize: kind %d, %u rows of %u", (int)kind, n, cols);
            }
        }
    }
    return device_bad_row() == NO_BAD_ROW ? NULL : "quantize: a bad row where all values are finite";
}

const char *sweep_rope(void)
{
    rng r = {3};
    for (uint32_t i = 0; i < 8; i++) {
        const uint32_t n = 1 + i % 3, heads = 1 + i, head_dim = 16 * (1 + i % 5),
                       pairs = head_dim / 2 - i % 3;
        const size_t count = (size_t)n * heads * head_dim;
        rng_fill(&r, in, count, (int)i % TEMPERAMENTS);
        rng_fill(&r, in2, (size_t)n * pairs * 2, FLAT);
        memcpy(want, in, count * sizeof *in);
        mox_rope_args a = {want, in2, n, heads, head_dim, pairs, i % 2 == 1};
        mox_rope_args g = a;
        g.x = device_copy(in, count * sizeof *in), g.cos_sin = device_copy(in2, n * pairs * 2 * sizeof *in2);
        if (mox_rope_cpu(pool(), &a) != MOX_OK || DEVICE(rope, &g) != MOX_OK) {
            return "rope failed";
        }
        device_get(got, g.x, count * sizeof *got);
        if (!same(got, want, count * sizeof *got)) {
            return sweep_differs("rope: %u rows, %u heads of %u, %u pairs", n, heads, head_dim, pairs);
        }
    }
    return NULL;
}

/* A cache with random contents that can be stored: keys and values of every position of two sequences. */
typedef struct cache {
    mox_kv_view host, dev;
    size_t bytes;
    uint8_t *k, *v;
} cache;

static cache cache_new(mox_kv_type type, uint32_t heads, uint32_t head_dim, uint32_t n_ctx)
{
    cache c = {.bytes = 2 * (size_t)heads * n_ctx * mox_kv_row_bytes(type, head_dim)};
    c.k = calloc(1, c.bytes), c.v = calloc(1, c.bytes);
    c.host = (mox_kv_view){.type = type, .k = c.k, .v = c.v, .n_seq = 2, .n_ctx = n_ctx};
    c.host.n_kv_heads = heads, c.host.head_dim = head_dim;
    c.dev = c.host;
    return c;
}

static void cache_upload(cache *c)
{
    c->dev.k = device_copy(c->k, c->bytes);
    c->dev.v = device_copy(c->v, c->bytes);
}

static void cache_free(cache *c)
{
    free(c->k);
    free(c->v);
}

const char *sweep_kv(void)
{
    const char *bad = NULL;
    rng r = {4};
    for (uint32_t i = 0; i < 12 && bad == NULL; i++) {
        const mox_kv_type type = (mox_kv_type)(i % MOX_KV_TYPES);
        const uint32_t heads = 1 + i % 4,
                       head_dim = type == MOX_KV_Q8_0 ? 32 * (1 + i % 4) : 20 + 13 * (i % 7), n = 3;
        const mox_place place[3] = {{0, 4}, {1, 0}, {1, 5}};
        const size_t count = (size_t)n * heads * head_dim;
        cache c = cache_new(type, heads, head_dim, 6);
        cache_upload(&c);
        rng_fill(&r, in, count, (int)i % TEMPERAMENTS);
        rng_fill(&r, in2, count, (int)(i / 2) % TEMPERAMENTS);
        mox_kv_append_args a = {c.host, in, in2, place, n}, g = a;
        g.kv = c.dev;
        g.k = device_copy(in, count * sizeof *in), g.v = device_copy(in2, count * sizeof *in2);
        g.place = device_copy(place, sizeof place);
        if (mox_kv_append_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(kv_append, &g) != MOX_OK) {
            bad = "kv_append failed";
        }
        uint8_t *k = malloc(c.bytes), *v = malloc(c.bytes);
        device_get(k, c.dev.k, c.bytes);
        device_get(v, c.dev.v, c.bytes);
        if (bad == NULL && (!same(k, c.k, c.bytes) || !same(v, c.v, c.bytes))) {
            bad = sweep_differs("kv_append: %s, %u heads of %u", mox_kv_type_name(type), heads, head_dim);
        }
        free(k), free(v);
        cache_free(&c);
    }
    return bad != NULL ? bad : device_bad_row() == NO_BAD_ROW ? NULL : "kv_append: a bad row";
}

/* Fill a cache through the twin of kv_append. */
static void cache_fill(cache *c, rng *r)
{
    const size_t count = (size_t)c->host.n_kv_heads * c->host.head_dim;
    for (uint32_t s = 0; s < 2; s++) {
        for (uint32_t pos = 0; pos < c->host.n_ctx; pos++) {
            const mox_place place = {s, pos};
            rng_fill(r, in, count, FLAT);
            rng_fill(r, in2, count, FLAT);
            mox_kv_append_args a = {c->host, in, in2, &place, 1};
            if (mox_kv_append_cpu(pool(), &mox_vec_ref, &a) != MOX_OK) {
                abort();
            }
        }
    }
}

static const char *attention_case(uint32_t i, rng *r)
{
    static const uint32_t positions[] = {0, 1, 37, 255, 256, 300, 511, 515};
    const mox_kv_type type = (mox_kv_type)(i % MOX_KV_TYPES);
    const uint32_t kv_heads = 1 + i % 2, heads = kv_heads * (1 + i % 3);
    const uint32_t head_dim = type == MOX_KV_Q8_0 ? 32 * (1 + i % 5) : 24 + 40 * (i % 4), n = 2;
    cache c = cache_new(type, kv_heads, head_dim, 516);
    cache_fill(&c, r);
    cache_upload(&c);
    const mox_place place[2] = {{0, positions[i % 8]}, {1, positions[(i + 3) % 8]}};
    const size_t count = (size_t)n * heads * head_dim;
    rng_fill(r, in3, count, i % 4 == 3 ? MIXED : FLAT);
    mox_attention_args a = {.kv = c.host, .q = in3, .out = want, .place = place, .n = n, .n_heads = heads};
    a.scale = 0.125F * (float)(1 + i % 9);
    mox_attention_args g = a;
    a.scratch = calloc(1, mox_attention_scratch_bytes(516, head_dim, 1) + 64);
    g.kv = c.dev;
    g.q = device_copy(in3, count * sizeof *in3), g.place = device_copy(place, sizeof place);
    g.out = device_new(count * sizeof *got);
    bool failed = mox_attention_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(attention, &g) != MOX_OK;
    device_get(got, g.out, count * sizeof *got);
    free(a.scratch);
    cache_free(&c);
    return failed ? "attention failed"
           : !same(got, want, count * sizeof *got)
               ? sweep_differs("attention: %s, %u of %u heads of %u, at %u and %u", mox_kv_type_name(type),
                               kv_heads, heads, head_dim, place[0].pos, place[1].pos)
               : NULL;
}

const char *sweep_attention(void)
{
    rng r = {5};
    const char *bad = NULL;
    for (uint32_t i = 0; i < 9 && bad == NULL; i += sweep_step(2)) {
        bad = attention_case(i, &r);
    }
    return bad;
}

const char *sweep_router(void)
{
    static const uint32_t experts[] = {1, 8, 37, 64, 130, 257};
    uint32_t ids[2][3 * 16];
    float weights[2][3 * 16];
    rng r = {6};
    for (uint32_t i = 0; i < 6; i++) {
        const uint32_t e = experts[i], d = i % 2 == 0 ? 70 : 1100 / (1 + i), n = 1 + i % 3,
                       k = e < 6 ? 1 : 1 + i % 6;
        rng_fill(&r, in, (size_t)n * d, i % 3 == 2 ? MIXED : FLAT);
        rng_fill(&r, in2, (size_t)e * d, FLAT);
        for (uint32_t t = 1; t < e && i % 2 == 1; t += 3) { /* equal scores: the lower id first */
            memcpy(in2 + (size_t)t * d, in2, d * sizeof *in2);
        }
        mox_router_args a = {.x = in,
                             .w = in2,
                             .n = n,
                             .d = d,
                             .n_experts = e,
                             .k = k,
                             .ids = ids[0],
                             .weights = weights[0]},
                        g = a;
        g.x = device_copy(in, n * d * sizeof *in), g.w = device_copy(in2, e * d * sizeof *in2);
        g.ids = device_new(n * k * sizeof *g.ids), g.weights = device_new(n * k * sizeof *g.weights);
        if (mox_router_cpu(pool(), &mox_vec_ref, &a) != MOX_OK || DEVICE(router, &g) != MOX_OK) {
            return "router failed";
        }
        device_get(ids[1], g.ids, n * k * sizeof *g.ids);
        device_get(weights[1], g.weights, n * k * sizeof *g.weights);
        if (!same(ids[0], ids[1], n * k * sizeof *ids[0]) ||
            !same(weights[0], weights[1], n * k * sizeof *weights[0])) {
            return sweep_differs("router: %u of %u experts, %u rows of %u", k, e, n, d);
        }
    }
    return device_bad_row() == NO_BAD_ROW ? NULL : "router: a bad row";
}

const char *sweep_elementwise(void)
{
    rng r = {7};
    for (uint32_t i = 0; i < 6; i += sweep_step(3)) {
        const uint32_t n = 1 + i % 3, k = 1 + i, d = 100 + 77 * i;
        const size_t count = (size_t)n * d, bytes = count * sizeof(float);
        rng_fill(&r, in, count * k, (int)i % TEMPERAMENTS);
        rng_fill(&r, in2, count, (int)(i + 1) % TEMPERAMENTS);
        rng_fill(&r, in3, (size_t)n * k, FLAT);
        float *x = device_copy(in, bytes * k), *x2 = device_copy(in2, bytes),
              *w = device_copy(in3, n * k * sizeof *in3);
        float *y = device_new(bytes);
        mox_swiglu_args s = {in, in2, want, n, d}, sg = {x, x2, y, n, d};
        mox_merge_args m = {in, in3, in2, want, n, k, d}, mg = {x, w, x2, y, n, k, d};
        mox_add_args a = {in, in2, want, count}, ag = {x, x2, y, count};
        bool ok = mox_swiglu_cpu(pool(), &mox_vec_ref, &s) == MOX_OK && DEVICE(swiglu, &sg) == MOX_OK;
        device_get(got, y, bytes);
        if (!ok || !same(got, want, bytes)) {
            return sweep_differs("swiglu: %u rows of %u", n, d);
        }
        ok = mox_merge_cpu(pool(), &mox_vec_ref, &m) == MOX_OK && DEVICE(merge, &mg) == MOX_OK;
        device_get(got, y, bytes);
        if (!ok || !same(got, want, bytes)) {
            return sweep_differs("merge: %u rows of %u, %u ranks", n, d, k);
        }
        ok = mox_add_cpu(pool(), &a) == MOX_OK && DEVICE(add, &ag) == MOX_OK;
        device_get(got, y, bytes);
        if (!ok || !same(got, want, bytes)) {
            return sweep_differs("add: %u", (unsigned)count);
        }
    }
    return NULL;
}

/* Values that cannot be rounded, stored or ranked: the first such row is named, and ids stay in bounds. */
const char *sweep_bad_values(void)
{
    enum { N = 5, D = 96 };
    for (uint32_t i = 0; i < N * D; i++) {
        in[i] = 1.0F, in2[i] = 0.5F;
    }
    in[2 * D + 95] = INFINITY, in[4 * D + 3] = NAN;
    float *x = device_copy(in, N * D * sizeof *in), *w = device_copy(in2, N * D * sizeof *in2);
    for (mox_act_kind kind = MOX_ACT_K; kind < MOX_ACT_KINDS; kind++) {
        mox_quantize_args q = {.x = x, .n = N, .x_stride = D};
        q.y = (mox_acts){.kind = kind, .n_cols = D, .row_bytes = mox_act_row_bytes(kind, D)};
        q.y.data = device_new(N * q.y.row_bytes);
        if (DEVICE(quantize, &q) != MOX_OK || device_bad_row() != 2) {
            return "quantize does not name the first row that is not finite";
        }
    }
    const mox_place place[N] = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 4}};
    for (mox_kv_type type = 0; type < MOX_KV_TYPES; type++) {
        cache c = cache_new(type, 1, D, N);
        cache_upload(&c);
        mox_kv_append_args a = {c.dev, x, w, device_copy(place, sizeof place), N};
        mox_err e = DEVICE(kv_append, &a);
        cache_free(&c);
        if (e != MOX_OK || device_bad_row() != 2) {
            return "kv_append does not name the first row that cannot be stored";
        }
    }
    uint32_t ids[N * 2];
    mox_router_args a = {.x = x, .w = w, .n = N, .d = D, .n_experts = N, .k = 2};
    a.ids = device_new(sizeof ids), a.weights = device_new(sizeof ids);
    if (DEVICE(router, &a) != MOX_OK || device_bad_row() != 2) {
        return "router does not name the first row whose scores are not finite";
    }
    device_get(ids, a.ids, sizeof ids);
    return ids[4] == 0 && ids[5] == 1 && ids[8] == 0 && ids[9] == 1 ? NULL : "router's ids of a bad row";
}
