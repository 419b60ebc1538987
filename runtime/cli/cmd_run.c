/* moxie run: answer one prompt, or chat. The model's text alone goes to stdout, as it is made; the plan, progress and
 * one summary line go to stderr. With --json the text is inside the document.
 *
 * A prompt is a message, put into the form of the model's chat template; with --raw it is a text to continue, and for a
 * model without a template it is one too, which a line says. Everything one answer needs is taken before the model is
 * opened: after "ready" the process allocates nothing. A signal during the answer ends it in order (text kept, summary
 * printed, exit code 130 or 143). The chat is in chat/chat.c.
 */
#include "runtime/cli/chat/chat.h"
#include "runtime/cli/chat/source.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/report.h"
#include "runtime/cli/tune/tuned.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct run_state {
    mox_opts *o;
    char *text; /* the prompt */
    size_t n_text;
    void *work; /* the tokenizer's, for a raw text */
    mox_prompt prompt;
    mox_turn turn;
} run_state;

/* The messages of one prompt; returns how many. */
static uint32_t messages(const run_state *r, mox_message m[2])
{
    uint32_t n = 0;
    if (r->o->system != NULL && r->o->system[0] != '\0') {
        m[n++] = (mox_message){.role = MOX_ROLE_SYSTEM, .text = r->o->system, .n_text = strlen(r->o->system)};
    }
    m[n++] = (mox_message){.role = MOX_ROLE_USER, .text = r->text, .n_text = r->n_text};
    return n;
}

/* Memory for a run of at most n_ctx tokens, before the model is opened. */
static mox_err run_prepare(run_state *r, uint32_t n_ctx)
{
    MOX_TRY(mox_turn_create(&r->turn, r->o, n_ctx, r->o->json));
    r->turn.print = !r->o->json && !r->o->silent;
    if (mox_prompt_has_template(&r->prompt)) {
        mox_message m[2];
        return mox_prompt_prepare(&r->prompt, m, messages(r, m));
    }
    r->work = malloc(mox_tokenizer_work_bytes(r->n_text));
    return r->work != NULL ? MOX_OK
                           : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt of %zu bytes", r->n_text);
}

