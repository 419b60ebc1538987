/* Least recently used: the kept expert whose last use is the longest ago makes room, always. */
#include "offload/policy/policy_internal.h"

static bool older(const mox_policy_view *view, uint32_t a, uint32_t b)
{
    uint64_t la = view->stats[a].last_use;
    uint64_t lb = view->stats[b].last_use;
    return la != lb ? la < lb : mox_policy_tie(view, a, b);
}

static int32_t victim(const mox_policy_view *view, uint32_t candidate)
{
    (void)candidate;
    int32_t best = -1;
    for (uint32_t i = 0; i < view->n_kept; i++) {
        if (best < 0 || older(view, view->kept[i], view->kept[best])) {
            best = (int32_t)i;
        }
    }
    return best;
}

const mox_policy_ops mox_policy_lru = {
    .name = "lru",
    .help = "least recently used",
    .victim = victim,
    .before = older,
};
