/* moxie perplexity: exp of the mean negative log-likelihood of each next token, every sequence from an empty
 * cache. With a base (logits in a file, or a second model run with --act f32) also the mean of KL(base ||
 * model) and the share of positions where both put the same token first, over all positions.
 *
 * The base model is evaluated side by side, a micro-batch at a time, so nothing but one batch of its logits
 * is ever held. Sums are in double; they judge accuracy and are no part of the numerics contract.
 */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/report.h"

#include "runtime/core/clock.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct ppl_sequences {
    uint32_t *ids;   /* all sequences, one after the other */
    uint32_t *start; /* [n + 1] */
    uint32_t n, n_ids;
} ppl_sequences;

typedef struct ppl_state {
    mox_opts *o;
    mox_ctx *ctx, *base_ctx;
    FILE *base_file;
    float *base; /* [n_batch][n_vocab], the base's rows of this piece */
    uint32_t n_vocab, n_batch;
    const uint32_t *seq;   /* the sequence under way */
    uint32_t n_seq, piece; /* its length; first position of this piece */
    double nll, kl;
    uint64_t n_predicted, n_compared, n_same_top;
} ppl_state;

static uint32_t argmax(const float *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (x[i] > x[best]) {
            best = i;
        }
    }
    return best;
}

/* log(sum(exp(x))) */
static double log_sum_exp(const float *x, uint32_t n, float max)
{
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        sum += exp((double)x[i] - (double)max);
    }
    return log(sum) + (double)max;
}

static void compare_row(ppl_state *s, const float *base, const float *row, uint32_t top, double lse)
{
    uint32_t base_top = argmax(base, s->n_vocab);
    double base_lse = log_sum_exp(base, s->n_vocab, base[base_top]);
    double kl = 0;
    for (uint32_t i = 0; i < s->n_vocab; i++) {
        double lp = (double)base[i] - base_lse;
        kl += exp(lp) * (lp - ((double)row[i] - lse));
    }
    s->kl += kl;
    s->n_compared++;
    s->n_same_top += base_top == top;
}

static void score_rows(void *arg, uint32_t first_pos, uint32_t n, const float *logits)
{
    ppl_state *s = arg;
    for (uint32_t i = 0; i < n; i++) {
        const float *row = logits + (size_t)i * s->n_vocab;
        uint32_t pos = first_pos + i;
        uint32_t top = argmax(row, s->n_vocab);
        double lse = log_sum_exp(row, s->n_vocab, row[top]);
        if (pos + 1 < s->n_seq) {
            s->nll += lse - (double)row[s->seq[pos + 1]];
            s->n_predicted++;
        }
        if (s->base != NULL) {
            compare_row(s, s->base + (size_t)(pos - s->piece) * s->n_vocab, row, top, lse);
        }
    }
}

static void keep_rows(void *arg, uint32_t first_pos, uint32_t n, const float *logits)
{
    ppl_state *s = arg;
    memcpy(s->base + (size_t)(first_pos - s->piece) * s->n_vocab, logits,
           (size_t)n * s->n_vocab * sizeof *logits);
}

static mox_err score_piece(ppl_state *s, uint32_t n)
{
    if (s->base_ctx != NULL) {
        MOX_TRY(mox_eval(s->base_ctx, 0, s->seq + s->piece, n, true, keep_rows, s));
    } else if (s->base_file != NULL) {
        size_t count = (size_t)n * s->n_vocab;
        if (fread(s->base, sizeof *s->base, count, s->base_file) != count) {
            return MOX_FAIL(MOX_E_TRUNCATED, "%.200s ends before the last token's logits", s->o->base);
        }
    }
    return mox_eval(s->ctx, 0, s->seq + s->piece, n, true, score_rows, s);
}

