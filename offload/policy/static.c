/* Static: the experts with the highest saved heat are kept and stay; nothing that happens in the run changes
 * it, except that an expert with a higher prior takes a place that a lower one was given at open. */
#include "offload/policy/policy_internal.h"

static bool higher(const mox_policy_view *view, uint32_t candidate, uint32_t kept)
{
    return view->stats[candidate].prior > view->stats[kept].prior;
}

static int32_t victim(const mox_policy_view *view, uint32_t candidate)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < view->n_kept; i++) {
        if (best < 0 || mox_policy_tie(view, view->kept[i], view->kept[best])) {
            best = (int32_t)i;
        }
    }
    if (best >= 0 && !higher(view, candidate, view->kept[best])) {
        return -1;
    }
    return best;
}

const mox_policy_ops mox_policy_static = {
    .name = "static",
    .help = "fixed by the saved heat",
    .victim = victim,
    .before = mox_policy_tie,
    .admit = higher,
};
