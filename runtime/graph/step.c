/* One step: check the rows, embed them, run the op list, and only then let the sequences grow.
 *
 * A failed step leaves lengths as they were: what it wrote into the KV cache lies beyond every sequence's end
 * and is overwritten by the next step, and recurrent states went to slots that are in no use, which is the whole of the
 * rollback.
 */
#include "runtime/core/bits.h"
#include "runtime/core/clock.h"
#include "runtime/graph/capture.h"
#include "runtime/graph/card.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

mox_err mox_graph_named(mox_err err, uint32_t layer, const char *what)
{
    if (err != MOX_E_NUMERIC) {
        return err;
    }
    char why[sizeof mox_err_last()->msg];
    snprintf(why, sizeof why, "%s", mox_err_last()->msg);
    return MOX_FAIL(MOX_E_NUMERIC, "layer %u, %s: %s", layer, what, why);
}

mox_act_kind mox_graph_kind(const mox_graph *g, mox_type type)
{
    return g->dims.act_f32 ? MOX_ACT_F32 : mox_format_of(type)->kind;
}

void mox_act_set_clear(mox_act_set *s)
{
    memset(s->have, 0, sizeof s->have);
}

mox_err mox_graph_acts(mox_graph *g, mox_act_set *set, const float *x, uint32_t n, uint32_t cols,
                       mox_type type, const mox_acts **out)
{
    mox_act_kind k = mox_graph_kind(g, type);
    if (!set->have[k]) {
        if (set->kind[k].n_cols != cols) { /* readers of several widths: memory was taken for the widest */
            set->kind[k].n_cols = cols;
            set->kind[k].row_bytes = mox_act_row_bytes(k, cols);
        }
        mox_quantize_args a = {.x = x, .n = n, .x_stride = cols, .y = set->kind[k]};
        MOX_TRY(g->ops->quantize(g->ops, g->stream, &a));
        set->have[k] = true;
    }
    *out = &set->kind[k];
    return MOX_OK;
}

mox_err mox_graph_mat_muls(mox_graph *g, const mox_product *p, uint32_t n_products, mox_act_set *set,
                           const float *x, uint32_t n)
{
    mox_mat_mul_args a[MOX_MAT_MULS];
    for (uint32_t i = 0; i < n_products; i++) {
        const mox_weight *w = p[i].w;
        const mox_acts *acts;
        MOX_TRY(mox_graph_acts(g, set, x, n, w->cols, w->type, &acts));
        a[i] = (mox_mat_mul_args){.w = &w->mat,
                                  .x = *acts,
                                  .bias = p[i].bias ? p[i].bias->f32 : NULL,
                                  .y = p[i].y,
                                  .y_stride = w->rows,
                                  .n = n,
                                  .scratch = g->mul_scratch};
    }
    if (g->ops->mat_muls) {
        return g->ops->mat_muls(g->ops, g->stream, &(mox_mat_muls_args){.mul = a, .n = n_products});
    }
    for (uint32_t i = 0; i < n_products; i++) {
        MOX_TRY(g->ops->mat_mul(g->ops, g->stream, &a[i]));
    }
    return MOX_OK;
}

mox_err mox_graph_mat_mul(mox_graph *g, const mox_weight *w, const mox_weight *bias, mox_act_set *set,
                          const float *x, uint32_t n, float *y)
{
    const mox_product p = {.w = w, .bias = bias, .y = y};
    return mox_graph_mat_muls(g, &p, 1, set, x, n);
}

mox_err mox_graph_rms_norm(mox_graph *g, const float *w, const float *x, uint32_t n, uint32_t d, float *y)
{
    mox_rms_norm_args a = {.x = x, .w = w, .y = y, .n = n, .d = d, .eps = g->m->h.norm_eps};
    return g->ops->rms_norm(g->ops, g->stream, &a);
}

mox_err mox_graph_norm(mox_graph *g, mox_norm norm, const float *x, uint32_t n, float *y)
{
    if (!g->m->h.layer_norm) {
        return mox_graph_rms_norm(g, norm.w->f32, x, n, norm.w->cols, y);
    }
    mox_layer_norm_args a = {.x = x,
                             .w = norm.w->f32,
                             .bias = norm.bias ? norm.bias->f32 : NULL,
                             .y = y,
                             .n = n,
                             .d = norm.w->cols,
                             .eps = g->m->h.norm_eps};
    return g->ops->layer_norm(g->ops, g->stream, &a);
}

