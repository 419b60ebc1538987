/* The part of a layer's experts that a card computes: those in VRAM, and those that cross the link for this step.
 *
 * The router's choice comes down to the host, and with it the experts' inputs if VRAM lacks experts of the layer. Residents
 * are launched before the CPU begins with the misses. Of what comes from RAM and the file the CPU takes all, none or some
 * (miss.h): an expert that crosses is copied into a staging slot on one stream while the one before is computed on the other.
 * Every output goes to its own row of moe.e, the CPU's by a copy, and the card's merge finds it by rank: which side computed
 * it cannot show.
 *
 * The host waits for two words in memory: for what comes down, and for copies, before RAM slots are given back.
 */
#include "runtime/core/clock.h"
#include "runtime/graph/capture.h"
#include "runtime/graph/card.h"

#include <string.h>

mox_err mox_moe_card_fetch(mox_graph *g, const mox_layer_op *op)
{
    const mox_moe_buffers *b = &g->moe;
    const mox_act_set *set = mox_weighs_input(&g->m->h) ? &b->in_acts : &g->h_acts;
    size_t uses = (size_t)g->n * g->m->h.top_k, rows = mox_weighs_input(&g->m->h) ? uses : g->n;
    bool all_there = g->cards->kept[op->moe.moe_layer] == g->m->h.n_experts;
    MOX_TRY(mox_graph_copy(g, b->near_ids, b->ids, uses * sizeof *b->ids));
    MOX_TRY(mox_graph_copy(g, b->near_weights, b->weights, uses * sizeof *b->weights));
    for (int k = 0; k < MOX_ACT_KINDS && !all_there; k++) {
        if (b->near_acts.kind[k].data && set->have[k]) {
            MOX_TRY(mox_graph_copy(g, b->near_acts.kind[k].data, set->kind[k].data,
                                   rows * set->kind[k].row_bytes));
        }
    }
    return mox_card_tell(mox_card_of(g));
}

uint32_t mox_moe_card_begin(mox_graph *g, const mox_layer_op *op, uint32_t n_needs)
{
    mox_cards *cs = g->cards;
    cs->n_taken = 0;
    return mox_vram_begin(g->store, op->moe.moe_layer, g->phase, g->moe.needs, n_needs, cs->hits,
                          &cs->n_hits);
}

/* One expert as the card computes it, from a slot in its memory. */
static mox_expert_use use_of(const mox_graph *g, const mox_layer_op *op, uint32_t expert, const uint8_t *slot)
{
    const mox_moe_buffers *b = &g->moe;
    mox_expert_use use = {.first = b->start[expert], .n = b->start[expert + 1] - b->start[expert]};
    mox_expert_views(&g->m->layouts[op->moe.moe_layer], slot, use.mats);
    for (int s = 0; s < MOX_SLABS; s++) {
        const mox_weight *bias = op->moe.bias[s];
        use.bias[s] = bias ? bias->f32 + (size_t)expert * bias->cols : NULL;
    }
    return use;
}

/* The first n of these. */
static mox_experts_args experts_of(const mox_graph *g, const mox_expert_use *uses, uint32_t n)
{
    return (mox_experts_args){.use = uses,
                              .n_uses = n,
                              .x = mox_weighs_input(&g->m->h) ? g->moe.in_acts.kind : g->h_acts.kind,
                              .tok = g->moe.tok,
                              .out_row = g->moe.out_row,
                              .e = g->moe.e,
                              .act_f32 = g->dims.act_f32,
                              .glu = g->m->h.glu,
                              .scratch = g->moe.scratch,
                              .scratch_bytes = g->moe.scratch_bytes};
}

/* Experts cs->uses[0..n). */
static mox_err launch(mox_graph *g, const mox_layer_op *op, uint32_t n)
{
    mox_experts_args a = experts_of(g, g->cards->uses, n);
    return mox_graph_named(g->ops->experts(g->ops, g->stream, &a), op->layer, "experts");
}

/* Which row of the input each use takes, and where its output goes. */
static mox_err queue_rows(mox_graph *g)
{
    mox_moe_buffers *b = &g->moe;
    size_t bytes = (size_t)g->n * g->m->h.top_k * sizeof *b->tok;
    MOX_TRY(mox_graph_copy(g, b->tok, b->near_tok, bytes));
    return mox_graph_copy(g, b->out_row, b->near_out_row, bytes);
}

uint32_t mox_moe_card_most_hits(const mox_graph *g, uint32_t i)
{
    uint32_t kept = g->cards->kept[g->m->ops[i].moe.moe_layer], k = g->m->h.top_k;
    return kept < k ? kept : k;
}

