/* Least recently used: the kept expert whose last use is the longest ago makes room, always. */
#include "offload/policy/policy_internal.h"

static int32_t victim(const mox_policy_view *view, uint32_t candidate)
{
    (void)candidate;
    int32_t best = -1;
    for (uint32_t i = 0; i < view->n_kept; i++) {
        if (best < 0 || view->stats[view->kept[i]].last_use < view->stats[view->kept[best]].last_use) {
            best = (int32_t)i;
        }
    }
    return best;
}

const mox_policy_ops mox_policy_lru = {
    .name = "lru",
    .help = "least recently used",
    .victim = victim,
};
