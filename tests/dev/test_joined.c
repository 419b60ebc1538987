/* The hybrid step on emulated GPUs: experts in VRAM, misses on the CPU and over the link. Memory is kept to the byte, and a
 * call of the CUDA runtime that fails, whichever and whenever, gives the right tokens or an error that names it. */
#include "graph/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PROMPT = 5, TOKENS = 7 };
static const uint32_t tokens[TOKENS] = {1, 30, 17, 45, 26, 9, 7};

static mox_cfg hybrid(const char *device, char *path, size_t n)
{
    mox_cfg cfg = fx_plain("models/mixtral-a.gguf", 50, path, n);
    cfg.device = device;
    cfg.device_dir = MOX_MODULE_DIR;
    cfg.n_batch = 4;
    cfg.n_ctx = 32;
    cfg.vram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = 50};
    cfg.miss = MOX_MISS_SPLIT;
    cfg.policy = "lru"; /* moves much */
    return cfg;
}

/* A prompt in two micro-batches, the rest one by one. */
static mox_err run(const mox_cfg *cfg, mox_hash128 *hash, mox_plan *plan)
{
    static float logits[1 << 12];
    mox_ctx *ctx = NULL;
    MOX_TRY(mox_open(&ctx, cfg));
    if (plan) {
        *plan = *mox_get_plan(ctx);
    }
    mox_err err = mox_eval(ctx, 0, tokens, PROMPT, true, NULL, NULL);
    for (uint32_t i = PROMPT; err == MOX_OK && i < TOKENS; i++) {
        mox_row row = {.pos = i, .token = tokens[i], .want_logits = true};
        err = mox_step(ctx, &row, 1, MOX_PHASE_DECODE, logits);
    }
    *hash = mox_logits_hash(ctx);
    mox_err_info first = *mox_err_last();
    mox_close(&ctx);
    return err == MOX_OK ? MOX_OK : mox_err_restore(&first);
}

static mox_hash128 reference(void)
{
    char path[1024];
    mox_hash128 h;
    mox_cfg cfg = hybrid(NULL, path, sizeof path);
    cfg.vram = (mox_budget){.kind = MOX_BUDGET_AUTO};
    fx_ok(run(&cfg, &h, NULL), "reference");
    return h;
}

static bool same(const mox_hash128 *a, const mox_hash128 *b)
{
    return a->hi == b->hi && a->lo == b->lo;
}

/* Exactly what the plan says suffices, on one GPU and on two, and the emulator refuses a byte more than it has; with a byte
 * less nothing is opened. */
Test(dev_joined, vram_is_what_the_plan_says_to_the_byte)
{
    mox_hash128 want = reference(), got;
    for (uint32_t n = 1; n <= 2; n++) {
        char path[1024], device[64];
        mox_plan plan;
        snprintf(device, sizeof device, "emu:n=%u", n);
        mox_cfg cfg = hybrid(device, path, sizeof path);
        fx_ok(run(&cfg, &got, &plan), device);
        cr_assert(same(&got, &want));
        cr_assert_eq(plan.n_devices, n);
        uint64_t most = 0;
        for (uint32_t i = 0; i < n; i++) {
            const mox_plan_device *d = &plan.device[i];
            cr_assert_eq(d->total_bytes,
                         d->dense_bytes + d->kv_bytes + d->buffer_bytes + d->staging_bytes + d->expert_bytes);
            most = d->total_bytes + d->module_bytes > most ? d->total_bytes + d->module_bytes : most;
        }
        snprintf(device, sizeof device, "emu:n=%u,vram=%llu", n, (unsigned long long)most);
        fx_ok(run(&cfg, &got, NULL), device);
        cr_assert(same(&got, &want));
        snprintf(device, sizeof device, "emu:n=%u,vram=%llu", n, (unsigned long long)most - 1);
        cr_assert_eq(run(&cfg, &got, NULL), MOX_E_NO_FIT, "%s: %s", device, mox_err_last()->msg);
    }
}

static char first_device[160];

static void listen(void *ctx, mox_log_level level, const char *line)
{
    (void)ctx, (void)level;
    if (strncmp(line, "device 0: ", 10) == 0) {
        snprintf(first_device, sizeof first_device, "%s", line);
    }
}

