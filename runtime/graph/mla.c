/* Compressed attention (DeepSeek V2, V3) in its absorbed form, for prompt and answer alike: the cache holds, for all
 * heads together, c = norm(kv_a x) as V and one rotated key as K. A head's query goes through k_b into the space of c,
 * the score is q_latent . c + q_rope . k, attention gathers c, and v_b makes the head's value of what it gathered.
 */
#include "runtime/graph/graph.h"

/* Head by head, the first or last elements of rows of heads of `from` elements. */
static mox_err take_part(mox_graph *g, const float *x, uint32_t n, uint32_t from, uint32_t at, uint32_t len,
                         float *y)
{
    mox_part_args a = {.x = x, .y = y, .n = n, .from = from, .at = at, .len = len};
    return g->ops->part(g->ops, g->stream, &a);
}

static mox_err queries(mox_graph *g, const mox_layer_op *op, float *q)
{
    const mox_mla_op *c = &op->attention.mla;
    mox_attention_buffers *b = &g->attention;
    if (!c->q_a) {
        return mox_graph_mat_mul(g, c->q_b, NULL, &g->h_acts, g->h, g->n, q);
    }
    uint32_t lora = c->q_a->rows;
    MOX_TRY(mox_graph_mat_mul(g, c->q_a, NULL, &g->h_acts, g->h, g->n, b->latent));
    MOX_TRY(mox_graph_rms_norm(g, c->q_a_norm->f32, b->latent, g->n, lora, b->latent));
    mox_act_set_clear(&b->q_a_acts);
    return mox_graph_mat_mul(g, c->q_b, NULL, &b->q_a_acts, b->latent, g->n, q);
}

/* c and the rotated key of every row, to b->v and b->k. */
static mox_err cache_rows(mox_graph *g, const mox_layer_op *op)
{
    const mox_mla_op *c = &op->attention.mla;
    const mox_hparams *h = &g->m->h;
    mox_attention_buffers *b = &g->attention;
    uint32_t width = h->kv_lora + h->n_rot;
    MOX_TRY(mox_graph_mat_mul(g, c->kv_a, NULL, &g->h_acts, g->h, g->n, b->gathered));
    MOX_TRY(take_part(g, b->gathered, g->n, width, 0, h->kv_lora, b->v));
    MOX_TRY(take_part(g, b->gathered, g->n, width, h->kv_lora, h->n_rot, b->k));
    MOX_TRY(mox_graph_rms_norm(g, c->kv_a_norm->f32, b->v, g->n, h->kv_lora, b->v));
    MOX_TRY(mox_graph_rope(g, b->k, 1, h->n_rot));
    mox_kv_append_args append = {
        .kv = g->kv[op->layer], .k = b->k, .v = b->v, .place = g->in.place, .n = g->n};
    return g->ops->kv_append(g->ops, g->stream, &append);
}

/* y[i][head] = w[head] x[i][head] */
static mox_err per_head(mox_graph *g, const mox_weight *w, mox_act_set *set, const float *x, float *y)
{
    const mox_acts *acts;
    uint32_t heads = g->m->h.n_heads;
    mox_act_set_clear(set);
    MOX_TRY(mox_graph_acts(g, set, x, g->n * heads, w->cols, w->type, &acts));
    mox_head_mul_args a = {.w = w->part, .x = *acts, .y = y, .n = g->n, .n_heads = heads};
    return g->ops->head_mul(g->ops, g->stream, &a);
}

mox_err mox_graph_mla(mox_graph *g, const mox_layer_op *op)
{
    const mox_mla_op *c = &op->attention.mla;
    const mox_hparams *h = &g->m->h;
    mox_attention_buffers *b = &g->attention;
    uint32_t l = op->layer, heads = h->n_heads, nope = h->head_dim - h->n_rot;
    /* gathered is free until attention fills it: it holds the queries as they come, then kv_a's rows */
    MOX_TRY_OP(l, "attention q", queries(g, op, b->gathered));
    MOX_TRY(take_part(g, b->gathered, g->n * heads, h->head_dim, 0, nope, b->normed));
    MOX_TRY(take_part(g, b->gathered, g->n * heads, h->head_dim, nope, h->n_rot, b->q));
    MOX_TRY_OP(l, "rope q", mox_graph_rope(g, b->q, heads, h->n_rot));
    MOX_TRY_OP(l, "attention k", per_head(g, c->k_b, &b->head_acts, b->normed, b->latent));
    MOX_TRY_OP(l, "kv cache", cache_rows(g, op));
    mox_attention_args args = mox_graph_attend_args(g, op);
    args.q_latent = b->latent;
    args.out = b->gathered;
    MOX_TRY_OP(l, "attention", g->ops->attention(g->ops, g->stream, &args));
    return mox_graph_named(per_head(g, c->v_b, &b->gathered_acts, b->gathered, b->out), l, "attention v");
}
