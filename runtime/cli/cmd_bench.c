/* moxie bench: prompt and answer speed with warm-up and repetitions, each tier's bytes beside what the
 * machine can do, measured in the same process before and after.
 *
 * Prompt tokens come from --text, or are random ids from --seed (the report says which: random ids choose
 * experts more evenly than text does). An answer is sampled at temperature 1 from one start token, with ends
 * ignored, so that every repetition makes the same tokens. RAM bytes per answer token are what its step had
 * to read: the dense part and the experts used; the prompt's depend on how experts are shared within a
 * micro-batch, which is not counted, so they are not reported.
 */
#include "runtime/cli/bench_ceiling.h"
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"
#include "runtime/cli/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TESTS = 2 * MOX_MAX_COUNTS, MAX_REPS = 100 };

typedef struct bench_test {
    bool decode;
    uint32_t n_tokens, reps;
    double tok_s[MAX_REPS]; /* sorted once measured */
    double seconds;         /* of all repetitions */
    mox_counters c;         /* of all repetitions */
} bench_test;

typedef struct bench {
    mox_opts *o;
    mox_ctx *ctx;
    uint32_t n_vocab;
    uint64_t dense_bytes;
    uint32_t *ids;
    uint32_t n_ids;
    bench_test *tests;
    uint32_t n_tests;
    mox_ram_ceiling ram;
    mox_disk_ceiling before, after;
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

static bool keep_going(void *arg, uint32_t id, const char *text, size_t n)
{
    (void)arg, (void)id, (void)text, (void)n;
    return mox_stop_requested() == 0;
}

/* One repetition; rates are over the phase alone. */
static mox_err bench_once(bench *b, const bench_test *t, double *seconds, double *tok_s)
{
    mox_gen_cfg gen = {.prompt = b->ids,
                       .n_prompt = t->decode ? 1 : t->n_tokens,
                       .max_new = t->decode ? t->n_tokens : 1,
                       .sampling = {.temp = 1, .top_p = 1, .seed = b->o->seed},
                       .ignore_end = true,
                       .on_token = keep_going};
    mox_gen_result r = {0};
    mox_counters c;
    mox_seq_clear(b->ctx, 0);
    mox_get_counters(b->ctx, &c, NULL);
    uint64_t before = c.tokens[MOX_PHASE_DECODE];
    MOX_TRY(mox_generate(b->ctx, 0, &gen, &r));
    mox_get_counters(b->ctx, &c, NULL);
    double n = t->decode ? (double)(c.tokens[MOX_PHASE_DECODE] - before) : t->n_tokens;
    *seconds = t->decode ? r.decode_s : r.prefill_s;
    *tok_s = *seconds > 0 ? n / *seconds : 0;
    return MOX_OK;
}

static mox_err bench_test_run(bench *b, bench_test *t)
{
    double seconds = 0, rate = 0;
    MOX_TRY(bench_once(b, t, &seconds, &rate));
    mox_reset_counters(b->ctx);
    for (t->reps = 0; t->reps < b->o->reps && mox_stop_requested() == 0;) {
        MOX_TRY(bench_once(b, t, &seconds, &rate));
        t->tok_s[t->reps++] = rate;
        t->seconds += seconds;
        mox_ui_line("%s %u: %.2f tok/s (%u of %u)", t->decode ? "decode" : "prefill", t->n_tokens, rate,
                    t->reps, b->o->reps);
    }
    mox_get_counters(b->ctx, &t->c, NULL);
    qsort(t->tok_s, t->reps, sizeof *t->tok_s, by_value);
    return MOX_OK;
}

typedef struct tier_rates {
    double tokens, ram_bytes, file_bytes; /* per token; ram < 0: not known */
    double ram_rate, file_rate;
} tier_rates;

static tier_rates rates_of(const bench *b, const bench_test *t)
{
    tier_rates r = {.ram_bytes = -1};
    const mox_use_counters *u = &t->c.use[t->decode ? MOX_PHASE_DECODE : MOX_PHASE_PREFILL];
    r.tokens = t->decode ? (double)t->c.tokens[MOX_PHASE_DECODE] : (double)t->n_tokens * t->reps;
    if (r.tokens <= 0 || t->seconds <= 0) {
        return r;
    }
    /* with one prompt token per repetition its reads are small beside the answer's */
    double file = (double)t->c.io.read_bytes;
    r.file_bytes = file / r.tokens;
    r.file_rate = file / t->seconds;
    if (t->decode) {
        double used = (double)(u->hit_bytes + u->late_bytes + u->miss_bytes);
        r.ram_bytes = (double)b->dense_bytes + used / r.tokens;
        r.ram_rate = r.ram_bytes * r.tokens / t->seconds;
    }
    return r;
}

static void tier_json(mox_json *j, const char *key, double bytes, double rate, double ceiling)
{
    mox_json_object(j, key);
    mox_json_f64(j, "bytes_per_token", bytes);
    mox_json_f64(j, "bytes_per_s", rate);
    mox_json_f64(j, "share_of_ceiling", ceiling > 0 ? rate / ceiling : 0);
    mox_json_object_end(j);
}

static double disk_best(const bench *b)
{
    return b->before.bytes_per_s > b->after.bytes_per_s ? b->before.bytes_per_s : b->after.bytes_per_s;
}

static void test_json(mox_json *j, const bench *b, const bench_test *t)
{
    char name[32];
    snprintf(name, sizeof name, "%s %u", t->decode ? "decode" : "prefill", t->n_tokens);
    tier_rates r = rates_of(b, t);
    mox_json_object(j, NULL);
    mox_json_string(j, "name", name);
    mox_json_u64(j, "reps", t->reps);
    mox_json_object(j, "tok_s");
    mox_json_f64(j, "median", median(t));
    mox_json_f64(j, "min", t->tok_s[0]);
    mox_json_f64(j, "max", t->tok_s[t->reps - 1]);
    mox_json_object_end(j);
    if (r.ram_bytes >= 0) {
        tier_json(j, "ram", r.ram_bytes, r.ram_rate, b->ram.bytes_per_s);
    }
    tier_json(j, "file", r.file_bytes, r.file_rate, disk_best(b));
    mox_report_counters_json(j, &t->c);
    mox_json_object_end(j);
}

static void disk_json(mox_json *j, const char *key, const mox_disk_ceiling *d)
{
    mox_json_object(j, key);
    mox_json_f64(j, "bytes_per_s", d->bytes_per_s);
    mox_json_u64(j, "request_bytes", d->request_bytes);
    mox_json_u64(j, "in_flight", d->depth);
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
    mox_json_u64(&j, "io_limit_bytes_per_s", b->o->cfg.io_limit_bps);
    mox_json_bool(&j, "shuffle_predictions", b->o->cfg.shuffle_predictions);
    mox_json_object(&j, "ceilings");
    mox_json_object(&j, "ram_read");
    mox_json_f64(&j, "bytes_per_s", b->ram.bytes_per_s);
    mox_json_u64(&j, "bytes", b->ram.bytes);
    mox_json_u64(&j, "threads", b->ram.threads);
    mox_json_object_end(&j);
    disk_json(&j, "direct_read_before", &b->before);
    disk_json(&j, "direct_read_after", &b->after);
    mox_json_object_end(&j);
    mox_json_array(&j, "tests");
    for (uint32_t i = 0; i < b->n_tests; i++) {
        test_json(&j, b, &b->tests[i]);
    }
    mox_json_array_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static void bench_md(const bench *b)
{
    const mox_plan *p = mox_get_plan(b->ctx);
    char size[24];
    printf("%s, %s, %s, policy %s, look-ahead %s%s\n", b->o->cfg.model, mox_get_device(b->ctx),
           mox_get_io(b->ctx), b->o->cfg.policy, mox_get_look_ahead(b->ctx),
           b->o->cfg.act_f32 ? ", audit --act f32" : "");
    printf("%u of %u experts in RAM, prompts are %s\n", p->kept_total, p->experts_total,
           b->o->text != NULL ? "text" : "random ids");
    printf("ceilings: RAM read %.2f GB/s (%s, %u threads); O_DIRECT read %.2f GB/s before, %.2f after "
           "(%llu KiB x %u)\n\n",
           b->ram.bytes_per_s / 1e9, mox_human(b->ram.bytes, size), b->ram.threads,
           b->before.bytes_per_s / 1e9, b->after.bytes_per_s / 1e9,
           (unsigned long long)b->before.request_bytes >> 10, b->before.depth);
    printf("| test | tok/s median (min .. max) | hits %% | RAM MB/token, GB/s, of ceiling | file MB/token, "
           "GB/s, "
           "of ceiling |\n|---|---|---|---|---|\n");
    for (uint32_t i = 0; i < b->n_tests; i++) {
        const bench_test *t = &b->tests[i];
        const mox_use_counters *u = &t->c.use[t->decode ? MOX_PHASE_DECODE : MOX_PHASE_PREFILL];
        tier_rates r = rates_of(b, t);
        printf("| %s %u | %.2f (%.2f .. %.2f) | %.1f | ", t->decode ? "decode" : "prefill", t->n_tokens,
               median(t), t->tok_s[0], t->tok_s[t->reps - 1],
               u->uses > 0 ? 100.0 * (double)u->hits / (double)u->uses : 0);
        if (r.ram_bytes >= 0) {
            printf("%.2f, %.2f, %.0f %% | ", r.ram_bytes / 1e6, r.ram_rate / 1e9,
                   100 * r.ram_rate / b->ram.bytes_per_s);
        } else {
            printf("not counted | ");
        }
        printf("%.2f, %.2f, %.0f %% |\n", r.file_bytes / 1e6, r.file_rate / 1e9,
               disk_best(b) > 0 ? 100 * r.file_rate / disk_best(b) : 0);
    }
}

static mox_err bench_prepare(bench *b)
{
    mox_opts *o = b->o;
    uint32_t longest = 2;
    b->n_tests = 0;
    b->tests = calloc(MAX_TESTS, sizeof *b->tests);
    if (b->tests == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the results");
    }
    for (uint32_t i = 0; i < o->bench_prefill.n; i++) {
        b->tests[b->n_tests++] = (bench_test){.n_tokens = o->bench_prefill.v[i]};
        longest = o->bench_prefill.v[i] + 1 > longest ? o->bench_prefill.v[i] + 1 : longest;
    }
    for (uint32_t i = 0; i < o->bench_decode.n; i++) {
        b->tests[b->n_tests++] = (bench_test){.decode = true, .n_tokens = o->bench_decode.v[i]};
        longest = o->bench_decode.v[i] + 2 > longest ? o->bench_decode.v[i] + 2 : longest;
    }
    b->n_ids = longest;
    b->ids = calloc(longest, sizeof *b->ids);
    return b->ids != NULL ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u tokens", longest);
}

static mox_err bench_tokens(bench *b)
{
    uint64_t x = b->o->seed * 0x9e3779b97f4a7c15u + 1;
    for (uint32_t i = 0; i < b->n_ids; i++) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        b->ids[i] = (uint32_t)((x >> 33) % b->n_vocab);
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

/* The part that is read from: any shard will do, it is the same disk. */
static mox_err bench_ceilings(bench *b, mox_disk_ceiling *out)
{
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, b->o->cfg.model));
    mox_err err = mox_ceiling_disk(mox_gguf_file(g, 0), mox_gguf_file_bytes(g, 0), out);
    static mox_model_info info;
    if (err == MOX_OK) {
        err = mox_model_describe(&info, g);
    }
    b->n_vocab = info.n_vocab;
    b->dense_bytes = info.dense_bytes;
    mox_gguf_close(&g);
    return err;
}

static mox_err bench_run(bench *b)
{
    static mox_plan plan;
    MOX_TRY(bench_prepare(b));
    if (b->o->cfg.n_ctx == 0) {
        b->o->cfg.n_ctx = b->n_ids;
    }
    MOX_TRY(mox_cli_plan(b->o, &plan));
    mox_ui_line("measuring what this machine can do");
    MOX_TRY(mox_ceiling_ram(plan.n_threads, &b->ram));
    MOX_TRY(bench_ceilings(b, &b->before));
    MOX_TRY(mox_cli_open(b->o, &b->ctx, NULL));
    MOX_TRY(bench_tokens(b));
    mox_stop_soft(true);
    for (uint32_t i = 0; i < b->n_tests; i++) {
        MOX_TRY(bench_test_run(b, &b->tests[i]));
        if (mox_stop_requested() != 0) {
            return MOX_OK; /* an unfinished measurement is none */
        }
    }
    MOX_TRY(bench_ceilings(b, &b->after));
    if (b->o->json) {
        bench_json(b);
    } else {
        bench_md(b);
    }
    return MOX_OK;
}

mox_err mox_cmd_bench(mox_opts *o)
{
    mox_cli_model(o);
    bench b = {.o = o};
    mox_err err = bench_run(&b);
    mox_close(&b.ctx);
    free(b.tests);
    free(b.ids);
    return err;
}
