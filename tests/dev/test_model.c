/* Whole models on the emulated GPU: dense weights, cache, buffers, all experts and every product there; the same bits as on
 * the CPU. */
#include "graph/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mox_cfg on_gpu(mox_cfg cfg, const char *device, uint32_t batch)
{
    cfg.device = device;
    cfg.device_dir = MOX_MODULE_DIR;
    cfg.n_batch = batch;
    return cfg;
}

/* All sequences of a fixture's model, with and without a GPU. */
static void same_bits(const char *file, const char *name, const char *device, uint32_t batch)
{
    fx_expected x;
    fx_read(&x, name);
    char path[1024];
    mox_cfg cfg = fx_plain(file, 100, path, sizeof path);
    const size_t count = x.n_rows * x.n_vocab;
    float *want = malloc(count * sizeof *want), *got = malloc(count * sizeof *got);
    mox_ctx *ctx = fx_open(&cfg);
    fx_eval_all(ctx, &x, want);
    mox_close(&ctx);
    cfg = on_gpu(cfg, device, batch);
    ctx = fx_open(&cfg);
    cr_assert_eq(mox_actual_bytes(ctx) + mox_get_plan(ctx)->process_bytes, mox_get_plan(ctx)->total_bytes);
    cr_assert(strstr(mox_get_device(ctx), "emu and cpu") != NULL, "%s", mox_get_device(ctx));
    fx_eval_all(ctx, &x, got);
    mox_close(&ctx);
    cr_assert(memcmp(got, want, count * sizeof *got) == 0, "%s on %s, batch %u: other bits", name, device,
              batch);
    free(want), free(got);
    fx_free(&x);
}

Test(dev_model, mixtral_gives_the_same_bits)
{
    same_bits("models/mixtral-a.gguf", "mixtral-a", "emu", 64);
    same_bits("models/mixtral-a.gguf", "mixtral-a", "emu:policy=eager,sm=75", 1);
}

Test(dev_model, mixtral_q8_0_gives_the_same_bits)
{
    same_bits("models/mixtral-a-q8_0.gguf", "mixtral-a-q8_0", "emu:order=shuffled", 7);
}

/* 16 types of weights, among them those that are made floats before they are multiplied. */
Test(dev_model, a_mix_of_types_gives_the_same_bits)
{
    same_bits("models/quantmix-a.gguf", "quantmix-a", "emu", 7);
    same_bits("models/quantmix-a.gguf", "quantmix-a", "emu:order=shuffled,sm=75", 1);
}

enum { SHORT = 12, ONE_BY_ONE = 4 };

/* The hash of the logits of a few tokens, the last ones as answers are: a step each, which is captured on a GPU. */
static mox_hash128 short_run(const mox_cfg *cfg)
{
    static const uint32_t tokens[SHORT] = {1, 30, 17, 45, 26, 9, 7, 12, 40, 3, 8, 27};
    mox_ctx *ctx = fx_open(cfg);
    fx_ok(mox_eval(ctx, 0, tokens, SHORT - ONE_BY_ONE, true, NULL, NULL), "eval");
    for (int i = SHORT - ONE_BY_ONE; i < SHORT; i++) {
        fx_ok(mox_eval(ctx, 0, tokens + i, 1, true, NULL, NULL), "eval");
    }
    const mox_hash128 h = mox_logits_hash(ctx);
    mox_close(&ctx);
    return h;
}

static void same_hash(const char *file, const char *device, uint32_t batch)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", MOX_TEST_DATA, file);
    mox_cfg cfg;
    mox_cfg_defaults(&cfg);
    cfg.model = path;
    cfg.n_ctx = 32;
    const mox_hash128 want = short_run(&cfg);
    cfg = on_gpu(cfg, device, batch);
    const mox_hash128 got = short_run(&cfg);
    cr_expect(memcmp(&got, &want, sizeof got) == 0, "%s on %s: other bits", file, device);
}

Test(dev_model, the_demo_gives_the_same_bits)
{
    same_hash("demo/moxie-demo-Q4_K_M.gguf", "emu", 8);
}

Test(dev_model, families_give_the_same_bits)
{
    static const char *const names[] = {
        "dbrx-a",    "deepseek2-a",  "deepseek2-lite-a", "deepseek3-a",     "ernie45moe-a",
        "glm4moe-a", "gptoss-a",     "gptoss-a-q8_0",    "granitemoe-a",    "granitemoeshared-a",
        "grok-a",    "hunyuanmoe-a", "llama4-a",         "minimaxm2-a",     "olmoe-a",
        "phimoe-a",  "qwen2moe-a",   "qwen3moe-a",       "qwen3moe-a-bf16", "qwen3next-a"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[64];
        snprintf(file, sizeof file, "models/%s.gguf", names[i]);
        same_hash(file, i % 2 == 0 ? "emu" : "emu:policy=eager,sm=75", i % 3 == 0 ? 1 : 7);
    }
}

Test(dev_model, what_a_gpu_cannot_do_is_refused_at_open)
{
    char path[1024];
    mox_ctx *ctx = NULL;
    mox_cfg cfg = on_gpu(fx_plain("models/mixtral-a.gguf", 100, path, sizeof path), "emu:vram=10K", 8);
    cr_assert_eq(mox_open(&ctx, &cfg), MOX_E_NO_FIT);
    cr_assert(strstr(mox_err_last()->msg, "may be used") != NULL, "%s", mox_err_last()->msg);
    cfg = on_gpu(fx_audit("models/mixtral-a.gguf", path, sizeof path), "emu", 8);
    cr_assert_eq(mox_open(&ctx, &cfg), MOX_E_CONFLICT);
    cfg = on_gpu(fx_plain("models/mixtral-a.gguf", 100, path, sizeof path), "gpu", 8);
    cr_assert_eq(mox_open(&ctx, &cfg), MOX_E_OPTION);
    cr_assert_null(ctx);
}

/* The emulator's module fails a call in the middle of a step: an error by name, and the context can be closed. */
Test(dev_model, a_step_whose_call_fails_says_which)
{
    static const char *const devices[] = {"emu:fail=launch@20", "emu:fail=cudaMemcpyAsync@30",
                                          "emu:fail=cudaStreamSynchronize@3", "emu:fail=cudaGraphLaunch@1"};
    static const char *const says[] = {"launched", "cudaMemcpyAsync", "cudaStreamSynchronize",
                                       "cudaGraphLaunch"};
    for (int i = 0; i < 4; i++) {
        char path[1024];
        mox_ctx *ctx = NULL;
        mox_cfg cfg = on_gpu(fx_plain("models/mixtral-a.gguf", 100, path, sizeof path), devices[i], 8);
        const uint32_t tokens[4] = {1, 2, 3, 4};
        cfg.cuda_graph = i == 3; /* else the calls are counted while graphs are captured */
        fx_ok(mox_open(&ctx, &cfg), "open");
        cr_assert_eq(mox_eval(ctx, 0, tokens, 4, false, NULL, NULL), MOX_E_DEVICE, "%s", devices[i]);
        cr_assert(strstr(mox_err_last()->msg, says[i]) != NULL, "%s", mox_err_last()->msg);
        mox_close(&ctx);
    }
}
