/* The graph's memory: one sequence of takes, run once against a planning arena (the plan) and once for real.
 *
 * Attention, FFN, MoE and logits never overlap in time, so they share one piece of memory, which also serves
 * as the staging buffer while the dense weights are read. Where a device has memory of its own there are two arenas, and
 * what both sides need is taken in both.
 */
#include "runtime/core/bits.h"
#include "runtime/graph/card.h"

#include <string.h>

enum { ALIGN = 64 };

static float *take_f32(mox_arena *a, size_t rows, size_t cols)
{
    return mox_arena_take(a, rows * cols * sizeof(float), ALIGN);
}

static uint32_t *take_u32(mox_arena *a, size_t n)
{
    return mox_arena_take(a, n * sizeof(uint32_t), ALIGN);
}

static unsigned kind_bit(const mox_graph *g, const mox_weight *w)
{
    return w ? 1u << mox_graph_kind(g, w->type) : 0;
}

static void take_acts(mox_act_set *s, unsigned kinds, uint32_t rows, uint32_t cols, mox_arena *a)
{
    *s = (mox_act_set){0};
    for (int k = 0; k < MOX_ACT_KINDS; k++) {
        size_t row_bytes = mox_act_row_bytes((mox_act_kind)k, cols);
        s->kind[k] = (mox_acts){.kind = (mox_act_kind)k, .n_cols = cols, .row_bytes = row_bytes};
        if (kinds & (1u << k)) {
            s->kind[k].data = mox_arena_take(a, rows * row_bytes, ALIGN);
        }
    }
}

/* The host's arena and the kernels', which may be one; and how far the users of the shared piece have come in each. */
typedef struct rooms {
    mox_arena *near, *far;
    size_t near_start, near_end, far_start, far_end;
} rooms;

static void begin_sharing(rooms *r)
{
    r->near_start = r->near_end = r->near->used;
    r->far_start = r->far_end = r->far->used;
}

/* The next user of the shared piece starts where it begins, or behind this one. */
static void next_user(rooms *r, bool behind)
{
    r->near_end = r->near->used > r->near_end ? r->near->used : r->near_end;
    r->far_end = r->far->used > r->far_end ? r->far->used : r->far_end;
    if (!behind) {
        r->near->used = r->near_start;
        r->far->used = r->far_start;
    }
}

static void end_sharing(rooms *r)
{
    next_user(r, true);
    r->near->used = r->near_end;
    r->far->used = r->far_end;
}

/* Which kinds the readers of each input want, and the widest FFN that is no expert. */
typedef struct kind_masks {
    unsigned h, attention_out, ffn_h, experts;
    unsigned q_a, head, gathered; /* of compressed attention */
    unsigned delta_out;
    uint32_t ffn_width;
    bool shared, gated;
} kind_masks;

static void attention_kinds(const mox_graph *g, const mox_attention_op *a, kind_masks *k)
{
    k->attention_out |= kind_bit(g, a->o);
    k->gated |= a->gated;
    if (!a->compressed) {
        k->h |= kind_bit(g, a->q) | kind_bit(g, a->k) | kind_bit(g, a->v);
        return;
    }
    k->h |= kind_bit(g, a->mla.kv_a) | kind_bit(g, a->mla.q_a ? a->mla.q_a : a->mla.q_b);
    k->q_a |= a->mla.q_a ? kind_bit(g, a->mla.q_b) : 0;
    k->head |= kind_bit(g, a->mla.k_b);
    k->gathered |= kind_bit(g, a->mla.v_b);
}

static void delta_kinds(const mox_graph *g, const mox_delta_op *d, kind_masks *k)
{
    k->h |= kind_bit(g, d->qkv) | kind_bit(g, d->z) | kind_bit(g, d->ba);
    k->delta_out |= kind_bit(g, d->o);
}

static void ffn_kinds(const mox_graph *g, const mox_weight *gate, const mox_weight *up,
                      const mox_weight *down, kind_masks *k)
{
    k->h |= kind_bit(g, gate) | kind_bit(g, up);
    k->ffn_h |= kind_bit(g, down);
    k->ffn_width = gate->rows > k->ffn_width ? gate->rows : k->ffn_width;
}

