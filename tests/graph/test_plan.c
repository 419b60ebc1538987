/* The plan is the allocation: lines against the total, the total against what is taken, the floor to the
 * byte. */
#include "graph/fixture.h"
#include "runtime/context.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char demo[] = "demo/moxie-demo-Q4_K_M.gguf";

static uint64_t sum(const mox_plan *p)
{
    return p->process_bytes + p->metadata_bytes + p->dense_bytes + p->kv_bytes + p->buffer_bytes +
           p->io_bytes + p->transit_bytes + p->expert_bytes;
}

static void check_lines(const mox_plan *p)
{
    cr_expect_eq(sum(p), p->total_bytes);
    uint64_t experts = 0;
    uint32_t kept = 0;
    for (uint32_t l = 0; l < p->n_moe_layers; l++) {
        experts += p->kept[l] * p->slot_bytes[l];
        kept += p->kept[l];
        cr_expect_leq(p->kept[l], p->n_experts);
    }
    cr_expect_eq(experts, p->expert_bytes);
    cr_expect_eq(kept, p->kept_total);
    cr_expect_geq(p->transit_slots, p->top_k);
    cr_expect_lt(p->io_bytes, p->total_bytes);
    if (p->budget_bytes) {
        cr_expect_leq(p->total_bytes, p->budget_bytes);
        cr_expect_leq(p->floor_bytes, p->budget_bytes);
    }
}

Test(graph_plan, open_takes_what_the_plan_says)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 0, path, sizeof path);
    const mox_budget budgets[] = {{.kind = MOX_BUDGET_MIN},
                                  {.kind = MOX_BUDGET_BYTES, .bytes = 40 << 20},
                                  {.kind = MOX_BUDGET_EXPERTS, .experts = 13},
                                  {.kind = MOX_BUDGET_EXPERTS_PCT, .pct = 100}};
    for (int i = 0; i < 4; i++) {
        cfg.ram = budgets[i];
        mox_plan before;
        fx_ok(mox_plan_model(&before, &cfg), "plan");
        check_lines(&before);
        mox_ctx *ctx = fx_open(&cfg);
        cr_expect(memcmp(&before, mox_get_plan(ctx), sizeof before) == 0, "budget %d: open planned anew", i);
        cr_expect_eq(mox_actual_bytes(ctx), before.total_bytes - before.process_bytes);
        /* every arena is used to its end, a page's rest apart */
        const mox_arena *arenas[] = {&ctx->dense, &ctx->kv, &ctx->buffers, &ctx->store_arena};
        for (int a = 0; a < 4; a++) {
            cr_expect_leq(arenas[a]->used, arenas[a]->bytes, "budget %d, arena %d", i, a);
            cr_expect_gt(arenas[a]->used + 4096, arenas[a]->bytes, "budget %d, arena %d", i, a);
        }
        mox_close(&ctx);
    }
}

Test(graph_plan, floor_fits_and_one_byte_less_does_not)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 0, path, sizeof path);
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_MIN};
    mox_plan p;
    fx_ok(mox_plan_model(&p, &cfg), "min");
    cr_expect_eq(p.total_bytes, p.floor_bytes);
    cr_expect_eq(p.kept_total, 0);
    uint64_t floor = p.floor_bytes;
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = floor};
    mox_ctx *ctx = fx_open(&cfg);
    mox_close(&ctx);
    cfg.ram.bytes = floor - 1;
    cr_expect_eq(mox_open(&ctx, &cfg), MOX_E_NO_FIT);
    cr_expect_null(ctx);
    const mox_err_info *e = mox_err_last();
    char number[32];
    snprintf(number, sizeof number, "%llu", (unsigned long long)floor);
    cr_expect(strstr(e->msg, number), "the floor is not in '%s'", e->msg);
    cr_expect(strstr(e->fix, "--ctx") && strstr(e->fix, "--kv q8_0") && strstr(e->fix, "--batch"), "'%s'",
              e->fix);
    /* and what it proposes does lower it */
    mox_cfg less = cfg;
    less.ram.kind = MOX_BUDGET_MIN;
    less.n_ctx = 128;
    fx_ok(mox_plan_model(&p, &less), "smaller context");
    cr_expect_lt(p.floor_bytes, floor);
    less.n_ctx = 0;
    less.kv = MOX_KV_Q8_0;
    fx_ok(mox_plan_model(&p, &less), "q8_0 cache");
    cr_expect_lt(p.floor_bytes, floor);
    less.kv = cfg.kv;
    less.n_batch = 16;
    fx_ok(mox_plan_model(&p, &less), "smaller batch");
    cr_expect_lt(p.floor_bytes, floor);
}

