/* moxie bench: prompt and answer speed with warm-up and repetitions, each tier's bytes beside what the
 * machine can do, measured in the same process before and after.
 *
 * Prompt tokens come from --text, or are random ids from --seed (the report says which: random ids choose
 * experts more evenly than text does). An answer is sampled at temperature 1, with ends ignored, so that
 * every repetition makes the same tokens; or, with --tokens-from random, nothing is sampled and random ids
 * are fed, others in each repetition: a model with random weights repeats itself when it is sampled, which
 * flatters every cache, and llama-bench feeds random ids too. An answer begins behind --depth tokens of the
 * prompt. RAM bytes per answer token are what its step had to read: the dense part and the experts used; the
 * prompt's depend on how experts are shared within a micro-batch, which is not counted, so they are not
 * reported.
 */
#include "runtime/cli/bench_ceiling.h"
#include "runtime/cli/bench_compare.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/report.h"
#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TESTS = MOX_MAX_COUNTS + MOX_MAX_COUNTS * MOX_MAX_COUNTS, MAX_REPS = 100 };

typedef struct bench_test {
    bool decode;
    uint32_t n_tokens, depth, reps;
    double tok_s[MAX_REPS]; /* sorted once measured */
    double seconds;         /* of all repetitions */
    uint64_t read_bytes;    /* of all repetitions, without what filled the depth */
    mox_counters c;         /* of all repetitions */
} bench_test;

typedef struct bench {
    mox_opts *o;
    mox_ctx *ctx;
    uint32_t *ids;
    uint32_t n_ids;
    float *logits;   /* of random answers; nobody looks at them */
    uint64_t random; /* state of the generator of ids */
    bench_test *tests;
    uint32_t n_tests;
    mox_model_info info;
    mox_ceilings before, after, best;
} bench;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const bench_test *t)
{
    uint32_t m = t->reps / 2;
    return t->reps % 2 ? t->tok_s[m] : (t->tok_s[m - 1] + t->tok_s[m]) / 2;
}

/* Results of one repetition; rates are over the phase alone. */
typedef struct bench_rep {
    mox_ctx *ctx;
    double seconds, tok_s;
    uint64_t reads_at_start, read_bytes;
} bench_rep;

static uint64_t reads_so_far(mox_ctx *ctx)
{
    mox_counters c;
    mox_get_counters(ctx, &c, NULL);
    return c.io.read_bytes;
}

static void rep_end(bench_rep *r, double n, double seconds)
{
    r->seconds = seconds;
    r->tok_s = seconds > 0 ? n / seconds : 0;
    r->read_bytes = reads_so_far(r->ctx) - r->reads_at_start;
}

/* Called first when the prompt is done. */
static bool keep_going(void *arg, uint32_t id, const char *text, size_t n)
{
    (void)id, (void)text, (void)n;
    bench_rep *r = arg;
    if (r != NULL && r->reads_at_start == UINT64_MAX) {
        r->reads_at_start = reads_so_far(r->ctx);
    }
    return mox_stop_requested() == 0;
}

static uint32_t random_id(bench *b)
{
    b->random = b->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((b->random >> 33) % b->info.n_vocab);
}

static mox_err prefill_once(bench *b, const bench_test *t, bench_rep *r)
{
    mox_gen_cfg gen = {.prompt = b->ids,
                       .n_prompt = t->n_tokens,
                       .max_new = 1,
                       .sampling = {.temp = 1, .top_p = 1, .seed = b->o->seed},
                       .ignore_end = true,
                       .on_token = keep_going};
    mox_gen_result out = {0};
    r->reads_at_start = reads_so_far(b->ctx);
    MOX_TRY(mox_generate(b->ctx, 0, &gen, &out));
    rep_end(r, t->n_tokens, out.prefill_s);
    return MOX_OK;
}

