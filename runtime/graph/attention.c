/* x += O(attention(...)): norm, Q K V from one quantised input, rope, append to the cache, attend, project.
 *
 * K and V of all rows are appended before any row attends, so rows of one sequence in one step see each other
 * exactly as they would token by token.
 */
#include "runtime/graph/graph.h"

#include <math.h>

static mox_err rope(mox_graph *g, float *x, uint32_t n_heads)
{
    const mox_hparams *h = &g->m->h;
    mox_rope_args a = {.x = x,
                       .cos_sin = g->cos_sin,
                       .n = g->n,
                       .n_heads = n_heads,
                       .head_dim = h->head_dim,
                       .n_pairs = h->n_rot / 2,
                       .neox = h->rope_neox};
    return g->ops->rope(g->ops, g->stream, &a);
}

static mox_err project(mox_graph *g, const mox_layer_op *op)
{
    const mox_attention_op *a = &op->attention;
    mox_attention_buffers *b = &g->attention;
    uint32_t l = op->layer;
    MOX_TRY_OP(l, "attention norm", mox_graph_norm(g, a->norm, g->x, g->n, g->h));
    mox_act_set_clear(&g->h_acts);
    MOX_TRY_OP(l, "attention q", mox_graph_mat_mul(g, a->q, a->q_bias, &g->h_acts, g->h, g->n, b->q));
    MOX_TRY_OP(l, "attention k", mox_graph_mat_mul(g, a->k, a->k_bias, &g->h_acts, g->h, g->n, b->k));
    MOX_TRY_OP(l, "attention v", mox_graph_mat_mul(g, a->v, a->v_bias, &g->h_acts, g->h, g->n, b->v));
    MOX_TRY_OP(l, "rope q", rope(g, b->q, g->m->h.n_heads));
    return mox_graph_named(rope(g, b->k, g->m->h.n_kv_heads), l, "rope k");
}

mox_err mox_graph_attention(mox_graph *g, const mox_layer_op *op)
{
    const mox_attention_op *a = &op->attention;
    mox_attention_buffers *b = &g->attention;
    const mox_hparams *h = &g->m->h;
    MOX_TRY(project(g, op));
    mox_kv_append_args append = {.kv = g->kv[op->layer], .k = b->k, .v = b->v, .place = g->place, .n = g->n};
    MOX_TRY_OP(op->layer, "kv cache", g->ops->kv_append(g->ops, g->stream, &append));
    mox_attention_args attend = {.kv = g->kv[op->layer],
                                 .q = b->q,
                                 .out = b->out,
                                 .place = g->place,
                                 .n = g->n,
                                 .n_heads = h->n_heads,
                                 .scale = (float)(1.0 / sqrt((double)h->head_dim)),
                                 .scratch = b->scratch};
    MOX_TRY_OP(op->layer, "attention", g->ops->attention(g->ops, g->stream, &attend));
    mox_act_set_clear(&b->out_acts);
    MOX_TRY_OP(op->layer, "attention output",
               mox_graph_mat_mul(g, a->o, a->o_bias, &b->out_acts, b->out, g->n, g->h));
    mox_add_args add = {.a = g->x, .b = g->h, .y = g->x, .n = (size_t)g->n * h->d_model};
    return g->ops->add(g->ops, g->stream, &add);
}
