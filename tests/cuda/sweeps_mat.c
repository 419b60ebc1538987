/* Sweeps of products, embedding rows and experts (sweeps.h): every format, short last blocks, scales of every kind. */
#include "cuda/sweeps.h"

#include "cuda/device.h"
#include "kernels/cuda/cuda_ops.h"
#include "kernels/mat_fixture.h"
#include "kernels/mat_mul.h"

#include <stdio.h>

static mox_pool *pool(void)
{
    static mox_pool *p;
    if (p == NULL) {
        p = fx_pool(1);
    }
    return p;
}

/* A matrix on both sides. */
typedef struct both_mat {
    uint8_t *file, *x16;
    mox_mat host, dev;
} both_mat;

static both_mat mat_new(const mox_format *f, uint32_t rows, uint32_t cols, uint64_t *s)
{
    both_mat m = {.file = fx_weights(f, rows, cols, s)};
    m.x16 = fx_repack(f->type, rows, cols, m.file);
    m.host = mox_mat_dense(f->type, rows, cols, m.x16);
    m.dev = m.host;
    m.dev.data = device_copy(m.x16, mox_mat_bytes(f->type, rows, cols));
    return m;
}

static void mat_free(both_mat *m)
{
    free(m->file);
    free(m->x16);
}

static const char *product_case(const mox_format *f, uint32_t rows, uint32_t cols, uint32_t n, bool with_bias,
                                uint64_t *s)
{
    const uint32_t stride = rows + n % 3;
    both_mat m = mat_new(f, rows, cols, s);
    mox_acts x = fx_acts(f->kind, n, cols, s), dx = x;
    const size_t count = (size_t)n * stride, bytes = count * sizeof(float);
    float *bias = malloc(rows * sizeof *bias), *want = malloc(bytes), *got = malloc(bytes);
    for (uint32_t i = 0; i < rows; i++) {
        bias[i] = (float)i * 0.25F - 3.0F;
    }
    for (size_t i = 0; i < count; i++) {
        want[i] = 12345.0F; /* between rows, where nobody may write */
    }
    dx.data = device_copy(x.data, n * x.row_bytes);
    mox_mat_mul_args a = {&m.host, x, with_bias ? bias : NULL, want, stride, n, NULL}, g = a;
    g.w = &m.dev, g.x = dx, g.y = device_copy(want, bytes);
    g.bias = with_bias ? device_copy(bias, rows * sizeof *bias) : NULL;
    bool ok = mox_mat_mul_cpu(pool(), MOX_ISA_SCALAR, &a) == MOX_OK && DEVICE(mat_mul, &g) == MOX_OK;
    device_get(got, g.y, bytes);
    ok = ok && fx_same(got, want, count);
    free(bias), free(want), free(got), free(x.data);
    mat_free(&m);
    return ok ? NULL
              : sweep_differs("%s: %u x %u times %u rows%s", mox_type_info(f->type)->name, rows, cols, n,
                              with_bias ? ", bias" : "");
}

typedef const char *format_fn(const mox_format *f, uint64_t *s);

/* The kernels differ by how activations meet the weights. */
static bool of_each_kind(uint32_t type)
{
    return type == MOX_TYPE_Q4_K || type == MOX_TYPE_Q5_1 || type == MOX_TYPE_F16 || type == MOX_TYPE_IQ3_S;
}

static const char *each_format(format_fn *fn, uint64_t seed)
{
    const char *bad = NULL;
    for (uint32_t type = 0; type < MOX_TYPE_COUNT && bad == NULL; type++) {
        const mox_format *f = mox_format_of(type);
        if (f != NULL &&
            (!sweep_small() || of_each_kind(type))) { /* the GPU has every format that the CPU has */
            uint64_t s = seed + type;
            bad = mox_cuda_has_type((mox_type)type) ? fn(f, &s) : mox_type_info((mox_type)type)->name;
        }
    }
    return bad;
}