Test(graph_plan, experts_are_dealt_evenly)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 40, path, sizeof path);
    mox_plan p;
    fx_ok(mox_plan_model(&p, &cfg), "40 %");
    cr_assert_eq(p.experts_total, 48);
    cr_expect_eq(p.kept_total, 19); /* 19.2 */
    for (uint32_t l = 0; l < 6; l++) {
        cr_expect_eq(p.kept[l], l < 1 ? 4u : 3u, "layer %u keeps %u", l, p.kept[l]);
    }
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_EXPERTS, .experts = 1000};
    fx_ok(mox_plan_model(&p, &cfg), "more than there are");
    cr_expect_eq(p.kept_total, 48);
}

Test(graph_plan, more_budget_never_keeps_fewer_and_fills_up_to_the_budget)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 0, path, sizeof path);
    cfg.ram = (mox_budget){.kind = MOX_BUDGET_MIN};
    mox_plan p;
    fx_ok(mox_plan_model(&p, &cfg), "min");
    uint64_t floor = p.floor_bytes;
    uint32_t before = 0;
    for (uint64_t more = 0; more <= 16 << 20; more += 333333) {
        cfg.ram = (mox_budget){.kind = MOX_BUDGET_BYTES, .bytes = floor + more};
        fx_ok(mox_plan_model(&p, &cfg), "budget");
        check_lines(&p);
        uint64_t biggest = 0;
        for (uint32_t l = 0; l < p.n_moe_layers; l++) {
            biggest = p.slot_bytes[l] > biggest ? p.slot_bytes[l] : biggest;
            cr_expect_leq(p.kept[l], p.kept[0] + 1);
            cr_expect_geq(p.kept[l] + 1, p.kept[0]);
        }
        /* look-ahead slots may replace a few kept ones once they cost less than a tenth */
        cr_expect_geq(p.kept_total + p.top_k * p.n_size_classes, before, "%llu", (unsigned long long)more);
        before = p.kept_total;
        cr_expect(p.kept_total == p.experts_total || p.budget_bytes - p.total_bytes < biggest + (1 << 20),
                  "%llu bytes above the floor leave %llu unused", (unsigned long long)more,
                  (unsigned long long)(p.budget_bytes - p.total_bytes));
    }
    cr_expect_eq(before, p.experts_total);
}

Test(graph_plan, dry_run_reserves_and_refuses_to_compute)
{
    char path[1024];
    mox_cfg cfg = fx_plain(demo, 50, path, sizeof path);
    cfg.dry_run = true;
    mox_ctx *ctx = fx_open(&cfg);
    cr_expect_eq(mox_actual_bytes(ctx), mox_get_plan(ctx)->total_bytes - mox_get_plan(ctx)->process_bytes);
    mox_row row = {.token = 1};
    cr_expect_eq(mox_step(ctx, &row, 1, MOX_PHASE_DECODE, NULL), MOX_E_ARG);
    mox_close(&ctx);
}

Test(graph_plan, host_memory_is_known_and_ordered)
{
    uint64_t total = mox_host_total_bytes(), available = mox_host_available_bytes();
    cr_expect_neq(total, UINT64_MAX);
    cr_expect_leq(available, total);
    cr_expect_gt(available, 64 << 20);
}