static mox_err decode_sampled_once(bench *b, const bench_test *t, bench_rep *r)
{
    mox_gen_cfg gen = {.prompt = b->ids,
                       .n_prompt = t->depth > 0 ? t->depth : 1,
                       .max_new = t->n_tokens,
                       .sampling = {.temp = 1, .top_p = 1, .seed = b->o->seed},
                       .ignore_end = true,
                       .on_token = keep_going,
                       .arg = r};
    mox_gen_result out = {0};
    mox_counters c;
    mox_get_counters(b->ctx, &c, NULL);
    uint64_t before = c.tokens[MOX_PHASE_DECODE];
    r->reads_at_start = UINT64_MAX;
    MOX_TRY(mox_generate(b->ctx, 0, &gen, &out));
    mox_get_counters(b->ctx, &c, NULL);
    rep_end(r, (double)(c.tokens[MOX_PHASE_DECODE] - before), out.decode_s);
    return MOX_OK;
}

/* Steps of one token each whose logits are computed and not used. */
static mox_err decode_random_once(bench *b, const bench_test *t, bench_rep *r)
{
    if (t->depth > 0) {
        MOX_TRY(mox_eval(b->ctx, 0, b->ids, t->depth, false, NULL, NULL));
    }
    r->reads_at_start = reads_so_far(b->ctx);
    uint32_t n = 0;
    uint64_t begin = mox_now_ns();
    while (n < t->n_tokens && mox_stop_requested() == 0) {
        mox_row row = {.pos = t->depth + n++, .token = random_id(b), .want_logits = true};
        MOX_TRY(mox_step(b->ctx, &row, 1, MOX_PHASE_DECODE, b->logits));
    }
    rep_end(r, n, (double)(mox_now_ns() - begin) / 1e9);
    return MOX_OK;
}

static mox_err bench_once(bench *b, const bench_test *t, bench_rep *r)
{
    *r = (bench_rep){.ctx = b->ctx};
    mox_seq_clear(b->ctx, 0);
    if (!t->decode) {
        return prefill_once(b, t, r);
    }
    return b->o->random_answers ? decode_random_once(b, t, r) : decode_sampled_once(b, t, r);
}

/* "prefill 512", "decode 64", "decode 64 at 512" */
static const char *test_name(const bench_test *t, char name[static 48])
{
    int n = snprintf(name, 48, "%s %u", t->decode ? "decode" : "prefill", t->n_tokens);
    if (t->depth > 0) {
        snprintf(name + n, 48 - (size_t)n, " at %u", t->depth);
    }
    return name;
}

static mox_err bench_test_run(bench *b, bench_test *t)
{
    bench_rep r;
    char name[48];
    MOX_TRY(bench_once(b, t, &r));
    mox_reset_counters(b->ctx);
    for (t->reps = 0; t->reps < b->o->reps && mox_stop_requested() == 0;) {
        MOX_TRY(bench_once(b, t, &r));
        t->tok_s[t->reps++] = r.tok_s;
        t->seconds += r.seconds;
        t->read_bytes += r.read_bytes;
        mox_ui_line("%s: %.2f tok/s (%u of %u)", test_name(t, name), r.tok_s, t->reps, b->o->reps);
    }
    mox_get_counters(b->ctx, &t->c, NULL);
    qsort(t->tok_s, t->reps, sizeof *t->tok_s, by_value);
    return MOX_OK;
}

typedef struct tier_rates {
    double tokens, ram_bytes, file_bytes; /* per token; ram < 0: not known */
    double ram_rate, file_rate;
    double ops, ops_rate; /* integer operations per token and second, two per product; 0: not counted */
} tier_rates;

/* Products with quantised weights: a prompt asks for one row's logits, an answer for each row's. Those of attention
 * with keys and values are float and not counted. */
static double ops_per_token(const bench *b, const bench_test *t)
{
    double logits = t->decode ? 1 : 1.0 / t->n_tokens;
    return b->o->cfg.act_f32 ? 0 : 2 * ((double)b->info.macs_token + logits * (double)b->info.macs_logits);
}

