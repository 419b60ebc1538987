/* The table of policies and the statistics they read.
 *
 * Heat is a sum of uses in which a use k layer steps ago counts DECAY^k. It is kept lazily: a stat carries
 * the step at which it was last brought up to date, so a step costs as much as it has experts, not as much as
 * the layer has. n uses in one step (a micro-batch of a prompt) count as n consecutive steps would: 1 + d +
 * d^2 +
 * ..., which a prompt cannot push past 1/(1-d); otherwise one long prompt would outweigh all decoding after
 * it.
 */
#include "offload/policy/policy.h"

#include "offload/policy/policy_internal.h"

#include <stddef.h>
#include <string.h>

const mox_policy_ops *const mox_policies[] = {
    &mox_policy_dlfu, &mox_policy_lru, &mox_policy_lfu, &mox_policy_static, &mox_policy_belady, NULL,
};

const mox_policy_ops *mox_policy_by_name(const char *name)
{
    if (strcmp(name, "auto") == 0) {
        return &mox_policy_dlfu;
    }
    for (size_t i = 0; mox_policies[i]; i++) {
        if (strcmp(name, mox_policies[i]->name) == 0) {
            return mox_policies[i];
        }
    }
    return NULL;
}

/* DECAY^n by squaring: no libm, and zero once it no longer matters. */
static float decay_pow(uint64_t n)
{
    float result = 1.0f;
    float base = MOX_HEAT_DECAY;
    for (; n; n >>= 1) {
        if (n & 1) {
            result *= base;
        }
        base *= base;
    }
    return result;
}

float mox_policy_heat(const mox_expert_stat *stat, uint64_t step)
{
    return stat->heat * decay_pow(step - stat->last_heat);
}

void mox_policy_touch(mox_expert_stat *stat, uint64_t step, uint32_t n_uses)
{
    float gain = (1.0f - decay_pow(n_uses)) / (1.0f - MOX_HEAT_DECAY);
    stat->heat = mox_policy_heat(stat, step) + gain;
    stat->last_heat = step;
    stat->last_use = step;
    stat->count += n_uses;
}
