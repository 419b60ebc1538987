/* What the policy files share: the rows of the table and the two comparisons most of them are made of. */
#ifndef MOX_OFFLOAD_POLICY_INTERNAL_H
#define MOX_OFFLOAD_POLICY_INTERNAL_H

#include "offload/policy/policy.h"

extern const mox_policy_ops mox_policy_lru;
extern const mox_policy_ops mox_policy_lfu;
extern const mox_policy_ops mox_policy_dlfu;
extern const mox_policy_ops mox_policy_static;
extern const mox_policy_ops mox_policy_belady;

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
