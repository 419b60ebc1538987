/* What the policy files share: the rows of the table and the two comparisons most of them are made of. */
#ifndef MOX_OFFLOAD_POLICY_INTERNAL_H
#define MOX_OFFLOAD_POLICY_INTERNAL_H

#include "offload/policy/policy.h"
#include "offload/policy/replay.h"

extern const mox_policy_ops mox_policy_lru;
extern const mox_policy_ops mox_policy_lfu;
extern const mox_policy_ops mox_policy_dlfu;
extern const mox_policy_ops mox_policy_static;
extern const mox_policy_ops mox_policy_belady;

/* What replay and curves share. check: ids in range. entries: length of cfg->experts. next_uses: for every entry the layer
 * step of its next use, UINT64_MAX: none; layer steps count from 1, as in the store (0 = never used); layer_step
 * [n_layers] is zero before and after. order: of a layer, what is kept at open: by prior, of equals the lowest ids. */
MOX_NODISCARD mox_err mox_replay_check(const mox_replay_cfg *cfg);
size_t mox_replay_entries(const mox_replay_cfg *cfg);
void mox_replay_next_uses(const mox_replay_cfg *cfg, mox_expert_stat *stats, uint64_t *layer_step,
                          uint64_t *next_use);
void mox_replay_order(const mox_replay_cfg *cfg, uint32_t layer, mox_expert_stat *stats, uint32_t *order);

/* Share of its heat that an expert keeps from one layer step to the next: half after 34 steps. The best of
 * {0.7 ... 0.98} on recorded Mixtral routing with one list per layer. */
#define MOX_HEAT_DECAY 0.98f

/* Between experts that a policy values alike (often: neither was used yet) the one with less saved heat goes,
 * then the one with the higher id. The order of the list never decides, so that run and replay agree. */
static inline bool mox_policy_tie(const mox_policy_view *view, uint32_t a, uint32_t b)
{
    float pa = view->stats[a].prior;
    float pb = view->stats[b].prior;
    return pa != pb ? pa < pb : a > b;
}

#endif