mox_err mox_graph_scale(mox_graph *g, float *x, uint32_t n, uint32_t d, float a)
{
    mox_map_args map = {.kind = MOX_MAP_SCALE, .x = x, .a = a, .n = n, .d = d};
    return a == 1.0f ? MOX_OK : g->ops->map(g->ops, g->stream, &map);
}

mox_err mox_graph_residual(mox_graph *g, const mox_weight *post_norm)
{
    const mox_hparams *h = &g->m->h;
    if (post_norm) {
        MOX_TRY(mox_graph_rms_norm(g, post_norm->f32, g->h, g->n, h->d_model, g->h));
    }
    MOX_TRY(mox_graph_scale(g, g->h, g->n, h->d_model, h->residual_scale));
    mox_add_args add = {.a = g->x, .b = g->h, .y = g->x, .n = (size_t)g->n * h->d_model};
    return g->ops->add(g->ops, g->stream, &add);
}

/* Rows must extend their sequences by one position each and name tokens that exist. */
static mox_err check_rows(mox_graph *g, const mox_row *rows, uint32_t n)
{
    if (n == 0 || n > g->dims.n_batch) {
        return MOX_FAIL(MOX_E_ARG, "step: %u rows, from 1 to %u are possible", n, g->dims.n_batch);
    }
    memcpy(g->seq_new, g->seq_len, g->dims.n_seq * sizeof *g->seq_new);
    for (uint32_t i = 0; i < n; i++) {
        const mox_row *r = &rows[i];
        if (r->seq >= g->dims.n_seq) {
            return MOX_FAIL(MOX_E_ARG, "step: sequence %u, the context has %u", r->seq, g->dims.n_seq);
        }
        if (r->token >= g->m->h.n_vocab) {
            return MOX_FAIL(MOX_E_TOKEN, "step: token %u, the vocabulary has %u", r->token, g->m->h.n_vocab);
        }
        if (r->pos >= g->dims.n_ctx) {
            MOX_FAIL(MOX_E_CONTEXT_FULL, "step: position %u of sequence %u, the context has %u", r->pos,
                     r->seq, g->dims.n_ctx);
            return mox_err_fix("a larger --ctx (%u now, the model was trained with %u)", g->dims.n_ctx,
                               g->m->h.n_ctx_train);
        }
        if (r->pos != g->seq_new[r->seq]) {
            return MOX_FAIL(MOX_E_ARG, "step: position %u of sequence %u does not extend its %u", r->pos,
                            r->seq, g->seq_new[r->seq]);
        }
        g->seq_new[r->seq]++;
    }
    return MOX_OK;
}

/* 1 + scale * ln(floor((pos + 1) / floor) + 1), made in double. */
static void make_temperatures(mox_graph *g)
{
    const mox_hparams *h = &g->m->h;
    for (uint32_t i = 0; g->near.temperature && i < g->n; i++) {
        double steps = floor((g->rows[i].pos + 1.0) / h->temperature_floor);
        g->near.temperature[i] = (float)(1.0 + (double)h->temperature_scale * log(steps + 1.0));
    }
}

/* By what angles are divided, or NULL. Long factors go by the context that was reserved, not by what is used. */
static const mox_weight *rope_weight(const mox_graph *g)
{
    const mox_model *m = g->m;
    return m->rope_freqs_long && g->dims.n_ctx > m->h.rope.original_ctx ? m->rope_freqs_long : m->rope_freqs;
}

/* cos and sin of every row's angles, in double, rounded once. */
static void make_rope(mox_graph *g)
{
    uint32_t pairs = g->m->h.n_rot / 2;
    const mox_rope *rope = &g->m->h.rope;
    const mox_weight *w = rope_weight(g);
    const float *factors = g->rope_factors ? g->rope_factors : w ? w->f32 : NULL;
    for (uint32_t i = 0; i < g->n; i++) {
        float *row = g->near.cos_sin + (size_t)i * g->m->h.n_rot;
        for (uint32_t p = 0; p < pairs; p++) {
            double angle = g->rows[i].pos * g->m->inv_freq[p];
            if (factors) {
                angle /= (double)factors[p];
            }
            row[2 * p] = (float)(cos(angle) * rope->magnitude);
            row[2 * p + 1] = (float)(sin(angle) * rope->magnitude);
        }
    }
}

