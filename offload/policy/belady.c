/* Belady's rule, the yardstick: the kept expert whose next use is furthest away makes room, unless the
 * candidate's own next use is further still. Needs the future, so it runs in replay alone. */
#include "offload/policy/policy_internal.h"

static bool further(const mox_policy_view *view, uint32_t a, uint32_t b)
{
    uint64_t na = view->stats[a].next_use;
    uint64_t nb = view->stats[b].next_use;
    return na != nb ? na > nb : mox_policy_tie(view, a, b);
}

static int32_t victim(const mox_policy_view *view, uint32_t candidate)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < view->n_kept; i++) {
        if (best < 0 || further(view, view->kept[i], view->kept[best])) {
            best = (int32_t)i;
        }
    }
    if (best >= 0 && view->stats[candidate].next_use >= view->stats[view->kept[best]].next_use) {
        return -1;
    }
    return best;
}

const mox_policy_ops mox_policy_belady = {
    .name = "belady",
    .help = "the best possible, knowing the future (replay only)",
    .needs_future = true,
    .victim = victim,
};
