/* One turn of `moxie tune`: the model is opened with some settings, reads the prompts and answers them once to warm up and
 * once or, where that is over in a moment, several times measured, and is closed.
 *
 * What is answered is sampled at temperature 1 from fixed seeds, with ends ignored, so every turn computes the same tokens as
 * long as the logits are the same, and the hash over all of them says whether they are. The answers that warm up have a
 * seed of their own: a cache must not have seen what it is judged by. Opening is not counted. */
#include "runtime/cli/tune/tune.h"

#include "runtime/cli/open.h"
#include "runtime/core/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RANDOM_IDS = 32, MAX_IDS = 512, LEAST_ANSWER = 8, MOST_ANSWER = 256, MOST_PASSES = 32 };
#define ENOUGH_S 0.5 /* of answers, measured: what is shorter is noise */

/* A few lines of prose and of code, for whoever names no prompts. */
static const char *const own_prompts[] = {
    "The old lighthouse keeper had not spoken to anyone for three weeks when the boat came into the bay. He "
    "put down "
    "his book, looked for his boots, and went to see",
    "#include <stdio.h>\n\n/* Reads numbers and prints their mean. */\nint main(void)\n{\n    double sum = "
    "0, x;\n    int n",
};

mox_err mox_tune_set(const mox_opts *o, const char *option, const char *value, mox_opts *out)
{
    const char *nearest = NULL;
    const mox_option *opt = mox_option_key(option, &nearest);
    mox_setting from = {.origin = MOX_FROM_ARGS, .rank = MOX_TUNE_RANK};
    *out = *o;
    if (opt == NULL) {
        return MOX_FAIL(MOX_E_OPTION, "unknown option --%.40s", option);
    }
    MOX_TRY(mox_option_set(opt, value, &from, out));
    const char *model = out->cfg.model; /* the demo model has no name among the options */
    MOX_TRY(mox_opts_settle(out));
    out->cfg.model = model;
    return MOX_OK;
}

static mox_err add_prompt(mox_tune *t, const mox_tokenizer *tok, const char *text, size_t n, void *work)
{
    uint32_t *ids = malloc(MAX_IDS * sizeof *ids), got = 0;
    if (ids == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt");
    }
    t->ids[t->n_prompts] = ids;
    mox_err err =
        mox_tokenizer_encode(tok, text, n, mox_tokenizer_ids(tok)->add_bos, false, ids, MAX_IDS, &got, work);
    if (err == MOX_E_LIMIT) {
        err = MOX_FAIL(MOX_E_ARG, "a prompt of %u tokens, %d are enough to measure with", got, MAX_IDS);
    }
    t->n_ids[t->n_prompts] = got;
    t->n_prompts += err == MOX_OK && got > 0;
    return err;
}

/* A prompt on each line; empty lines are none. */
static mox_err prompts_of(mox_tune *t, const mox_tokenizer *tok, const char *text, size_t n)
{
    void *work = malloc(mox_tokenizer_work_bytes(n));
    mox_err err = work ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for prompts of %zu bytes", n);
    for (size_t at = 0; at < n && err == MOX_OK && t->n_prompts < MOX_TUNE_PROMPTS;) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t len = end ? (size_t)(end - text) - at : n - at;
        err = len > 0 ? add_prompt(t, tok, text + at, len, work) : MOX_OK;
        at += len + 1;
    }
    free(work);
    return err;
}

static mox_err read_prompts(mox_tune *t, const mox_tokenizer *tok)
{
    char *text = NULL;
    size_t n = 0;
    MOX_TRY(mox_cli_read_all(t->o->prompts, &text, &n));
    mox_err err = prompts_of(t, tok, text, n);
    free(text);
    if (err == MOX_OK && t->n_prompts == 0) {
        err = MOX_FAIL(MOX_E_ARG, "%.300s has no prompt", t->o->prompts);
        mox_err_fix("a prompt on each line");
    }
    return err;
}

static mox_err own(mox_tune *t, const mox_tokenizer *tok)
{
    mox_err err = MOX_OK;
    for (size_t i = 0; i < sizeof own_prompts / sizeof *own_prompts && err == MOX_OK; i++) {
        size_t n = strlen(own_prompts[i]);
        void *work = malloc(mox_tokenizer_work_bytes(n));
        err = work ? add_prompt(t, tok, own_prompts[i], n, work)
                   : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt");
        free(work);
    }
    return err;
}

static mox_err random_ids(mox_tune *t)
{
    uint32_t *ids = malloc(RANDOM_IDS * sizeof *ids);
    if (ids == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt");
    }
    for (uint32_t i = 0; i < RANDOM_IDS; i++) {
        ids[i] = (uint32_t)((i + 1) * UINT64_C(2654435761) % t->info.n_vocab);
    }
    t->ids[0] = ids;
    t->n_ids[0] = RANDOM_IDS;
    t->n_prompts = 1;
    return MOX_OK;
}

