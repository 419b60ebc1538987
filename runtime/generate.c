/* Prompt in, tokens out.
 *
 * A token is handed to the caller only when the context has room to evaluate it, and with all_logits every
 * token handed out is also evaluated: the logits hash then covers exactly the prompt and the tokens reported,
 * which is what `logits` computes from the same ids.
 */
#include "runtime/context.h"
#include "runtime/core/clock.h"
#include "runtime/stop.h"

#include <string.h>

static double seconds_since(uint64_t begin)
{
    return (double)(mox_now_ns() - begin) * 1e-9;
}

typedef struct generation {
    mox_ctx *ctx;
    uint32_t seq;
    const mox_gen_cfg *cfg;
    mox_sampler sampler;
    mox_detok detok;
    mox_stop stop;
    bool stopped; /* a stop string was found */
    mox_gen_result *out;
} generation;

static void prefill_progress(void *arg, uint32_t done, uint32_t total)
{
    const generation *gen = arg;
    if (gen->cfg->on_prefill) {
        gen->cfg->on_prefill(gen->cfg->arg, done, total);
    }
}

/* Evaluate tokens; the last one's logits stand in row `*row` of graph.logits. */
static mox_err eval(generation *gen, const uint32_t *tokens, uint32_t n, mox_phase phase, uint32_t *row)
{
    uint32_t n_last = 1;
    mox_eval_cfg e = {.seq = gen->seq,
                      .tokens = tokens,
                      .n = n,
                      .all_logits = gen->cfg->all_logits,
                      .phase = phase,
                      .progress = phase == MOX_PHASE_PREFILL ? prefill_progress : NULL,
                      .arg = gen,
                      .n_last = &n_last};
    MOX_TRY(mox_ctx_eval(gen->ctx, &e));
    *row = gen->cfg->all_logits ? (n_last - 1) % MOX_LOGITS_ROWS : 0;
    return MOX_OK;
}

/* A token's text stands behind room for what is held back of the tokens before it. */
static bool hand_out(generation *gen, uint32_t id)
{
    gen->out->n_new++;
    char *piece = gen->ctx->text ? gen->ctx->text + MOX_STOP_BYTES : NULL;
    size_t n = piece ? mox_detok_push(&gen->detok, id, piece) : 0;
    const char *text = piece ? mox_stop_push(&gen->stop, piece, n, &n, &gen->stopped) : NULL;
    mox_sampler_saw(&gen->sampler, id);
    return !gen->cfg->on_token || gen->cfg->on_token(gen->cfg->arg, id, text, n);
}

/* The answer is over, for whatever reason: what is still held back comes out, unless a string stopped it. */
static void flush(generation *gen)
{
    char *piece = gen->ctx->text ? gen->ctx->text + MOX_STOP_BYTES : NULL;
    size_t n = piece ? mox_detok_flush(&gen->detok, piece) : 0, n_held = 0;
    if (!piece || gen->stopped) {
        return;
    }
    const char *text = mox_stop_push(&gen->stop, piece, n, &n, &gen->stopped);
    if (n && gen->cfg->on_token) {
        gen->cfg->on_token(gen->cfg->arg, MOX_TOKEN_NONE, text, n);
    }
    text = mox_stop_flush(&gen->stop, &n_held);
    if (n_held && gen->cfg->on_token) {
        gen->cfg->on_token(gen->cfg->arg, MOX_TOKEN_NONE, text, n_held);
    }
}

