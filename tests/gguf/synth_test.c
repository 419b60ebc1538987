/* moxie-synth: its files are models that this reader accepts, with values of the wanted spread in every type,
 * the same bytes for the same seed, and a vocabulary that tokenises. */
#include "gguf/builder.h"
#include "kernels/formats.h"
#include "runtime/gguf/gguf.h"
#include "runtime/tokenizer/tokenizer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static tmpdir dir;

static void make_dir(void)
{
    tmpdir_make(&dir);
}

static void remove_dir(void)
{
    tmpdir_remove(&dir);
}

TestSuite(synth, .init = make_dir, .fini = remove_dir, .timeout = 120);

enum { MAX_ARGS = 40 };

/* Runs moxie-synth with a list of words; returns its exit code. */
static int synth(const char *name, const char *const *words)
{
    char *argv[MAX_ARGS] = {(char *)MOX_SYNTH, (char *)"--out", (char *)tmpdir_path(&dir, name)};
    int n = 3;
    for (; *words && n + 1 < MAX_ARGS; words++) {
        argv[n++] = (char *)*words;
    }
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr)) {
            _exit(126);
        }
        execv(argv[0], argv);
        _exit(127);
    }
    int status = 0;
    cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define SYNTH(name, ...) synth(name, (const char *const[]){__VA_ARGS__, NULL})

static mox_gguf *open_model(const char *name)
{
    mox_gguf *g = NULL;
    cr_assert_eq(mox_gguf_open(&g, tmpdir_path(&dir, name)), MOX_OK, "%s", mox_err_last()->msg);
    cr_expect_eq(mox_gguf_unused_bytes(g), 0);
    return g;
}

static uint8_t *bytes_of(const mox_gguf *g, const mox_gguf_tensor *t)
{
    uint8_t *p = malloc(t->bytes);
    FILE *f = fopen(mox_gguf_file(g, t->file), "rb");
    cr_assert(p && f);
    fseek(f, (long)t->off, SEEK_SET);
    cr_assert_eq(fread(p, 1, t->bytes, f), t->bytes);
    fclose(f);
    return p;
}

/* Mean and standard deviation after dequantising; every value finite. */
static void check_values(const mox_gguf *g, const char *name, double mean, double spread)
{
    const mox_gguf_tensor *t = mox_gguf_find(g, name);
    cr_assert_not_null(t, "%s", name);
    const mox_format *f = mox_format_of(t->type);
    cr_assert_not_null(f, "%s: type %u", name, t->type);
    uint64_t n = t->ne[0] * t->ne[1] * t->ne[2];
    uint8_t *bytes = bytes_of(g, t);
    float *v = malloc(n * sizeof *v);
    double sum = 0, squares = 0;
    f->dequant(bytes, v, n);
    for (uint64_t i = 0; i < n; i++) {
        cr_assert(isfinite(v[i]), "%s: element %llu", name, (unsigned long long)i);
        sum += v[i];
        squares += (double)v[i] * v[i];
    }
    double got_mean = sum / (double)n, got = sqrt(squares / (double)n - got_mean * got_mean);
    cr_expect(fabs(got_mean - mean) < 0.25 * spread, "%s: mean %g, not %g", name, got_mean, mean);
    cr_expect(got > 0.65 * spread && got < 1.5 * spread, "%s (%s): spread %g, not %g", name,
              mox_type_info(t->type)->name, got, spread);
    free(v);
    free(bytes);
}

