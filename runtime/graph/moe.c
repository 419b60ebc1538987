/* x += sum over ranks of w_r * expert_r(norm(x)): router -> needs -> store -> experts -> merge.
 *
 * A shared expert takes part as one more rank, the last, with a weight of 1 or its own; it is never asked for, since it
 * is dense.
 *
 * Every expert's output goes to its own place e[row][rank], and only the merge adds them, in rank order: the
 * order in which experts arrive from RAM or the file cannot show in the result. The store decides how many
 * experts are in flight; this file takes all that are ready, computes them in one call and gives them back.
 */
#include "runtime/core/clock.h"
#include "runtime/graph/card.h"
#include "runtime/graph/graph.h"

#include <string.h>

#define USES_OF_ALL 8 /* so many uses for each expert there is: hardly one will not be needed */

uint32_t mox_graph_ranks(const mox_hparams *h)
{
    return h->top_k + (h->d_ff_shared != 0);
}

/* The router of a layer on rows x; ids and weights are the caller's. */
static mox_router_args router_of(const mox_graph *g, const mox_moe_op *op, const float *x)
{
    const mox_hparams *h = &g->m->h;
    const mox_router_rule *r = &h->router;
    bool plain = r->gating == MOX_GATING_SOFTMAX && !r->not_normalised && r->scale == 0.0f &&
                 r->n_groups == 0 && !op->router_bias && !op->select_bias;
    return (mox_router_args){.x = x,
                             .w = op->router->f32,
                             .n = g->n,
                             .d = h->d_model,
                             .n_experts = h->n_experts,
                             .k = h->top_k,
                             .ids = g->moe.ids,
                             .weights = g->moe.weights,
                             .rule = plain ? NULL : r,
                             .bias = op->router_bias ? op->router_bias->f32 : NULL,
                             .select_bias = op->select_bias ? op->select_bias->f32 : NULL};
}

static mox_err route(mox_graph *g, const mox_layer_op *op)
{
    MOX_TRY_OP(op->layer, "ffn norm", mox_graph_norm(g, op->moe.norm, g->x, g->n, g->h));
    mox_router_args a = router_of(g, &op->moe, g->h);
    return mox_graph_named(g->ops->router(g->ops, g->stream, &a), op->layer, "router");
}

/* Group the uses by expert (a counting sort, rows in order within an expert) and list what is needed. */
static uint32_t group_uses(mox_graph *g)
{
    mox_moe_buffers *b = &g->moe;
    uint32_t k = g->m->h.top_k, n_uses = g->n * k, n_experts = g->m->h.n_experts;
    uint32_t ranks = mox_graph_ranks(&g->m->h);
    memset(b->start, 0, (n_experts + 1) * sizeof *b->start);
    for (uint32_t u = 0; u < n_uses; u++) {
        b->start[b->near_ids[u] + 1]++;
    }
    uint32_t n_needs = 0;
    for (uint32_t e = 0; e < n_experts; e++) {
        if (b->start[e + 1]) {
            b->needs[n_needs++] = (mox_need){.expert = e, .n_uses = b->start[e + 1]};
        }
        b->start[e + 1] += b->start[e];
    }
    for (uint32_t u = 0; u < n_uses; u++) {
        uint32_t at = b->start[b->near_ids[u]]++;
        b->near_tok[at] = mox_weighs_input(&g->m->h) ? u : u / k;
        b->near_out_row[at] = u / k * ranks + u % k;
    }
    /* the fill moved every start to the next one's place */
    memmove(b->start + 1, b->start, n_experts * sizeof *b->start);
    b->start[0] = 0;
    for (uint32_t i = 0; i < n_needs; i++) {
        uint32_t e = b->needs[i].expert;
        for (uint32_t at = b->start[e]; at < b->start[e + 1]; at++) {
            uint32_t row = b->near_out_row[at] / ranks, rank = b->near_out_row[at] % ranks;
            b->needs[i].weight += b->near_weights[row * k + rank];
        }
    }
    return n_needs;
}