static mox_err score_all(ppl_state *s, const ppl_sequences *q)
{
    uint64_t last = mox_now_ns();
    for (uint32_t i = 0; i < q->n && mox_stop_requested() == 0; i++) {
        mox_seq_clear(s->ctx, 0);
        if (s->base_ctx != NULL) {
            mox_seq_clear(s->base_ctx, 0);
        }
        s->seq = q->ids + q->start[i];
        s->n_seq = q->start[i + 1] - q->start[i];
        for (uint32_t k = 0; k < s->n_seq; k++) {
            if (s->seq[k] >= s->n_vocab) {
                return MOX_FAIL(MOX_E_TOKEN, "sequence %u: token id %u, the vocabulary has %u", i, s->seq[k],
                                s->n_vocab);
            }
        }
        for (s->piece = 0; s->piece < s->n_seq; s->piece += s->n_batch) {
            uint32_t n = s->n_seq - s->piece;
            MOX_TRY(score_piece(s, n < s->n_batch ? n : s->n_batch));
        }
        if (mox_now_ns() - last > 2000000000u) {
            last = mox_now_ns();
            mox_ui_line("%u of %u sequences, perplexity so far %.3f", i + 1, q->n,
                        exp(s->nll / (double)s->n_predicted));
        }
    }
    return MOX_OK;
}

static mox_err add_sequence(ppl_sequences *q, const uint32_t *ids, uint32_t n)
{
    uint32_t *all = realloc(q->ids, ((size_t)q->n_ids + n) * sizeof *all);
    if (all != NULL) {
        q->ids = all;
    }
    uint32_t *start = realloc(q->start, ((size_t)q->n + 2) * sizeof *start);
    if (start != NULL) {
        q->start = start;
    }
    if (all == NULL || start == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for sequence %u", q->n);
    }
    memcpy(q->ids + q->n_ids, ids, n * sizeof *ids);
    q->start[q->n] = q->n_ids;
    q->n_ids += n;
    q->start[++q->n] = q->n_ids;
    return MOX_OK;
}

/* --tokens: one sequence a line. */
static mox_err read_token_lines(const char *text, ppl_sequences *q)
{
    while (*text != '\0') {
        uint32_t *ids = NULL, n = 0;
        MOX_TRY(mox_cli_parse_ids(text, true, &text, &ids, &n));
        mox_err err = n > 0 ? add_sequence(q, ids, n) : MOX_OK;
        free(ids);
        MOX_TRY(err);
    }
    return MOX_OK;
}

/* --text: pieces of at most n_ctx tokens, each with the begin token where the model wants one. */
static mox_err cut_text(const mox_opts *o, const char *text, size_t n, uint32_t n_ctx, ppl_sequences *q)
{
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    uint32_t *ids = malloc((n + 8) * sizeof *ids);
    void *work = malloc(mox_tokenizer_work_bytes(n));
    uint32_t n_ids = 0;
    mox_err err = MOX_OK;
    if (ids == NULL || work == NULL || n > UINT32_MAX / 8) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a text of %zu bytes", n);
        goto out;
    }
    MOX_TRY_GOTO(err, mox_gguf_open(&g, o->cfg.model), out);
    MOX_TRY_GOTO(err, mox_tokenizer_create(&t, g), out);
    const mox_token_ids *special = mox_tokenizer_ids(t);
    /* ids[0] stays free: each piece's begin token is written in front of it, over what was counted before */
    MOX_TRY_GOTO(err, mox_tokenizer_encode(t, text, n, false, false, ids + 1, (uint32_t)n + 7, &n_ids, work),
                 out);
    uint32_t bos = special->add_bos ? 1 : 0;
    for (uint32_t i = 0; i < n_ids && n_ctx > bos;) {
        uint32_t m = n_ids - i < n_ctx - bos ? n_ids - i : n_ctx - bos;
        ids[i] = bos ? special->bos : ids[i];
        MOX_TRY_GOTO(err, add_sequence(q, ids + 1 + i - bos, m + bos), out);
        i += m;
    }
out:
    mox_tokenizer_destroy(&t);
    mox_gguf_close(&g);
    free(work);
    free(ids);
    return err;
}