static void put_span(mox_graph *g, mox_span_kind kind, uint64_t begin_ns, uint32_t layer, uint32_t amount)
{
    mox_trace_span s = {.kind = (uint8_t)kind,
                        .lane = MOX_LANE_STEP,
                        .phase = (uint8_t)g->phase,
                        .step = g->step_no,
                        .layer = (uint16_t)layer,
                        .expert = MOX_SPAN_NO_EXPERT,
                        .amount = amount};
    mox_trace_put_span(g->trace, begin_ns, g->lap_ns, &s);
}

void mox_graph_span(mox_graph *g, mox_span_kind kind, uint64_t begin_ns, uint32_t layer, uint32_t amount)
{
    if (mox_trace_has_timings(g->trace)) {
        g->lap_ns = mox_now_ns();
        put_span(g, kind, begin_ns, layer, amount);
    }
}

/* What was over in a moment is a part of what comes next: where nothing is missing, that is half of all laps. */
void mox_graph_lap(mox_graph *g, mox_span_kind kind, uint32_t layer, uint32_t amount)
{
    enum { MOMENT_NS = 250 };
    uint64_t begin = g->lap_ns, now = mox_trace_has_timings(g->trace) ? mox_now_ns() : begin;
    if (now - begin >= MOMENT_NS) {
        g->lap_ns = now;
        put_span(g, kind, begin, layer, amount);
    }
}

mox_err mox_graph_copy(mox_graph *g, void *dst, const void *src, size_t bytes)
{
    return dst == src ? MOX_OK : g->dev->ops->copy(g->dev, g->stream, dst, src, bytes);
}

mox_err mox_graph_wait(mox_graph *g)
{
    return g->ops->check ? g->ops->check(g->ops, g->stream) : MOX_OK;
}

/* Of all cards. */
static mox_err wait_all(mox_graph *g)
{
    for (uint32_t i = 0; g->cards && i < g->cards->n; i++) {
        MOX_TRY(mox_graph_wait(g->cards->graph[i]));
    }
    return MOX_OK;
}

static void be_careful(mox_graph *g, bool on)
{
    for (uint32_t i = 0; g->cards && i < g->cards->n; i++) {
        mox_graph *of = g->cards->graph[i];
        of->careful = on;
        if (of->ops->careful) {
            of->ops->careful(of->ops, on);
        }
    }
}

void mox_graph_keep_near(mox_graph *g, const mox_weight *w)
{
    if (w == rope_weight(g)) {
        memcpy(g->rope_factors, w->f32, g->m->h.n_rot / 2 * sizeof *g->rope_factors);
    }
    mox_graph_keep_bias(g, w);
}

/* A card tells only at the end that a value was not finite. The ops then run once more, each waited for: the failure
 * is the same, and has a name. */
static mox_err run_and_check(mox_graph *g)
{
    mox_err err = mox_graph_run_ops(g);
    err = err == MOX_OK ? wait_all(g) : err;
    if (err != MOX_E_NUMERIC || !g->cards) {
        return err;
    }
    mox_err_info first = *mox_err_last();
    be_careful(g, true);
    err = mox_graph_run_ops(g);
    be_careful(g, false);
    return err != MOX_OK ? err : mox_err_restore(&first);
}

/* What a step's graphs have in common, to those of all cards; and the inputs to their memory. */
static mox_err share_step(mox_graph *g)
{
    for (uint32_t i = 0; g->cards && i < g->cards->n; i++) {
        mox_graph *of = g->cards->graph[i];
        of->rows = g->rows;
        of->n = g->n;
        of->phase = g->phase;
        of->step_no = g->step_no;
        of->trace = g->trace;
        of->replay = g->replay;
        of->cancelled = g->cancelled;
        of->cancel_arg = g->cancel_arg;
        of->wait_ns = 0;
        of->lap_ns = g->lap_ns;
        MOX_TRY(mox_graph_copy(of, of->in.base, g->near.base, g->near.bytes));
    }
    return MOX_OK;
}