static kind_masks find_kinds(const mox_graph *g)
{
    const mox_model *m = g->m;
    kind_masks k = {.h = kind_bit(g, m->output)};
    for (uint32_t i = 0; i < m->n_ops; i++) {
        const mox_layer_op *op = &m->ops[i];
        if (op->kind == MOX_LAYER_ATTENTION) {
            attention_kinds(g, &op->attention, &k);
        } else if (op->kind == MOX_LAYER_DELTA) {
            delta_kinds(g, &op->delta, &k);
        } else if (op->kind == MOX_LAYER_FFN) {
            ffn_kinds(g, op->ffn.gate, op->ffn.up, op->ffn.down, &k);
        } else {
            const mox_expert_layout *l = &m->layouts[op->moe.moe_layer];
            const mox_weight *const *s = op->moe.shared;
            k.experts |= 1u << mox_graph_kind(g, l->type[MOX_SLAB_GATE]);
            k.experts |= 1u << mox_graph_kind(g, l->type[MOX_SLAB_UP]);
            if (s[MOX_SLAB_GATE]) {
                ffn_kinds(g, s[MOX_SLAB_GATE], s[MOX_SLAB_UP], s[MOX_SLAB_DOWN], &k);
                k.shared = true;
            }
        }
    }
    k.h |= k.experts;
    return k;
}

static uint32_t larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* Compressed attention has the queries, kv_a's rows and what attention gathers in one buffer, one after the other. */
static void take_compressed(mox_graph *g, const kind_masks *k, mox_arena *a)
{
    const mox_hparams *h = &g->m->h;
    mox_attention_buffers *b = &g->attention;
    uint32_t n = g->dims.n_batch, heads = h->n_heads, latent = heads * h->kv_lora;
    uint32_t nope = h->head_dim - h->n_rot;
    b->q = take_f32(a, n, heads * h->n_rot);
    b->k = take_f32(a, n, h->n_rot);
    b->v = take_f32(a, n, h->kv_lora);
    b->normed = take_f32(a, n, heads * nope);
    b->latent = take_f32(a, n, larger(latent, h->q_lora));
    b->gathered = take_f32(a, n, larger(larger(latent, heads * h->head_dim), h->kv_lora + h->n_rot));
    b->out = take_f32(a, n, heads * h->v_dim);
    take_acts(&b->q_a_acts, k->q_a, n, h->q_lora, a);
    take_acts(&b->head_acts, k->head, n * heads, nope, a);
    take_acts(&b->gathered_acts, k->gathered, n * heads, h->kv_lora, a);
    take_acts(&b->out_acts, k->attention_out, n, heads * h->v_dim, a);
}

static void take_attention(mox_graph *g, const kind_masks *kinds, mox_arena *a)
{
    const mox_hparams *h = &g->m->h;
    uint32_t n = g->dims.n_batch, width = h->n_heads * h->head_dim, kv = h->n_kv_heads * h->head_dim;
    if (h->kv_lora) {
        take_compressed(g, kinds, a);
        return;
    }
    g->attention.q = take_f32(a, n, width);
    g->attention.k = take_f32(a, n, kv);
    g->attention.v = take_f32(a, n, kv);
    g->attention.out = take_f32(a, n, width);
    if (kinds->gated) {
        g->attention.q_gate = take_f32(a, n, 2 * width);
        g->attention.gate = take_f32(a, n, width);
    }
    take_acts(&g->attention.out_acts, kinds->attention_out, n, width, a);
    g->attention.scratch =
        mox_arena_take(a, mox_attention_scratch_bytes(g->dims.n_ctx, h->head_dim, g->dims.n_threads), ALIGN);
}