mox_err mox_moe_card_queue_hits(mox_graph *g, uint32_t i)
{
    const mox_layer_op *op = &g->m->ops[i];
    mox_expert_use shape = {.n = 1};
    uint32_t n = mox_moe_card_most_hits(g, i);
    mox_expert_views(&g->m->layouts[op->moe.moe_layer], mox_card_of(g)->memory.ptr, shape.mats);
    mox_experts_args a = experts_of(g, &shape, n);
    a.places = g->moe.places;
    a.most_rows = 1;
    a.all_rows = n;
    MOX_TRY(queue_rows(g));
    MOX_TRY(mox_graph_copy(g, g->moe.places, g->moe.near_places, n * sizeof *g->moe.places));
    return mox_graph_named(g->ops->experts(g->ops, g->stream, &a), op->layer, "experts");
}

/* What the captured call reads of the hits. */
static void name_hits(mox_graph *g, const mox_layer_op *op, uint32_t most)
{
    const mox_cards *cs = g->cards;
    for (uint32_t i = 0; i < most; i++) {
        mox_expert_place *to = &g->moe.near_places[i];
        *to = (mox_expert_place){.n = 0};
        if (i < cs->n_hits) {
            mox_expert_use use = use_of(g, op, cs->hits[i].expert, cs->hits[i].slot);
            *to = (mox_expert_place){.slot = cs->hits[i].slot, .first = use.first, .n = use.n};
            memcpy(to->bias, use.bias, sizeof to->bias);
        }
    }
}

mox_err mox_moe_card_launch(mox_graph *g, const mox_layer_op *op)
{
    mox_cards *cs = g->cards;
    uint32_t i = (uint32_t)(op - g->m->ops), which = mox_captured_hits(g->m, i);
    if (cs->n_hits > 0 && mox_is_captured(g, which, g->n)) {
        name_hits(g, op, mox_moe_card_most_hits(g, i));
        return mox_captured_launch(g, which);
    }
    MOX_TRY(queue_rows(g));
    for (uint32_t h = 0; h < cs->n_hits; h++) {
        cs->uses[h] = use_of(g, op, cs->hits[h].expert, cs->hits[h].slot);
    }
    return cs->n_hits ? launch(g, op, cs->n_hits) : MOX_OK;
}

/* An expert crosses: into the staging slot that has rested longest. */
static mox_err cross(mox_graph *g, const mox_layer_op *op, const mox_lease *lease)
{
    mox_cards *cs = g->cards;
    mox_card *c = mox_card_of(g);
    const mox_dev_ops *ops = c->dev->ops;
    uint32_t at = c->n_staged++ % MOX_STAGING_SLOTS;
    uint8_t *slot = c->staging + at * c->staging_bytes;
    if (c->was_used[at]) {
        MOX_TRY(ops->stream_after(c->dev, c->link, c->used[at]));
    }
    MOX_TRY(ops->copy(c->dev, c->link, slot, lease->slot, mox_model_slot_bytes(g->m, op->moe.moe_layer)));
    MOX_TRY(ops->flag_write(c->dev, c->link, &c->words->copied, ++c->n_copies));
    MOX_TRY(ops->event_record(c->dev, c->copied, c->link));
    MOX_TRY(ops->stream_after(c->dev, c->compute, c->copied));
    cs->uses[0] = use_of(g, op, lease->expert, slot);
    MOX_TRY(launch(g, op, 1));
    c->was_used[at] = true;
    return ops->event_record(c->dev, c->used[at], c->compute);
}

static uint32_t rows_of(const mox_graph *g, uint32_t expert)
{
    return g->moe.start[expert + 1] - g->moe.start[expert];
}

/* Leases by their rows, fewest first; how many of the last ones cross. */
static uint32_t choose(mox_graph *g, uint32_t n)
{
    mox_cards *cs = g->cards;
    mox_lease *l = g->moe.leases;
    for (uint32_t i = 1; i < n; i++) {
        mox_lease moved = l[i];
        uint32_t at = i;
        for (; at > 0 && rows_of(g, l[at - 1].expert) > rows_of(g, moved.expert); at--) {
            l[at] = l[at - 1];
        }
        l[at] = moved;
    }
    for (uint32_t i = 0; i < n; i++) {
        cs->rows[i] = rows_of(g, l[n - 1 - i].expert);
    }
    if (l[0].arriving) { /* alone, and computed while its last parts come */
        return 0;
    }
    mox_miss way = cs->miss;
    if (way ==
        MOX_MISS_AUTO) { /* a prompt's experts have many rows or few: those with many cross, once for all */
        way = g->phase == MOX_PHASE_PREFILL ? MOX_MISS_SPLIT : mox_miss_way(&cs->automatic);
    }
    return way == MOX_MISS_CPU    ? 0
           : way == MOX_MISS_COPY ? n
                                  : mox_miss_share(&cs->rates[g->phase], cs->rows, n);
}

