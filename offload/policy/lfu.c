/* Least frequently used: the kept expert with the fewest uses since open makes room; of equals the one used
 * longest ago. Good on one steady text, slow to follow a change of subject. */
#include "offload/policy/policy_internal.h"

static bool colder(const mox_policy_view *view, uint32_t a, uint32_t b)
{
    const mox_expert_stat *sa = &view->stats[a];
    const mox_expert_stat *sb = &view->stats[b];
    if (sa->count != sb->count) {
        return sa->count < sb->count;
    }
    return sa->last_use != sb->last_use ? sa->last_use < sb->last_use : mox_policy_tie(view, a, b);
}

static int32_t victim(const mox_policy_view *view, uint32_t candidate)
{
    (void)candidate;
    int32_t best = -1;
    for (uint32_t i = 0; i < view->n_kept; i++) {
        if (best < 0 || colder(view, view->kept[i], view->kept[best])) {
            best = (int32_t)i;
        }
    }
    return best;
}

const mox_policy_ops mox_policy_lfu = {
    .name = "lfu",
    .help = "least frequently used since open",
    .victim = victim,
    .before = colder,
};