Test(synth, every_type_has_sane_values)
{
    static const struct {
        const char *name;
        uint32_t type, narrow; /* narrow: what a row of 352 (11 x 32) takes */
    } types[] = {
        {"f32", MOX_TYPE_F32, MOX_TYPE_F32},
        {"f16", MOX_TYPE_F16, MOX_TYPE_F16},
        {"bf16", MOX_TYPE_BF16, MOX_TYPE_BF16},
        {"q4_0", MOX_TYPE_Q4_0, MOX_TYPE_Q4_0},
        {"q4_1", MOX_TYPE_Q4_1, MOX_TYPE_Q4_1},
        {"q5_0", MOX_TYPE_Q5_0, MOX_TYPE_Q5_0},
        {"q5_1", MOX_TYPE_Q5_1, MOX_TYPE_Q5_1},
        {"q8_0", MOX_TYPE_Q8_0, MOX_TYPE_Q8_0},
        {"q2_k", MOX_TYPE_Q2_K, MOX_TYPE_IQ4_NL},
        {"q3_k", MOX_TYPE_Q3_K, MOX_TYPE_IQ4_NL},
        {"q4_k", MOX_TYPE_Q4_K, MOX_TYPE_Q5_0},
        {"q5_k", MOX_TYPE_Q5_K, MOX_TYPE_Q5_1},
        {"q6_k", MOX_TYPE_Q6_K, MOX_TYPE_Q8_0},
        {"iq4_nl", MOX_TYPE_IQ4_NL, MOX_TYPE_IQ4_NL},
        {"iq4_xs", MOX_TYPE_IQ4_XS, MOX_TYPE_IQ4_NL},
        {"mxfp4", MOX_TYPE_MXFP4, MOX_TYPE_MXFP4},
        {"nvfp4", MOX_TYPE_NVFP4, MOX_TYPE_Q8_0},
        {"iq1_s", MOX_TYPE_IQ1_S, MOX_TYPE_IQ4_NL},
        {"iq1_m", MOX_TYPE_IQ1_M, MOX_TYPE_IQ4_NL},
        {"iq2_xxs", MOX_TYPE_IQ2_XXS, MOX_TYPE_IQ4_NL},
        {"iq2_xs", MOX_TYPE_IQ2_XS, MOX_TYPE_IQ4_NL},
        {"iq2_s", MOX_TYPE_IQ2_S, MOX_TYPE_IQ4_NL},
        {"iq3_xxs", MOX_TYPE_IQ3_XXS, MOX_TYPE_IQ4_NL},
        {"iq3_s", MOX_TYPE_IQ3_S, MOX_TYPE_IQ4_NL},
        {"tq1_0", MOX_TYPE_TQ1_0, MOX_TYPE_Q4_0},
        {"tq2_0", MOX_TYPE_TQ2_0, MOX_TYPE_Q4_0},
    };
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        cr_assert_eq(SYNTH("m.gguf", "--type", types[i].name, "--layers", "1", "--d-model", "512", "--d-ff",
                           "352", "--heads", "8", "--kv-heads", "2", "--experts", "5", "--vocab", "300"),
                     0);
        mox_gguf *g = open_model("m.gguf");
        cr_expect_eq(mox_gguf_find(g, "blk.0.ffn_up_exps.weight")->type, types[i].type, "%s", types[i].name);
        cr_expect_eq(mox_gguf_find(g, "blk.0.ffn_down_exps.weight")->type, types[i].narrow, "%s",
                     types[i].name);
        cr_expect_eq(mox_gguf_find(g, "blk.0.ffn_gate_inp.weight")->type, MOX_TYPE_F32);
        check_values(g, "token_embd.weight", 0, 1);
        check_values(g, "blk.0.attn_norm.weight", 1, 0.1);
        check_values(g, "blk.0.attn_q.weight", 0, 1 / sqrt(512));
        check_values(g, "blk.0.ffn_up_exps.weight", 0, 1 / sqrt(512));
        check_values(g, "blk.0.ffn_down_exps.weight", 0, 1 / sqrt(352));
        check_values(g, "blk.0.ffn_gate_inp.weight", 0, 1 / sqrt(512));
        check_values(g, "output.weight", 0, 2 / sqrt(512));
        mox_gguf_close(&g);
    }
}

/* The awkward shape that the store and the kernels are tested with, and what its keys have to say. */
Test(synth, awkward_shapes)
{
    uint32_t v = 0;
    cr_assert_eq(SYNTH("m.gguf", "--type", "q8_0", "--layers", "1", "--d-model", "2304", "--d-ff", "96",
                       "--heads", "18", "--kv-heads", "6", "--head-dim", "96", "--experts", "37", "--top-k",
                       "3", "--vocab", "1003", "--ctx", "777"),
                 0);
    mox_gguf *g = open_model("m.gguf");
    static const struct {
        const char *key;
        uint32_t want;
    } keys[] = {{"llama.embedding_length", 2304},  {"llama.feed_forward_length", 96},
                {"llama.expert_count", 37},        {"llama.expert_used_count", 3},
                {"llama.context_length", 777},     {"llama.attention.key_length", 96},
                {"llama.block_count", 1},          {"llama.attention.head_count_kv", 6},
                {"llama.rope.dimension_count", 96}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        cr_assert_eq(mox_gguf_u32(g, keys[i].key, 0, UINT32_MAX, &v), MOX_OK, "%s", mox_err_last()->msg);
        cr_expect_eq(v, keys[i].want, "%s", keys[i].key);
    }
    const mox_gguf_tensor *t = mox_gguf_find(g, "blk.0.ffn_down_exps.weight");
    cr_assert(t && t->n_dims == 3 && t->ne[0] == 96 && t->ne[1] == 2304 && t->ne[2] == 37);
    t = mox_gguf_find(g, "blk.0.attn_q.weight");
    cr_expect(t && t->ne[0] == 2304 && t->ne[1] == 18 * 96);
    mox_gguf_close(&g);

    cr_assert_eq(SYNTH("dense.gguf", "--experts", "0", "--layers", "1"), 0);
    g = open_model("dense.gguf");
    cr_expect_not(mox_gguf_has(g, "llama.expert_count"));
    t = mox_gguf_find(g, "blk.0.ffn_down.weight");
    cr_expect(t && t->n_dims == 2);
    cr_expect_null(mox_gguf_find(g, "blk.0.ffn_gate_inp.weight"));
    mox_gguf_close(&g);
}

