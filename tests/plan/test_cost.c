/* The cost model against a roofline worked out apart from it.
 *
 * The numbers below are milliseconds per token for {cpu, copy, split}, from the closed formulas of
 * docs/cost-model.md evaluated by a separate program with its own binomial coefficients, for eight machines:
 * rates in GB/s are VRAM peak (of which 85 % are sustained), link, CPU, DRAM.
 *   T = (dense + KV) / vram + L * 15 us + L * sum over k of C(K,k) (1-h)^k h^(K-k) * layer(k)
 *   layer(0) = hits;  layer(k) = max(hits, miss(k)) + handshake, hits = (K-k) E / vram
 *   cpu:   miss = kE / min(cpu, dram), handshake 60 us
 *   copy:  miss = kE / min(link, dram) + kE / vram, handshake 15 us
 *   split: both = min(link, dram) + min(cpu, dram - link); miss = kE / both + kE * (link / both) / vram,
 *          handshake 60 us, or the CPU alone where that is shorter
 * Mixtral 8x7B Q4_K_M (26.4 GB): 32 layers, top 2, E 99,090,432, dense 1,000,906,752, KV 536.8e6 (4,096 positions).
 * Qwen3-30B-A3B Q4_K_M: 48 layers, top 8, E 2,860,646, dense 0.80e9, KV 402.8e6.
 */
#include "runtime/plan/cost.h"
#include "runtime/plan/hardware.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static const double boxes[8][4] = {
    {360, 25, 40, 44}, {288, 13, 40, 44}, {288, 13, 60, 78}, {717, 25, 60, 78},
    {896, 52, 60, 78}, {896, 52, 88, 98}, {936, 25, 40, 44}, {1008, 25, 60, 78},
};

typedef struct expected {
    int box;
    double h, ms[MOX_WAYS];
} expected;

static const expected mixtral[] = {
    {0, 0.3, {120.099, 199.885, 118.253}}, {0, 0.6, {77.613, 123.032, 76.558}},
    {0, 0.9, {38.512, 49.823, 38.248}},    {1, 0.3, {121.822, 369.145, 117.090}},
    {1, 0.6, {80.734, 221.889, 78.031}},   {1, 0.9, {43.965, 79.210, 43.289}},
    {2, 0.3, {84.828, 369.145, 74.881}},   {2, 0.6, {59.595, 221.889, 53.911}},
    {2, 0.9, {38.680, 79.210, 37.259}},    {3, 0.3, {79.674, 189.231, 64.935}},
    {3, 0.6, {50.257, 112.687, 41.834}},   {3, 0.9, {22.366, 37.931, 20.261}},
    {4, 0.3, {78.983, 94.884, 65.795}},    {4, 0.6, {49.004, 57.918, 41.468}},
    {4, 0.9, {20.178, 22.363, 18.294}},    {5, 0.3, {55.442, 94.884, 53.387}},
    {5, 0.6, {35.552, 57.918, 34.378}},    {5, 0.9, {16.815, 22.363, 16.522}},
    {6, 0.3, {115.859, 186.717, 108.940}}, {6, 0.6, {69.929, 110.247, 65.975}},
    {6, 0.9, {25.089, 35.125, 24.100}},    {7, 0.3, {78.676, 186.129, 63.262}},
    {7, 0.6, {48.447, 109.676, 39.639}},   {7, 0.9, {19.205, 34.469, 17.003}},
};

static const expected qwen3[] = {
    {0, 0.3, {26.754, 38.641, 26.434}}, {0, 0.6, {18.528, 24.431, 18.345}},
    {0, 0.9, {10.582, 11.359, 10.537}}, {1, 0.3, {27.738, 68.644, 26.918}},
    {1, 0.6, {19.569, 42.011, 19.114}}, {1, 0.9, {12.140, 16.874, 12.079}},
    {2, 0.3, {21.331, 68.644, 19.609}}, {2, 0.6, {16.010, 42.011, 15.053}},
    {2, 0.9, {11.663, 16.874, 11.534}}, {3, 0.3, {18.389, 35.433, 15.836}},
    {3, 0.6, {12.879, 21.729, 11.420}}, {3, 0.9, {6.941, 8.454, 6.576}},
    {4, 0.3, {17.995, 18.816, 15.711}}, {4, 0.6, {12.478, 12.058, 11.173}},
    {4, 0.9, {6.391, 5.587, 6.065}},    {5, 0.3, {13.917, 18.816, 13.561}},
    {5, 0.6, {10.148, 12.058, 9.945}},  {5, 0.9, {5.809, 5.587, 5.758}},
    {6, 0.3, {24.335, 34.676, 23.137}}, {6, 0.6, {16.072, 21.091, 15.387}},
    {6, 0.9, {7.213, 7.768, 7.041}},    {7, 0.3, {17.819, 34.499, 15.150}},
    {7, 0.6, {12.300, 20.942, 10.775}}, {7, 0.9, {6.147, 7.608, 5.765}},
};

