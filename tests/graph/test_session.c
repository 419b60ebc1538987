/* A context's life: refused rows, full contexts, failed steps, generation and its hash, counters. */
#include "graph/fixture.h"

#include "runtime/core/clock.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char demo[] = "demo/moxie-demo-Q4_K_M.gguf";
static const uint32_t prompt[] = {1, 559, 3994, 486, 509, 309, 2397, 525, 4023, 369};
enum { N_PROMPT = sizeof prompt / sizeof prompt[0], VOCAB = 4096 };

Test(graph_session, rows_that_do_not_fit_are_refused_and_change_nothing)
{
    char path[1024];
    mox_cfg cfg = fx_plain("models/mixtral-a.gguf", 50, path, sizeof path);
    cfg.n_ctx = 8;
    cfg.n_seq = 2;
    cfg.n_batch = 4;
    mox_ctx *ctx = fx_open(&cfg);
    mox_row ok[4] = {{.pos = 0, .token = 5}, {.pos = 1, .token = 6}, {.seq = 1, .pos = 0, .token = 7}};
    fx_ok(mox_step(ctx, ok, 3, MOX_PHASE_PREFILL, NULL), "good rows");
    cr_assert_eq(mox_seq_len(ctx, 0), 2);
    cr_assert_eq(mox_seq_len(ctx, 1), 1);
    const struct {
        mox_row row;
        mox_err want;
    } bad[] = {
        {{.pos = 3, .token = 5}, MOX_E_ARG},                     /* a gap */
        {{.pos = 1, .token = 5}, MOX_E_ARG},                     /* a rewrite */
        {{.seq = 2, .pos = 0, .token = 5}, MOX_E_ARG},           /* no such sequence */
        {{.pos = 2, .token = 423}, MOX_E_TOKEN},                 /* vocabulary is 423 */
        {{.pos = 8, .token = 5}, MOX_E_CONTEXT_FULL},            /* beyond the context */
        {{.seq = UINT32_MAX, .pos = 2, .token = 5}, MOX_E_ARG},  /* far away */
        {{.pos = UINT32_MAX, .token = UINT32_MAX}, MOX_E_TOKEN}, /* everything wrong */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(mox_step(ctx, &bad[i].row, 1, MOX_PHASE_DECODE, NULL), bad[i].want, "row %zu", i);
        cr_expect_eq(mox_seq_len(ctx, 0), 2);
    }
    mox_row wants = {.pos = 2, .token = 5, .want_logits = true};
    cr_expect_eq(mox_step(ctx, &wants, 1, MOX_PHASE_DECODE, NULL), MOX_E_ARG);
    cr_expect_eq(mox_step(ctx, ok, 0, MOX_PHASE_DECODE, NULL), MOX_E_ARG);
    cr_expect_eq(mox_step(ctx, ok, 5, MOX_PHASE_DECODE, NULL), MOX_E_ARG);
    uint32_t many[7] = {1, 2, 3, 4, 5, 6, 7};
    cr_expect_eq(mox_eval(ctx, 0, many, 7, false, NULL, NULL), MOX_E_CONTEXT_FULL);
    cr_expect(strstr(mox_err_last()->msg, "7") && strstr(mox_err_last()->msg, "8"), "'%s'",
              mox_err_last()->msg);
    cr_expect_eq(mox_seq_len(ctx, 0), 2);
    fx_ok(mox_eval(ctx, 0, many, 6, false, NULL, NULL), "exactly full");
    cr_expect_eq(mox_seq_len(ctx, 0), 8);
    mox_close(&ctx);
    cr_expect_null(ctx);
}

/* A sequence cleared and evaluated again gives what a fresh one gives: nothing of the old one is read. */
Test(graph_session, cleared_sequence_starts_from_nothing)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 50, path, sizeof path);
    mox_ctx *ctx = fx_open(&cfg);
    float *a = malloc(N_PROMPT * VOCAB * sizeof(float)), *b = malloc(N_PROMPT * VOCAB * sizeof(float));
    fx_eval(ctx, 0, prompt, N_PROMPT, a);
    uint32_t other[200];
    for (uint32_t i = 0; i < 200; i++) {
        other[i] = 100 + i;
    }
    mox_seq_clear(ctx, 0);
    fx_ok(mox_eval(ctx, 0, other, 200, false, NULL, NULL), "other text");
    fx_eval(ctx, 0, prompt, N_PROMPT, b);
    cr_expect(memcmp(a, b, N_PROMPT * VOCAB * sizeof(float)) == 0);
    free(a);
    free(b);
    mox_close(&ctx);
}