/* Inputs times their weights, a row for each use. */
static mox_err weigh_inputs(mox_graph *g)
{
    mox_weigh_args a = {.x = g->h,
                        .weights = g->moe.weights,
                        .y = g->moe.in,
                        .n = g->n,
                        .k = g->m->h.top_k,
                        .d = g->m->h.d_model};
    return g->ops->weigh(g->ops, g->stream, &a);
}

/* Both kinds that gate and up read, made once for all experts of the layer. */
static mox_err quantise_input(mox_graph *g, const mox_layer_op *op)
{
    const mox_expert_layout *l = &g->m->layouts[op->moe.moe_layer];
    bool weighed = mox_weighs_input(&g->m->h);
    mox_act_set *set = weighed ? &g->moe.in_acts : &g->h_acts;
    const float *x = weighed ? g->moe.in : g->h;
    uint32_t n = weighed ? g->n * g->m->h.top_k : g->n;
    const mox_acts *unused;
    mox_act_set_clear(&g->h_acts);
    mox_act_set_clear(set);
    if (weighed) {
        MOX_TRY(weigh_inputs(g));
    }
    for (int s = MOX_SLAB_GATE; s <= MOX_SLAB_UP; s++) {
        MOX_TRY_OP(op->layer, "expert input", mox_graph_acts(g, set, x, n, l->d_model, l->type[s], &unused));
    }
    return MOX_OK;
}

/* Weights of the merge where they are not the router's: a rank more, or a factor on all. */
static mox_err make_weights(mox_graph *g, const mox_moe_op *op)
{
    const mox_hparams *h = &g->m->h;
    uint32_t k = h->top_k, ranks = mox_graph_ranks(h);
    float *w = g->moe.merge_weights;
    bool shared = op->shared[MOX_SLAB_GATE] != NULL;
    if (!w) {
        return MOX_OK;
    }
    if (shared && op->shared_gate) {
        mox_gate_args a = {
            .x = g->h, .w = op->shared_gate->f32, .y = w + k, .y_stride = ranks, .n = g->n, .d = h->d_model};
        MOX_TRY(g->ops->gate(g->ops, g->stream, &a));
    }
    mox_ranks_args a = {.weights = mox_weighs_input(h) ? NULL : g->moe.weights,
                        .y = w,
                        .n = g->n,
                        .k = k,
                        .ranks = ranks,
                        .last_is_one = shared && !op->shared_gate,
                        .scale = h->residual_scale};
    return g->ops->ranks(g->ops, g->stream, &a);
}

/* Of an expert that is computed while it arrives (the first lease). */
static mox_err arrived(void *graph, uint32_t *slices)
{
    mox_graph *g = graph;
    uint64_t begin = mox_now_ns();
    mox_err err = mox_store_arrived(g->store, &g->moe.leases[0], slices);
    uint64_t lap_ns = g->lap_ns;
    g->wait_ns += mox_now_ns() - begin;
    mox_graph_span(g, MOX_SPAN_WAIT, begin, g->layer, 1);
    g->lap_ns = lap_ns; /* inside what the experts' lap will tell */
    return err;
}

static mox_merge_args merge_of(mox_graph *g, const mox_layer_op *op)
{
    return (mox_merge_args){.e = g->moe.e,
                            .weights = g->moe.merge_weights ? g->moe.merge_weights : g->moe.weights,
                            .residual = op->moe.post_norm ? g->h : g->x,
                            .y = op->moe.post_norm ? g->h : g->x,
                            .n = g->n,
                            .k = mox_graph_ranks(&g->m->h),
                            .d = g->m->h.d_model};
}

static const float *host_bias(const mox_graph *g, const mox_moe_op *op, int slab)
{
    const mox_weight *w = op->bias[slab];
    return !w ? NULL : g->near_bias ? g->near_bias[(size_t)op->moe_layer * MOX_SLABS + slab] : w->f32;
}