static mox_machine machine(int box)
{
    const double *b = boxes[box];
    return (mox_machine){.vram_bps = b[0] * 0.85e9,
                         .link_bps = b[1] * 1e9,
                         .cpu_bps = b[2] * 1e9,
                         .dram_bps = b[3] * 1e9,
                         .disk_bps = 6.5e9,
                         .gpu_ops = 60e12,
                         .cpu_ops = 1e12,
                         .layer_s = MOX_GPU_LAYER_S,
                         .cpu_handshake_s = MOX_CPU_HANDSHAKE_S,
                         .copy_handshake_s = MOX_COPY_HANDSHAKE_S};
}

static const mox_work mixtral_work = {.n_layers = 32,
                                      .n_moe_layers = 32,
                                      .n_experts = 8,
                                      .top_k = 2,
                                      .expert_bytes = 99090432,
                                      .dense_bytes = 1000906752,
                                      .kv_bytes = 536.8e6,
                                      .dense_weights = 1.6e9,
                                      .expert_weights = 176160768};
static const mox_work qwen3_work = {.n_layers = 48,
                                    .n_moe_layers = 48,
                                    .n_experts = 128,
                                    .top_k = 8,
                                    .expert_bytes = 2860646.4,
                                    .dense_bytes = 0.8e9,
                                    .kv_bytes = 402.8e6};

static void agree(const mox_work *w, const expected *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        mox_machine m = machine(list[i].box);
        for (int way = 0; way < MOX_WAYS; way++) {
            mox_cost c = mox_cost_token(&m, w, (mox_hits){list[i].h, 1 - list[i].h}, (mox_way)way);
            double ms = c.total_s * 1e3, sum = 0;
            for (int p = 0; p < MOX_PARTS; p++) {
                cr_assert(c.part_s[p] >= 0 && c.part_s[p] <= c.part_s[c.bottleneck]);
                sum += c.part_s[p];
            }
            cr_assert(fabs(sum - c.total_s) < 1e-12, "the parts are the whole");
            cr_assert(fabs(ms / list[i].ms[way] - 1) < 0.03, "box %d, hits %.1f, %s: %.3f ms, expected %.3f",
                      list[i].box, list[i].h, mox_way_name((mox_way)way), ms, list[i].ms[way]);
        }
    }
}

Test(cost, agrees_with_the_roofline)
{
    agree(&mixtral_work, mixtral, sizeof mixtral / sizeof *mixtral);
    agree(&qwen3_work, qwen3, sizeof qwen3 / sizeof *qwen3);
}

Test(cost, what_cpu_and_copies_get_together_is_capped_by_dram)
{
    mox_machine m = machine(4);
    mox_hits h = {0.5, 0.5};
    double link = mox_cost_token(&m, &mixtral_work, h, MOX_WAY_COPY).total_s;
    m.dram_bps = 40e9; /* less than the link */
    double capped = mox_cost_token(&m, &mixtral_work, h, MOX_WAY_COPY).total_s;
    double misses_s = 32 * 2 * 0.5 * 99090432.0 * (1 / 40e9 - 1 / 52e9);
    cr_assert(fabs(capped - link - misses_s) < 0.01 * misses_s, "%g more, %g expected", capped - link,
              misses_s);
    double split = mox_cost_token(&m, &mixtral_work, h, MOX_WAY_SPLIT).total_s;
    double cpu = mox_cost_token(&m, &mixtral_work, h, MOX_WAY_CPU).total_s;
    cr_assert(split > 0.99 * cpu, "with DRAM full there is nothing to gain by splitting");
}

Test(cost, names_the_best_way_and_says_tie_within_5_percent)
{
    uint32_t ties = 0, clear = 0;
    for (size_t i = 0; i < sizeof mixtral / sizeof *mixtral; i++) {
        const expected *e = &mixtral[i];
        mox_machine m = machine(e->box);
        mox_choice_of_way c = mox_cost_choose(&m, &mixtral_work, (mox_hits){e->h, 1 - e->h});
        double best = fmin(e->ms[0], fmin(e->ms[1], e->ms[2])), over = e->ms[MOX_WAY_CPU] / best;
        if (over > 1.001 && over < 1.049) {
            cr_assert(c.tie && c.best == MOX_WAY_CPU, "box %d hits %.1f: a tie", e->box, e->h);
            ties++;
        } else if (over > 1.051) {
            cr_assert(!c.tie && fabs(e->ms[c.best] / best - 1) < 1e-3, "box %d hits %.1f: %s", e->box, e->h,
                      mox_way_name(c.best));
            clear++;
        }
    }
    cr_assert(ties >= 3 && clear >= 3, "both are in the table: %u, %u", ties, clear);
}