/* A width that ends in a short block where the format has one. */
static uint32_t ragged(const mox_format *f, uint32_t blocks, uint32_t extra)
{
    uint32_t unit = mox_type_info(f->type)->block_elems;
    return blocks * MOX_BLOCK + (unit == MOX_BLOCK ? 0 : unit * extra);
}

static const char *one_row(const mox_format *f, uint64_t *s)
{
    static const struct {
        uint32_t rows, blocks, extra;
    } shapes[] = {{1, 1, 0}, {16, 2, 1}, {33, 5, 3}, {20, 9, 0}};
    const char *bad = NULL;
    for (uint32_t i = 0; i < 4 && bad == NULL; i++) {
        bad = product_case(f, shapes[i].rows, ragged(f, shapes[i].blocks, shapes[i].extra), 1, i % 2 == 1, s);
    }
    return bad;
}

const char *sweep_one_row(void)
{
    return each_format(one_row, 100);
}

static const char *many_rows(const mox_format *f, uint64_t *s)
{
    static const struct {
        uint32_t rows, blocks, extra, n;
    } shapes[] = {{16, 1, 0, 2}, {37, 1, 5, 9}, {7, 5, 2, 5}, {70, 0, 1, 35}};
    const char *bad = NULL;
    for (uint32_t i = 0; i < 4 && bad == NULL; i++) {
        uint32_t cols = ragged(f, shapes[i].blocks, shapes[i].extra);
        bad = product_case(f, shapes[i].rows, cols != 0 ? cols : MOX_BLOCK, shapes[i].n, i % 2 == 0, s);
    }
    return bad;
}

const char *sweep_many_rows(void)
{
    return each_format(many_rows, 200);
}

static const char *embed_rows(const mox_format *f, uint64_t *s)
{
    const uint32_t rows = 21, cols = ragged(f, 1, 1), ids[4] = {20, 0, 16, 5};
    const size_t bytes = 4 * (size_t)cols * sizeof(float);
    both_mat m = mat_new(f, rows, cols, s);
    float *want = malloc(bytes), *got = malloc(bytes);
    mox_embed_args a = {&m.host, ids, 4, want},
                   g = {&m.dev, device_copy(ids, sizeof ids), 4, device_new(bytes)};
    bool ok = mox_embed_cpu(pool(), MOX_ISA_SCALAR, &a) == MOX_OK && DEVICE(embed, &g) == MOX_OK;
    device_get(got, g.y, bytes);
    ok = ok && fx_same(got, want, 4 * (size_t)cols);
    free(want), free(got);
    mat_free(&m);
    return ok ? NULL : sweep_differs("embed: %s, %u columns", mox_type_info(f->type)->name, cols);
}

const char *sweep_embed(void)
{
    return each_format(embed_rows, 300);
}

/* ---- experts ---- */

enum { EXPERTS = 3, MAX_ROWS = 16, MAX_BIAS = 512 };

typedef struct expert_shape {
    mox_type type[MOX_SLABS];
    uint32_t d_model, d_ff, rows[EXPERTS];
    bool with_bias;
    mox_glu glu;
} expert_shape;

static uint8_t *slot_new(const mox_expert_layout *l, uint64_t *s)
{
    uint8_t *slot = aligned_alloc(64, l->slot_bytes);
    for (mox_slab slab = 0; slab < MOX_SLABS; slab++) {
        const mox_format *f = mox_format_of(l->type[slab]);
        uint32_t rows = mox_expert_slab_rows(l, slab), cols = slab == MOX_SLAB_DOWN ? l->d_ff : l->d_model;
        uint8_t *w = malloc(mox_type_row_bytes(f->type, (uint64_t)rows * cols) + 1);
        const mox_type_desc *t = mox_type_info(f->type);
        for (size_t i = 0; i < (size_t)rows * cols / t->block_elems; i++) {
            fx_block(f, w + i * t->block_bytes, FX_PLAIN, s);
        }
        mox_expert_repack(l, slab, 0, rows, w, slot);
        free(w);
    }
    return slot;
}

