/* moxie profile what-if --vram, --vram-experts: a tier in a GPU's memory over recorded routing.
 *
 * The same policy as in RAM, with what a run asks of an expert that wants to move in (a move costs a copy, so it must beat
 * the one that leaves by a margin); beside it what always admitting would bring and cost. RAM is exclusive of VRAM: what
 * both serve is what one cache of their joint size would. Speeds need the model and --gpu-spec.
 */
#include "runtime/cli/profile_cmd.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 16 };

mox_err mox_profile_tier_make(mox_profile *p)
{
    const char *name = mox_study_name(mox_profile_policy(p));
    mox_replay_cfg cfg =
        mox_routing_replay(&p->routing, p->study.phase, mox_policy_by_name(name), MOX_VRAM_MARGIN);
    return mox_curve_make(&cfg, &p->in_vram);
}

/* So many of all experts, the same for each layer and one more for the first. */
static void deal_number(const mox_profile *p, const mox_budget *b, uint32_t *out)
{
    uint32_t layers = p->routing.h.n_layers;
    uint64_t all = (uint64_t)layers * p->routing.h.n_experts;
    uint64_t n = b->kind == MOX_BUDGET_EXPERTS ? b->experts : (uint64_t)llround((double)all * b->pct / 100);
    n = n < all ? n : all;
    for (uint32_t l = 0; l < layers; l++) {
        out[l] = (uint32_t)(n / layers + (l < n % layers));
    }
}

/* One more for each layer in turn while it fits, of experts as big as the model or the trace says. */
static mox_err deal_bytes(const mox_profile *p, uint64_t left, uint32_t *out)
{
    char text[8192], *at = text;
    uint64_t slot[MOX_PLAN_MAX_LAYERS];
    if (!p->has_model && !mox_trace_info(&p->routing.trace, "slot_bytes", text, sizeof text)) {
        (void)!MOX_FAIL(MOX_E_CONFLICT, "--vram: trace %.200s does not say how big its experts are",
                        p->trace);
        return mox_err_fix("--vram-experts N\n--model FILE");
    }
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        slot[l] = p->has_model ? p->view.plan.slot_bytes[l] : strtoull(at, &at, 10);
        out[l] = 0;
    }
    for (bool more = true; more;) {
        more = false;
        for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
            if (out[l] < p->routing.h.n_experts && slot[l] > 0 && slot[l] <= left) {
                out[l]++;
                left -= slot[l];
                more = true;
            }
        }
    }
    return MOX_OK;
}

static bool in_experts(const mox_budget *b)
{
    return b->kind == MOX_BUDGET_EXPERTS || b->kind == MOX_BUDGET_EXPERTS_PCT;
}

mox_err mox_profile_tier_deal(mox_profile *p)
{
    const mox_budget *vram = &p->o->cfg.vram, *ram = &p->o->cfg.ram;
    bool gpu = p->has_model && p->plan.gpu;
    p->has_vram = gpu || vram->kind != MOX_BUDGET_AUTO;
    if (p->has_model) {
        memcpy(p->vram, p->view.tiers.vram, sizeof p->vram);
        memcpy(p->ram, p->view.tiers.ram, sizeof p->ram);
    } else if (in_experts(ram)) {
        deal_number(p, ram, p->ram);
    }
    if (in_experts(vram)) {
        deal_number(p, vram, p->vram);
    } else if (!gpu && vram->kind == MOX_BUDGET_BYTES) {
        MOX_TRY(deal_bytes(p, vram->bytes, p->vram));
    } else if (!gpu && p->has_vram) {
        (void)!MOX_FAIL(MOX_E_CONFLICT, "--vram: a share is of a card, which only --gpu-spec names");
        return mox_err_fix("--vram SIZE\n--vram-experts N");
    }
    return MOX_OK;
}

