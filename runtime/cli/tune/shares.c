/* Shares of layers for `moxie tune`: how the memory that the plan gives to experts is best dealt, by recorded routing.
 *
 * One turn is recorded. What its first answers say (those that warm up, which are not those that settings are judged
 * by) go through the policy once, for all sizes (offload/policy/curve.h); then the experts are dealt one after another
 * to the layer that gains most hits for its bytes. The search measures the result as it does any other setting.
 */
#include "runtime/cli/tune/tune.h"

#include "offload/policy/curve.h"
#include "runtime/plan/placement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 9 }; /* a digit */

/* Experts of each layer. */
static void deal(const mox_plan *plan, const mox_curve *c, uint32_t *quota)
{
    uint64_t left = plan->expert_bytes;
    memset(quota, 0, plan->n_moe_layers * sizeof *quota);
    for (;;) {
        uint32_t best = UINT32_MAX;
        double most = -1;
        for (uint32_t l = 0; l < plan->n_moe_layers; l++) {
            const uint64_t *hits = c->hits + (size_t)l * (c->n_experts + 1) + quota[l];
            if (quota[l] == c->n_experts || plan->slot_bytes[l] > left) {
                continue;
            }
            double gain = ((double)hits[1] - (double)hits[0]) / (double)plan->slot_bytes[l];
            if (gain > most) {
                best = l;
                most = gain;
            }
        }
        if (best == UINT32_MAX) {
            return;
        }
        left -= plan->slot_bytes[best];
        quota[best]++;
    }
}

static void digits(const uint32_t *quota, uint32_t n, char *out)
{
    uint32_t most = 1;
    bool even = true;
    for (uint32_t l = 0; l < n; l++) {
        most = quota[l] > most ? quota[l] : most;
        even = even && quota[l] == quota[0];
    }
    for (uint32_t l = 0; l < n; l++) {
        long d = most <= MOST ? (long)quota[l] : lround((double)MOST * quota[l] / most);
        out[l] = (char)('0' + (d == 0 && quota[l] > 0 ? 1 : d));
    }
    out[even ? 0 : n] = '\0';
}

mox_err mox_tune_shares(const mox_tune *t, char out[MOX_TUNED_VALUE])
{
    static uint32_t quota[MOX_PLAN_MAX_LAYERS];
    static mox_plan plan;
    mox_routing routing = {0};
    mox_curve curve;
    out[0] = '\0';
    MOX_TRY(mox_plan_model(&plan, &t->o->cfg));
    if (plan.n_moe_layers >= MOX_TUNED_VALUE) {
        return MOX_OK;
    }
    MOX_TRY(mox_tune_record(t, t->o, &routing));
    mox_replay_cfg cfg = mox_routing_replay(&routing, MOX_PHASE_DECODE, mox_policy_by_name(t->o->cfg.policy),
                                            mox_ram_margin(&t->o->cfg));
    cfg.n_steps /= 1 + mox_tune_passes(t);
    mox_err err = cfg.n_steps > 0 ? mox_curve_make(&cfg, &curve) : MOX_OK;
    if (err == MOX_OK && cfg.n_steps > 0) {
        deal(&plan, &curve, quota);
        digits(quota, plan.n_moe_layers, out);
        mox_curve_free(&curve);
    }
    mox_routing_free(&routing);
    return err;
}