/* Every card of 16 GB in the table, on PCIe 4 and DDR5, at every hit rate. */
Test(cost, never_plain_copy_for_mixtral_on_16_gb_with_pcie_4_and_ddr5)
{
    static const char *const links[] = {"pcie4x8", "pcie4x16"}, *const hosts[] = {"ddr5-6000", "ddr5-7200"};
    uint32_t n = 0;
    for (const mox_hw *card = mox_hardware; card->name; card++) {
        if (card->kind != MOX_HW_CARD || card->vram_gib < 15.9 || card->vram_gib > 16.1) {
            continue;
        }
        for (int k = 0; k < 4; k++) {
            char names[80];
            mox_hw_spec s;
            snprintf(names, sizeof names, "%s,%s,%s", card->name, links[k / 2], hosts[k % 2]);
            cr_assert(mox_hw_find(names, &s) == MOX_OK);
            for (int i = 0; i < 100; i++) {
                mox_choice_of_way c =
                    mox_cost_choose(&s.machine, &mixtral_work, (mox_hits){i / 100.0, 1 - i / 100.0});
                cr_assert(c.best != MOX_WAY_COPY, "%s at %d %%", names, i);
                n++;
            }
        }
    }
    cr_assert(n >= 5 * 4 * 100);
}

Test(cost, without_a_gpu_the_slower_of_disk_and_ram_decides)
{
    mox_machine m = {.cpu_bps = 20e9, .dram_bps = 22e9, .disk_bps = 1e9, .cpu_ops = 1e12};
    mox_cost all = mox_cost_token(&m, &mixtral_work, (mox_hits){0, 1}, MOX_WAY_CPU);
    double bytes = 64 * 99090432.0 + 1000906752 + 536.8e6;
    cr_assert(fabs(all.total_s - bytes / 20e9) < 1e-9);
    cr_assert_eq(all.bottleneck, MOX_PART_RESIDENT);
    mox_cost none = mox_cost_token(&m, &mixtral_work, (mox_hits){0, 0}, MOX_WAY_CPU);
    double read_s = 64 * 99090432.0 / 1e9, last_s = 32 * 99090432.0 / 20e9;
    double dense_s = (1000906752 + 536.8e6) / 20e9;
    cr_assert(fabs(none.total_s - read_s - last_s - dense_s) < 1e-9);
    cr_assert_eq(none.bottleneck, MOX_PART_DISK);
    double before = 0;
    for (int i = 20; i >= 0; i--) {
        double t = mox_cost_token(&m, &mixtral_work, (mox_hits){0, i / 20.0}, MOX_WAY_CPU).total_s;
        cr_assert(t > before, "fewer hits cost more");
        before = t;
    }
}

/* n rows with top 2 of 8, alike: 8 (1 - (3/4)^n). */
Test(cost, unions_of_micro_batches)
{
    for (uint32_t n = 1; n < 40; n++) {
        cr_assert(fabs(mox_cost_union(&mixtral_work, n, NULL) - 8 * (1 - pow(0.75, n))) < 1e-9);
    }
    double skewed[8] = {0.5, 0.5};
    cr_assert(fabs(mox_cost_union(&mixtral_work, 16, skewed) - 2) < 1e-9, "two experts have all uses");
    mox_machine m = machine(3);
    mox_hits half = {0.5, 0.5};
    double one = mox_cost_batch(&m, &mixtral_work, half, 512, NULL).total_s / 512;
    double four = mox_cost_batch(&m, &mixtral_work, half, 2048, NULL).total_s / 2048;
    cr_assert(four < one, "a larger micro-batch reads each expert for more tokens");
    mox_cost streamed = mox_cost_batch(&m, &mixtral_work, half, 512, NULL);
    double bytes = 0.5 * 32 * 8 * 99090432.0; /* what is not resident, once */
    double whole = streamed.part_s[MOX_PART_RESIDENT] + streamed.part_s[MOX_PART_MISS];
    cr_assert(fabs(whole / (bytes / 25e9) - 1) < 0.01);
}

Test(hardware, lists_are_parsed_and_unknown_names_are_errors)
{
    mox_hw_spec s;
    cr_assert(mox_hw_find("4060ti16", &s) == MOX_OK);
    cr_assert_str_eq(s.part[MOX_HW_LINK]->name, "pcie4x8");
    cr_assert_str_eq(s.part[MOX_HW_HOST]->name, "ddr5-6000");
    cr_assert_eq(s.vram_bytes, 16ull << 30);
    cr_assert(mox_hw_find("gen5,ddr4-3200", &s) == MOX_OK);
    cr_assert(s.vram_bytes == 0 && s.machine.vram_bps == 0 && s.machine.cpu_bps == 40e9 &&
              s.machine.disk_bps == 11.5e9);
    static const char *const bad[] = {"", "rtx9999", "4080,", "4080,4090", ",4080", "pcie4x16", "4080,,gen4"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert(mox_hw_find(bad[i], &s) == MOX_E_OPTION, "'%s'", bad[i]);
    }
}