Test(synth, the_mix_of_types)
{
    uint32_t down_q6 = 0, v_q6 = 0;
    cr_assert_eq(SYNTH("m.gguf", "--layers", "16", "--experts", "4", "--d-ff", "256"), 0);
    mox_gguf *g = open_model("m.gguf");
    for (int l = 0; l < 16; l++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_down_exps.weight", l);
        down_q6 += mox_gguf_find(g, name)->type == MOX_TYPE_Q6_K;
        snprintf(name, sizeof name, "blk.%d.attn_v.weight", l);
        v_q6 += mox_gguf_find(g, name)->type == MOX_TYPE_Q6_K;
        snprintf(name, sizeof name, "blk.%d.ffn_gate_exps.weight", l);
        cr_expect_eq(mox_gguf_find(g, name)->type, MOX_TYPE_Q4_K);
    }
    cr_expect(down_q6 == 8 && v_q6 == 8, "%u and %u of 16 layers", down_q6, v_q6);
    cr_expect_eq(mox_gguf_find(g, "output.weight")->type, MOX_TYPE_Q6_K);
    mox_gguf_close(&g);
}

Test(synth, seeds_and_parts)
{
    cr_assert_eq(SYNTH("a.gguf", "--seed", "7", "--experts", "3"), 0);
    cr_assert_eq(SYNTH("b.gguf", "--seed", "7", "--experts", "3"), 0);
    cr_assert_eq(SYNTH("c.gguf", "--seed", "8", "--experts", "3"), 0);
    cr_assert_eq(SYNTH("d.gguf", "--seed", "7", "--experts", "3", "--split", "3"), 0);
    mox_gguf *a = open_model("a.gguf"), *b = open_model("b.gguf"), *c = open_model("c.gguf");
    mox_gguf *d = open_model("d-00002-of-00003.gguf");
    cr_assert(mox_gguf_n_files(d) == 3 && mox_gguf_n_tensors(d) == mox_gguf_n_tensors(a));
    for (uint32_t i = 0; i < mox_gguf_n_tensors(a); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(a, i);
        uint8_t *p[4] = {bytes_of(a, t), bytes_of(b, mox_gguf_tensor_at(b, i)),
                         bytes_of(c, mox_gguf_tensor_at(c, i)), bytes_of(d, mox_gguf_tensor_at(d, i))};
        cr_expect(memcmp(p[0], p[1], t->bytes) == 0, "tensor %u: the same seed", i);
        cr_expect(memcmp(p[0], p[2], t->bytes) != 0, "tensor %u: another seed", i);
        cr_expect(memcmp(p[0], p[3], t->bytes) == 0, "tensor %u: in parts", i);
        for (int k = 0; k < 4; k++) {
            free(p[k]);
        }
    }
    mox_gguf_close(&a);
    mox_gguf_close(&b);
    mox_gguf_close(&c);
    mox_gguf_close(&d);
}

/* Every made-up piece is reached by merging: its own text gives one token back. */
Test(synth, the_vocabulary_tokenises)
{
    cr_assert_eq(SYNTH("m.gguf", "--layers", "1", "--vocab", "25000"), 0);
    mox_gguf *g = open_model("m.gguf");
    mox_tokenizer *t = NULL;
    cr_assert_eq(mox_tokenizer_create(&t, g), MOX_OK, "%s", mox_err_last()->msg);
    mox_gguf_close(&g);
    cr_expect_eq(mox_tokenizer_vocab(t), 25000);
    uint32_t ids[64], n = 0, marked = 0;
    void *work = malloc(mox_tokenizer_work_bytes(64));
    for (uint32_t id = 354; id < 25000; id++) {
        mox_str s = mox_token_text(t, id);
        if (s.n <= 3 || memcmp(s.p, "\xE2\x96\x81", 3) != 0) {
            continue; /* the encoder puts the mark before the text */
        }
        cr_assert_eq(mox_tokenizer_encode(t, s.p + 3, s.n - 3, false, false, ids, 64, &n, work), MOX_OK);
        cr_assert(n == 1 && ids[0] == id, "piece %u: %u tokens", id, n);
        marked++;
    }
    cr_expect(marked > 12000);
    cr_assert_eq(mox_tokenizer_encode(t, "Hello \xF0\x9F\x9A\x80 bako!", 16, true, false, ids, 64, &n, work),
                 MOX_OK);
    mox_detok d;
    char out[256], text[256] = "";
    mox_detok_init(&d, t, false, true);
    for (uint32_t i = 0; i < n; i++) {
        strncat(text, out, mox_detok_push(&d, ids[i], out));
    }
    cr_expect_str_eq(text, "Hello \xF0\x9F\x9A\x80 bako!");
    free(work);
    mox_tokenizer_destroy(&t);
}

Test(synth, wrong_options)
{
    cr_expect_eq(SYNTH("m.gguf", "--layers", "0"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--layers", "two"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--layers"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--type", "q8_1"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--vocab", "200"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--experts", "4", "--top-k", "5"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--heads", "8", "--kv-heads", "3"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--d-model", "100", "--heads", "7"), 2);
    cr_expect_eq(SYNTH("m.gguf", "--split", "500"), 2);
    cr_expect_neq(access(tmpdir_path(&dir, "m.gguf"), F_OK), 0);
    cr_expect_eq(SYNTH("no/such/dir.gguf", "--layers", "1"), 6);
}
