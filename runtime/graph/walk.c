/* The walk over a model's ops: stretches that are queued, and between them what the host does.
 *
 * A stretch begins with the step, behind the experts of a layer, or where another card takes over, and goes on to where the
 * host is asked: for a layer's experts, or to carry rows to the next card. What is queued in one follows from its first op
 * alone, so that it can be captured (capture.h). Without cards every call has done its work when it returns, and the walk is
 * the same.
 */
#include "runtime/graph/capture.h"
#include "runtime/graph/card.h"

bool mox_graph_has(const mox_graph *g, uint32_t i)
{
    return i < g->m->n_ops && (!g->cards || g->cards->of_layer[g->m->ops[i].layer] == g->card);
}

bool mox_graph_starts(const mox_graph *g, uint32_t i)
{
    if (i == 0) {
        return g->card == 0 || mox_graph_has(g, 0);
    }
    bool before = mox_graph_has(g, i - 1);
    return before ? g->m->ops[i - 1].kind == MOX_LAYER_MOE : mox_graph_has(g, i);
}

/* The MoE op that the host is asked about, or the first that another card has, or none: n_ops. */
static uint32_t end_of(const mox_graph *g, uint32_t i)
{
    while (mox_graph_has(g, i) && g->m->ops[i].kind != MOX_LAYER_MOE) {
        i++;
    }
    return i;
}

static size_t row_bytes(const mox_graph *g)
{
    return (size_t)g->n * g->m->h.d_model * sizeof *g->x;
}

static mox_err queue_embedding(mox_graph *g)
{
    mox_embed_args embed = {.w = &g->m->token_embd->mat, .ids = g->in.ids, .n = g->n, .y = g->x};
    MOX_TRY(g->ops->embed(g->ops, g->stream, &embed));
    MOX_TRY(mox_graph_scale(g, g->x, g->n, g->m->h.d_model, g->m->h.embedding_scale));
    mox_graph_lap(g, MOX_SPAN_EMBED, 0, g->n);
    return MOX_OK;
}

/* What comes before op i: the embedding, the experts' sum, or rows from another card. */
static mox_err queue_beginning(mox_graph *g, uint32_t i)
{
    if (i == 0 && g->card == 0) {
        return queue_embedding(g);
    }
    if (i == 0 || !mox_graph_has(g, i - 1)) {
        return mox_graph_copy(g, g->x, g->near_x, row_bytes(g));
    }
    return g->cards ? mox_graph_moe_merge(g, &g->m->ops[i - 1]) : MOX_OK;
}

static mox_err queue_op(mox_graph *g, const mox_layer_op *op)
{
    if (op->kind == MOX_LAYER_FFN) {
        MOX_TRY(mox_graph_ffn(g, op));
        mox_graph_lap(g, MOX_SPAN_FFN, op->layer, g->n);
        return MOX_OK;
    }
    MOX_TRY(op->kind == MOX_LAYER_DELTA ? mox_graph_delta(g, op) : mox_graph_attention(g, op));
    mox_graph_lap(g, MOX_SPAN_ATTENTION, op->layer, g->n);
    return MOX_OK;
}

static mox_err ask_cancelled(const mox_graph *g, uint32_t i)
{
    bool stop = i < g->m->n_ops && g->cancelled && g->cancelled(g->cancel_arg);
    return stop ? MOX_FAIL(MOX_E_CANCELLED, "stopped before layer %u", g->m->ops[i].layer) : MOX_OK;
}

mox_err mox_graph_queue_stretch(mox_graph *g, uint32_t i)
{
    const mox_layer_op *ops = g->m->ops;
    uint32_t end = end_of(g, i);
    MOX_TRY(queue_beginning(g, i));
    for (; i < end; i++) {
        MOX_TRY(ask_cancelled(g, i));
        MOX_TRY(queue_op(g, &ops[i]));
    }
    if (mox_graph_has(g, end)) {
        MOX_TRY(ask_cancelled(g, end));
        return mox_graph_moe_choose(g, &ops[end]);
    }
    if (end == g->m->n_ops) {
        return MOX_OK;
    }
    MOX_TRY(mox_graph_copy(g, g->near_x, g->x, row_bytes(g)));
    return mox_card_tell(mox_card_of(g));
}

static mox_err run_stretch(mox_graph *g, uint32_t i)
{
    uint32_t which = mox_captured_stretch(i);
    if (g->cards) {
        mox_card_expect(mox_card_of(g));
    }
    if (!mox_is_captured(g, which, g->n)) {
        return mox_graph_queue_stretch(g, i);
    }
    MOX_TRY(ask_cancelled(g, i));
    MOX_TRY(mox_captured_launch(g, which));
    mox_graph_lap(g, MOX_SPAN_ATTENTION, g->m->ops[i < g->m->n_ops ? i : i - 1].layer, g->n);
    return MOX_OK;
}

mox_err mox_graph_run_ops(mox_graph *g)
{
    mox_graph *at = g; /* of the card that has the op */
    for (uint32_t i = 0;;) {
        MOX_TRY(run_stretch(at, i));
        uint32_t end = end_of(at, i);
        if (end == g->m->n_ops) {
            return MOX_OK;
        }
        if (mox_graph_has(at, end)) {
            MOX_TRY(mox_graph_moe(at, &g->m->ops[end]));
            i = end + 1;
        } else {
            mox_graph *to = g->cards->graph[g->cards->of_layer[g->m->ops[end].layer]];
            MOX_TRY(mox_card_wait_computed(mox_card_of(at)));
            to->lap_ns = at->lap_ns;
            at = to;
            i = end;
        }
    }
}