/* Of a layer of gated delta nets, without its memory. */
static mox_state_view states_of(const mox_graph *g)
{
    const mox_delta_shape *s = &g->m->h.delta;
    return (mox_state_view){.n_seq = g->dims.n_seq,
                            .n_slots = MOX_STATE_SLOTS,
                            .k_heads = s->k_heads,
                            .v_heads = s->v_heads,
                            .k_dim = s->k_dim,
                            .v_dim = s->v_dim,
                            .taps = s->taps};
}

static void take_delta(mox_graph *g, const kind_masks *kinds, mox_arena *a)
{
    const mox_delta_shape *s = &g->m->h.delta;
    mox_delta_buffers *b = &g->delta;
    const mox_state_view view = states_of(g);
    uint32_t n = g->dims.n_batch, width = s->v_heads * s->v_dim;
    b->qkv = take_f32(a, n, mox_state_channels(&view));
    b->mixed = take_f32(a, n, mox_state_channels(&view));
    b->z = take_f32(a, n, width);
    b->out = take_f32(a, n, width);
    b->ba = take_f32(a, n, 2 * s->v_heads);
    b->decay = take_f32(a, n, s->v_heads);
    b->beta = take_f32(a, n, s->v_heads);
    take_acts(&b->out_acts, kinds->delta_out, n, width, a);
}

/* Packed rows of the largest product there is. */
static void take_mul_scratch(mox_graph *g, const kind_masks *kinds, uint32_t n, mox_arena *a)
{
    const mox_hparams *h = &g->m->h;
    const struct {
        unsigned kinds;
        uint32_t cols;
    } inputs[] = {{kinds->h, h->d_model},
                  {kinds->attention_out, h->n_heads * h->v_dim},
                  {kinds->ffn_h, kinds->ffn_width},
                  {kinds->delta_out, h->delta.v_heads * h->delta.v_dim},
                  {kinds->q_a, h->q_lora}};
    size_t most = 0;
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        for (int k = 0; k < MOX_ACT_KINDS; k++) {
            size_t bytes = mox_mat_mul_scratch_bytes((mox_act_kind)k, inputs[i].cols, n);
            most = (inputs[i].kinds & 1u << k) && bytes > most ? bytes : most;
        }
    }
    g->mul_scratch = mox_arena_take(a, most, ALIGN);
}

static void take_ffn(mox_graph *g, const kind_masks *kinds, mox_arena *a)
{
    uint32_t n = g->dims.n_batch < MOX_CHUNK_ROWS ? g->dims.n_batch : MOX_CHUNK_ROWS;
    g->ffn.gate = take_f32(a, n, kinds->ffn_width);
    g->ffn.up = take_f32(a, n, kinds->ffn_width);
    take_acts(&g->ffn.h_acts, kinds->ffn_h, n, kinds->ffn_width, a);
}

/* Ranks, weights and inputs that Mixtral does not have. */
static void take_moe_extras(mox_graph *g, unsigned kinds, mox_arena *a)
{
    const mox_hparams *h = &g->m->h;
    uint32_t n = g->dims.n_batch;
    bool weighed = mox_weighs_input(h);
    if (weighed || h->d_ff_shared || h->residual_scale != 1.0f) {
        g->moe.merge_weights = take_f32(a, n, mox_graph_ranks(h));
    }
    if (weighed) {
        g->moe.in = take_f32(a, (size_t)n * h->top_k, h->d_model);
        take_acts(&g->moe.in_acts, kinds, n * h->top_k, h->d_model, a);
    }
}

/* The scratch of the largest call: experts of all rows. */
static size_t expert_scratch(const mox_graph *g, uint32_t n, bool on_card)
{
    const mox_hparams *h = &g->m->h;
    uint32_t uses = n * h->top_k, most = uses < h->n_experts ? uses : h->n_experts;
    size_t largest = 0;
    for (uint32_t l = 0; l < g->m->n_moe_layers; l++) {
        const mox_expert_layout *e = &g->m->layouts[l];
        size_t bytes = on_card ? mox_experts_device_lay_out(e->type[MOX_SLAB_DOWN], e->d_ff, most, uses).bytes
                               : mox_experts_scratch_bytes(e, most, uses, g->dims.n_threads, g->dims.act_f32);
        largest = bytes > largest ? bytes : largest;
    }
    return largest;
}

