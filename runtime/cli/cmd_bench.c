/* moxie bench: prompt and answer speed with warm-up and repetitions, each tier's bytes beside what the machine can
 * do, measured in the same process before, after, and around every repetition.
 *
 * Prompt tokens come from --text, or are random ids from --seed (the report says which: random ids choose experts
 * more evenly than text does). What a repetition is: bench/measure.c; what is reported: bench/report.c.
 */
#include "runtime/cli/bench/bench.h"
#include "runtime/cli/bench/compare.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"

#include <stdlib.h>
#include <string.h>

/* The list of tests: each prompt length, then each answer at each depth; a length of 0 is none. */
static void bench_list(mox_bench *b)
{
    const mox_opts *o = b->o;
    b->n_tests = 0;
    for (uint32_t i = 0; i < o->bench_prefill.n; i++) {
        if (o->bench_prefill.v[i] > 0) {
            b->tests[b->n_tests++] = (mox_bench_test){.n_tokens = o->bench_prefill.v[i]};
        }
    }
    for (uint32_t k = 0; k < o->bench_decode.n * o->bench_depth.n; k++) {
        uint32_t n = o->bench_decode.v[k % o->bench_decode.n];
        if (n > 0) {
            b->tests[b->n_tests++] = (mox_bench_test){
                .decode = true, .n_tokens = n, .depth = o->bench_depth.v[k / o->bench_decode.n]};
        }
    }
}

static mox_err bench_prepare(mox_bench *b)
{
    mox_opts *o = b->o;
    uint32_t longest = 2;
    b->tests = calloc(MOX_BENCH_TESTS, sizeof *b->tests);
    if (b->tests == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the results");
    }
    bench_list(b);
    if (b->n_tests == 0) {
        return MOX_FAIL(MOX_E_OPTION, "nothing to measure: --prefill and --decode are both 0");
    }
    b->n_ids = 1;
    for (uint32_t i = 0; i < b->n_tests; i++) {
        const mox_bench_test *t = &b->tests[i];
        uint32_t prompt = t->decode ? t->depth : t->n_tokens;
        uint32_t whole = t->decode ? t->depth + t->n_tokens + 2 : t->n_tokens + 1;
        b->n_ids = prompt > b->n_ids ? prompt : b->n_ids;
        longest = whole > longest ? whole : longest;
    }
    if (o->cfg.n_ctx == 0) {
        o->cfg.n_ctx = longest;
    }
    b->ids = calloc(b->n_ids, sizeof *b->ids);
    return b->ids != NULL ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u tokens", b->n_ids);
}

static mox_err bench_tokens(mox_bench *b)
{
    b->random = b->o->seed * 0x9e3779b97f4a7c15u + 1;
    for (uint32_t i = 0; i < b->n_ids; i++) {
        b->ids[i] = mox_bench_random_id(b);
    }
    if (b->o->text == NULL) {
        return MOX_OK;
    }
    char *text = NULL;
    size_t n = 0;
    uint32_t got = 0;
    const mox_tokenizer *t = NULL;
    MOX_TRY(mox_cli_tokenizer(b->ctx, &t));
    MOX_TRY(mox_cli_read_all(b->o->text, &text, &n));
    uint32_t *all = malloc((n + 8) * sizeof *all);
    void *work = malloc(mox_tokenizer_work_bytes(n));
    mox_err err = MOX_OK;
    if (all == NULL || work == NULL) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a text of %zu bytes", n);
    } else {
        err = mox_tokenizer_encode(t, text, n, mox_tokenizer_ids(t)->add_bos, false, all, (uint32_t)n + 8,
                                   &got, work);
    }
    if (err == MOX_OK && got < b->n_ids) {
        err =
            MOX_FAIL(MOX_E_ARG, "%.200s has %u tokens, the longest test wants %u", b->o->text, got, b->n_ids);
    }
    if (err == MOX_OK) {
        memcpy(b->ids, all, b->n_ids * sizeof *all);
    }
    free(work);
    free(all);
    free(text);
    return err;
}

/* The disk is measured with the biggest part of a split model. What is measured between repetitions is taken
 * here too, behind the first full measurement. */
static mox_err bench_ceilings(mox_bench *b, uint32_t n_threads, uint64_t run_bytes, mox_ceilings *out)
{
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, b->o->cfg.model));
    mox_ceilings_cfg cfg = {.run_bytes = run_bytes, .n_threads = n_threads, .isa = b->o->cfg.isa};
    mox_ceilings_of(g, &cfg);
    mox_err err = mox_model_describe(&b->info, g);
    if (err == MOX_OK) {
        err = mox_ceilings_measure(&cfg, out);
    }
    if (err == MOX_OK && b->between == NULL) {
        err = mox_between_create(&b->between, &cfg, out);
    }
    mox_gguf_close(&g);
    return err;
}

/* --compare: what was measured beside what it was. */
static mox_err bench_compare(const mox_bench *b)
{
    static mox_bench_result results[MOX_BENCH_TESTS];
    for (uint32_t i = 0; i < b->n_tests; i++) {
        mox_bench_name(&b->tests[i], results[i].name);
        results[i].tok_s = mox_bench_speed(&b->tests[i]).median;
    }
    return mox_bench_compare(b->o, results, b->n_tests);
}

static mox_err bench_run(mox_bench *b)
{
    static mox_plan plan;
    MOX_TRY(bench_prepare(b));
    MOX_TRY(mox_bench_compare(b->o, NULL, 0));
    MOX_TRY(mox_cli_plan(b->o, &plan));
    if (b->o->cfg.ram.kind == MOX_BUDGET_AUTO) { /* what is measured with must not change the plan */
        b->o->cfg.ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = plan.budget_bytes};
    }
    mox_ui_line("measuring what this machine can do");
    MOX_TRY(bench_ceilings(b, plan.n_threads, plan.total_bytes, &b->before));
    b->logits = malloc((size_t)b->info.n_vocab * sizeof *b->logits);
    if (b->logits == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u logits", b->info.n_vocab);
    }
    MOX_TRY(mox_cli_open(b->o, &b->ctx, NULL));
    MOX_TRY(bench_tokens(b));
    mox_stop_soft(true);
    for (uint32_t i = 0; i < b->n_tests; i++) {
        MOX_TRY(mox_bench_measure(b, &b->tests[i]));
        if (mox_stop_requested() != 0) {
            return MOX_OK; /* an unfinished measurement is none */
        }
    }
    MOX_TRY(bench_ceilings(b, plan.n_threads, 0, &b->after));
    b->best = mox_ceilings_best(&b->before, &b->after);
    if (b->o->json) {
        mox_bench_json(b);
    } else {
        mox_bench_table(b);
    }
    return bench_compare(b);
}

mox_err mox_cmd_bench(mox_opts *o)
{
    mox_cli_model(o);
    if (o->cfg.replay_routing != NULL) { /* guesses would be the router's, which is not asked */
        o->cfg.look_ahead = false;
    }
    static mox_bench b;
    b = (mox_bench){.o = o};
    mox_err err = bench_run(&b);
    err = mox_cli_close(&b.ctx, err);
    mox_between_destroy(&b.between);
    free(b.tests);
    free(b.ids);
    free(b.logits);
    return err;
}
