/* x += down(silu(gate h) * (up h)), h = norm(x): the FFN of dense layers, in chunks of rows so that its
 * scratch does not grow with the batch. Rows are independent, so the chunking cannot show in the result.
 */
#include "runtime/graph/graph.h"

/* Rows [row0, row0 + n) of g->h. The set is rebuilt per chunk: its rows are the chunk's. */
static mox_err ffn_chunk(mox_graph *g, const mox_layer_op *op, uint32_t row0, uint32_t n)
{
    const mox_ffn_op *f = &op->ffn;
    mox_ffn_buffers *b = &g->ffn;
    float *h = g->h + (size_t)row0 * g->m->h.d_model;
    mox_act_set_clear(&g->h_acts);
    MOX_TRY_OP(op->layer, "ffn gate", mox_graph_mat_mul(g, f->gate, NULL, &g->h_acts, h, n, b->gate));
    MOX_TRY_OP(op->layer, "ffn up", mox_graph_mat_mul(g, f->up, NULL, &g->h_acts, h, n, b->up));
    mox_swiglu_args act = {.gate = b->gate, .up = b->up, .h = b->gate, .n = n, .d_ff = f->gate->rows};
    MOX_TRY_OP(op->layer, "ffn activation", g->ops->swiglu(g->ops, g->stream, &act));
    mox_act_set_clear(&b->h_acts);
    /* down overwrites the normed rows: nobody reads them any more */
    return mox_graph_named(mox_graph_mat_mul(g, f->down, NULL, &b->h_acts, b->gate, n, h), op->layer,
                           "ffn down");
}

mox_err mox_graph_ffn(mox_graph *g, const mox_layer_op *op)
{
    MOX_TRY_OP(op->layer, "ffn norm", mox_graph_norm(g, op->ffn.norm, g->x, g->n, g->h));
    for (uint32_t row = 0; row < g->n; row += MOX_CHUNK_ROWS) {
        uint32_t n = g->n - row < MOX_CHUNK_ROWS ? g->n - row : MOX_CHUNK_ROWS;
        MOX_TRY(ffn_chunk(g, op, row, n));
    }
    mox_add_args add = {.a = g->x, .b = g->h, .y = g->x, .n = (size_t)g->n * g->m->h.d_model};
    return g->ops->add(g->ops, g->stream, &add);
}