typedef struct collected {
    uint32_t ids[512];
    uint32_t n, stop_after;
    char text[8192];
    size_t n_text;
} collected;

static bool collect(void *arg, uint32_t id, const char *text, size_t n_text)
{
    collected *c = arg;
    if (id != MOX_TOKEN_NONE) {
        c->ids[c->n++] = id;
    }
    memcpy(c->text + c->n_text, text, n_text);
    c->n_text += n_text;
    return c->n != c->stop_after;
}

static mox_gen_result generate(mox_ctx *ctx, collected *c, uint32_t max_new, const mox_sampling *s)
{
    mox_gen_cfg gen = {.prompt = prompt,
                       .n_prompt = N_PROMPT,
                       .max_new = max_new,
                       .ignore_end = true,
                       .all_logits = true,
                       .on_token = collect,
                       .arg = c};
    gen.sampling = s ? *s : (mox_sampling){.top_p = 1.0f};
    mox_gen_result r = {0};
    mox_seq_clear(ctx, 0);
    fx_ok(mox_generate(ctx, 0, &gen, &r), "generate");
    return r;
}

static mox_hash128 hash_of(const char *file, double pct, const uint32_t *tokens, uint32_t n)
{
    char path[1024];
    mox_cfg cfg = fx_plain(file, pct, path, sizeof path);
    mox_ctx *ctx = fx_open(&cfg);
    fx_ok(mox_eval(ctx, 0, tokens, n, true, NULL, NULL), "eval");
    mox_hash128 h = mox_logits_hash(ctx);
    mox_close(&ctx);
    return h;
}

Test(graph_session, greedy_tokens_evaluated_again_give_the_same_hash)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 25, path, sizeof path);
    mox_ctx *ctx = fx_open(&cfg);
    collected c = {0};
    mox_gen_result r = generate(ctx, &c, 24, NULL);
    cr_assert_eq(c.n, 24);
    cr_assert_eq(r.n_new, 24);
    cr_expect_str_eq(r.stop, "length");
    cr_expect_eq(mox_seq_len(ctx, 0), N_PROMPT + 24);
    mox_hash128 run = mox_logits_hash(ctx);
    mox_close(&ctx);
    uint32_t all[N_PROMPT + 24];
    memcpy(all, prompt, sizeof prompt);
    memcpy(all + N_PROMPT, c.ids, 24 * sizeof(uint32_t));
    mox_hash128 again = hash_of(demo, 100, all, N_PROMPT + 24);
    cr_expect(run.lo == again.lo && run.hi == again.hi);
    mox_hash128 fewer = hash_of(demo, 100, all, N_PROMPT + 23);
    cr_expect(run.lo != fewer.lo);
}

Test(graph_session, generation_stops_where_it_is_told_and_at_the_context)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 100, path, sizeof path);
    cfg.n_ctx = N_PROMPT + 6;
    mox_ctx *ctx = fx_open(&cfg);
    collected c = {.stop_after = 3};
    mox_gen_result r = generate(ctx, &c, 0, NULL);
    cr_expect_str_eq(r.stop, "user");
    cr_expect_eq(r.n_new, 3);
    c = (collected){0};
    r = generate(ctx, &c, 0, NULL);
    cr_expect_str_eq(r.stop, "context");
    cr_expect_eq(r.n_new, 6);
    cr_expect_eq(c.n, 6);
    mox_close(&ctx);
}

Test(graph_session, sampled_text_depends_on_the_seed_alone)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 50, path, sizeof path);
    mox_sampling s = {.temp = 1.0f, .top_k = 50, .top_p = 0.95f, .min_p = 0.02f, .seed = 7};
    collected a = {0}, b = {0}, other = {0};
    mox_ctx *ctx = fx_open(&cfg);
    generate(ctx, &a, 20, &s);
    generate(ctx, &b, 20, &s);
    s.seed = 8;
    generate(ctx, &other, 20, &s);
    cr_expect(memcmp(a.ids, b.ids, 20 * sizeof(uint32_t)) == 0);
    cr_expect(memcmp(a.ids, other.ids, 20 * sizeof(uint32_t)) != 0);
    mox_close(&ctx);
}