Test(dev_joined, gpus_are_picked_in_the_order_of_the_list)
{
    mox_hash128 want = reference(), got;
    static const struct {
        const char *device, *gpu, *first;
        uint32_t n;
    } rows[] = {{"emu:n=3", "2", "device 0: GPU 2, emulated sm_80, GPU-e2", 1},
                {"emu:n=3", "2,0", "device 0: GPU 2,", 2},
                {"emu:n=2", "GPU-e1,GPU-e0", "device 0: GPU 1,", 2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char path[1024];
        mox_plan plan;
        mox_cfg cfg = hybrid(rows[i].device, path, sizeof path);
        cfg.gpu = rows[i].gpu;
        cfg.log = (mox_log){.fn = listen, .level = MOX_LOG_INFO};
        fx_ok(run(&cfg, &got, &plan), rows[i].gpu);
        cr_assert(same(&got, &want), "%s", rows[i].gpu);
        cr_assert_eq(plan.n_devices, rows[i].n);
        cr_assert(strstr(first_device, rows[i].first) != NULL, "%s: %s", rows[i].gpu, first_device);
    }
    char path[1024];
    mox_cfg cfg = hybrid("emu:n=2", path, sizeof path);
    cfg.gpu = "2";
    cr_assert_eq(run(&cfg, &got, NULL), MOX_E_DEVICE);
    cr_assert(strstr(mox_err_last()->msg, "there are 0 (GPU-e0") != NULL, "%s", mox_err_last()->msg);
    cfg.device = NULL;
    cr_assert_eq(run(&cfg, &got, NULL), MOX_E_CONFLICT);
    cr_assert(strstr(mox_err_last()->fix, "--device cuda --gpu 2") != NULL, "%s", mox_err_last()->fix);
}

/* --vram SIZE bounds the same way, whatever the GPU has; all that it says is used that can be. */
Test(dev_joined, vram_by_size_fills_up_to_it)
{
    mox_hash128 want = reference(), got;
    char path[1024];
    mox_plan plan;
    mox_cfg cfg = hybrid("emu", path, sizeof path);
    fx_ok(run(&cfg, &got, &plan), "emu");
    const uint64_t floor =
        plan.device[0].total_bytes + plan.device[0].module_bytes - plan.device[0].expert_bytes;
    for (uint64_t slots = 0; slots <= 10; slots++) {
        const uint64_t slot = plan.slot_bytes[0];
        cfg.vram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = floor + slots * slot};
        mox_plan p;
        fx_ok(run(&cfg, &got, &p), "--vram SIZE");
        cr_assert(same(&got, &want));
        cr_assert_leq(p.device[0].total_bytes + p.device[0].module_bytes, cfg.vram.bytes);
        /* without staging all eight fit where four and staging do */
        cr_assert_eq(p.vram_experts, slots < 4 ? slots : 8, "%u", p.vram_experts);
        cr_assert_eq(p.device[0].staging_bytes == 0, slots >= 4);
        cr_assert(slots < 4 || p.kept_total == 4 || p.kept_total == 0);
    }
    cfg.vram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = floor - 1};
    cr_assert_eq(run(&cfg, &got, NULL), MOX_E_NO_FIT);
}

static char logged[4096];

static void keep_lines(void *ctx, mox_log_level level, const char *text)
{
    (void)ctx, (void)level;
    const size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", text);
}

/* Tokens one by one with few experts in memory; what became of reads ahead. */
static mox_prefetch_counters decoded(const mox_cfg *cfg, mox_hash128 *hash)
{
    static float logits[1 << 12];
    mox_counters c;
    mox_ctx *ctx = fx_open(cfg);
    for (uint32_t i = 0; i < 24; i++) {
        mox_row row = {.pos = i, .token = (i * 7 + 3) % 50, .want_logits = true};
        fx_ok(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, logits), "step");
    }
    mox_get_counters(ctx, &c, NULL);
    *hash = mox_logits_hash(ctx);
    mox_close(&ctx);
    return c.prefetch;
}

/* While a card computes a layer, experts that the next one will need are read, if neither it nor RAM has them. The model
 * has two layers: on two cards neither can tell what the other's will be. */
Test(dev_joined, experts_of_the_next_layer_are_read_while_a_card_computes)
{
    static const char *const devices[] = {NULL, "cpu:vram=64M", "cpu:vram=64M,n=2", "emu", "emu:n=2"};
    mox_hash128 want = {0}, got;
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        char path[1024];
        const char *name = devices[i] ? devices[i] : "no device";
        mox_cfg cfg = hybrid(devices[i], path, sizeof path);
        cfg.ram.pct = 13;
        cfg.vram.pct = devices[i] ? 25 : 0;
        cfg.look_ahead = true;
        mox_prefetch_counters p = decoded(&cfg, &got);
        want = i == 0 ? got : want;
        cr_assert(same(&got, &want), "%s", name);
        bool border = strstr(name, "n=2") != NULL;
        cr_assert_eq(p.issued == 0, border, "%s: %llu read ahead", name, (unsigned long long)p.issued);
        cr_assert(border || p.used + p.late > 0, "%s: nothing that was read ahead was used", name);
        cfg.look_ahead = false;
        p = decoded(&cfg, &got);
        cr_assert(same(&got, &want), "%s", name);
        cr_assert_eq(p.issued, 0, "%s", name);
    }
}