/* The experts of these leases by the CPU, and the merge if they are the layer's last and it has the others. */
static mox_err compute_experts(mox_graph *g, const mox_layer_op *op, uint32_t n_leases, bool last)
{
    mox_moe_buffers *b = &g->moe;
    const mox_hparams *h = &g->m->h;
    const mox_acts *x = g->cards ? b->near_acts.kind : mox_weighs_input(h) ? b->in_acts.kind : g->h_acts.kind;
    for (uint32_t i = 0; i < n_leases; i++) {
        uint32_t first = b->start[b->leases[i].expert], end = b->start[b->leases[i].expert + 1];
        b->uses[i].first = first;
        b->uses[i].n = end - first;
        mox_expert_views(&g->m->layouts[op->moe.moe_layer], b->leases[i].slot, b->uses[i].mats);
        for (int s = 0; s < MOX_SLABS; s++) {
            const float *bias = host_bias(g, &op->moe, s);
            b->uses[i].bias[s] = bias ? bias + (size_t)b->leases[i].expert * op->moe.bias[s]->cols : NULL;
        }
    }
    mox_merge_args merge = merge_of(g, op);
    mox_experts_args a = {.use = b->uses,
                          .n_uses = n_leases,
                          .x = x,
                          .tok = b->near_tok,
                          .out_row = b->near_out_row,
                          .e = b->near_e,
                          .merge = last ? &merge : NULL,
                          .act_f32 = g->dims.act_f32,
                          .glu = h->glu,
                          .scratch = b->near_scratch,
                          .scratch_bytes = b->near_scratch_bytes,
                          .arrived = b->leases[0].arriving ? arrived : NULL,
                          .arrived_ctx = g};
    return mox_graph_named(g->host_ops->experts(g->host_ops, g->stream, &a), op->layer, "experts");
}

/* Leases as the store gives them: what is ready is computed in one call, what is missing as it arrives. */
static mox_err run_leases(mox_graph *g, const mox_layer_op *op, uint32_t n_needs)
{
    uint32_t layer = op->moe.moe_layer;
    for (uint32_t done = 0, n = 0; done < n_needs; done += n) {
        mox_graph_lap(g, MOX_SPAN_STORE, layer, 0);
        uint64_t begin = mox_now_ns();
        mox_err err = mox_store_next(g->store, g->moe.leases, n_needs, &n);
        g->wait_ns += mox_now_ns() - begin;
        mox_graph_lap(g, MOX_SPAN_WAIT, layer, n);
        MOX_TRY(err);
        uint32_t own = n;
        err = g->cards ? mox_moe_card_take(g, op, n, &own) : MOX_OK;
        bool last = done + n == n_needs && !g->cards;
        if (err == MOX_OK && own > 0) {
            err = compute_experts(g, op, own, last);
            mox_graph_lap(g, MOX_SPAN_EXPERTS, layer, own);
        }
        if (err == MOX_OK && g->cards) {
            err = mox_moe_card_taken(g);
            mox_graph_lap(g, MOX_SPAN_DEVICE, layer, n - own);
        }
        for (uint32_t i = 0; i < n; i++) {
            mox_store_release(g->store, &g->moe.leases[i]);
        }
        MOX_TRY(err);
    }
    return MOX_OK;
}

/* What a layer makes beside the chosen experts, from their input. */
static mox_err make_beside(mox_graph *g, const mox_layer_op *op)
{
    MOX_TRY(make_weights(g, &op->moe));
    if (op->moe.shared[MOX_SLAB_GATE]) {
        MOX_TRY(mox_graph_shared(g, op));
        mox_graph_lap(g, MOX_SPAN_SHARED, op->moe.moe_layer, g->n);
    }
    if (!op->moe.post_norm) {
        return MOX_OK;
    }
    /* what the normed input was for is done: the merge starts from zero, in its place */
    uint32_t d = g->m->h.d_model;
    mox_ranks_args zero = {.y = g->h, .n = g->n, .k = d, .ranks = d, .scale = 0.0f}; /* ones times 0 */
    return g->ops->ranks(g->ops, g->stream, &zero);
}

