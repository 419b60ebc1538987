/* See capture.h. */
#include "runtime/graph/capture.h"

#include "runtime/core/clock.h"
#include "runtime/graph/card.h"

/* What is queued: (graph, op or rows). */
typedef mox_err (*queue_fn)(mox_graph *g, uint32_t at);

uint32_t mox_captured_count(const mox_model *m)
{
    return mox_captured_logits(m) + 1;
}

bool mox_is_captured(const mox_graph *g, uint32_t which, uint32_t n_rows)
{
    return g->captured && g->captured[which] && n_rows == MOX_CAPTURED_ROWS && !g->careful;
}

mox_err mox_captured_launch(mox_graph *g, uint32_t which)
{
    return g->dev->ops->graph_launch(g->dev, g->captured[which], g->stream);
}

/* A stream that records must be told to end, whatever happened meanwhile. */
static mox_err capture(mox_graph *g, uint32_t which, queue_fn fn, uint32_t at)
{
    const mox_dev_ops *ops = g->dev->ops;
    mox_dev_graph *made = NULL;
    MOX_TRY(ops->graph_begin(g->dev, g->stream));
    mox_err err = fn(g, at);
    mox_err_info first = *mox_err_last();
    mox_err ended = ops->graph_end(g->dev, g->stream, &made);
    g->captured[which] = made;
    return err == MOX_OK ? ended : mox_err_restore(&first);
}

static mox_err capture_all(mox_graph *g)
{
    const mox_model *m = g->m;
    for (uint32_t i = 0; i <= m->n_ops; i++) {
        if (mox_graph_starts(g, i)) {
            MOX_TRY(capture(g, mox_captured_stretch(i), mox_graph_queue_stretch, i));
        }
    }
    for (uint32_t i = 0; i < m->n_ops; i++) {
        if (mox_graph_has(g, i) && m->ops[i].kind == MOX_LAYER_MOE && mox_moe_card_most_hits(g, i) > 0) {
            MOX_TRY(capture(g, mox_captured_hits(m, i), mox_moe_card_queue_hits, i));
        }
    }
    return g->card == 0 ? capture(g, mox_captured_logits(m), mox_graph_queue_logits, MOX_CAPTURED_ROWS)
                        : MOX_OK;
}

/* The driver takes memory for graphs that no plan can know: it is measured. */
static mox_err capture_card(mox_graph *g, size_t *bytes)
{
    size_t before, after, total;
    MOX_TRY(g->dev->ops->mem_free_bytes(g->dev, &before, &total));
    MOX_TRY(capture_all(g));
    MOX_TRY(g->dev->ops->mem_free_bytes(g->dev, &after, &total));
    *bytes += before > after ? before - after : 0;
    return MOX_OK;
}

void mox_cards_capture(mox_cards *cs, bool pinned, const mox_log *log)
{
    uint64_t begin = mox_now_ns();
    uint32_t made = 0;
    size_t bytes = 0;
    if (!cs->card[0].dev->ops->graph_begin) {
        return;
    }
    mox_err err = pinned ? MOX_OK : MOX_FAIL(MOX_E_DEVICE, "the host's buffers are not pinned");
    for (uint32_t i = 0; i < cs->n && err == MOX_OK; i++) {
        mox_graph *g = cs->graph[i];
        g->n = MOX_CAPTURED_ROWS;
        err = capture_card(g, &bytes);
        for (uint32_t w = 0; w < mox_captured_count(g->m); w++) {
            made += g->captured[w] != NULL;
        }
    }
    if (err != MOX_OK) {
        mox_log_line(log, MOX_LOG_INFO, "steps of one token are queued call by call, not as graphs: %s",
                     mox_err_last()->msg);
        mox_cards_forget(cs);
        return;
    }
    mox_log_line(log, MOX_LOG_INFO,
                 "steps of one token: %u graphs, captured in %.1f ms, %zu bytes of device memory", made,
                 (double)(mox_now_ns() - begin) / 1e6, bytes);
}

void mox_cards_forget(mox_cards *cs)
{
    for (uint32_t i = 0; i < cs->n; i++) {
        mox_graph *g = cs->graph[i];
        for (uint32_t w = 0; g && g->captured && w < mox_captured_count(g->m); w++) {
            if (g->captured[w]) {
                g->dev->ops->graph_destroy(g->dev, &g->captured[w]);
            }
        }
    }
}
