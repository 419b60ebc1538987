/* Steps, logits, their hash, and the counters of a context. */
#include "runtime/context.h"
#include "runtime/core/clock.h"
#include "runtime/live.h"

#include <string.h>

/* What goes into a product is checked before it; what comes out of the last one is checked here. */
static mox_err check_finite(const float *logits, uint32_t n, uint32_t n_vocab)
{
    const uint32_t exponent = 0x7F800000;
    uint32_t bad = 0;
    for (size_t i = 0; i < (size_t)n * n_vocab; i++) {
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        bad |= (bits & exponent) == exponent;
    }
    return bad ? MOX_FAIL(MOX_E_NUMERIC, "output: logits that are not finite, as from a damaged model file")
               : MOX_OK;
}

mox_err mox_ctx_logits(mox_ctx *ctx, const uint32_t *idx, uint32_t n, float *out)
{
    uint64_t begin = mox_now_ns();
    MOX_TRY(mox_graph_logits(&ctx->graph, idx, n, out));
    MOX_TRY(check_finite(out, n, ctx->model->h.n_vocab));
    mox_hash128_update(&ctx->hash, out, (size_t)n * ctx->model->h.n_vocab * sizeof(float));
    mox_graph_span(&ctx->graph, MOX_SPAN_LOGITS, begin, 0, n);
    return MOX_OK;
}

static mox_err not_dry(const mox_ctx *ctx)
{
    return ctx->cfg.dry_run ? MOX_FAIL(MOX_E_ARG, "step: a dry run has no memory to compute in") : MOX_OK;
}

/* Logits failed after the step: take its positions back. */
static mox_err roll_back(mox_ctx *ctx, const mox_row *rows, uint32_t n, mox_err err)
{
    for (uint32_t i = 0; i < n && err != MOX_OK;
         i++) { /* the first of a sequence takes all of its rows back */
        mox_graph_keep(&ctx->graph, rows[i].seq, rows[i].pos);
    }
    return err;
}

mox_err mox_step(mox_ctx *ctx, const mox_row *rows, uint32_t n, mox_phase phase, float *logits)
{
    MOX_TRY(not_dry(ctx));
    mox_graph *g = &ctx->graph;
    bool readable = n <= g->dims.n_batch; /* more rows than fit are refused unseen, by the step */
    for (uint32_t i = 0; readable && i < n && !logits; i++) {
        if (rows[i].want_logits) {
            return MOX_FAIL(MOX_E_ARG, "step: row %u wants logits and there is no room for them", i);
        }
    }
    MOX_TRY(mox_graph_step(g, rows, n, phase));
    mox_live_step(ctx);
    uint32_t n_want = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (rows[i].want_logits) {
            g->want[n_want++] = i;
        }
    }
    mox_err err = MOX_OK;
    for (uint32_t i = 0; i < n_want && err == MOX_OK; i += MOX_LOGITS_ROWS) {
        uint32_t m = n_want - i < MOX_LOGITS_ROWS ? n_want - i : MOX_LOGITS_ROWS;
        err = mox_ctx_logits(ctx, g->want + i, m, logits + (size_t)i * ctx->model->h.n_vocab);
    }
    return roll_back(ctx, rows, n, err);
}

/* One micro-batch of consecutive tokens; logits of all rows, of the last, or of none. */
static mox_err eval_batch(mox_ctx *ctx, const mox_eval_cfg *e, uint32_t first, uint32_t n, bool last)
{
    mox_graph *g = &ctx->graph;
    uint32_t pos = g->seq_len[e->seq];
    for (uint32_t i = 0; i < n; i++) {
        g->batch[i] = (mox_row){.seq = e->seq, .pos = pos + i, .token = e->tokens[first + i]};
        g->want[i] = i;
    }
    MOX_TRY(mox_graph_step(g, g->batch, n, e->phase));
    mox_live_step(ctx);
    uint32_t from = e->all_logits ? 0 : last ? n - 1 : n;
    mox_err err = MOX_OK;
    for (uint32_t i = from; i < n && err == MOX_OK; i += MOX_LOGITS_ROWS) {
        uint32_t m = n - i < MOX_LOGITS_ROWS ? n - i : MOX_LOGITS_ROWS;
        err = mox_ctx_logits(ctx, g->want + i, m, g->logits);
        if (err == MOX_OK && e->fn) {
            e->fn(e->arg, pos + i, m, g->logits);
        }
    }
    return roll_back(ctx, g->batch, n, err);
}

