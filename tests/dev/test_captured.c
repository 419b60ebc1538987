/* Steps of one token as captured graphs, on the emulated GPU: nothing is launched beside them, and where they cannot be
 * captured that is said and the tokens are the same. Calls are counted by failing them: the last one that can fail. */
#include "graph/fixture.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { PROMPT = 5, MOST = 9 };
static const uint32_t tokens[MOST] = {1, 30, 17, 45, 26, 9, 7, 12, 40};

static char logged[4096];

static void keep_lines(void *ctx, mox_log_level level, const char *text)
{
    (void)ctx, (void)level;
    const size_t n = strlen(logged);
    snprintf(logged + n, sizeof logged - n, "%s\n", text);
}

typedef struct setting {
    const char *device;
    double vram_pct;
    bool graphs;
} setting;

static mox_cfg config(const setting *s, char *path, size_t n)
{
    mox_cfg cfg = fx_plain("models/mixtral-a.gguf", 100, path, n);
    cfg.device = s->device;
    cfg.device_dir = MOX_MODULE_DIR;
    cfg.n_batch = PROMPT;
    cfg.n_ctx = 32;
    cfg.vram = (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = s->vram_pct};
    cfg.cuda_graph = s->graphs;
    cfg.log = (mox_log){.fn = keep_lines, .level = MOX_LOG_INFO};
    logged[0] = '\0';
    return cfg;
}

/* A prompt, then tokens one by one. */
static mox_err run(const setting *s, uint32_t n_decoded, mox_hash128 *hash, mox_plan *plan)
{
    static float logits[1 << 12];
    char path[1024];
    mox_ctx *ctx = NULL;
    mox_cfg cfg = config(s, path, sizeof path);
    MOX_TRY(mox_open(&ctx, &cfg));
    mox_err err = mox_eval(ctx, 0, tokens, PROMPT, true, NULL, NULL);
    for (uint32_t i = PROMPT; err == MOX_OK && i < PROMPT + n_decoded; i++) {
        mox_row row = {.pos = i, .token = tokens[i], .want_logits = true};
        err = mox_step(ctx, &row, 1, MOX_PHASE_DECODE, logits);
    }
    *hash = mox_logits_hash(ctx);
    *plan = *mox_get_plan(ctx);
    mox_err_info first = *mox_err_last();
    mox_close(&ctx);
    return err == MOX_OK ? MOX_OK : mox_err_restore(&first);
}

/* Does the nth call come before the end of the last step? */
static bool comes(setting s, const char *call, uint64_t nth, uint32_t n_decoded)
{
    char device[96];
    mox_hash128 hash;
    mox_plan plan;
    snprintf(device, sizeof device, "%s:fail=%s@%llu", s.device, call, (unsigned long long)nth);
    s.device = device;
    return run(&s, n_decoded, &hash, &plan) != MOX_OK || strstr(logged, "not as graphs") != NULL;
}

static uint64_t count(setting s, const char *call, uint32_t n_decoded)
{
    uint64_t last = 0, beyond = 1;
    while (comes(s, call, beyond, n_decoded)) {
        last = beyond;
        beyond *= 2;
    }
    while (beyond - last > 1) {
        uint64_t middle = last + (beyond - last) / 2;
        *(comes(s, call, middle, n_decoded) ? &last : &beyond) = middle;
    }
    return last;
}

/* Of a step with one token. */
static uint64_t each(setting s, const char *call)
{
    uint64_t one = count(s, call, 1), three = count(s, call, 3);
    cr_assert_eq((three - one) % 2, 0, "%s: %llu with one, %llu with three", call, (unsigned long long)one,
                 (unsigned long long)three);
    return (three - one) / 2;
}

Test(dev_captured, a_step_launches_its_graphs_and_nothing_else, .timeout = 300)
{
    mox_plan plan;
    mox_hash128 hash;
    setting s = {.device = "emu", .vram_pct = 100, .graphs = true};
    fx_ok(run(&s, 1, &hash, &plan), "run");
    cr_assert_eq(plan.vram_experts, plan.experts_total);
    uint64_t graphs = each(s, "cudaGraphLaunch"), launches = each(s, "launch");
    uint64_t copies = each(s, "cudaMemcpyAsync");
    cr_expect_eq(graphs, 2 * plan.n_moe_layers + 2, "%llu graphs", (unsigned long long)graphs);
    cr_expect_eq(launches, 0, "%llu kernels beside the graphs", (unsigned long long)launches);
    s.graphs = false;
    cr_expect_eq(each(s, "cudaGraphLaunch"), 0);
    uint64_t before = each(s, "launch"), copies_before = each(s, "cudaMemcpyAsync");
    cr_expect_gt(before, 20 * plan.n_moe_layers, "%llu", (unsigned long long)before);
    printf(
        "a token of mixtral-a, %u layers: %llu graphs and %llu copies; without graphs %llu kernels and %llu "
        "copies\n",
        plan.n_moe_layers, (unsigned long long)graphs, (unsigned long long)copies, (unsigned long long)before,
        (unsigned long long)copies_before);
}

Test(dev_captured, memory_that_is_not_pinned_is_said_and_goes_call_by_call)
{
    mox_plan plan;
    mox_hash128 want, got;
    setting s = {.device = NULL, .graphs = true};
    fx_ok(run(&s, 3, &want, &plan), "reference");
    s = (setting){.device = "emu:n=2,fail=cudaHostRegister@1", .vram_pct = 50, .graphs = true};
    fx_ok(run(&s, 3, &got, &plan), s.device);
    cr_assert(strstr(logged, "not as graphs: the host's buffers are not pinned") != NULL, "%s", logged);
    cr_assert(memcmp(&want, &got, sizeof want) == 0);
    s.device = "emu:n=2";
    fx_ok(run(&s, 3, &got, &plan), s.device);
    cr_assert(strstr(logged, "not as graphs") == NULL, "%s", logged);
    cr_assert(memcmp(&want, &got, sizeof want) == 0);
}