Test(graph_session, counters_add_up)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 40, path, sizeof path);
    mox_ctx *ctx = fx_open(&cfg);
    collected c = {0};
    uint64_t begin = mox_now_ns();
    generate(ctx, &c, 10, NULL);
    uint64_t wall_ns = mox_now_ns() - begin;
    mox_counters t;
    mox_use_counters layers[16];
    mox_get_counters(ctx, &t, layers);
    cr_expect_eq(t.tokens[MOX_PHASE_PREFILL], N_PROMPT);
    cr_expect_eq(t.tokens[MOX_PHASE_DECODE], 10);
    cr_expect_eq(t.steps[MOX_PHASE_PREFILL], 1);
    cr_expect_eq(t.steps[MOX_PHASE_DECODE], 10);
    uint64_t uses = 0, hits = 0, spent_ns = 0;
    for (int p = 0; p < MOX_PHASES; p++) {
        spent_ns += t.wait_ns[p] + t.compute_ns[p];
        const mox_use_counters *u = &t.use[p];
        cr_expect_eq(u->uses, t.tokens[p] * 6 * 2, "phase %d: %llu uses", p, (unsigned long long)u->uses);
        cr_expect_eq(u->uses, u->hits + u->late + u->misses);
        uses += u->uses;
        hits += u->hits;
    }
    for (int l = 0; l < 6; l++) {
        cr_expect_eq(layers[l].uses, (N_PROMPT + 10) * 2);
        uses -= layers[l].uses;
        hits -= layers[l].hits;
    }
    cr_expect_eq(uses, 0);
    cr_expect_eq(hits, 0);
    cr_expect_leq(spent_ns, wall_ns, "no time is counted twice");
    cr_expect_gt(t.io.read_bytes, 0);
    mox_reset_counters(ctx);
    mox_get_counters(ctx, &t, layers);
    cr_expect_eq(t.tokens[0] + t.tokens[1] + t.io.read_bytes + layers[3].uses, 0);
    mox_close(&ctx);
}

/* A copy of mixtral-a in which one value of a tensor is not a number. */
static void poison(const char *tensor, char *path)
{
    mox_gguf *g = NULL;
    fx_ok(mox_gguf_open(&g, MOX_TEST_DATA "/models/mixtral-a.gguf"), "open");
    const mox_gguf_tensor *t = mox_gguf_find(g, tensor);
    cr_assert(t);
    static char bytes[1 << 20];
    FILE *f = fopen(MOX_TEST_DATA "/models/mixtral-a.gguf", "rb");
    cr_assert(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    float nan = NAN;
    memcpy(bytes + t->off + 4 * sizeof(float), &nan, sizeof nan);
    mox_gguf_close(&g);
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

/* A value that is not finite is an error that names layer and operation, never an answer; the sequence is as
 * before. */
Test(graph_session, a_value_that_is_not_a_number_names_its_place)
{
    static const char *const cases[][3] = {
        {"blk.1.ffn_norm.weight", "layer 1", "router"},
        {"blk.0.ffn_gate_inp.weight", "layer 0", "router"},
        {"blk.1.attn_norm.weight", "layer 1", "attention"},
        {"blk.0.attn_norm.weight", "layer 0", "attention"},
    };
    for (int i = 0; i < 4; i++) {
        char path[] = "/tmp/moxie-nan-XXXXXX", unused[1024];
        poison(cases[i][0], path);
        mox_cfg cfg = fx_plain("", 50, unused, sizeof unused);
        cfg.model = path;
        mox_ctx *ctx = fx_open(&cfg);
        uint32_t tokens[3] = {5, 6, 7};
        mox_err err = mox_eval(ctx, 0, tokens, 3, true, NULL, NULL);
        const char *msg = mox_err_last()->msg;
        cr_expect_eq(err, MOX_E_NUMERIC, "%s: %s", cases[i][0], mox_err_name(err));
        cr_expect(strstr(msg, cases[i][1]) != NULL, "%s: '%s'", cases[i][0], msg);
        cr_expect(i < 2 ? strstr(msg, cases[i][2]) != NULL : true, "%s: '%s'", cases[i][0], msg);
        cr_expect_eq(mox_seq_len(ctx, 0), 0);
        mox_close(&ctx);
        unlink(path);
    }
}

Test(graph_session, failed_step_leaves_the_sequence_as_it_was)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 50, path, sizeof path);
    cfg.n_ctx = 64;
    mox_ctx *ctx = fx_open(&cfg);
    float *a = malloc(N_PROMPT * VOCAB * sizeof(float)), *b = malloc(VOCAB * sizeof(float));
    fx_eval(ctx, 0, prompt, N_PROMPT, a);
    mox_seq_clear(ctx, 0);
    fx_ok(mox_eval(ctx, 0, prompt, N_PROMPT - 1, false, NULL, NULL), "first part");
    mox_row rows[2] = {{.pos = N_PROMPT - 1, .token = 3}, {.pos = N_PROMPT, .token = VOCAB}};
    cr_expect_eq(mox_step(ctx, rows, 2, MOX_PHASE_DECODE, NULL), MOX_E_TOKEN);
    cr_expect_eq(mox_seq_len(ctx, 0), N_PROMPT - 1);
    mox_row last = {.pos = N_PROMPT - 1, .token = prompt[N_PROMPT - 1], .want_logits = true};
    fx_ok(mox_step(ctx, &last, 1, MOX_PHASE_DECODE, b), "after the failure");
    cr_expect(memcmp(a + (N_PROMPT - 1) * VOCAB, b, VOCAB * sizeof(float)) == 0);
    free(a);
    free(b);
    mox_close(&ctx);
}