/* Keys and values that a token reads, at the middle of the answer. */
static double kv_bytes(const bench *b, const bench_test *t)
{
    double positions = t->depth + (t->n_tokens + 1) / 2.0;
    return positions * (double)b->info.kv_bytes_per_token[b->o->cfg.kv];
}

static tier_rates rates_of(const bench *b, const bench_test *t)
{
    tier_rates r = {.ram_bytes = -1};
    const mox_use_counters *u = &t->c.use[t->decode ? MOX_PHASE_DECODE : MOX_PHASE_PREFILL];
    r.tokens = t->decode ? (double)t->c.tokens[MOX_PHASE_DECODE] : (double)t->n_tokens * t->reps;
    if (r.tokens <= 0 || t->seconds <= 0) {
        return r;
    }
    double file = (double)t->read_bytes;
    r.file_bytes = file / r.tokens;
    r.file_rate = file / t->seconds;
    r.ops = ops_per_token(b, t);
    r.ops_rate = r.ops * r.tokens / t->seconds;
    if (t->decode) {
        double used = (double)(u->hit_bytes + u->late_bytes + u->miss_bytes);
        r.ram_bytes = (double)b->info.dense_read_bytes + kv_bytes(b, t) + used / r.tokens;
        r.ram_rate = r.ram_bytes * r.tokens / t->seconds;
    }
    return r;
}

static double share(double rate, double ceiling)
{
    return ceiling > 0 ? rate / ceiling : 0;
}

static void tier_json(mox_json *j, const char *key, double bytes, double rate, double ceiling)
{
    mox_json_object(j, key);
    mox_json_f64(j, "bytes_per_token", bytes);
    mox_json_f64(j, "bytes_per_s", rate);
    mox_json_f64(j, "share_of_ceiling", share(rate, ceiling));
    mox_json_object_end(j);
}

static void test_json(mox_json *j, const bench *b, const bench_test *t)
{
    char name[48];
    tier_rates r = rates_of(b, t);
    mox_json_object(j, NULL);
    mox_json_string(j, "name", test_name(t, name));
    mox_json_u64(j, "reps", t->reps);
    mox_json_object(j, "tok_s");
    mox_json_f64(j, "median", median(t));
    mox_json_f64(j, "min", t->tok_s[0]);
    mox_json_f64(j, "max", t->tok_s[t->reps - 1]);
    mox_json_object_end(j);
    if (r.ram_bytes >= 0) {
        tier_json(j, "ram", r.ram_bytes, r.ram_rate, b->best.ram_bytes_per_s);
    }
    tier_json(j, "file", r.file_bytes, r.file_rate, b->best.disk_bytes_per_s);
    mox_json_object(j, "integer");
    mox_json_f64(j, "ops_per_token", r.ops);
    mox_json_f64(j, "ops_per_s", r.ops_rate);
    mox_json_f64(j, "share_of_ceiling", share(r.ops_rate, b->best.int_ops_per_s));
    mox_json_object_end(j);
    mox_report_counters_json(j, &t->c);
    mox_json_object_end(j);
}

/* Loading is bound by the disk: bytes read at open over the whole time of opening. */
static double load_rate(const mox_load_times *l)
{
    return l->total_s > 0 ? (double)(l->dense_bytes + l->expert_bytes) / l->total_s : 0;
}

static void load_json(mox_json *j, const bench *b)
{
    const mox_load_times *l = mox_get_load(b->ctx);
    mox_json_object(j, "load");
    mox_json_f64(j, "seconds", l->total_s);
    mox_json_f64(j, "dense_seconds", l->dense_s);
    mox_json_f64(j, "experts_seconds", l->experts_s);
    mox_json_u64(j, "dense_bytes", l->dense_bytes);
    mox_json_u64(j, "expert_bytes", l->expert_bytes);
    mox_json_f64(j, "bytes_per_s", load_rate(l));
    mox_json_f64(j, "share_of_ceiling", share(load_rate(l), b->best.disk_bytes_per_s));
    mox_json_object_end(j);
}