mox_err mox_graph_moe_merge(mox_graph *g, const mox_layer_op *op)
{
    if (g->cards) {
        mox_merge_args merge = merge_of(g, op);
        MOX_TRY(g->ops->merge(g->ops, g->stream, &merge));
        mox_graph_lap(g, MOX_SPAN_MERGE, op->moe.moe_layer, 0);
    }
    return op->moe.post_norm ? mox_graph_residual(g, op->moe.post_norm) : MOX_OK;
}

static mox_err run_experts(mox_graph *g, const mox_layer_op *op, uint32_t n_needs)
{
    if (g->cards) { /* the rest stands in the stretches before and behind */
        return run_leases(g, op, n_needs);
    }
    MOX_TRY(make_beside(g, op));
    MOX_TRY(run_leases(g, op, n_needs));
    return mox_graph_moe_merge(g, op);
}

static const mox_layer_op *next_moe(const mox_graph *g, const mox_layer_op *op)
{
    for (op++; op < g->m->ops + g->m->n_ops; op++) {
        if (op->kind == MOX_LAYER_MOE) {
            return op;
        }
    }
    return NULL;
}

/* Is a coming layer's choice worth a guess: may experts of it have to be read? */
static bool may_read(const mox_graph *g, const mox_layer_op *next)
{
    uint32_t n = g->m->h.n_experts;
    if (!g->dims.look_ahead || !next) {
        return false;
    }
    uint32_t layer = next->moe.moe_layer;
    return g->kept[layer] + (g->cards ? g->cards->kept[layer] : 0) < n;
}

/* So many uses that hardly an expert will not be needed. */
static bool needs_all(const mox_graph *g)
{
    return g->n * g->m->h.top_k >= USES_OF_ALL * g->m->h.n_experts;
}

/* Few rows, and the layer's router where the hidden state is. */
static bool can_ask(const mox_graph *g, const mox_layer_op *next)
{
    return may_read(g, next) && !needs_all(g) && g->n <= MOX_AHEAD_ROWS &&
           (!g->cards || g->cards->of_layer[next->layer] == g->card);
}

/* A coming layer's norm and router on the hidden state as it is now. */
static mox_err ask(mox_graph *g, const mox_layer_op *next, uint32_t at)
{
    mox_moe_buffers *b = &g->moe;
    mox_router_args a = router_of(g, &next->moe, b->ahead_h);
    a.k = mox_store_guess_ranks(g->m->h.top_k, g->m->h.n_experts);
    a.ids = b->ahead[at].ids;
    a.weights = b->ahead[at].weights;
    MOX_TRY(mox_graph_norm(g, next->moe.norm, g->x, g->n, b->ahead_h));
    MOX_TRY(g->ops->router(g->ops, g->stream, &a));
    MOX_TRY(mox_graph_copy(g, b->ahead[at].near_ids, a.ids, (size_t)a.n * a.k * sizeof *a.ids));
    return mox_graph_copy(g, b->ahead[at].near_weights, a.weights, (size_t)a.n * a.k * sizeof *a.weights);
}

/* A card is asked together with the layer's own choice, since the host waits for that anyway; in prompts too, since a
 * captured step is the same for both. */
static mox_err ask_card(mox_graph *g, const mox_layer_op *op)
{
    const mox_layer_op *next = next_moe(g, op);
    for (uint32_t at = 0; at < MOX_AHEAD_LAYERS; at++, next = next ? next_moe(g, next) : NULL) {
        mox_err err = can_ask(g, next) ? ask(g, next, at) : MOX_OK;
        g->moe.ahead[at].refused = err == MOX_E_NUMERIC; /* the layer itself will say so */
        if (err != MOX_OK && err != MOX_E_NUMERIC) {
            return err;
        }
    }
    return MOX_OK;
}