/* The same rows in every kind of activation, on both sides. */
static void acts_new(mox_acts host[MOX_ACT_KINDS], mox_acts dev[MOX_ACT_KINDS], uint32_t n, uint32_t cols,
                     uint64_t *s)
{
    for (mox_act_kind kind = 0; kind < MOX_ACT_KINDS; kind++) {
        host[kind] = fx_acts(kind, n, cols, s);
        for (uint32_t i = 0; kind == MOX_ACT_F32 && i < n * host[kind].row_bytes / 4; i++) {
            ((float *)host[kind].data)[i] = (float)(int)fx_below(s, 255) * 0.01F - 1.27F;
        }
        dev[kind] = host[kind];
        dev[kind].data = device_copy(host[kind].data, n * host[kind].row_bytes);
    }
}

/* The device's call once more, its experts named in memory that it reads: more places than experts, more room than rows. */
static bool agrees_later(mox_experts_args g, const mox_expert_layout *l, uint32_t most, uint32_t n,
                         const float *want)
{
    enum { SPARE = 2 };
    mox_expert_place places[EXPERTS + SPARE];
    memset(places, 0x5a, sizeof places);
    for (uint32_t e = 0; e < EXPERTS + SPARE; e++) {
        const mox_expert_use *use = e < EXPERTS ? &g.use[e] : NULL;
        places[e].n = use ? use->n : 0;
        if (use && use->n > 0) {
            places[e].slot = use->mats[MOX_SLAB_GATE].data;
            places[e].first = use->first;
            memcpy(places[e].bias, use->bias, sizeof use->bias);
        }
    }
    const size_t count = (size_t)n * l->d_model;
    float *got = malloc(count * sizeof *got);
    g.places = device_copy(places, sizeof places);
    g.n_uses = EXPERTS + SPARE, g.most_rows = most + 1, g.all_rows = n + 3;
    g.scratch_bytes = mox_experts_device_lay_out(l->type[MOX_SLAB_DOWN], l->d_ff, g.n_uses, g.all_rows).bytes;
    g.scratch = device_new(g.scratch_bytes);
    g.e = device_new(count * sizeof *got);
    bool ok = DEVICE(experts, &g) == MOX_OK;
    device_get(got, g.e, count * sizeof *got);
    ok = ok && fx_same(got, want, count) && device_bad_row() == NO_BAD_ROW;
    free(got);
    return ok;
}