static void bench_json(const bench *b)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.bench/1");
    mox_json_string(&j, "version", MOXIE_VERSION);
    mox_report_run_json(&j, b->o, b->ctx);
    mox_json_string(&j, "prompt_tokens", b->o->text != NULL ? "text" : "random");
    mox_json_string(&j, "answer_tokens", b->o->random_answers ? "random" : "sampled");
    mox_json_u64(&j, "io_limit_bytes_per_s", b->o->cfg.io_limit_bps);
    mox_json_bool(&j, "shuffle_predictions", b->o->cfg.shuffle_predictions);
    mox_json_object(&j, "ceilings");
    mox_ceilings_json(&j, "before", &b->before);
    mox_ceilings_json(&j, "after", &b->after);
    mox_json_object_end(&j);
    load_json(&j, b);
    mox_json_array(&j, "tests");
    for (uint32_t i = 0; i < b->n_tests; i++) {
        test_json(&j, b, &b->tests[i]);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void load_md(const bench *b)
{
    const mox_load_times *l = mox_get_load(b->ctx);
    char dense[24], experts[24];
    printf("load: %.2f s, %.2f GB/s, %.0f %% of O_DIRECT (dense part %s in %.2f s, experts %s in %.2f s)\n\n",
           l->total_s, load_rate(l) / 1e9, 100 * share(load_rate(l), b->best.disk_bytes_per_s),
           mox_human(l->dense_bytes, dense), l->dense_s, mox_human(l->expert_bytes, experts), l->experts_s);
}

static void bench_md(const bench *b)
{
    const mox_plan *p = mox_get_plan(b->ctx);
    char name[48];
    printf("%s, %s, %s, policy %s, look-ahead %s%s\n", b->o->cfg.model, mox_get_device(b->ctx),
           mox_get_io(b->ctx), b->o->cfg.policy, mox_get_look_ahead(b->ctx),
           b->o->cfg.act_f32 ? ", audit --act f32" : "");
    printf("%u of %u experts in RAM, prompts are %s, answers are %s\n", p->kept_total, p->experts_total,
           b->o->text != NULL ? "text" : "random ids", b->o->random_answers ? "random ids" : "sampled");
    mox_ceilings_print(&b->before, &b->after);
    load_md(b);
    printf("| test | tok/s median (min .. max) | hits %% | RAM MB/token, GB/s, of ceiling | file MB/token, "
           "GB/s, of ceiling | integer Gop/s, of ceiling |\n|---|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < b->n_tests; i++) {
        const bench_test *t = &b->tests[i];
        const mox_use_counters *u = &t->c.use[t->decode ? MOX_PHASE_DECODE : MOX_PHASE_PREFILL];
        tier_rates r = rates_of(b, t);
        printf("| %s | %.2f (%.2f .. %.2f) | %.1f | ", test_name(t, name), median(t), t->tok_s[0],
               t->tok_s[t->reps - 1], u->uses > 0 ? 100.0 * (double)u->hits / (double)u->uses : 0);
        if (r.ram_bytes >= 0) {
            printf("%.2f, %.2f, %.0f %% | ", r.ram_bytes / 1e6, r.ram_rate / 1e9,
                   100 * share(r.ram_rate, b->best.ram_bytes_per_s));
        } else {
            printf("not counted | ");
        }
        printf("%.2f, %.2f, %.0f %% | %.1f, %.0f %% |\n", r.file_bytes / 1e6, r.file_rate / 1e9,
               100 * share(r.file_rate, b->best.disk_bytes_per_s), r.ops_rate / 1e9,
               100 * share(r.ops_rate, b->best.int_ops_per_s));
    }
}

/* The list of tests: each prompt length, then each answer at each depth; a length of 0 is none. */
static void bench_list(bench *b)
{
    const mox_opts *o = b->o;
    b->n_tests = 0;
    for (uint32_t i = 0; i < o->bench_prefill.n; i++) {
        if (o->bench_prefill.v[i] > 0) {
            b->tests[b->n_tests++] = (bench_test){.n_tokens = o->bench_prefill.v[i]};
        }
    }
    for (uint32_t k = 0; k < o->bench_decode.n * o->bench_depth.n; k++) {
        uint32_t n = o->bench_decode.v[k % o->bench_decode.n];
        if (n > 0) {
            b->tests[b->n_tests++] =
                (bench_test){.decode = true, .n_tokens = n, .depth = o->bench_depth.v[k / o->bench_decode.n]};
        }
    }
}

static mox_err bench_prepare(bench *b)
{
    mox_opts *o = b->o;
    uint32_t longest = 2;
    b->tests = calloc(MAX_TESTS, sizeof *b->tests);
    if (b->tests == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the results");
    }
    bench_list(b);
    if (b->n_tests == 0) {
        return MOX_FAIL(MOX_E_OPTION, "nothing to measure: --prefill and --decode are both 0");
    }
    b->n_ids = 1;
    for (uint32_t i = 0; i < b->n_tests; i++) {
        const bench_test *t = &b->tests[i];
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

static mox_err bench_tokens(bench *b)
{
    b->random = b->o->seed * 0x9e3779b97f4a7c15u + 1;
    for (uint32_t i = 0; i < b->n_ids; i++) {
        b->ids[i] = random_id(b);
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

/* The disk is measured with the biggest part of a split model. */
static mox_err bench_ceilings(bench *b, uint32_t n_threads, uint64_t run_bytes, mox_ceilings *out)
{
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, b->o->cfg.model));
    mox_ceilings_cfg cfg = {.run_bytes = run_bytes, .n_threads = n_threads, .isa = b->o->cfg.isa};
    for (uint32_t i = 0; i < mox_gguf_n_files(g); i++) {
        uint64_t bytes = mox_gguf_file_bytes(g, i);
        cfg.model_bytes += bytes;
        if (bytes > cfg.file_bytes) {
            cfg.file_bytes = bytes;
            cfg.path = mox_gguf_file(g, i);
        }
    }
    mox_err err = mox_model_describe(&b->info, g);
    if (err == MOX_OK) {
        err = mox_ceilings_measure(&cfg, out);
    }
    mox_gguf_close(&g);
    return err;
}

/* --compare: what was measured beside what it was. */
static mox_err bench_compare(const bench *b)
{
    static mox_bench_result results[MAX_TESTS];
    for (uint32_t i = 0; i < b->n_tests; i++) {
        test_name(&b->tests[i], results[i].name);
        results[i].tok_s = median(&b->tests[i]);
    }
    return mox_bench_compare(b->o, results, b->n_tests);
}

static mox_err bench_run(bench *b)
{
    static mox_plan plan;
    MOX_TRY(bench_prepare(b));
    MOX_TRY(mox_cli_plan(b->o, &plan));
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
        MOX_TRY(bench_test_run(b, &b->tests[i]));
        if (mox_stop_requested() != 0) {
            return MOX_OK; /* an unfinished measurement is none */
        }
    }
    MOX_TRY(bench_ceilings(b, plan.n_threads, 0, &b->after));
    b->best = mox_ceilings_best(&b->before, &b->after);
    if (b->o->json) {
        bench_json(b);
    } else {
        bench_md(b);
    }
    return bench_compare(b);
}

mox_err mox_cmd_bench(mox_opts *o)
{
    mox_cli_model(o);
    static bench b;
    b = (bench){.o = o};
    mox_err err = bench_run(&b);
    mox_close(&b.ctx);
    free(b.tests);
    free(b.ids);
    free(b.logits);
    return err;
}