/* Guess a coming MoE layer's experts. The guess only starts reads; a failure of the guess is no failure of the step. */
static void guess(mox_graph *g, const mox_layer_op *next, mox_guess_kind kind)
{
    bool late = kind == MOX_GUESS_NEXT_LATE || kind == MOX_GUESS_SECOND_LATE;
    uint32_t at = kind == MOX_GUESS_SECOND || kind == MOX_GUESS_SECOND_LATE;
    if (!may_read(g, next)) {
        return;
    }
    if (needs_all(g)) {
        if (at == 0) {
            mox_store_predict_all(g->store, next->moe.moe_layer);
        }
        return;
    }
    if (g->phase != MOX_PHASE_DECODE || !can_ask(g, next)) {
        return;
    }
    if (g->cards ? !late && !g->moe.ahead[at].refused : ask(g, next, at) == MOX_OK) {
        mox_store_guess(g->store, kind, next->moe.moe_layer, g->moe.ahead[at].near_ids,
                        g->moe.ahead[at].near_weights, g->n);
    }
}

static void record(mox_graph *g, const mox_layer_op *op)
{
    uint32_t k = g->m->h.top_k;
    for (uint32_t u = 0; g->trace && u < g->n * k; u++) {
        const mox_row *row = &g->rows[u / k];
        uint32_t expert = g->moe.near_ids[u];
        mox_served served = mox_store_served(g->store, expert);
        mox_trace_record r = {.step = g->step_no,
                              .position = row->pos,
                              .sequence = (uint16_t)row->seq,
                              .layer = (uint16_t)op->moe.moe_layer,
                              .expert = (uint16_t)expert,
                              .rank = (uint8_t)(u % k),
                              .phase_and_tier = (uint8_t)((unsigned)g->phase << 4 | (unsigned)served),
                              .weight = g->moe.near_weights[u]};
        mox_trace_put(g->trace, &r);
    }
}

/* On a card the host learns of the choice by a copy, and of the inputs with it; meanwhile the card makes the rest. */
mox_err mox_graph_moe_choose(mox_graph *g, const mox_layer_op *op)
{
    MOX_TRY(route(g, op));
    if (!g->cards) {
        return MOX_OK;
    }
    MOX_TRY(quantise_input(g, op));
    MOX_TRY(ask_card(g, op));
    MOX_TRY(mox_moe_card_fetch(g, op));
    return make_beside(g, op);
}

mox_err mox_graph_moe(mox_graph *g, const mox_layer_op *op)
{
    uint32_t layer = g->layer = op->moe.moe_layer;
    if (g->cards) {
        MOX_TRY(mox_card_wait_computed(mox_card_of(g)));
    }
    if (g->replay) {
        mox_replay_route(g->replay, op->moe.moe_layer, g->n, g->moe.near_ids);
    }
    mox_graph_lap(g, MOX_SPAN_ROUTER, layer, g->n);
    uint32_t n_needs = group_uses(g);
    n_needs = g->cards ? mox_moe_card_begin(g, op, n_needs) : n_needs;
    /* Reads start here; quantising and looking ahead happen while they run. */
    mox_store_begin(g->store, layer, g->phase, g->moe.needs, n_needs);
    mox_graph_lap(g, MOX_SPAN_STORE, layer, n_needs);
    const mox_layer_op *next = next_moe(g, op), *second = next ? next_moe(g, next) : NULL;
    guess(g, next, MOX_GUESS_NEXT);
    guess(g, second, MOX_GUESS_SECOND);
    mox_graph_lap(g, MOX_SPAN_AHEAD, layer, 0);
    mox_err err = g->cards ? mox_moe_card_launch(g, op) : quantise_input(g, op);
    mox_graph_lap(g, g->cards ? MOX_SPAN_DEVICE : MOX_SPAN_INPUT, layer, g->n);
    if (err == MOX_OK) {
        err = run_experts(g, op, n_needs);
    }
    if (err == MOX_OK) {
        record(g, op);
    }
    mox_store_end(g->store);
    if (g->cards) {
        err = mox_moe_card_end(g, err != MOX_OK);
    }
    mox_graph_lap(g, MOX_SPAN_STORE, layer, 0);
    MOX_TRY(err);
    guess(g, next, MOX_GUESS_NEXT_LATE); /* knowing more: it finds misses that the first guess did not */
    guess(g, second, MOX_GUESS_SECOND_LATE);
    mox_graph_lap(g, MOX_SPAN_AHEAD, layer, 0);
    return MOX_OK;
}