Test(graph_session, wrong_configurations_are_refused)
{
    char path[1024];
    mox_ctx *ctx = NULL;
    mox_cfg cfg = fx_plain(demo, 50, path, sizeof path);
    cfg.policy = "belady";
    cr_expect_eq(mox_open(&ctx, &cfg), MOX_E_ARG);
    cfg.policy = "nonsense";
    cr_expect_eq(mox_open(&ctx, &cfg), MOX_E_ARG);
    cfg.policy = "lru";
    cfg.n_threads = 100000;
    cr_expect_eq(mox_open(&ctx, &cfg), MOX_E_ARG);
    cfg.n_threads = 1;
    cfg.model = NULL;
    cr_expect_eq(mox_open(&ctx, &cfg), MOX_E_ARG);
    cfg.model = MOX_TEST_DATA "/demo/README.md";
    cr_expect_eq(mox_open(&ctx, &cfg), MOX_E_NOT_GGUF);
    /* heads of 16 do not divide into q8_0 blocks of 32 */
    cfg = fx_plain("models/mixtral-a.gguf", 50, path, sizeof path);
    cfg.kv = MOX_KV_Q8_0;
    cr_expect_eq(mox_open(&ctx, &cfg), MOX_E_ARG);
    cr_expect(strstr(mox_err_last()->msg, "q8_0"));
    cr_expect_null(ctx);
}

/* 51 of the model's 4,096 tokens begin a character of several bytes: drawn nearly evenly, some answers stop
 * there. */
Test(graph_session, an_answer_stopped_inside_a_character_loses_nothing)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 100, path, sizeof path);
    mox_ctx *ctx = fx_open(&cfg);
    const mox_tokenizer *t = mox_get_tokenizer(ctx);
    char *out = malloc(2 * mox_detok_max(t));
    uint32_t n_held = 0;
    for (uint64_t seed = 0; n_held < 2 && seed < 400; seed++) {
        collected c = {.stop_after = 1};
        mox_gen_result r = generate(ctx, &c, 0, &(mox_sampling){.temp = 50.0f, .top_p = 1.0f, .seed = seed});
        cr_assert_str_eq(r.stop, "user");
        mox_detok d;
        mox_detok_init(&d, t, false, false);
        size_t n = mox_detok_push(&d, c.ids[0], out), held = mox_detok_flush(&d, out + n);
        n_held += held > 0;
        cr_assert(c.n_text == n + held && memcmp(c.text, out, n + held) == 0, "seed %u", (unsigned)seed);
    }
    cr_expect(n_held == 2, "no two answers stopped inside a character: the test shows nothing");
    free(out);
    mox_close(&ctx);
}
