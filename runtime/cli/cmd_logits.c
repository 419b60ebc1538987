/* moxie logits: the logits of given tokens, evaluated as one sequence, as raw little-endian f32 [n][vocab];
 * with --json also (or only) their hash, the same that `run --json` prints for the same tokens. */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/report.h"

#include "runtime/core/clock.h"
#include "runtime/core/outfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct logits_out {
    FILE *f; /* NULL: hash only */
    uint32_t n_vocab;
    int sys; /* errno of a failed write */
} logits_out;

static void write_rows(void *arg, uint32_t first_pos, uint32_t n, const float *logits)
{
    logits_out *out = arg;
    (void)first_pos;
    size_t count = (size_t)n * out->n_vocab;
    if (out->f != NULL && out->sys == 0 && fwrite(logits, sizeof *logits, count, out->f) != count) {
        out->sys = errno;
    }
}

/* Evaluate in pieces, so that a signal is answered between them. */
static mox_err eval_all(mox_ctx *ctx, const uint32_t *ids, uint32_t n, logits_out *out)
{
    uint32_t batch = mox_get_plan(ctx)->n_batch;
    for (uint32_t i = 0; i < n && mox_stop_requested() == 0; i += batch) {
        uint32_t m = n - i < batch ? n - i : batch;
        MOX_TRY(mox_eval(ctx, 0, ids + i, m, true, write_rows, out));
        if (out->sys != 0) {
            return MOX_FAIL_SYS(MOX_E_WRITE, out->sys, "the logits could not be written");
        }
    }
    return MOX_OK;
}

static void logits_report(const mox_opts *o, mox_ctx *ctx, uint32_t n, uint32_t n_vocab, double seconds)
{
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    char text[320];
    mox_ui_line("%s%u tokens, %.1f tok/s | %s", o->cfg.act_f32 ? "audit --act f32: " : "", n,
                seconds > 0 ? n / seconds : 0, mox_report_counters(&c, text));
    if (!o->json) {
        return;
    }
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.logits/1");
    mox_json_u64(&j, "n_tokens", n);
    mox_json_u64(&j, "vocabulary", n_vocab);
    mox_report_hash_json(&j, ctx);
    mox_json_f64(&j, "seconds", seconds);
    mox_report_counters_json(&j, &c);
    mox_report_run_json(&j, o, ctx);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static mox_err logits_check(const mox_opts *o)
{
    if (o->tokens == NULL || (o->out == NULL && !o->json)) {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "logits needs --tokens, and --out or --json");
        mox_err_fix("moxie logits MODEL --tokens ids.txt --out logits.f32");
        return err;
    }
    if (o->json && o->out != NULL && strcmp(o->out, "-") == 0) {
        return MOX_FAIL(MOX_E_CONFLICT, "--json and --out - both want standard output");
    }
    return MOX_OK;
}

mox_err mox_cmd_logits(mox_opts *o)
{
    MOX_TRY(logits_check(o));
    mox_cli_model(o);
    char *text = NULL;
    uint32_t *ids = NULL, n = 0;
    size_t n_text = 0;
    mox_ctx *ctx = NULL;
    logits_out out = {0};
    mox_outfile file = {0};
    mox_err err;
    MOX_TRY_GOTO(err, mox_cli_read_all(o->tokens, &text, &n_text), done);
    MOX_TRY_GOTO(err, mox_cli_parse_ids(text, false, NULL, &ids, &n), done);
    if (n == 0) {
        err = MOX_FAIL(MOX_E_TOKEN, "%.200s holds no token ids", o->tokens);
        goto done;
    }
    if (o->out != NULL) {
        if (strcmp(o->out, "-") != 0) {
            MOX_TRY_GOTO(err, mox_outfile_open(&file, o->out, 0666), done);
        }
        out.f = file.f != NULL ? file.f : stdout;
    }
    MOX_TRY_GOTO(err, mox_cli_open(o, &ctx, NULL), done);
    MOX_TRY_GOTO(err, mox_cli_vocab(o->cfg.model, &out.n_vocab), done);
    mox_stop_soft(true);
    uint64_t t0 = mox_now_ns();
    MOX_TRY_GOTO(err, eval_all(ctx, ids, n, &out), done);
    if (file.f != NULL && mox_stop_requested() == 0) {
        MOX_TRY_GOTO(err, mox_outfile_publish(&file), done);
    }
    logits_report(o, ctx, mox_seq_len(ctx, 0), out.n_vocab, (double)(mox_now_ns() - t0) * 1e-9);
done:
    mox_outfile_drop(&file);
    err = mox_cli_close(&ctx, err);
    free(ids);
    free(text);
    return err;
}
