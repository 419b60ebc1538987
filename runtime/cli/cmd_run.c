/* moxie run: continue a text. The model's text alone goes to stdout, as it is made; the plan, progress and
 * one summary line go to stderr. With --json the text is inside the document.
 *
 * Everything this file needs while tokens are made is taken before the model is opened: after "ready" the
 * process allocates nothing. A signal during the answer ends it in order (text kept, summary printed, exit
 * code 130 or 143).
 */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/report.h"

#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct run_state {
    mox_opts *o;
    uint32_t *ids; /* prompt, then what was generated */
    uint32_t n_prompt, n_ids, max_ids;
    void *work; /* the tokenizer's */
    char *text; /* --json: the answer */
    size_t n_text, max_text;
    uint64_t last_note_ns;
    bool write_failed;
} run_state;

static bool on_token(void *arg, uint32_t id, const char *text, size_t n)
{
    run_state *r = arg;
    mox_stop_soft(true); /* from here on text has been given out */
    if (id != MOX_TOKEN_NONE && r->n_ids < r->max_ids) {
        r->ids[r->n_ids++] = id;
    }
    if (r->o->json) {
        if (n <= r->max_text - r->n_text) {
            memcpy(r->text + r->n_text, text, n);
            r->n_text += n;
        }
    } else if (fwrite(text, 1, n, stdout) != n || fflush(stdout) != 0) {
        r->write_failed = true;
        return false;
    }
    return mox_stop_requested() == 0;
}

static void on_prefill(void *arg, uint32_t done, uint32_t total)
{
    run_state *r = arg;
    uint64_t now = mox_now_ns();
    if (r->last_note_ns == 0) {
        r->last_note_ns = now;
    }
    if (done < total && now - r->last_note_ns > 1000000000u) {
        r->last_note_ns = now;
        mox_ui_line("reading prompt %u/%u tokens", done, total);
    }
}

/* Memory for a run of at most ctx tokens, before the model is opened. */
static mox_err run_prepare(run_state *r, mox_opts *o, uint32_t n_ctx)
{
    size_t n_prompt = strlen(o->prompt);
    r->o = o;
    r->max_ids = n_ctx + 1;
    r->ids = malloc((size_t)r->max_ids * sizeof *r->ids);
    r->work = malloc(mox_tokenizer_work_bytes(n_prompt));
    r->max_text = o->json ? (size_t)r->max_ids * 64 + 4096 : 1;
    r->text = malloc(r->max_text);
    if (r->ids == NULL || r->work == NULL || r->text == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt of %zu bytes", n_prompt);
    }
    return MOX_OK;
}

static mox_err run_tokenize(run_state *r, const mox_ctx *ctx)
{
    const mox_tokenizer *t = NULL;
    MOX_TRY(mox_cli_tokenizer(ctx, &t));
    const char *prompt = r->o->prompt;
    uint32_t n_ctx = mox_get_plan(ctx)->n_ctx;
    bool bos = !r->o->no_bos && mox_tokenizer_ids(t)->add_bos;
    mox_err err = mox_tokenizer_encode(t, prompt, strlen(prompt), bos, r->o->special, r->ids, n_ctx,
                                       &r->n_prompt, r->work);
    if (err == MOX_E_LIMIT) {
        err = MOX_FAIL(MOX_E_CONTEXT_FULL, "the prompt has %u tokens, the context %u", r->n_prompt, n_ctx);
        return mox_err_fix("moxie run --ctx %u", r->n_prompt + r->o->max_new);
    }
    r->n_ids = r->n_prompt;
    return err;
}

static void ids_json(mox_json *j, const char *key, const uint32_t *ids, uint32_t n)
{
    mox_json_array(j, key);
    for (uint32_t i = 0; i < n; i++) {
        mox_json_u64(j, NULL, ids[i]);
    }
    mox_json_array_end(j);
}

static double rate(uint64_t n, double seconds)
{
    return seconds > 0 ? (double)n / seconds : 0;
}

