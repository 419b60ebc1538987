/* Replay of recorded routing through a policy: how many uses a tier with given quotas would have served.
 *
 * The order of events is that of the store: a layer step counts its hits against what is kept, accounts its
 * uses, then offers each expert that was not kept to the policy, which may name a victim outside the step's
 * own set. Every layer has its own quota; there is no list over all layers, which recorded routing shows to
 * collapse (0.2 % hits where per-layer lists get 37 %). Where `transit` says how many slots experts pass through, what
 * these still hold is found too, and goes in the order of the RAM tier; without look-ahead a run's hits are then those of
 * the replay.
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
    uint32_t transit; /* slots of each size class beside the quotas; 0: not looked at. Curves have none */
    const uint32_t *size_class; /* [n_layers], below n_layers; NULL: all layers are of one */
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
/* mox_replay_part: all steps are played, those with counted [n_steps] count in the totals. */
MOX_NODISCARD mox_err mox_replay_part(const mox_replay_cfg *cfg, const uint8_t *counted,
                                      mox_replay_result *out);
/* mox_replay_classes: size_class of layers with such slots. */
void mox_replay_classes(const uint64_t *slot_bytes, uint32_t n_layers, uint32_t *size_class);

#endif