mox_err mox_moe_card_take(mox_graph *g, const mox_layer_op *op, uint32_t n, uint32_t *own)
{
    mox_cards *cs = g->cards;
    const mox_moe_buffers *b = &g->moe;
    uint64_t bytes = mox_model_slot_bytes(g->m, op->moe.moe_layer);
    cs->n_taken = choose(g, n);
    cs->n_own = *own = n - cs->n_taken;
    cs->n_own_rows = 0;
    memset(cs->ours, 0, (size_t)g->n * mox_graph_ranks(&g->m->h));
    for (uint32_t i = 0; i < *own; i++) {
        uint32_t expert = b->leases[i].expert;
        cs->n_own_rows += rows_of(g, expert);
        for (uint32_t at = b->start[expert]; at < b->start[expert + 1]; at++) {
            cs->ours[b->near_out_row[at]] = 1;
        }
    }
    cs->counters.vram.cpu += *own;
    cs->counters.vram.cpu_bytes += *own * bytes;
    cs->counters.vram.crossed += cs->n_taken;
    cs->counters.vram.crossed_bytes += cs->n_taken * bytes;
    cs->took_at = mox_now_ns();
    for (uint32_t i = *own; i < n; i++) {
        MOX_TRY(cross(g, op, &g->moe.leases[i]));
    }
    return MOX_OK;
}

/* Outputs that the CPU has made, to their rows on the card: neighbours in one copy. */
static mox_err send_up(mox_graph *g)
{
    const uint8_t *ours = g->cards->ours;
    size_t width = g->m->h.d_model, n = (size_t)g->n * mox_graph_ranks(&g->m->h);
    for (size_t row = 0, end; row < n; row = end) {
        for (end = row + 1; end < n && ours[end] == ours[row]; end++) {
        }
        if (ours[row]) {
            MOX_TRY(mox_graph_copy(g, g->moe.e + row * width, g->moe.near_e + row * width,
                                   (end - row) * width * sizeof *g->moe.e));
        }
    }
    return MOX_OK;
}

/* A new figure counts an eighth. */
static void blend(double *rate, double seen)
{
    *rate = *rate > 0 ? *rate * 0.875 + seen * 0.125 : seen;
}

/* What a copy takes, from n that were done when the host had ended with its own part and looked. Had they landed by then, it
 * is less than was seen, and nobody knows how much: the guess halves until a wait tells. */
static void learn_link(double *rate, double seen, bool landed)
{
    if (landed) {
        *rate = (*rate > 0 && *rate < seen ? *rate : seen) / 2;
    } else if (*rate < seen / 2) {
        *rate = seen;
    } else {
        blend(rate, seen);
    }
}

mox_err mox_moe_card_taken(mox_graph *g)
{
    mox_cards *cs = g->cards;
    mox_miss_rates *r = &cs->rates[g->phase];
    double cpu_ns = (double)(mox_now_ns() - cs->took_at);
    if (cs->n_own > 0 && cs->n_own_rows > 2 * cs->n_own) {
        blend(&r->row_ns, cpu_ns / cs->n_own_rows);
    } else if (cs->n_own > 0) {
        blend(&r->cpu_ns, cpu_ns / cs->n_own);
    }
    MOX_TRY(send_up(g));
    if (cs->n_taken == 0) {
        return MOX_OK;
    }
    mox_card *c = mox_card_of(g);
    bool landed = cs->n_own > 0 && c->dev->ops->flag_poll(c->dev, &c->words->copied) == c->n_copies;
    MOX_TRY(mox_card_wait_copies(c, c->n_copies));
    learn_link(&r->link_ns, (double)(mox_now_ns() - cs->took_at) / cs->n_taken, landed);
    return MOX_OK;
}

mox_err mox_moe_card_end(mox_graph *g, bool failed)
{
    mox_card *c = mox_card_of(g);
    const mox_dev_ops *ops = c->dev->ops;
    if (failed) { /* nothing may be under way when memory is used again */
        mox_err_info first = *mox_err_last();
        mox_cards_drain(g->cards);
        mox_err end = mox_vram_end(g->store, true);
        (void)end;
        return mox_err_restore(&first);
    }
    MOX_TRY(ops->event_record(c->dev, c->computed, c->compute));
    return mox_vram_end(g->store, false);
}

void mox_moe_card_step(mox_graph *g, uint64_t ns)
{
    mox_cards *cs = g->cards;
    uint64_t missed = cs->counters.vram.cpu + cs->counters.vram.crossed;
    bool told = missed != cs->n_missed; /* a step without misses says nothing of how they are best served */
    cs->n_missed = missed;
    if (told && cs->miss == MOX_MISS_AUTO && g->phase == MOX_PHASE_DECODE) {
        mox_miss_step(&cs->automatic, ns);
    }
}