double mox_profile_speed(const mox_profile *p, mox_hits h)
{
    mox_way way = mox_cost_choose(&p->plan.machine, &p->view.work, h).best;
    return 1 / mox_cost_token(&p->plan.machine, &p->view.work, h, way).total_s;
}

mox_profile_tier mox_profile_tier_at(const mox_profile *p, const uint32_t *vram)
{
    const mox_curve *always = &p->study.curve[mox_profile_policy(p)];
    mox_replay_result slow = mox_curve_at(&p->in_vram, vram), any = mox_curve_at(always, vram);
    mox_replay_result best = mox_curve_at(&p->study.curve[MOX_STUDY_BELADY], vram);
    uint64_t tokens = p->routing.n_tokens[p->study.phase];
    double uses = any.uses ? (double)any.uses : 1, per = tokens ? (double)tokens : 1;
    mox_profile_tier t = {.hits = mox_hits_of(&p->in_vram, always, vram, p->ram),
                          .moves = (double)slow.inserts / per,
                          .always_vram = (double)any.hits / uses,
                          .always_moves = (double)any.inserts / per,
                          .best_vram = (double)best.hits / uses};
    if (p->has_model && p->plan.gpu) {
        t.tok_s = mox_profile_speed(p, t.hits);
    }
    return t;
}

static double mean(const mox_profile *p, const uint32_t *quota)
{
    double sum = 0;
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        sum += quota[l];
    }
    return sum / p->routing.h.n_layers;
}

static void row(const mox_profile *p, const char *label, const uint32_t *vram)
{
    mox_profile_tier t = mox_profile_tier_at(p, vram);
    printf("  %-12s %7.2f %7.2f %7.2f %8.2f  %7.2f %8.2f  %7.2f", label, 100 * t.hits.vram, 100 * t.hits.ram,
           100 * (1 - t.hits.vram - t.hits.ram), t.moves, 100 * t.always_vram, t.always_moves,
           100 * t.best_vram);
    if (t.tok_s > 0) {
        printf("  %8.1f", t.tok_s);
    }
    putchar('\n');
}

void mox_profile_tier_text(const mox_profile *p)
{
    uint32_t n = p->routing.h.n_experts, step = n > ROWS ? n / ROWS : 1, quota[MOX_PLAN_MAX_LAYERS];
    char label[32];
    if (!p->has_vram) {
        return;
    }
    printf("\na GPU's memory over RAM (%s; RAM keeps %.2f a layer beside it)\n"
           "  %-12s %7s %7s %7s %8s  %16s  %7s%s\n",
           mox_study_name(mox_profile_policy(p)), mean(p, p->ram), "VRAM/layer", "VRAM %", "RAM %", "file %",
           "moves/t", "always: % moves/t", "best %", p->has_model && p->plan.gpu ? "  tok/s pred." : "");
    for (uint32_t q = 0; q <= n; q += step) {
        mox_profile_quota(p, q, quota);
        snprintf(label, sizeof label, "%u", q);
        row(p, label, quota);
    }
    snprintf(label, sizeof label, "asked %.2f", mean(p, p->vram));
    row(p, label, p->vram);
}

void mox_profile_tier_json(const mox_profile *p, mox_json *j)
{
    if (!p->has_vram) {
        return;
    }
    mox_profile_tier t = mox_profile_tier_at(p, p->vram);
    mox_json_object(j, "vram_tier");
    mox_json_f64(j, "vram_per_layer", mean(p, p->vram));
    mox_json_f64(j, "ram_per_layer", mean(p, p->ram));
    mox_json_f64(j, "vram", t.hits.vram);
    mox_json_f64(j, "ram", t.hits.ram);
    mox_json_f64(j, "moves_per_token", t.moves);
    mox_json_f64(j, "vram_always_admitting", t.always_vram);
    mox_json_f64(j, "moves_per_token_always_admitting", t.always_moves);
    mox_json_f64(j, "vram_best", t.best_vram);
    mox_json_f64(j, "tok_s", t.tok_s);
    mox_json_object_end(j);
}