static mox_err decode(generation *gen, uint32_t row)
{
    mox_ctx *ctx = gen->ctx;
    uint32_t n_vocab = ctx->model->h.n_vocab;
    for (;;) {
        uint64_t begin = mox_now_ns();
        uint32_t id = mox_sample(&gen->sampler, ctx->graph.logits + (size_t)row * n_vocab, n_vocab);
        mox_graph_span(&ctx->graph, MOX_SPAN_SAMPLE, begin, 0, 1);
        if (!gen->cfg->ignore_end && ctx->tokenizer && mox_token_is_end(ctx->tokenizer, id)) {
            gen->out->stop = "end";
            return MOX_OK;
        }
        if (ctx->graph.seq_len[gen->seq] >= ctx->dims.n_ctx) {
            gen->out->stop = "context";
            return MOX_OK;
        }
        bool enough = gen->cfg->max_new && gen->out->n_new + 1 >= gen->cfg->max_new;
        begin = mox_now_ns();
        bool more = hand_out(gen, id);
        mox_graph_span(&ctx->graph, MOX_SPAN_TEXT, begin, 0, 1);
        if (!more || enough || gen->stopped) {
            gen->out->stop = !more ? "user" : gen->stopped ? "stop" : "length";
            return gen->cfg->all_logits ? eval(gen, &id, 1, MOX_PHASE_DECODE, &row) : MOX_OK;
        }
        MOX_TRY(eval(gen, &id, 1, MOX_PHASE_DECODE, &row));
    }
}

static mox_err check_stop(const mox_gen_cfg *cfg)
{
    if (cfg->n_stop > MOX_STOP_MAX) {
        return MOX_FAIL(MOX_E_ARG, "generate: %u stop strings, at most %d", cfg->n_stop, MOX_STOP_MAX);
    }
    for (uint32_t i = 0; i < cfg->n_stop; i++) {
        size_t n = strlen(cfg->stop[i]);
        if (n == 0 || n > MOX_STOP_BYTES) {
            return MOX_FAIL(MOX_E_ARG, "generate: a stop string of %zu bytes: 1 to %d are possible", n,
                            MOX_STOP_BYTES);
        }
    }
    return MOX_OK;
}

static mox_err run(generation *gen)
{
    const mox_gen_cfg *cfg = gen->cfg;
    uint32_t row = 0;
    uint64_t begin = mox_now_ns();
    MOX_TRY(eval(gen, cfg->prompt + cfg->n_have, cfg->n_prompt - cfg->n_have, MOX_PHASE_PREFILL, &row));
    gen->out->prefill_s = seconds_since(begin);
    begin = mox_now_ns();
    mox_err err = decode(gen, row);
    flush(gen);
    gen->out->decode_s = seconds_since(begin);
    if (err == MOX_E_CANCELLED) { /* the token that was being evaluated has been handed out */
        gen->out->stop = "user";
        return MOX_OK;
    }
    return err;
}

mox_err mox_generate(mox_ctx *ctx, uint32_t seq, const mox_gen_cfg *cfg, mox_gen_result *out)
{
    if (cfg->n_prompt == 0) {
        return MOX_FAIL(MOX_E_ARG, "generate: the prompt has no tokens");
    }
    if (cfg->n_have >= cfg->n_prompt || (cfg->n_have && cfg->n_have != mox_seq_len(ctx, seq))) {
        return MOX_FAIL(MOX_E_ARG,
                        "generate: %u of %u prompt tokens are said to be there, the sequence has %u",
                        cfg->n_have, cfg->n_prompt, mox_seq_len(ctx, seq));
    }
    MOX_TRY(check_stop(cfg));
    mox_gen_result result = {.stop = ""};
    generation gen = {.ctx = ctx, .seq = seq, .cfg = cfg, .out = &result};
    MOX_TRY(mox_sampler_init(&gen.sampler, &cfg->sampling, ctx->graph.candidates));
    gen.stop = (mox_stop){.strings = cfg->stop, .n_strings = cfg->n_stop};
    for (uint32_t i = 0; i < cfg->n_prompt; i++) {
        mox_sampler_saw(&gen.sampler, cfg->prompt[i]);
    }
    if (ctx->tokenizer) {
        mox_detok_init(&gen.detok, ctx->tokenizer, false, false);
    }
    ctx->graph.cancelled = cfg->cancelled;
    ctx->graph.cancel_arg = cfg->arg;
    mox_err err = run(&gen);
    ctx->graph.cancelled = NULL;
    if (err == MOX_OK) {
        *out = result;
    }
    return err;
}
