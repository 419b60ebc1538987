/* Least frequently used: the kept expert with the fewest uses since open makes room; of equals the one used
 * longest ago. Good on one steady text, slow to follow a change of subject. */
#include "offload/policy/policy_internal.h"

static bool colder(const mox_expert_stat *a, const mox_expert_stat *b)
{
    return a->count != b->count ? a->count < b->count : a->last_use < b->last_use;
}

static int32_t victim(const mox_policy_view *view, uint32_t candidate)
{
    (void)candidate;
    int32_t best = -1;
    for (uint32_t i = 0; i < view->n_kept; i++) {
        if (best < 0 || colder(&view->stats[view->kept[i]], &view->stats[view->kept[best]])) {
            best = (int32_t)i;
        }
    }
    return best;
}

const mox_policy_ops mox_policy_lfu = {
    .name = "lfu",
    .help = "least frequently used since open",
    .victim = victim,
};
