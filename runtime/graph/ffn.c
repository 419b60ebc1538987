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
    const mox_product gate_up[] = {{f->gate, NULL, b->gate}, {f->up, NULL, b->up}};
    MOX_TRY_OP(op->layer, "ffn gate, up", mox_graph_mat_muls(g, gate_up, 2, &g->h_acts, h, n));
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
    return mox_graph_residual(g, NULL);
}

/* y [n][w->rows], y_stride floats between rows, = w times rows [row0, row0 + n) of activations */
static mox_err mul_rows(mox_graph *g, const mox_weight *w, const mox_acts *acts, uint32_t row0, uint32_t n,
                        float *y, size_t y_stride)
{
    mox_acts rows = *acts;
    rows.data = (uint8_t *)acts->data + row0 * acts->row_bytes;
    mox_mat_mul_args a = {
        .w = &w->mat, .x = rows, .y = y, .y_stride = y_stride, .n = n, .scratch = g->mul_scratch};
    return g->ops->mat_mul(g->ops, g->stream, &a);
}

static mox_err shared_chunk(mox_graph *g, const mox_moe_op *op, uint32_t row0, uint32_t n)
{
    const mox_hparams *h = &g->m->h;
    mox_ffn_buffers *b = &g->ffn;
    const mox_weight *gate = op->shared[MOX_SLAB_GATE], *up = op->shared[MOX_SLAB_UP];
    const mox_weight *down = op->shared[MOX_SLAB_DOWN];
    const mox_acts *acts;
    uint32_t ranks = mox_graph_ranks(h);
    MOX_TRY(mox_graph_acts(g, &g->h_acts, g->h, g->n, h->d_model, gate->type, &acts));
    MOX_TRY(mul_rows(g, gate, acts, row0, n, b->gate, gate->rows));
    MOX_TRY(mox_graph_acts(g, &g->h_acts, g->h, g->n, h->d_model, up->type, &acts));
    MOX_TRY(mul_rows(g, up, acts, row0, n, b->up, up->rows));
    mox_swiglu_args act = {.gate = b->gate, .up = b->up, .h = b->gate, .n = n, .d_ff = gate->rows};
    MOX_TRY(g->ops->swiglu(g->ops, g->stream, &act));
    mox_act_set_clear(&b->h_acts);
    MOX_TRY(mox_graph_acts(g, &b->h_acts, b->gate, n, gate->rows, down->type, &acts));
    float *y = g->moe.e + ((size_t)row0 * ranks + ranks - 1) * h->d_model;
    return mul_rows(g, down, acts, 0, n, y, (size_t)ranks * h->d_model);
}

mox_err mox_graph_shared(mox_graph *g, const mox_layer_op *op)
{
    for (uint32_t row = 0; row < g->n; row += MOX_CHUNK_ROWS) {
        uint32_t n = g->n - row < MOX_CHUNK_ROWS ? g->n - row : MOX_CHUNK_ROWS;
        MOX_TRY_OP(op->layer, "shared expert", shared_chunk(g, &op->moe, row, n));
    }
    return MOX_OK;
}