static uint64_t waited_ns(const mox_graph *g)
{
    uint64_t ns = g->cards ? 0 : g->wait_ns;
    for (uint32_t i = 0; g->cards && i < g->cards->n; i++) {
        ns += g->cards->graph[i]->wait_ns;
    }
    return ns;
}

mox_err mox_graph_step(mox_graph *g, const mox_row *rows, uint32_t n, mox_phase phase)
{
    MOX_TRY(check_rows(g, rows, n));
    uint64_t begin = mox_now_ns();
    g->rows = rows;
    g->n = n;
    g->phase = phase;
    g->wait_ns = 0;
    g->lap_ns = begin;
    for (uint32_t i = 0; i < n; i++) {
        g->near.ids[i] = rows[i].token;
        g->near.place[i] = (mox_place){.seq = rows[i].seq, .pos = rows[i].pos};
    }
    make_rope(g);
    make_temperatures(g);
    mox_graph_states_begin(g);
    mox_err err = share_step(g);
    err = err == MOX_OK ? run_and_check(g) : err;
    if (err != MOX_OK) {
        if (g->cards) {
            mox_cards_drain(g->cards);
        }
        return err;
    }
    mox_graph_states_commit(g);
    memcpy(g->seq_len, g->seq_new, g->dims.n_seq * sizeof *g->seq_len);
    mox_graph_span(g, MOX_SPAN_STEP, begin, 0, n);
    g->step_no++;
    g->counters.steps[phase]++;
    g->counters.tokens[phase] += n;
    g->counters.compute_ns[phase] += mox_now_ns() - begin - waited_ns(g);
    if (g->cards) {
        mox_moe_card_step(g, mox_now_ns() - begin);
    }
    return MOX_OK;
}

/* Of n rows in g->gather. */
static mox_err queue_logits(mox_graph *g, uint32_t n, float *y)
{
    const mox_model *m = g->m;
    MOX_TRY_OP(m->h.n_layers, "output norm", mox_graph_norm(g, m->output_norm, g->gather, n, g->h));
    mox_act_set_clear(&g->h_acts);
    MOX_TRY_OP(m->h.n_layers, "output",
               mox_graph_mat_mul(g, m->output, m->output_bias, &g->h_acts, g->h, n, y));
    MOX_TRY(mox_graph_scale(g, y, n, m->h.n_vocab, m->h.logit_scale));
    mox_map_args cap = {.kind = MOX_MAP_SOFTCAP, .x = y, .a = m->h.final_softcap, .n = n, .d = m->h.n_vocab};
    return m->h.final_softcap != 0.0f ? g->ops->map(g->ops, g->stream, &cap) : MOX_OK;
}

mox_err mox_graph_queue_logits(mox_graph *g, uint32_t n)
{
    return queue_logits(g, n, g->far_logits);
}

mox_err mox_graph_logits(mox_graph *g, const uint32_t *idx, uint32_t n, float *out)
{
    uint64_t begin = mox_now_ns();
    const mox_model *m = g->m;
    size_t d = m->h.d_model;
    for (uint32_t i = 0; !g->cards && i < n; i++) {
        memcpy(g->gather + i * d, g->x + idx[i] * d, d * sizeof(float));
    }
    if (g->cards) {
        MOX_TRY(mox_cards_gather(g, idx, n));
    }
    float *y = g->far_logits ? g->far_logits : out;
    bool captured = mox_is_captured(g, mox_captured_logits(m), n);
    MOX_TRY(captured ? mox_captured_launch(g, mox_captured_logits(m)) : queue_logits(g, n, y));
    MOX_TRY(mox_graph_copy(g, out, y, (size_t)n * m->h.n_vocab * sizeof *out));
    MOX_TRY_OP(m->h.n_layers, "output", mox_graph_wait(g));
    g->counters.compute_ns[g->phase] += mox_now_ns() - begin;
    return MOX_OK;
}