mox_err mox_ctx_eval(mox_ctx *ctx, const mox_eval_cfg *e)
{
    MOX_TRY(not_dry(ctx));
    if (e->seq >= ctx->dims.n_seq) {
        return MOX_FAIL(MOX_E_ARG, "eval: sequence %u, the context has %u", e->seq, ctx->dims.n_seq);
    }
    uint32_t have = ctx->graph.seq_len[e->seq];
    if (e->n > ctx->dims.n_ctx - have) {
        MOX_FAIL(MOX_E_CONTEXT_FULL, "eval: %u tokens after %u, the context has %u", e->n, have,
                 ctx->dims.n_ctx);
        return mox_err_fix("--ctx %u or more", have + e->n);
    }
    for (uint32_t i = 0; i < e->n;) {
        uint32_t n = e->n - i < ctx->dims.n_batch ? e->n - i : ctx->dims.n_batch;
        if (ctx->graph.states && e->phase == MOX_PHASE_PREFILL && !e->all_logits && i + n == e->n && n > 1) {
            n--; /* a prompt's last token by itself: the state before it is kept (graph/states.c) */
        }
        MOX_TRY(eval_batch(ctx, e, i, n, i + n == e->n));
        if (e->n_last) {
            *e->n_last = n;
        }
        i += n;
        if (e->progress) {
            e->progress(e->arg, i, e->n);
        }
    }
    return MOX_OK;
}

mox_err mox_eval(mox_ctx *ctx, uint32_t seq, const uint32_t *tokens, uint32_t n, bool all_logits,
                 mox_logits_fn fn, void *arg)
{
    mox_eval_cfg e = {.seq = seq,
                      .tokens = tokens,
                      .n = n,
                      .all_logits = all_logits,
                      .phase = MOX_PHASE_PREFILL,
                      .fn = fn,
                      .arg = arg};
    return mox_ctx_eval(ctx, &e);
}

void mox_seq_clear(mox_ctx *ctx, uint32_t seq)
{
    if (!ctx->cfg.dry_run && seq < ctx->dims.n_seq) {
        mox_graph_keep(&ctx->graph, seq, 0);
    }
}

void mox_seq_keep(mox_ctx *ctx, uint32_t seq, uint32_t n)
{
    if (mox_seq_len(ctx, seq) > n) {
        mox_graph_keep(&ctx->graph, seq, n);
    }
}

uint32_t mox_seq_len(const mox_ctx *ctx, uint32_t seq)
{
    return !ctx->cfg.dry_run && seq < ctx->dims.n_seq ? ctx->graph.seq_len[seq] : 0;
}

_Static_assert(sizeof(mox_counters) % sizeof(uint64_t) == 0, "counters are 64-bit numbers");

static void subtract(uint64_t *a, const uint64_t *b, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof *a; i++) {
        a[i] -= b[i];
    }
}

static void totals(mox_ctx *ctx, mox_counters *c, mox_use_counters *per_layer)
{
    *c = ctx->graph.counters;
    if (ctx->store && !ctx->cfg.dry_run) {
        mox_store_counters(ctx->store, c, per_layer);
        const mox_vram_counters *own = &ctx->on.cards.counters.vram;
        c->vram.crossed += own->crossed;
        c->vram.crossed_bytes += own->crossed_bytes;
        c->vram.cpu += own->cpu;
        c->vram.cpu_bytes += own->cpu_bytes;
    }
}

void mox_get_counters(mox_ctx *ctx, mox_counters *c, mox_use_counters *per_layer)
{
    size_t bytes = ctx->plan.n_moe_layers * sizeof *per_layer;
    if (per_layer) {
        memset(per_layer, 0, bytes);
    }
    totals(ctx, c, per_layer);
    subtract((uint64_t *)(void *)c, (const uint64_t *)(const void *)&ctx->base, sizeof *c);
    if (per_layer) {
        subtract((uint64_t *)(void *)per_layer, (const uint64_t *)(const void *)ctx->base_layers, bytes);
    }
}

void mox_reset_counters(mox_ctx *ctx)
{
    memset(ctx->base_layers, 0, sizeof ctx->base_layers);
    totals(ctx, &ctx->base, ctx->base_layers);
}

mox_hash128 mox_logits_hash(const mox_ctx *ctx)
{
    return mox_hash128_final(&ctx->hash);
}