static void run_json(const run_state *r, mox_ctx *ctx, const mox_gen_result *g, double load_s)
{
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    /* a token that was generated last is not evaluated any more: the sequence says how many were */
    uint32_t n_eval = mox_seq_len(ctx, 0);
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.run/1");
    mox_json_string_n(&j, "text", r->text, r->n_text);
    mox_json_string(&j, "stop", g->stop);
    ids_json(&j, "prompt_tokens", r->ids, r->n_prompt);
    ids_json(&j, "new_tokens", r->ids + r->n_prompt, r->n_ids - r->n_prompt);
    ids_json(&j, "tokens", r->ids, n_eval < r->n_ids ? n_eval : r->n_ids);
    mox_report_hash_json(&j, ctx);
    mox_json_bool(&j, "all_logits", r->o->all_logits);
    mox_report_counters_json(&j, &c);
    mox_json_object(&j, "seconds");
    mox_json_f64(&j, "load", load_s);
    mox_json_f64(&j, "prefill", g->prefill_s);
    mox_json_f64(&j, "decode", g->decode_s);
    mox_json_object_end(&j);
    mox_json_object(&j, "tok_s");
    mox_json_f64(&j, "prefill", rate(r->n_prompt, g->prefill_s));
    mox_json_f64(&j, "decode", rate(c.tokens[MOX_PHASE_DECODE], g->decode_s));
    mox_json_object_end(&j);
    mox_report_run_json(&j, r->o, ctx);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void run_summary(const run_state *r, mox_ctx *ctx, const mox_gen_result *g)
{
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    char text[320];
    mox_ui_line("%s%u + %u tokens (%s), prompt %.1f tok/s, answer %.1f tok/s | %s",
                r->o->cfg.act_f32 ? "audit --act f32: " : "", r->n_prompt, g->n_new, g->stop,
                rate(r->n_prompt, g->prefill_s), rate(c.tokens[MOX_PHASE_DECODE], g->decode_s),
                mox_report_counters(&c, text));
}

static mox_err run_model(run_state *r, mox_ctx *ctx, double load_s)
{
    MOX_TRY(run_tokenize(r, ctx));
    if (r->n_prompt == 0) {
        return MOX_FAIL(MOX_E_OPTION, "the prompt is empty");
    }
    mox_gen_cfg gen = {.prompt = r->ids,
                       .n_prompt = r->n_prompt,
                       .max_new = r->o->max_new,
                       .sampling = r->o->sampling,
                       .all_logits = r->o->all_logits,
                       .on_token = on_token,
                       .on_prefill = on_prefill,
                       .stop = r->o->stop.v,
                       .n_stop = r->o->stop.n,
                       .arg = r};
    mox_gen_result result = {.stop = ""};
    mox_err err = mox_generate(ctx, 0, &gen, &result);
    if (!r->o->json && r->n_ids > r->n_prompt) {
        fputc('\n', stdout);
        fflush(stdout);
    }
    MOX_TRY(err);
    if (r->write_failed) {
        return MOX_FAIL(MOX_E_WRITE, "standard output could not be written");
    }
    if (r->o->json) {
        run_json(r, ctx, &result, load_s);
    }
    run_summary(r, ctx, &result);
    return MOX_OK;
}

/* --dry-run: the plan, and the address space it needs. */
static mox_err run_dry(mox_opts *o, const mox_plan *plan)
{
    mox_ctx *ctx = NULL;
    o->cfg.log = (mox_log){.fn = mox_ui_log, .level = MOX_LOG_WARN};
    MOX_TRY(mox_open(&ctx, &o->cfg));
    char a[24];
    mox_ui_line("dry run: %s of address space reserved, nothing read", mox_human(mox_actual_bytes(ctx), a));
    if (o->json) {
        mox_json j;
        mox_json_begin(&j, stdout);
        mox_json_object(&j, NULL);
        mox_json_string(&j, "schema", "moxie.plan/1");
        mox_json_string(&j, "model", o->cfg.model);
        mox_report_plan_json(&j, "plan", plan);
        mox_json_u64(&j, "actual_bytes", mox_actual_bytes(ctx));
        mox_json_object_end(&j);
        mox_json_end(&j);
    }
    mox_close(&ctx);
    return MOX_OK;
}

mox_err mox_cmd_run(mox_opts *o)
{
    mox_plan *plan = NULL;
    mox_ctx *ctx = NULL;
    run_state r = {0};
    double load_s = 0;
    if (o->prompt == NULL && !o->cfg.dry_run) {
        mox_err usage = MOX_FAIL(MOX_E_OPTION, "run needs a text to continue");
        mox_err_fix("moxie run %.150s -p \"Once upon a time\"", o->cfg.model != NULL ? o->cfg.model : "");
        return usage;
    }
    mox_cli_model(o);
    mox_err err = MOX_OK;
    plan = calloc(1, sizeof *plan);
    if (plan == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the plan");
    }
    MOX_TRY_GOTO(err, mox_cli_plan(o, plan), out);
    if (o->cfg.dry_run) {
        err = run_dry(o, plan);
        goto out;
    }
    MOX_TRY_GOTO(err, run_prepare(&r, o, plan->n_ctx), out);
    MOX_TRY_GOTO(err, mox_cli_open(o, &ctx, &load_s), out);
    err = run_model(&r, ctx, load_s);
out:
    mox_close(&ctx);
    free(r.ids);
    free(r.work);
    free(r.text);
    free(plan);
    return err;
}
