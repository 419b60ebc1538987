/* Files: the same bytes from any number of threads and from any number of parts; keys and kept tensors as they were; types
 * as the mixes say; what cannot be written is refused by name, and leaves nothing behind.
 */
#include "gguf/builder.h"
#include "kernels/formats.h"
#include "runtime/core/hash.h"
#include "runtime/quantize/quantize.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODEL(name) MOX_TEST_DATA "/models/" name

static tmpdir dir;

static void setup(void)
{
    tmpdir_make(&dir);
}

static void teardown(void)
{
    tmpdir_remove(&dir);
}

TestSuite(write, .init = setup, .fini = teardown);

static mox_err quantize(const char *model, const char *out, const char *type, uint32_t threads,
                        mox_quantize_report *r)
{
    mox_pool *pool = NULL;
    mox_quantize_report ignored;
    const mox_pool_cfg pool_cfg = {.n_workers = threads, .spin_us = 50};
    cr_assert_eq(mox_pool_create(&pool, &pool_cfg), MOX_OK);
    const mox_quantize_cfg cfg = {.model = model, .out = out, .type = type, .pool = pool};
    const mox_err err = mox_quantize_write(&cfg, r ? r : &ignored);
    mox_pool_destroy(&pool);
    return err;
}

static uint8_t *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *p = malloc(*n);
    cr_assert_eq(fread(p, 1, *n, f), *n);
    fclose(f);
    return p;
}

static uint64_t hash_of(const char *path)
{
    size_t n;
    uint8_t *p = slurp(path, &n);
    const uint64_t h = mox_hash64(p, n, 0);
    free(p);
    return h;
}

static int files_in_dir(void)
{
    int n = 0;
    DIR *d = opendir(dir.path);
    for (const struct dirent *e; (e = readdir(d));) {
        n += e->d_name[0] != '.';
    }
    closedir(d);
    return n;
}

Test(write, same_bytes_from_any_threads)
{
    const char *types[] = {"Q8_0", "Q4_0,experts.down=Q5_1", "IQ4_NL"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const char *one = tmpdir_path(&dir, "one"), *three = tmpdir_path(&dir, "three");
        unlink(one);
        unlink(three);
        cr_assert_eq(quantize(MODEL("mixtral-a.gguf"), one, types[i], 1, NULL), MOX_OK);
        cr_assert_eq(quantize(MODEL("mixtral-a.gguf"), three, types[i], 3, NULL), MOX_OK);
        cr_expect_eq(hash_of(one), hash_of(three), "%s", types[i]);
    }
}

/* Three files hold the same tensors as one: the same weights result. */
Test(write, parts_become_one_file)
{
    const char *whole = tmpdir_path(&dir, "whole"), *parts = tmpdir_path(&dir, "parts");
    cr_assert_eq(quantize(MODEL("mixtral-a.gguf"), whole, "Q5_0", 2, NULL), MOX_OK);
    cr_assert_eq(quantize(MODEL("mixtral-a-split-00002-of-00003.gguf"), parts, "Q5_0", 2, NULL), MOX_OK);
    mox_gguf *a, *b;
    cr_assert_eq(mox_gguf_open(&a, whole), MOX_OK);
    cr_assert_eq(mox_gguf_open(&b, parts), MOX_OK);
    cr_assert_eq(mox_gguf_n_files(b), 1);
    cr_assert(!mox_gguf_has(b, "split.count"));
    cr_assert_eq(mox_gguf_n_tensors(a), mox_gguf_n_tensors(b));
    size_t n;
    uint8_t *pa = slurp(whole, &n), *pb = slurp(parts, &n);
    for (uint32_t i = 0; i < mox_gguf_n_tensors(a); i++) {
        char name[MOX_GGUF_MAX_NAME + 1];
        const mox_gguf_tensor *t = mox_gguf_tensor_at(a, i);
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        const mox_gguf_tensor *u = mox_gguf_find(b, name);
        cr_assert(u && u->type == t->type && u->bytes == t->bytes, "%s", name);
        cr_expect_arr_eq(pa + t->off, pb + u->off, t->bytes, "%s", name);
    }
    free(pa);
    free(pb);
    mox_gguf_close(&a);
    mox_gguf_close(&b);
}