/* What the host reads of the router, and writes for the experts; what it needs to compute some of them. */
static void take_moe_near(mox_graph *g, unsigned kinds, mox_arena *a)
{
    const mox_hparams *h = &g->m->h;
    mox_moe_buffers *b = &g->moe;
    uint32_t n = g->dims.n_batch, uses = n * h->top_k;
    if (!g->dev_arena) {
        b->near_ids = b->ids;
        b->near_weights = b->weights;
        b->near_tok = b->tok;
        b->near_out_row = b->out_row;
        b->near_e = b->e;
        b->near_scratch = b->scratch;
        b->near_scratch_bytes = b->scratch_bytes;
        return;
    }
    b->near_ids = take_u32(a, uses);
    b->near_weights = take_f32(a, 1, uses);
    b->near_tok = take_u32(a, uses);
    b->near_out_row = take_u32(a, uses);
    b->near_places = mox_arena_take(a, h->top_k * sizeof *b->near_places, ALIGN);
    take_acts(&b->near_acts, kinds, mox_weighs_input(h) ? uses : n, h->d_model, a);
    b->near_e = take_f32(a, (size_t)n * mox_graph_ranks(h), h->d_model);
    b->near_scratch_bytes = expert_scratch(g, n, false);
    b->near_scratch = mox_arena_take(a, b->near_scratch_bytes, ALIGN);
}

static void take_moe(mox_graph *g, unsigned kinds, rooms *r)
{
    const mox_hparams *h = &g->m->h;
    mox_moe_buffers *b = &g->moe;
    uint32_t n = g->dims.n_batch;
    b->scratch_bytes = expert_scratch(g, n, g->dev_arena && !g->played);
    b->ids = take_u32(r->far, (size_t)n * h->top_k);
    b->weights = take_f32(r->far, n, h->top_k);
    b->start = take_u32(r->near, h->n_experts + 1);
    b->tok = take_u32(r->far, (size_t)n * h->top_k);
    b->out_row = take_u32(r->far, (size_t)n * h->top_k);
    b->places = g->dev_arena ? mox_arena_take(r->far, h->top_k * sizeof *b->places, ALIGN) : NULL;
    b->needs = mox_arena_take(r->near, h->n_experts * sizeof *b->needs, ALIGN);
    b->leases = mox_arena_take(r->near, h->n_experts * sizeof *b->leases, ALIGN);
    b->uses = mox_arena_take(r->near, h->n_experts * sizeof *b->uses, ALIGN);
    b->e = take_f32(r->far, (size_t)n * mox_graph_ranks(h), h->d_model);
    b->scratch = mox_arena_take(r->far, b->scratch_bytes, ALIGN);
    take_moe_near(g, kinds, r->near);
    b->ahead_h = take_f32(r->far, MOX_AHEAD_ROWS, h->d_model);
    uint32_t guessed = mox_store_guess_ranks(h->top_k, h->n_experts);
    for (int i = 0; i < MOX_AHEAD_LAYERS; i++) {
        b->ahead[i].ids = b->ahead[i].near_ids = take_u32(r->far, MOX_AHEAD_ROWS * guessed);
        b->ahead[i].weights = b->ahead[i].near_weights = take_f32(r->far, MOX_AHEAD_ROWS, guessed);
        if (g->dev_arena) {
            b->ahead[i].near_ids = take_u32(r->near, MOX_AHEAD_ROWS * guessed);
            b->ahead[i].near_weights = take_f32(r->near, MOX_AHEAD_ROWS, guessed);
        }
    }
}