mox_err mox_tune_prompts(mox_tune *t)
{
    mox_gguf *g = NULL;
    mox_tokenizer *tok = NULL;
    MOX_TRY(mox_gguf_open(&g, t->o->cfg.model));
    mox_err err = mox_model_describe(&t->info, g);
    bool text = err == MOX_OK && !t->o->random_answers && mox_tokenizer_create(&tok, g) == MOX_OK;
    t->prompts_from = t->o->prompts ? t->o->prompts : text ? "two of its own" : "random ids";
    if (err == MOX_OK && t->o->prompts != NULL && !text) {
        err = MOX_FAIL(MOX_E_TOKENIZER, "the model file has no tokenizer: it takes ids, not text");
    } else if (err == MOX_OK) {
        err = !text ? random_ids(t) : t->o->prompts ? read_prompts(t, tok) : own(t, tok);
    }
    mox_tokenizer_destroy(&tok);
    mox_gguf_close(&g);
    return err;
}

/* Every prompt once, added to what out has. */
static mox_err pass(const mox_tune *t, mox_bench *b, mox_tune_turn *out)
{
    for (uint32_t i = 0; i < t->n_prompts && mox_stop_requested() == 0; i++) {
        mox_bench_rep rep;
        mox_bench_test test = {.decode = true, .n_tokens = t->n_answer, .depth = t->n_ids[i]};
        b->ids = t->ids[i];
        MOX_TRY(mox_bench_once(b, &test, &rep));
        out->prompt_s += rep.depth_s;
        out->answer_s += rep.seconds;
        out->prompt_tokens += t->n_ids[i];
        out->answer_tokens += (uint64_t)rep.tokens;
    }
    out->total_s = out->prompt_s + out->answer_s;
    return MOX_OK;
}

uint32_t mox_tune_passes(const mox_tune *t)
{
    return t->n_passes ? t->n_passes : 1;
}

static uint32_t longest_prompt(const mox_tune *t)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < t->n_prompts; i++) {
        longest = t->n_ids[i] > longest ? t->n_ids[i] : longest;
    }
    return longest;
}

mox_err mox_tune_room(const mox_tune *t)
{
    uint32_t longest = longest_prompt(t);
    return longest + LEAST_ANSWER + 2 <= t->plan.n_ctx
               ? MOX_OK
               : MOX_FAIL(MOX_E_CONTEXT_FULL, "a prompt has %u tokens, the context %u", longest,
                          t->plan.n_ctx);
}

void mox_tune_length(mox_tune *t, const mox_tune_turn *turn, double answer_s)
{
    double each = turn->answer_s / (double)(turn->answer_tokens ? turn->answer_tokens : 1) * t->n_prompts;
    double tokens = answer_s / each, enough = answer_s < ENOUGH_S ? tokens : ENOUGH_S / each;
    uint32_t most = t->plan.n_ctx - longest_prompt(t) - 2;
    most = most < MOST_ANSWER ? most : MOST_ANSWER;
    t->n_answer = tokens < LEAST_ANSWER ? LEAST_ANSWER : tokens > most ? most : (uint32_t)tokens;
    double passes = enough / t->n_answer;
    t->n_passes = passes < 1 ? 1 : passes > MOST_PASSES ? MOST_PASSES : (uint32_t)passes;
}

mox_err mox_tune_turn_run(const mox_tune *t, const mox_opts *o, mox_tune_turn *out)
{
    static mox_opts mine;
    mine = *o;
    mine.cfg.log = (mox_log){0};
    mox_bench b = {.o = &mine, .info = t->info, .logits = t->logits, .random = 1};
    *out = (mox_tune_turn){0};
    uint64_t t0 = mox_now_ns();
    MOX_TRY(mox_open(&b.ctx, &mine.cfg));
    out->open_s = (double)(mox_now_ns() - t0) / 1e9;
    mox_tune_turn warm = {0};
    mine.seed = o->seed + 1;
    mox_err err = pass(t, &b, &warm);
    mox_reset_counters(b.ctx);
    for (uint32_t i = 0; i < mox_tune_passes(t) && err == MOX_OK && mox_stop_requested() == 0; i++) {
        mine.seed = o->seed + 2 * i;
        err = pass(t, &b, out);
    }
    mox_get_counters(b.ctx, &out->c, NULL);
    out->hash = mox_logits_hash(b.ctx);
    mox_close(&b.ctx);
    return err;
}

mox_err mox_tune_record(const mox_tune *t, const mox_opts *o, mox_routing *out)
{
    static mox_opts mine;
    char path[48];
    mox_tune_turn turn;
    int fd = memfd_create("moxie-tune", MFD_CLOEXEC); /* a file that lies in no folder */
    if (fd < 0) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "tune: no file in memory for the routing");
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    mine = *o;
    mine.cfg.record = path;
    mox_err err = mox_tune_turn_run(t, &mine, &turn);
    err = err == MOX_OK ? mox_routing_read(path, out) : err;
    close(fd);
    return err;
}
