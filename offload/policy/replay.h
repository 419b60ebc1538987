/* Replay of recorded routing through a policy: how many uses a tier with given quotas would have served.
 *
 * The order of events is that of the store: a layer step counts its hits against what is kept, accounts its
 * uses, then offers each expert that was not kept to the policy, which may name a victim outside the step's
 * own set. Every layer has its own quota; there is no list over all layers, which recorded routing shows to
 * collapse (0.2 % hits where per-layer lists get 37 %). Transit slots are not modelled: what they keep by
 * chance is a bonus of the run.
 */
#ifndef MOX_OFFLOAD_REPLAY_H
#define MOX_OFFLOAD_REPLAY_H

#include "offload/policy/policy.h"
#include "runtime/core/err.h"

#include <stddef.h>

/* One layer step: n distinct experts with their uses, at first in the arrays of mox_replay_cfg. */
typedef struct mox_replay_step {
    uint32_t layer;
    uint32_t first, n;
} mox_replay_step;

typedef struct mox_replay_cfg {
    uint32_t n_layers, n_experts;
    const uint32_t *quota; /* [n_layers] */
    const mox_policy_ops *policy;
    float margin;
    const float
        *prior; /* [n_layers][n_experts] saved heat, may be NULL; also decides what is kept at first */
    const mox_replay_step *steps;
    size_t n_steps;
    const uint32_t *experts, *uses;
} mox_replay_cfg;

typedef struct mox_replay_result {
    uint64_t uses, hits;
    uint64_t loads;   /* experts read: (step, expert) pairs that were not kept */
    uint64_t inserts; /* of these, admitted */
} mox_replay_result;

/* mox_replay: out totals; per_layer [n_layers] or NULL. Errors MOX_E_ARG (ids out of range), MOX_E_NO_MEMORY.
 * Threads: any, no shared state. */
MOX_NODISCARD mox_err mox_replay(const mox_replay_cfg *cfg, mox_replay_result *out,
                                 mox_replay_result *per_layer);

#endif