static void take_inputs(const mox_graph *g, mox_arena *a, mox_step_inputs *in)
{
    const mox_hparams *h = &g->m->h;
    uint32_t n = g->dims.n_batch;
    *in = (mox_step_inputs){.base = mox_arena_take(a, 0, ALIGN)};
    size_t begin = a->used;
    in->cos_sin = take_f32(a, n, h->n_rot);
    in->place = mox_arena_take(a, n * sizeof *in->place, ALIGN);
    in->states = h->delta.taps ? mox_arena_take(a, g->dims.n_seq * sizeof *in->states, ALIGN) : NULL;
    in->ids = take_u32(a, n);
    in->temperature = h->temperature_floor ? take_f32(a, n, 1) : NULL;
    in->bytes = a->used - begin;
}

/* Experts' biases for the CPU: the weights themselves lie on the card. */
static void each_bias(mox_graph *g, void (*fn)(const mox_weight *w, const float **near, void *arg), void *arg)
{
    for (uint32_t i = 0; i < g->m->n_ops; i++) {
        const mox_layer_op *op = &g->m->ops[i];
        for (size_t s = 0; op->kind == MOX_LAYER_MOE && s < MOX_SLABS; s++) {
            if (op->moe.bias[s]) {
                fn(op->moe.bias[s], g->near_bias ? &g->near_bias[op->moe.moe_layer * MOX_SLABS + s] : NULL,
                   arg);
            }
        }
    }
}

static void take_bias(const mox_weight *w, const float **near, void *arena)
{
    const float *copy = take_f32(arena, w->rows, w->cols);
    if (near) {
        *near = copy;
    }
}

static void keep_bias(const mox_weight *w, const float **near, void *only)
{
    if (w == *(const mox_weight **)only) {
        memcpy((float *)(uintptr_t)*near, w->f32, (size_t)w->rows * w->cols * sizeof **near);
    }
}

static void take_biases(mox_graph *g, mox_arena *a)
{
    g->near_bias = mox_arena_take(a, (size_t)g->m->n_moe_layers * MOX_SLABS * sizeof *g->near_bias, ALIGN);
    each_bias(g, take_bias, a);
}

void mox_graph_keep_bias(mox_graph *g, const mox_weight *w)
{
    each_bias(g, keep_bias, &w);
}

/* What lives through a step. */
static void take_lasting(mox_graph *g, const kind_masks *kinds, rooms *r)
{
    const mox_hparams *h = &g->m->h;
    uint32_t n = g->dims.n_batch, most = n > MOX_LOGITS_ROWS ? n : MOX_LOGITS_ROWS;
    g->x = take_f32(r->far, n, h->d_model);
    g->h = take_f32(r->far, most, h->d_model);
    take_acts(&g->h_acts, kinds->h, most, h->d_model, r->far);
    take_mul_scratch(g, kinds, most, r->far);
    take_inputs(g, r->far, &g->in);
    g->near = g->in;
    if (g->dev_arena) {
        take_inputs(g, r->near, &g->near);
        g->rope_factors =
            g->m->rope_freqs || g->m->rope_freqs_long ? take_f32(r->near, 1, h->n_rot / 2) : NULL;
        g->near_x = take_f32(r->near, most, h->d_model);
        take_biases(g, r->near);
    }
    g->batch = mox_arena_take(r->near, n * sizeof *g->batch, ALIGN);
    g->want = take_u32(r->near, n);
    g->seq_len = take_u32(r->near, g->dims.n_seq);
    g->seq_new = take_u32(r->near, g->dims.n_seq);
    g->seq_high = take_u32(r->near, g->dims.n_seq);
    g->kv = mox_arena_take(r->near, h->n_layers * sizeof *g->kv, ALIGN);
    if (h->delta.taps) {
        g->state = mox_arena_take(r->near, h->n_layers * sizeof *g->state, ALIGN);
        g->states = mox_arena_take(r->near, g->dims.n_seq * sizeof *g->states, ALIGN);
    }
    if (g->cards) {
        mox_cards_take(g->cards, g, r->near);
    }
}