static const char *experts_case(const expert_shape *shape, uint64_t *s)
{
    mox_expert_layout l;
    if (mox_expert_layout_init(&l, shape->type, shape->d_model, shape->d_ff) != MOX_OK) {
        return "experts: no layout";
    }
    static float biases[EXPERTS][MAX_BIAS];
    for (uint32_t i = 0; i < EXPERTS * MAX_BIAS; i++) {
        biases[i / MAX_BIAS][i % MAX_BIAS] = (float)(int)fx_below(s, 255) * 0.02F - 2.5F;
    }
    uint8_t *slots[EXPERTS];
    mox_expert_use host[EXPERTS];
    mox_expert_use dev[EXPERTS];
    uint32_t tok[MAX_ROWS], out_row[MAX_ROWS], n = 0, most = 0;
    for (uint32_t e = 0; e < EXPERTS; e++) {
        slots[e] = slot_new(&l, s);
        host[e] = (mox_expert_use){.first = n, .n = shape->rows[e]};
        mox_expert_views(&l, slots[e], host[e].mats);
        dev[e] = host[e];
        mox_expert_views(&l, device_copy(slots[e], l.slot_bytes), dev[e].mats);
        for (mox_slab slab = 0; shape->with_bias && slab < MOX_SLABS; slab++) {
            host[e].bias[slab] = biases[e];
            dev[e].bias[slab] = device_copy(biases[e], sizeof biases[e]);
        }
        for (uint32_t i = 0; i < shape->rows[e]; i++, n++) {
            tok[n] = (i + e) % 5;
        }
        most = shape->rows[e] > most ? shape->rows[e] : most;
    }
    for (uint32_t i = 0; i < n; i++) {
        out_row[i] = n - 1 - i;
    }
    mox_acts x[MOX_ACT_KINDS], dx[MOX_ACT_KINDS];
    acts_new(x, dx, 5, shape->d_model, s);
    const size_t count = (size_t)n * shape->d_model, bytes = count * sizeof(float);
    float *want = aligned_alloc(64, bytes + 64 - bytes % 64), *got = malloc(bytes);
    const size_t scratch = mox_experts_scratch_bytes(&l, EXPERTS, n, 1, false);
    mox_experts_args a = {.use = host, .n_uses = EXPERTS, .x = x, .tok = tok, .out_row = out_row, .e = want};
    a.scratch = aligned_alloc(64, scratch + 64 - scratch % 64), a.scratch_bytes = scratch;
    a.glu = shape->glu;
    mox_experts_args g = a;
    g.use = dev, g.x = dx, g.tok = device_copy(tok, n * sizeof *tok);
    g.out_row = device_copy(out_row, n * sizeof *out_row), g.e = device_new(bytes);
    g.scratch_bytes = mox_experts_device_lay_out(l.type[MOX_SLAB_DOWN], l.d_ff, EXPERTS, n).bytes;
    g.scratch = device_new(g.scratch_bytes);
    bool ok = mox_experts_cpu(pool(), MOX_ISA_SCALAR, &a) == MOX_OK && DEVICE(experts, &g) == MOX_OK;
    device_get(got, g.e, bytes);
    ok = ok && fx_same(got, want, count) && device_bad_row() == NO_BAD_ROW;
    ok = ok && agrees_later(g, &l, most, n, want);
    for (uint32_t e = 0; e < EXPERTS; e++) {
        free(slots[e]);
    }
    for (mox_act_kind kind = 0; kind < MOX_ACT_KINDS; kind++) {
        free(x[kind].data);
    }
    free(want), free(got), free(a.scratch);
    return ok ? NULL
              : sweep_differs("experts: %s and %s, %u x %u, up to %u rows", mox_type_info(l.type[0])->name,
                              mox_type_info(l.type[MOX_SLAB_DOWN])->name, l.d_model, l.d_ff, most);
}

const char *sweep_experts(void)
{
    static const expert_shape shapes[] = {
        {{MOX_TYPE_Q4_K, MOX_TYPE_Q4_K, MOX_TYPE_Q6_K}, 256, 512, {1, 1, 1}, false, MOX_GLU_SILU},
        {{MOX_TYPE_Q8_0, MOX_TYPE_Q8_0, MOX_TYPE_Q8_0}, 96, 288, {1, 0, 1}, false, MOX_GLU_SILU},
        {{MOX_TYPE_Q8_0, MOX_TYPE_Q4_K, MOX_TYPE_Q5_1}, 256, 320, {3, 0, 9}, true, MOX_GLU_GELU},
        {{MOX_TYPE_F16, MOX_TYPE_F16, MOX_TYPE_F16}, 40, 272, {1, 5, 2}, false, MOX_GLU_SILU},
        {{MOX_TYPE_Q3_K, MOX_TYPE_Q3_K, MOX_TYPE_MXFP4}, 256, 288, {1, 4, 2}, true, MOX_GLU_CLAMPED},
        {{MOX_TYPE_MXFP4, MOX_TYPE_MXFP4, MOX_TYPE_MXFP4}, 96, 96, {1, 1, 1}, true, MOX_GLU_CLAMPED},
        {{MOX_TYPE_IQ2_XXS, MOX_TYPE_IQ2_XXS, MOX_TYPE_NVFP4}, 256, 320, {1, 6, 2}, false, MOX_GLU_SILU},
        {{MOX_TYPE_TQ1_0, MOX_TYPE_Q4_0, MOX_TYPE_IQ3_S}, 512, 256, {1, 1, 0}, true, MOX_GLU_GELU},
    };
    const char *bad = NULL;
    uint64_t s = 400;
    for (size_t i = sweep_small(); i < sizeof shapes / sizeof *shapes && bad == NULL; i += sweep_step(4)) {
        bad = experts_case(&shapes[i], &s);
    }
    return bad;
}