static mox_err run_tokenize(run_state *r, const mox_ctx *ctx)
{
    const mox_tokenizer *t = NULL;
    mox_turn *turn = &r->turn;
    mox_message m[2];
    MOX_TRY(mox_cli_tokenizer(ctx, &t));
    uint32_t n_ctx = mox_get_plan(ctx)->n_ctx;
    bool bos = !r->o->no_bos && mox_tokenizer_ids(t)->add_bos;
    turn->trim = r->prompt.t != NULL || (r->prompt.jinja != NULL && mox_tokenizer_ids(t)->add_space_prefix);
    mox_err err = mox_prompt_has_template(&r->prompt)
                      ? mox_prompt_encode(&r->prompt, t, m, messages(r, m), turn->ids, n_ctx, &turn->n_prompt)
                      : mox_tokenizer_encode(t, r->text, r->n_text, bos, r->o->special, turn->ids, n_ctx,
                                             &turn->n_prompt, r->work);
    if (err == MOX_E_LIMIT) {
        err = MOX_FAIL(MOX_E_CONTEXT_FULL, "the prompt has %u tokens, the context %u", turn->n_prompt, n_ctx);
        return mox_err_fix("moxie run --ctx %u", turn->n_prompt + r->o->max_new);
    }
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

static void run_json(const run_state *r, mox_ctx *ctx, double load_s)
{
    const mox_turn *t = &r->turn;
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.run/1");
    mox_json_string_n(&j, "text", t->text, t->n_text);
    mox_json_string(&j, "stop", t->result.stop);
    mox_json_string(&j, "template", mox_prompt_name(&r->prompt));
    ids_json(&j, "prompt_tokens", t->ids, t->n_prompt);
    ids_json(&j, "new_tokens", t->answer, t->n_answer);
    /* a token that was generated last is not evaluated any more: the sequence says how many were */
    ids_json(&j, "tokens", t->held, t->n_held);
    mox_report_hash_json(&j, ctx);
    mox_json_bool(&j, "all_logits", r->o->all_logits);
    mox_report_counters_json(&j, &c);
    mox_json_object(&j, "seconds");
    mox_json_f64(&j, "load", load_s);
    mox_json_f64(&j, "prefill", t->result.prefill_s);
    mox_json_f64(&j, "decode", t->result.decode_s);
    mox_json_object_end(&j);
    mox_json_object(&j, "tok_s");
    mox_json_f64(&j, "prefill", rate(t->n_prompt, t->result.prefill_s));
    mox_json_f64(&j, "decode", rate(c.tokens[MOX_PHASE_DECODE], t->result.decode_s));
    mox_json_object_end(&j);
    mox_report_run_json(&j, r->o, ctx);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void run_summary(const run_state *r, mox_ctx *ctx)
{
    const mox_turn *t = &r->turn;
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    char text[320];
    mox_ui_line("%s%u + %u tokens (%s), prompt %.1f tok/s, answer %.1f tok/s | fill order: %s | %s",
                r->o->cfg.act_f32 ? "audit --act f32: " : "", t->n_prompt, t->result.n_new, t->result.stop,
                rate(t->n_prompt, t->result.prefill_s), rate(c.tokens[MOX_PHASE_DECODE], t->result.decode_s),
                mox_get_fill_order(ctx), mox_report_counters(&c, text));
}

static mox_err run_model(run_state *r, mox_ctx *ctx, double load_s)
{
    mox_turn *t = &r->turn;
    t->ctx = ctx;
    MOX_TRY(run_tokenize(r, ctx));
    mox_turn_begin(t);
    t->cancel = true;
    mox_stop_within(1);
    mox_stop_soft(true);
    mox_err err = mox_turn_run(t);
    if (t->print && t->n_answer > 0) {
        fputc('\n', stdout);
        fflush(stdout);
    }
    if (err == MOX_E_CANCELLED && mox_stop_requested() != 0) {
        mox_ui_line("stopped while the prompt was read");
        return MOX_OK;
    }
    MOX_TRY(err);
    if (r->o->json && !r->o->silent) {
        run_json(r, ctx, load_s);
    }
    run_summary(r, ctx);
    if (strcmp(t->result.stop, "context") == 0) {
        mox_ui_line(
            "warning: the answer ends here because the context of %u tokens is full: --ctx N for more",
            mox_get_plan(ctx)->n_ctx);
    }
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

/* The template, and what is asked of it; where the model has none, a prompt is a text to continue. */
static mox_err choose_template(run_state *r, mox_source_kind source)
{
    const mox_opts *o = r->o;
    r->prompt.o = o;
    if (o->raw) {
        return MOX_OK;
    }
    MOX_TRY(mox_prompt_open(&r->prompt, o));
    if (mox_prompt_has_template(&r->prompt)) {
        return MOX_OK;
    }
    if (source == MOX_SOURCE_CHAT || o->system != NULL) {
        MOX_FAIL(MOX_E_TEMPLATE, "the model has no chat template, so it can%s",
                 source == MOX_SOURCE_CHAT ? " continue a text, and not chat"
                                           : "not be given a system message");
        return mox_err_fix(
            "--raw -p TEXT            continues a text\n"
            "--chat-template NAME     mistral, chatml or llama3, if the model was trained with it");
    }
    mox_ui_line("the model has no chat template: the text is continued as it is (as with --raw)");
    return MOX_OK;
}

/* A chat answers until the answer's end, unless told otherwise. */
static void no_limit(mox_opts *o)
{
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if ((opt->commands & MOX_CMD_RUN) && strcmp(opt->name, "max-tokens") == 0 &&
            o->set[opt - mox_options].origin == MOX_FROM_DEFAULT) {
            o->max_new = 0;
        }
    }
}

mox_err mox_cmd_run(mox_opts *o)
{
    static mox_plan plan;
    mox_ctx *ctx = NULL;
    run_state r = {.o = o};
    mox_source_kind source = MOX_SOURCE_TEXT;
    double load_s = 0;
    mox_err err = MOX_OK;
    o->cfg.header_only = o->cfg.dry_run;
    if (!o->cfg.dry_run) {
        MOX_TRY(mox_source_choose(o, &source));
    }
    mox_cli_model(o);
    MOX_TRY(mox_tuned_apply(mox_command_find("run"), o, NULL));
    mox_cli_heat(o);
    if (!o->cfg.dry_run) {
        MOX_TRY_GOTO(err, choose_template(&r, source), out);
    }
    if (!o->cfg.dry_run && source != MOX_SOURCE_CHAT) {
        MOX_TRY_GOTO(err, mox_source_read(o, source, &r.text, &r.n_text), out);
    }
    MOX_TRY_GOTO(err, mox_cli_plan(o, &plan), out);
    if (o->cfg.dry_run) {
        err = run_dry(o, &plan);
        goto out;
    }
    if (source != MOX_SOURCE_CHAT) {
        MOX_TRY_GOTO(err, run_prepare(&r, plan.n_ctx), out);
    } else {
        MOX_TRY_GOTO(err, mox_prompt_reserve(&r.prompt, 64, (size_t)plan.n_ctx * 6), out);
    }
    MOX_TRY_GOTO(err, mox_cli_open(o, &ctx, &load_s), out);
    if (source == MOX_SOURCE_CHAT) {
        no_limit(o);
        err = mox_chat_run(o, ctx, &r.prompt);
    } else {
        err = run_model(&r, ctx, load_s);
    }
out:
    err = mox_cli_close(&ctx, err);
    mox_turn_free(&r.turn);
    mox_prompt_free(&r.prompt);
    free(r.work);
    free(r.text);
    return err;
}
