/* x += O(attention(...)): norm, Q K V from one quantised input, rope, append to the cache, attend, project.
 *
 * K and V of all rows are appended before any row attends, so rows of one sequence in one step see each other
 * exactly as they would token by token. What only some models have (norms of q and k, limits, windows, sinks) is asked
 * of the op; where it is absent nothing runs.
 */
#include "runtime/graph/graph.h"

mox_err mox_graph_rope(mox_graph *g, float *x, uint32_t n_heads, uint32_t head_dim)
{
    const mox_hparams *h = &g->m->h;
    mox_rope_args a = {.x = x,
                       .cos_sin = g->in.cos_sin,
                       .n = g->n,
                       .n_heads = n_heads,
                       .head_dim = head_dim,
                       .n_pairs = h->n_rot / 2,
                       .neox = h->rope.neox};
    return g->ops->rope(g->ops, g->stream, &a);
}

/* Norm of q or k: every head by itself, or a row's heads as one vector. */
static mox_err norm_heads(mox_graph *g, const mox_attention_op *a, const mox_weight *w, float *x,
                          uint32_t n_heads)
{
    uint32_t head_dim = g->m->h.head_dim;
    bool wide = a->qk_norm == MOX_QK_NORM_WIDE;
    uint32_t n = wide ? g->n : g->n * n_heads, d = wide ? n_heads * head_dim : head_dim;
    return mox_graph_rms_norm(g, w ? w->f32 : NULL, x, n, d, x);
}

static mox_err norm_qk(mox_graph *g, const mox_layer_op *op)
{
    const mox_attention_op *a = &op->attention;
    MOX_TRY_OP(op->layer, "norm of q", norm_heads(g, a, a->q_norm, g->attention.q, g->m->h.n_heads));
    return mox_graph_named(norm_heads(g, a, a->k_norm, g->attention.k, g->m->h.n_kv_heads), op->layer,
                           "norm of k");
}

/* q, k and v held to -limit .. limit. */
static mox_err clamp_qkv(mox_graph *g)
{
    const mox_hparams *h = &g->m->h;
    const struct {
        float *x;
        uint32_t heads;
    } each[] = {
        {g->attention.q, h->n_heads}, {g->attention.k, h->n_kv_heads}, {g->attention.v, h->n_kv_heads}};
    for (int i = 0; i < 3; i++) {
        mox_map_args a = {.kind = MOX_MAP_CLAMP,
                          .x = each[i].x,
                          .a = h->clamp_qkv,
                          .n = g->n,
                          .d = each[i].heads * h->head_dim};
        MOX_TRY(g->ops->map(g->ops, g->stream, &a));
    }
    return MOX_OK;
}

/* Queries grow with the position (step.c has made the factors). */
static mox_err heat_queries(mox_graph *g)
{
    const mox_hparams *h = &g->m->h;
    mox_map_args a = {.kind = MOX_MAP_ROWS,
                      .x = g->attention.q,
                      .by = g->in.temperature,
                      .n = g->n,
                      .d = h->n_heads * h->head_dim};
    return g->ops->map(g->ops, g->stream, &a);
}

/* Queries come with their gates, head by head. */
static mox_err split_gates(mox_graph *g)
{
    mox_attention_buffers *b = &g->attention;
    uint32_t n = g->n * g->m->h.n_heads, d = g->m->h.head_dim;
    mox_part_args part = {.x = b->q_gate, .y = b->q, .n = n, .from = 2 * d, .len = d};
    MOX_TRY(g->ops->part(g->ops, g->stream, &part));
    part.y = b->gate;
    part.at = d;
    return g->ops->part(g->ops, g->stream, &part);
}

/* What attention gathered, times the sigmoids of the gates. */
static mox_err close_gates(mox_graph *g)
{
    const mox_hparams *h = &g->m->h;
    mox_map_args a = {.kind = MOX_MAP_GATE,
                      .x = g->attention.out,
                      .by = g->attention.gate,
                      .n = g->n,
                      .d = h->n_heads * h->head_dim};
    return g->ops->map(g->ops, g->stream, &a);
}

static mox_err project(mox_graph *g, const mox_layer_op *op)
{
    const mox_attention_op *a = &op->attention;
    mox_attention_buffers *b = &g->attention;
    const mox_hparams *h = &g->m->h;
    uint32_t l = op->layer;
    const mox_product qkv[] = {
        {a->q, a->q_bias, a->gated ? b->q_gate : b->q}, {a->k, a->k_bias, b->k}, {a->v, a->v_bias, b->v}};
    MOX_TRY_OP(l, "attention q, k, v", mox_graph_mat_muls(g, qkv, 3, &g->h_acts, g->h, g->n));
    if (a->gated) {
        MOX_TRY_OP(l, "attention gate", split_gates(g));
    }
    if (h->clamp_qkv != 0.0f) {
        MOX_TRY(clamp_qkv(g));
    }
    if (a->qk_norm != MOX_QK_NORM_NONE && !a->norm_after_rope) {
        MOX_TRY(norm_qk(g, op));
    }
    if (!a->no_rope) {
        MOX_TRY_OP(l, "rope q", mox_graph_rope(g, b->q, h->n_heads, h->head_dim));
        MOX_TRY_OP(l, "rope k", mox_graph_rope(g, b->k, h->n_kv_heads, h->head_dim));
    }
    if (a->qk_norm != MOX_QK_NORM_NONE && a->norm_after_rope) {
        MOX_TRY(norm_qk(g, op));
    }
    return a->temperature ? heat_queries(g) : MOX_OK;
}

mox_attention_args mox_graph_attend_args(const mox_graph *g, const mox_layer_op *op)
{
    const mox_attention_op *a = &op->attention;
    const mox_hparams *h = &g->m->h;
    return (mox_attention_args){.kv = g->kv[op->layer],
                                .q = g->attention.q,
                                .out = g->attention.out,
                                .place = g->in.place,
                                .n = g->n,
                                .n_heads = h->n_heads,
                                .scale = h->attention_scale,
                                .scratch = g->attention.scratch,
                                .window = a->window,
                                .chunk = a->chunk,
                                .softcap = h->attention_softcap,
                                .sinks = a->sinks ? a->sinks->f32 : NULL};
}

static mox_err attend(mox_graph *g, const mox_layer_op *op)
{
    mox_attention_buffers *b = &g->attention;
    MOX_TRY(project(g, op));
    mox_kv_append_args append = {
        .kv = g->kv[op->layer], .k = b->k, .v = b->v, .place = g->in.place, .n = g->n};
    MOX_TRY_OP(op->layer, "kv cache", g->ops->kv_append(g->ops, g->stream, &append));
    mox_attention_args args = mox_graph_attend_args(g, op);
    MOX_TRY_OP(op->layer, "attention", g->ops->attention(g->ops, g->stream, &args));
    return op->attention.gated ? close_gates(g) : MOX_OK;
}

mox_err mox_graph_attention(mox_graph *g, const mox_layer_op *op)
{
    const mox_attention_op *a = &op->attention;
    mox_attention_buffers *b = &g->attention;
    MOX_TRY_OP(op->layer, "attention norm", mox_graph_norm(g, a->norm, g->x, g->n, g->h));
    mox_act_set_clear(&g->h_acts);
    MOX_TRY(a->compressed ? mox_graph_mla(g, op) : attend(g, op));
    mox_act_set_clear(&b->out_acts);
    MOX_TRY_OP(op->layer, "attention output",
               mox_graph_mat_mul(g, a->o, a->o_bias, &b->out_acts, b->out, g->n, g->h));
    return mox_graph_residual(g, a->post_norm);
}