void mox_graph_take_buffers(mox_graph *g, mox_arena *a)
{
    const mox_hparams *h = &g->m->h;
    kind_masks kinds = find_kinds(g);
    rooms r = {.near = a, .far = g->dev_arena ? g->dev_arena : a};
    take_lasting(g, &kinds, &r);

    /* The shared piece: every user starts at the same place; the longest decides. */
    g->staging = mox_arena_take(a, 0, ALIGN);
    mox_arena_take(r.far, 0, ALIGN);
    begin_sharing(&r);
    mox_arena_take(a, mox_model_staging_bytes(g->m), ALIGN);
    next_user(&r, false);
    take_attention(g, &kinds, r.far);
    next_user(&r, false);
    if (h->delta.taps) {
        take_delta(g, &kinds, r.far);
        next_user(&r, false);
    }
    if (kinds.ffn_width) {
        take_ffn(g, &kinds, r.far);
        next_user(&r, kinds.shared); /* a shared expert's rows live beside the others' */
    }
    if (g->m->n_moe_layers) {
        take_moe(g, kinds.experts, &r);
        take_moe_extras(g, kinds.experts, r.far);
        next_user(&r, false);
    }
    g->gather = take_f32(r.far, MOX_LOGITS_ROWS, h->d_model);
    g->far_logits = g->dev_arena ? take_f32(r.far, MOX_LOGITS_ROWS, h->n_vocab) : NULL;
    g->logits = take_f32(a, MOX_LOGITS_ROWS, h->n_vocab);
    g->candidates = mox_arena_take(a, h->n_vocab * sizeof *g->candidates, ALIGN);
    end_sharing(&r);
    g->staging_bytes = a->used - r.near_start;
}

/* A layer that sees a window or blocks keeps that, the rows of a step, and some to go back by. The kernels of a device know
 * whole caches alone. */
static uint32_t cache_positions(const mox_graph *g, const mox_attention_op *a)
{
    const mox_dims *d = &g->dims;
    uint32_t span = g->dev_arena && !g->played ? 0 : mox_graph_reach(a);
    uint64_t ring = mox_round_up((uint64_t)span + d->n_batch + MOX_RING_SLACK, MOX_KEY_CHUNK);
    return span == 0 || ring >= d->n_ctx ? d->n_ctx : (uint32_t)ring;
}

static mox_kv_view take_cache(const mox_graph *g, const mox_attention_op *op, mox_arena *a)
{
    const mox_kv_shape *s = &g->m->h.kv;
    uint32_t n_ctx = cache_positions(g, op);
    size_t positions = (size_t)g->dims.n_seq * s->n_heads * n_ctx;
    mox_kv_view v = {.type = g->dims.kv,
                     .n_seq = g->dims.n_seq,
                     .n_ctx = n_ctx,
                     .n_kv_heads = s->n_heads,
                     .head_dim = s->k_dim,
                     .v_dim = s->v_dim};
    v.k = mox_arena_take(a, positions * mox_kv_row_bytes(g->dims.kv, s->k_dim), ALIGN);
    v.v = mox_arena_take(a, positions * mox_kv_row_bytes(g->dims.kv, s->v_dim), ALIGN);
    return v;
}

static mox_state_view take_states(const mox_graph *g, mox_arena *a)
{
    mox_state_view v = states_of(g);
    size_t slots = (size_t)v.n_seq * v.n_slots;
    v.conv = take_f32(a, slots * (v.taps - 1), mox_state_channels(&v));
    v.s = take_f32(a, slots * v.v_heads * v.k_dim, v.v_dim);
    return v;
}

/* What layers keep of positions or of sequences: each as its op says. */
void mox_graph_take_kv(mox_graph *g, mox_arena *a)
{
    for (uint32_t i = 0; i < g->m->n_ops; i++) {
        const mox_layer_op *op = &g->m->ops[i];
        if (g->cards && g->cards->of_layer[op->layer] != g->card) {
            continue;
        }
        if (op->kind == MOX_LAYER_ATTENTION) {
            mox_kv_view v = take_cache(g, &op->attention, a);
            if (a->base) {
                g->kv[op->layer] = v;
            }
        } else if (op->kind == MOX_LAYER_DELTA) {
            mox_state_view v = take_states(g, a);
            if (a->base) {
                g->state[op->layer] = v;
            }
        }
    }
}
