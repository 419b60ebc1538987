/* Belady's rule, the yardstick: of what is kept and what was just used, those whose next use is nearest are kept. Needs
 * the future, so it runs in replay alone. It is not held to the store's rule that a step's own experts stay: only so
 * does it read no more experts than any policy, on any trace. */
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
    return best >= 0 && further(view, view->kept[best], candidate) ? best : -1;
}

const mox_policy_ops mox_policy_belady = {
    .name = "belady",
    .help = "the best possible, knowing the future (replay only)",
    .needs_future = true,
    .victim = victim,
    .before = further,
};