/* Keys as they were, but for the file's type; norms and routers to the byte; the rest within its type's error. */
Test(write, what_changes_and_what_does_not)
{
    const char *out = tmpdir_path(&dir, "out");
    mox_quantize_report r;
    cr_assert_eq(quantize(MODEL("mixtral-a.gguf"), out, "Q8_0", 2, &r), MOX_OK, "%s", mox_err_last()->msg);
    mox_gguf *a, *b;
    cr_assert_eq(mox_gguf_open(&a, MODEL("mixtral-a.gguf")), MOX_OK);
    cr_assert_eq(mox_gguf_open(&b, out), MOX_OK);
    for (uint32_t i = 0; i < mox_gguf_n_kv(a); i++) {
        char key[256], x[512], y[512] = "absent";
        mox_str k = mox_gguf_kv_key(a, i);
        snprintf(key, sizeof key, "%.*s", (int)k.n, k.p);
        for (uint32_t j = 0; j < mox_gguf_n_kv(b); j++) {
            mox_str other = mox_gguf_kv_key(b, j);
            if (other.n == k.n && memcmp(other.p, k.p, k.n) == 0) {
                mox_gguf_kv_text(b, j, y, sizeof y);
            }
        }
        if (strcmp(key, "general.alignment") != 0 && strcmp(key, "general.file_type") != 0) {
            cr_expect_str_eq(mox_gguf_kv_text(a, i, x, sizeof x), y, "%s", key);
        }
    }
    uint32_t file_type = 0;
    cr_assert_eq(mox_gguf_u32(b, "general.file_type", 0, 99, &file_type), MOX_OK);
    cr_expect_eq(file_type, 7);
    size_t n;
    uint8_t *pa = slurp(MODEL("mixtral-a.gguf"), &n), *pb = slurp(out, &n);
    uint32_t kept = 0, rounded = 0;
    for (uint32_t i = 0; i < mox_gguf_n_tensors(a); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(a, i), *u = mox_gguf_tensor_at(b, i);
        cr_assert(t->name.n == u->name.n && memcmp(t->name.p, u->name.p, t->name.n) == 0);
        const bool keeps =
            memmem(t->name.p, t->name.n, "norm", 4) || memmem(t->name.p, t->name.n, "gate_inp", 8);
        cr_expect_eq(u->type, keeps ? t->type : MOX_TYPE_Q8_0, "%.*s", (int)t->name.n, t->name.p);
        if (keeps) {
            cr_expect_arr_eq(pa + t->off, pb + u->off, t->bytes);
            kept++;
            continue;
        }
        rounded++;
        const uint64_t count = t->ne[0] * t->ne[1] * t->ne[2];
        float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
        double e = 0.0, s = 0.0;
        mox_format_of(t->type)->dequant(pa + t->off, x, count);
        mox_format_of(u->type)->dequant(pb + u->off, y, count);
        for (uint64_t k = 0; k < count; k++) {
            e += ((double)x[k] - (double)y[k]) * ((double)x[k] - (double)y[k]);
            s += (double)x[k] * (double)x[k];
        }
        cr_expect_lt(sqrt(e / s), 0.007, "%.*s", (int)t->name.n, t->name.p);
        free(x);
        free(y);
    }
    cr_expect(kept > 0 && rounded > 0);
    cr_expect_eq(r.n_kept, kept);
    cr_expect(r.by_type[MOX_TYPE_Q8_0].error > 0.0);
    free(pa);
    free(pb);
    mox_gguf_close(&a);
    mox_gguf_close(&b);
}

/* The demo's Q4_K_M was written by llama.cpp: every tensor has the type that our mix gives it. */
Test(write, mixes_mean_what_they_mean_elsewhere)
{
    mox_gguf *g;
    mox_mix_choice c;
    mox_mix_model m;
    cr_assert_eq(mox_gguf_open(&g, MOX_TEST_DATA "/demo/moxie-demo-Q4_K_M.gguf"), MOX_OK);
    cr_assert_eq(mox_mix_parse(&c, "q4_k_m"), MOX_OK);
    cr_assert_eq(mox_mix_of(&m, g), MOX_OK);
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        mox_type wanted;
        const mox_type type = mox_mix_keeps(t) ? MOX_TYPE_F32 : mox_mix_type(&c, &m, t, &wanted);
        cr_expect_eq(type, t->type, "%.*s", (int)t->name.n, t->name.p);
    }
    mox_gguf_close(&g);
}

static mox_type type_of(const char *mix, mox_mix_model m, const char *name, uint64_t cols)
{
    mox_mix_choice c;
    mox_type wanted;
    cr_assert_eq(mox_mix_parse(&c, mix), MOX_OK, "%s: %s", mix, mox_err_last()->msg);
    const mox_gguf_tensor t = {.name = {name, strlen(name)}, .n_dims = 2, .ne = {cols, 512, 1, 1}};
    return mox_mix_type(&c, &m, &t, &wanted);
}

