/* How far back a sequence can go, and which slot of its recurrent state a step reads and which it writes.
 *
 * A layer that sees a window keeps a ring of positions: its window, the rows of a step, and some more. Steps that went
 * further have overwritten what a window that far back needs; then the sequence goes back to its beginning.
 *
 * A cache of positions forgets by a shorter length; a state cannot go back. So a sequence has three slots: the state it
 * is at, the one before the step that led there (a step writes another slot than it reads, and a failed one has changed
 * nothing), and a mark: the state before the last token of the newest prompt, from which the same prompt can be
 * answered again and a longer one read on. A sequence goes back to the newest of them that is no longer than asked, else
 * to its beginning. Nothing is copied; a slot is chosen.
 */
#include "runtime/graph/graph.h"

#include <string.h>

static uint32_t free_slot(const mox_seq_states *s)
{
    uint32_t slot = 0;
    while (slot == s->now || (s->marked && slot == s->mark)) {
        slot++;
    }
    return slot;
}

void mox_graph_states_begin(mox_graph *g)
{
    for (uint32_t q = 0; q < g->dims.n_seq; q++) {
        g->seq_high[q] = g->seq_new[q] > g->seq_high[q] ? g->seq_new[q] : g->seq_high[q];
    }
    for (uint32_t q = 0; g->states && q < g->dims.n_seq; q++) {
        mox_seq_states *s = &g->states[q];
        uint32_t rows = g->seq_new[q] - g->seq_len[q];
        if (rows == 0) {
            continue;
        }
        if (g->phase == MOX_PHASE_PREFILL && rows == 1 && g->seq_len[q] != 0) {
            s->mark = s->now;
            s->marked = true;
        }
        s->next = free_slot(s);
        s->len[s->next] = 0; /* until the step has ended well */
        g->near.states[q] = (mox_state_step){.from = s->now, .to = s->next};
    }
}

void mox_graph_states_commit(mox_graph *g)
{
    for (uint32_t q = 0; g->states && q < g->dims.n_seq; q++) {
        if (g->seq_new[q] != g->seq_len[q]) {
            mox_seq_states *s = &g->states[q];
            s->now = s->next;
            s->len[s->now] = g->seq_new[q];
        }
    }
}

uint32_t mox_graph_reach(const mox_attention_op *a)
{
    return a->window ? a->window : a->chunk;
}

/* Is every position that a row at position n sees still there? */
static bool rings_reach(const mox_graph *g, uint32_t seq, uint32_t n)
{
    for (uint32_t i = 0; i < g->m->n_ops; i++) {
        const mox_layer_op *op = &g->m->ops[i];
        if (op->kind == MOX_LAYER_ATTENTION && g->kv[op->layer].n_ctx < g->dims.n_ctx) {
            uint64_t span = mox_graph_reach(&op->attention), ring = g->kv[op->layer].n_ctx;
            if (g->seq_high[seq] > ring && g->seq_high[seq] + span > n + ring) {
                return false;
            }
        }
    }
    return true;
}

/* The newest state of at most n positions. */
static uint32_t state_before(mox_seq_states *s, uint32_t n)
{
    uint32_t best = s->now, len = 0;
    for (uint32_t i = 0; i < MOX_STATE_SLOTS; i++) {
        if (s->len[i] > n) { /* of tokens that are forgotten */
            s->len[i] = 0;
            s->marked = s->marked && s->mark != i;
        }
        if (s->len[i] > len) {
            best = i;
            len = s->len[i];
        }
    }
    s->now = best;
    return len;
}

void mox_graph_keep(mox_graph *g, uint32_t seq, uint32_t n)
{
    if (n >= g->seq_len[seq]) {
        return;
    }
    n = rings_reach(g, seq, n) ? n : 0;
    n = g->states ? state_before(&g->states[seq], n) : n;
    g->seq_len[seq] = n;
    g->seq_high[seq] = n ? g->seq_high[seq] : 0;
}
