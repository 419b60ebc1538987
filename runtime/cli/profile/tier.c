/* A tier in a GPU's memory over recorded routing.
 *
 * The same policy as in RAM, with what a run asks of an expert that wants to move in (a move costs a copy, so it must beat
 * the one that leaves by a margin); beside it what always admitting would bring and cost. RAM is exclusive of VRAM: what
 * both serve is what one cache of their joint size would. Speeds need the model and --gpu-spec.
 */
#include "runtime/cli/profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

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

mox_profile_tier mox_profile_tier_at(const mox_profile *p, const uint32_t *vram, const uint32_t *ram)
{
    uint32_t both[MOX_PLAN_MAX_LAYERS];
    const mox_curve *curve = p->study.curve[p->study.phase], *always = &curve[mox_profile_policy(p)];
    mox_replay_result slow = mox_curve_at(&p->in_vram, vram), any = mox_curve_at(always, vram);
    mox_hits share = mox_hits_of(&p->in_vram, always, vram, ram);
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        both[l] = vram[l] + ram[l];
    }
    mox_profile_tier t = {.uses = any.uses,
                          .vram = slow.hits,
                          .ram = share.ram > 0 ? mox_curve_at(always, both).hits - slow.hits : 0,
                          .moves = slow.inserts,
                          .always_vram = any.hits,
                          .always_moves = any.inserts,
                          .best_vram = mox_curve_at(&curve[MOX_STUDY_BELADY], vram).hits};
    if (p->has_model && p->plan.gpu) {
        t.tok_s = mox_profile_speed(p, share);
    }
    return t;
}

mox_profile_tier mox_profile_tier_even(const mox_profile *p, bool in_ram, uint32_t q)
{
    uint32_t quota[MOX_PLAN_MAX_LAYERS];
    mox_profile_quota(p, q, quota);
    return in_ram ? mox_profile_tier_at(p, p->vram, quota) : mox_profile_tier_at(p, quota, p->ram);
}