/* Rules that llama.cpp's users know, for a model that is not Mixtral. */
Test(write, rules)
{
    const mox_mix_model m = {.n_layers = 48, .n_experts = 128, .n_gqa = 8};
    const mox_mix_model tied = {.n_layers = 48, .n_experts = 128, .n_gqa = 8, .tied = true};
    const struct {
        const char *mix, *name;
        uint64_t cols;
        mox_type type;
    } cases[] = {
        {"Q4_K_M", "output.weight", 2048, MOX_TYPE_Q6_K},
        {"Q4_K_M", "token_embd.weight", 2048, MOX_TYPE_Q4_K},
        {"Q4_K_M", "blk.0.attn_v.weight", 2048, MOX_TYPE_Q6_K},
        {"Q4_K_M", "blk.6.attn_v.weight", 2048, MOX_TYPE_Q4_K},
        {"Q4_K_M", "blk.8.attn_v.weight", 2048, MOX_TYPE_Q6_K},
        {"Q4_K_M", "blk.47.ffn_down_exps.weight", 768, MOX_TYPE_Q6_K},
        {"Q4_K_M", "blk.6.ffn_down_exps.weight", 768, MOX_TYPE_Q4_K},
        {"Q4_K_M", "blk.6.ffn_down.3.weight", 768, MOX_TYPE_Q4_K},
        {"Q4_K_M", "blk.6.attn_qkv.weight", 2048, MOX_TYPE_Q5_K},
        {"Q4_K_S", "blk.3.attn_v.weight", 2048, MOX_TYPE_Q5_K},
        {"Q4_K_S", "blk.4.attn_v.weight", 2048, MOX_TYPE_Q4_K},
        {"Q3_K_M", "blk.1.attn_v.weight", 2048, MOX_TYPE_Q5_K},
        {"Q3_K_M", "blk.20.ffn_down_exps.weight", 768, MOX_TYPE_Q4_K},
        {"Q3_K_L", "blk.20.ffn_down_exps.weight", 768, MOX_TYPE_Q5_K},
        {"Q2_K", "blk.20.attn_v.weight", 2048, MOX_TYPE_Q4_K},
        {"Q2_K", "blk.20.attn_output.weight", 2048, MOX_TYPE_Q3_K},
        {"MXFP4", "blk.20.ffn_up_exps.weight", 2880, MOX_TYPE_MXFP4},
        {"MXFP4", "blk.20.attn_q.weight", 2880, MOX_TYPE_Q8_0},
        /* widths that are no multiple of 256, or of 32 */
        {"Q4_K_M", "blk.6.ffn_gate_exps.weight", 2880, MOX_TYPE_Q5_0},
        {"Q5_K_S", "blk.6.ffn_gate_exps.weight", 1408, MOX_TYPE_Q5_1},
        {"Q6_K", "blk.6.ffn_down_exps.weight", 1408, MOX_TYPE_Q8_0},
        {"IQ4_XS", "blk.6.ffn_down_exps.weight", 1408, MOX_TYPE_IQ4_NL},
        {"Q8_0", "blk.6.ffn_down_exps.weight", 100, MOX_TYPE_F16},
        /* classes: the last that fits counts */
        {"Q4_K_M,experts=Q3_K,experts.down=Q6_K", "blk.6.ffn_down_exps.weight", 768, MOX_TYPE_Q6_K},
        {"Q4_K_M,experts.down=Q6_K,experts=Q3_K", "blk.6.ffn_down_exps.weight", 768, MOX_TYPE_Q3_K},
        {"Q4_K_M,experts=Q3_K", "blk.6.ffn_down_shexp.weight", 768, MOX_TYPE_Q4_K},
        {"Q4_K_M,shared.down=Q8_0", "blk.6.ffn_down_shexp.weight", 768, MOX_TYPE_Q8_0},
        {"Q4_K_M,attention=bf16", "blk.6.attn_kv_b.weight", 512, MOX_TYPE_BF16},
        {"Q4_K_M,ffn=Q8_0", "blk.0.ffn_gate.weight", 2048, MOX_TYPE_Q8_0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const mox_type got = type_of(cases[i].mix, m, cases[i].name, cases[i].cols);
        cr_expect_eq(got, cases[i].type, "%s, %s: %s", cases[i].mix, cases[i].name, mox_type_info(got)->name);
    }
    cr_expect_eq(type_of("Q4_K_M", tied, "token_embd.weight", 2048), MOX_TYPE_Q6_K);
}

Test(write, types_that_do_not_exist)
{
    const char *bad[] = {"",
                         "Q4",
                         "IQ2_XS",
                         "Q4_K_M,",
                         "Q4_K_M,experts",
                         "Q4_K_M,=Q4_0",
                         "Q4_K_M,expert=Q4_0",
                         "Q4_K_M,experts=IQ2_XS",
                         "Q4_K_M,experts=Q4_K_M"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        mox_mix_choice c;
        cr_expect_eq(mox_mix_parse(&c, bad[i]), MOX_E_OPTION, "%s", bad[i]);
        cr_expect(mox_err_last()->fix[0] != '\0', "%s: nothing that helps", bad[i]);
    }
    for (uint32_t i = 0; mox_mix_name(i); i++) {
        mox_mix_choice c;
        cr_expect_eq(mox_mix_parse(&c, mox_mix_name(i)), MOX_OK, "%s", mox_mix_name(i));
    }
}

static void refused(const char *model, const char *type, mox_err code, const char *says)
{
    const int before = files_in_dir();
    cr_expect_eq(quantize(model, tmpdir_path(&dir, "refused"), type, 2, NULL), code, "%s: %s", model,
                 mox_err_last()->msg);
    cr_expect(strstr(mox_err_last()->msg, says), "%s", mox_err_last()->msg);
    cr_expect_eq(files_in_dir(), before, "%s: something was left", model);
}

/* A model of one matrix, with a weight of our choice in the middle. */
static const char *model_with(float weight)
{
    gb b = {0};
    float x[64 * 64];
    const uint64_t ne[] = {64, 64};
    for (int i = 0; i < 64 * 64; i++) {
        x[i] = 0.01f * (float)(i % 7 - 3);
    }
    x[1234] = weight;
    gb_begin(&b, 3);
    gb_kv_str(&b, "general.architecture", "llama");
    gb_tensor(&b, "blk.0.attn_q.weight", 2, ne, T_F32, 0);
    gb_finish(&b);
    gb_pad(&b, 32);
    gb_bytes(&b, x, sizeof x);
    tmpdir_write(&dir, "one.gguf", b.p, b.n);
    gb_free(&b);
    return tmpdir_path(&dir, "one.gguf");
}

Test(write, refused_by_name)
{
    refused(MODEL("mixtral-a-q8_0.gguf"), "Q4_0", MOX_E_TYPE, "Q8_0 already");
    refused(MODEL("quantmix-a.gguf"), "F16", MOX_E_TYPE, "already");
    refused(model_with(NAN), "Q8_0", MOX_E_NUMERIC, "blk.0.attn_q.weight");
    refused(model_with(INFINITY), "F16", MOX_E_NUMERIC, "not finite");
    refused(model_with(1e6f), "F16", MOX_E_NUMERIC, "too large");
    refused("no-such.gguf", "Q8_0", MOX_E_OPEN, "no-such.gguf");
    refused(MODEL("mixtral-a.json"), "Q8_0", MOX_E_NOT_GGUF, "");
    cr_expect_eq(quantize(model_with(1e6f), tmpdir_path(&dir, "bf"), "BF16", 1, NULL), MOX_OK);
    cr_expect_eq(quantize(tmpdir_path(&dir, "bf"), tmpdir_path(&dir, "bf"), "Q8_0", 1, NULL), MOX_E_ARG);
    cr_expect_eq(quantize(model_with(1.0f), tmpdir_path(&dir, "bf"), "Q8_0", 1, NULL), MOX_E_WRITE);
}

static int stop_after;

static int stop(void)
{
    return stop_after-- <= 0 ? 130 : 0;
}

Test(write, stopped_at_any_moment_leaves_nothing)
{
    mox_pool *pool = NULL;
    const mox_pool_cfg pool_cfg = {.n_workers = 2, .spin_us = 50};
    cr_assert_eq(mox_pool_create(&pool, &pool_cfg), MOX_OK);
    int n = 0;
    mox_err err = MOX_E_CANCELLED;
    for (; err != MOX_OK && n < 10000; n += 7) {
        mox_quantize_report r;
        const char *out = tmpdir_path(&dir, "stopped");
        const mox_quantize_cfg cfg = {
            .model = MODEL("olmoe-a.gguf"), .out = out, .type = "Q8_0", .pool = pool, .stop = stop};
        stop_after = n;
        err = mox_quantize_write(&cfg, &r);
        cr_assert(err == MOX_OK || err == MOX_E_CANCELLED, "%s", mox_err_last()->msg);
        cr_assert_eq(files_in_dir(), err == MOX_OK ? 1 : 0, "after %d", n);
    }
    cr_expect_gt(n, 50);
    mox_pool_destroy(&pool);
}