static void ppl_report(const ppl_state *s, uint32_t n_sequences, double seconds)
{
    double ppl = exp(s->nll / (double)s->n_predicted);
    double kl = s->kl / (double)s->n_compared, top1 = (double)s->n_same_top / (double)s->n_compared;
    const char *audit = s->o->cfg.act_f32 ? " (audit: --act f32)" : "";
    if (!s->o->json) {
        printf("perplexity %.4f over %llu predictions in %u sequences%s\n", ppl,
               (unsigned long long)s->n_predicted, n_sequences, audit);
        if (s->n_compared > 0) {
            printf("KL(base || model) mean %.4e, top-1 agreement %.5f over %llu positions\n", kl, top1,
                   (unsigned long long)s->n_compared);
        }
        return;
    }
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.perplexity/1");
    mox_json_f64(&j, "perplexity", ppl);
    mox_json_u64(&j, "predictions", s->n_predicted);
    mox_json_u64(&j, "sequences", n_sequences);
    mox_json_f64(&j, "kl_mean", kl); /* null without a base */
    mox_json_f64(&j, "top1_agreement", top1);
    mox_json_u64(&j, "positions_compared", s->n_compared);
    mox_json_f64(&j, "seconds", seconds);
    mox_report_hash_json(&j, s->ctx);
    mox_report_run_json(&j, s->o, s->ctx);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static mox_err open_base(ppl_state *s)
{
    if (s->o->base != NULL) {
        s->base_file = fopen(s->o->base, "rb");
        if (s->base_file == NULL) {
            return MOX_FAIL_SYS(MOX_E_OPEN, errno, "%.300s cannot be opened", s->o->base);
        }
    } else if (s->o->base_model != NULL) {
        static mox_opts base; /* its own options: audit mode, everything else as for the model */
        uint32_t n_vocab = 0;
        base = *s->o;
        base.cfg.model = s->o->base_model;
        base.cfg.act_f32 = true;
        base.cfg.record = NULL;
        base.cfg.n_ctx = mox_get_plan(s->ctx)->n_ctx;
        mox_ui_line("base: %s with --act f32", base.cfg.model);
        MOX_TRY(mox_cli_open(&base, &s->base_ctx, NULL));
        MOX_TRY(mox_cli_vocab(base.cfg.model, &n_vocab));
        if (n_vocab != s->n_vocab) {
            return MOX_FAIL(MOX_E_ARG, "the base model has %u tokens, the model %u", n_vocab, s->n_vocab);
        }
        uint32_t base_batch = mox_get_plan(s->base_ctx)->n_batch;
        s->n_batch = base_batch < s->n_batch ? base_batch : s->n_batch;
    } else {
        return MOX_OK;
    }
    s->base = malloc((size_t)s->n_batch * s->n_vocab * sizeof *s->base);
    return s->base != NULL ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the base's logits");
}

static mox_err read_sequences(const mox_opts *o, uint32_t n_ctx, ppl_sequences *q)
{
    char *text = NULL;
    size_t n = 0;
    MOX_TRY(mox_cli_read_all(o->tokens != NULL ? o->tokens : o->text, &text, &n));
    mox_err err = o->tokens != NULL ? read_token_lines(text, q) : cut_text(o, text, n, n_ctx, q);
    free(text);
    MOX_TRY(err);
    uint32_t longest = 0;
    for (uint32_t i = 0; i < q->n; i++) {
        uint32_t len = q->start[i + 1] - q->start[i];
        longest = len > longest ? len : longest;
    }
    if (longest < 2) {
        return MOX_FAIL(MOX_E_ARG, "nothing to predict: no sequence has two tokens");
    }
    return MOX_OK;
}

mox_err mox_cmd_perplexity(mox_opts *o)
{
    if ((o->tokens == NULL) == (o->text == NULL) || (o->base != NULL && o->base_model != NULL)) {
        mox_err usage = MOX_FAIL(MOX_E_OPTION, "perplexity needs --text or --tokens, and at most one base");
        mox_err_fix("moxie perplexity MODEL --text book.txt");
        return usage;
    }
    mox_cli_model(o);
    ppl_state s = {.o = o};
    ppl_sequences q = {0};
    mox_err err;
    MOX_TRY_GOTO(err, mox_cli_open(o, &s.ctx, NULL), out);
    MOX_TRY_GOTO(err, mox_cli_vocab(o->cfg.model, &s.n_vocab), out);
    s.n_batch = mox_get_plan(s.ctx)->n_batch;
    MOX_TRY_GOTO(err, read_sequences(o, mox_get_plan(s.ctx)->n_ctx, &q), out);
    MOX_TRY_GOTO(err, open_base(&s), out);
    mox_stop_soft(true);
    uint64_t t0 = mox_now_ns();
    MOX_TRY_GOTO(err, score_all(&s, &q), out);
    if (mox_stop_requested() == 0) {
        ppl_report(&s, q.n, (double)(mox_now_ns() - t0) * 1e-9);
    }
out:
    if (s.base_file != NULL) {
        fclose(s.base_file);
    }
    mox_close(&s.base_ctx);
    err = mox_cli_close(&s.ctx, err);
    free(s.base);
    free(q.start);
    free(q.ids);
    return err;
}
