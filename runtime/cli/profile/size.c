/* What sizes would have brought: hits of every policy, bytes, speed. */
#include "runtime/cli/profile/profile.h"

#include <stdlib.h>
#include <string.h>

void mox_profile_quota(const mox_profile *p, uint32_t q, uint32_t *quota)
{
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        quota[l] = q;
    }
}

double mox_profile_mean(const mox_profile *p, const uint32_t *quota)
{
    double sum = 0;
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        sum += quota[l];
    }
    return sum / p->routing.h.n_layers;
}

uint32_t mox_profile_after(const mox_profile *p, uint32_t q)
{
    enum { ROWS = 16 };
    uint32_t n = p->routing.h.n_experts, step = n > ROWS ? n / ROWS : 1;
    return q < n && n - q < step ? n : q + step;
}

int mox_profile_policy(const mox_profile *p)
{
    const char *name = p->o->cfg.policy;
    for (int k = 0; name && k < MOX_STUDY_POLICIES; k++) {
        if (strcmp(mox_study_name(k), name) == 0) {
            return k;
        }
    }
    return MOX_STUDY_DLFU;
}

double mox_profile_speed(const mox_profile *p, mox_hits h)
{
    mox_way way = mox_cost_choose(&p->plan.machine, &p->view.work, h).best;
    return 1 / mox_cost_token(&p->plan.machine, &p->view.work, h, way).total_s;
}

static double bytes_of(const mox_profile *p, const uint32_t *quota)
{
    char text[8192], *at = text;
    double sum = 0;
    mox_trace_info(&p->routing.trace, "slot_bytes", text, sizeof text);
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        uint64_t one = p->has_model ? p->view.plan.slot_bytes[l] : strtoull(at, &at, 10);
        sum += quota[l] * (double)one;
    }
    return sum;
}

mox_profile_point mox_profile_at(const mox_profile *p, const uint32_t *quota)
{
    mox_profile_point at = {.bytes = bytes_of(p, quota)};
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        at.served[k] = mox_study_served(&p->study, p->study.phase, k, quota);
        at.rate[k] = mox_study_rate(&p->study, p->study.phase, k, quota);
    }
    if (p->has_model) {
        at.tok_s = p->plan.gpu ? mox_profile_tier_at(p, quota, p->ram).tok_s
                               : mox_profile_speed(p, (mox_hits){0, at.rate[mox_profile_policy(p)]});
    }
    return at;
}

mox_profile_point mox_profile_even(const mox_profile *p, uint32_t q)
{
    uint32_t quota[MOX_PLAN_MAX_LAYERS];
    mox_profile_quota(p, q, quota);
    return mox_profile_at(p, quota);
}

/* The curve goes from nothing with no expert to everything with all of them. */
uint32_t mox_profile_knee(const mox_profile *p)
{
    uint32_t n = p->routing.h.n_experts, best = 0, quota[MOX_PLAN_MAX_LAYERS];
    double above = 0, all = (double)p->study.pairs[p->study.phase];
    for (uint32_t q = 0; q <= n; q++) {
        mox_profile_quota(p, q, quota);
        double d = (double)mox_study_served(&p->study, p->study.phase, MOX_STUDY_DLFU, quota) - all * q / n;
        best = d > above ? q : best;
        above = d > above ? d : above;
    }
    return best;
}

int64_t mox_profile_one_list(const mox_profile *p, uint32_t *kept)
{
    *kept = 0;
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        *kept += p->kept[l];
    }
    return mox_study_one_list(&p->study, *kept);
}
