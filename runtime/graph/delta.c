/* x += O(silu(z) * head_norm(S^T q)): a layer of gated delta nets. Projections and norms as in attention; between them a
 * short convolution and a recurrence, which read the slots that states.c chose and write others.
 */
#include "runtime/graph/graph.h"

static mox_err project(mox_graph *g, const mox_layer_op *op)
{
    const mox_delta_op *d = &op->delta;
    mox_delta_buffers *b = &g->delta;
    const mox_product p[] = {{d->qkv, NULL, b->qkv}, {d->z, NULL, b->z}, {d->ba, NULL, b->ba}};
    return mox_graph_mat_muls(g, p, 3, &g->h_acts, g->h, g->n);
}

static mox_err recur(mox_graph *g, const mox_layer_op *op)
{
    const mox_delta_op *d = &op->delta;
    mox_delta_buffers *b = &g->delta;
    const mox_state_view state = g->state[op->layer];
    mox_conv_args conv = {.state = state,
                          .step = g->in.states,
                          .place = g->in.place,
                          .x = b->qkv,
                          .w = d->conv->f32,
                          .y = b->mixed,
                          .n = g->n};
    MOX_TRY_OP(op->layer, "convolution", g->ops->conv(g->ops, g->stream, &conv));
    mox_delta_prepare_args prepare = {.state = state,
                                      .y = b->mixed,
                                      .ba = b->ba,
                                      .a = d->a->f32,
                                      .dt_bias = d->dt_bias->f32,
                                      .decay = b->decay,
                                      .beta = b->beta,
                                      .eps = MOX_DELTA_EPS,
                                      .n = g->n};
    MOX_TRY_OP(op->layer, "delta decay", g->ops->delta_prepare(g->ops, g->stream, &prepare));
    mox_delta_rule_args rule = {.state = state,
                                .step = g->in.states,
                                .place = g->in.place,
                                .y = b->mixed,
                                .decay = b->decay,
                                .beta = b->beta,
                                .out = b->out,
                                .n = g->n};
    return mox_graph_named(g->ops->delta_rule(g->ops, g->stream, &rule), op->layer, "delta rule");
}

mox_err mox_graph_delta(mox_graph *g, const mox_layer_op *op)
{
    const mox_delta_op *d = &op->delta;
    const mox_delta_shape *s = &g->m->h.delta;
    mox_delta_buffers *b = &g->delta;
    MOX_TRY_OP(op->layer, "attention norm", mox_graph_norm(g, d->norm, g->x, g->n, g->h));
    mox_act_set_clear(&g->h_acts);
    MOX_TRY_OP(op->layer, "delta q, k, v", project(g, op));
    MOX_TRY(recur(g, op));
    MOX_TRY_OP(op->layer, "delta norm",
               mox_graph_rms_norm(g, d->head_norm->f32, b->out, g->n * s->v_heads, s->v_dim, b->out));
    mox_swiglu_args gate = {.gate = b->z, .up = b->out, .h = b->z, .n = g->n, .d_ff = s->v_heads * s->v_dim};
    MOX_TRY_OP(op->layer, "delta gate", g->ops->swiglu(g->ops, g->stream, &gate));
    mox_act_set_clear(&b->out_acts);
    MOX_TRY_OP(op->layer, "delta output", mox_graph_mat_mul(g, d->o, NULL, &b->out_acts, b->z, g->n, g->h));
    return mox_graph_residual(g, NULL);
}