/* What a run with the nth call failing gives: right tokens, with a line if it was a graph that could not be captured, or
 * an error that names the call. False: there was no nth call. */
static bool reached(const char *call, uint64_t nth, const mox_hash128 *want)
{
    char path[1024], device[96];
    mox_hash128 got;
    snprintf(device, sizeof device, "emu:n=2,fail=%s@%llu", call, (unsigned long long)nth);
    mox_cfg cfg = hybrid(device, path, sizeof path);
    cfg.log = (mox_log){.fn = keep_lines, .level = MOX_LOG_INFO};
    logged[0] = '\0';
    mox_err err = run(&cfg, &got, NULL);
    const char *says = strcmp(call, "launch") == 0 ? "launched" : call;
    if (err == MOX_OK) {
        const char *line = strstr(logged, "not as graphs");
        cr_expect(same(&got, want), "%s: other bits", device);
        cr_expect(!line || strstr(line, says), "%s: %s", device, logged);
        return line != NULL;
    }
    cr_expect(strstr(mox_err_last()->msg, says) != NULL, "%s: %s", device, mox_err_last()->msg);
    cr_expect(mox_err_last()->fix[0] != '\0', "%s: no way out is named", device);
    return true;
}

Test(dev_joined, each_call_that_fails_first_in_the_middle_or_last_is_named, .timeout = 600)
{
    static const char *const calls[] = {"cudaGetDeviceCount",
                                        "cudaGetDeviceProperties",
                                        "cudaSetDevice",
                                        "cudaMemGetInfo",
                                        "cudaMalloc",
                                        "cudaHostAlloc",
                                        "cudaStreamCreateWithFlags",
                                        "cudaStreamSynchronize",
                                        "cudaEventCreateWithFlags",
                                        "cudaEventRecord",
                                        "cudaStreamWaitEvent",
                                        "cudaMemcpyAsync",
                                        "launch",
                                        "cudaStreamBeginCapture",
                                        "cudaStreamEndCapture",
                                        "cudaGraphInstantiate",
                                        "cudaGraphUpload",
                                        "cudaGraphLaunch"};
    mox_hash128 want = reference();
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        uint64_t last = 1, beyond = 2;
        cr_assert(reached(calls[i], 1, &want), "%s is never called", calls[i]);
        while (reached(calls[i], beyond, &want)) {
            last = beyond;
            beyond *= 2;
        }
        while (beyond - last > 1) { /* the last one that is made before closing */
            uint64_t middle = last + (beyond - last) / 2;
            if (reached(calls[i], middle, &want)) {
                last = middle;
            } else {
                beyond = middle;
            }
        }
        cr_expect(reached(calls[i], last / 2 + 1, &want), "%s: %llu of %llu passes", calls[i],
                  (unsigned long long)last / 2 + 1, (unsigned long long)last);
    }
}

static bool stops_opening(const char *call, uint64_t nth)
{
    char path[1024], device[96];
    mox_ctx *ctx = NULL;
    snprintf(device, sizeof device, "emu:n=2,fail=%s@%llu", call, (unsigned long long)nth);
    mox_cfg cfg = hybrid(device, path, sizeof path);
    cfg.log = (mox_log){.fn = keep_lines, .level = MOX_LOG_INFO};
    logged[0] = '\0';
    mox_err err = mox_open(&ctx, &cfg);
    mox_close(&ctx);
    return err != MOX_OK || strstr(logged, "not as graphs") != NULL;
}

/* All calls of a whole run that take or make something are made by its opening: one more would find none to fail. */
Test(dev_joined, nothing_is_made_after_opening)
{
    static const char *const makes[] = {"cudaMalloc",
                                        "cudaHostAlloc",
                                        "cudaStreamCreateWithFlags",
                                        "cudaEventCreateWithFlags",
                                        "cudaStreamBeginCapture",
                                        "cudaGraphInstantiate",
                                        "cudaGraphUpload"};
    mox_hash128 want = reference();
    for (size_t i = 0; i < sizeof makes / sizeof *makes; i++) {
        uint64_t nth = 1;
        while (stops_opening(makes[i], nth)) {
            nth++;
        }
        cr_expect(nth > 1, "%s is never called", makes[i]);
        cr_expect(!reached(makes[i], nth, &want), "%s is called after opening", makes[i]);
    }
}

/* Host memory that cannot be pinned serves all the same. */
Test(dev_joined, memory_that_is_not_pinned_gives_the_same_bits)
{
    mox_hash128 want = reference(), got;
    for (int nth = 1; nth <= 2; nth++) {
        char path[1024], device[64];
        snprintf(device, sizeof device, "emu:fail=cudaHostRegister@%d", nth);
        mox_cfg cfg = hybrid(device, path, sizeof path);
        fx_ok(run(&cfg, &got, NULL), device);
        cr_assert(same(&got, &want));
    }
}
