/* Decayed frequency with admission: the kept expert with the least heat makes room, if the candidate's heat
 * beats it by the tier's margin. The default: between lru and lfu it gives the most hits on recorded routing,
 * and the margin is what keeps a tier that pays for every insert (VRAM) from thrashing. */
#include "offload/policy/policy_internal.h"

static int32_t victim(const mox_policy_view *view, uint32_t candidate)
{
    int32_t best = -1;
    float coldest = 0.0f;
    for (uint32_t i = 0; i < view->n_kept; i++) {
        float heat = mox_policy_heat(&view->stats[view->kept[i]], view->step);
        if (best < 0 || heat < coldest ||
            (heat == coldest && mox_policy_tie(view, view->kept[i], view->kept[best]))) {
            best = (int32_t)i;
            coldest = heat;
        }
    }
    if (best >= 0 && mox_policy_heat(&view->stats[candidate], view->step) <= coldest + view->margin) {
        return -1;
    }
    return best;
}

const mox_policy_ops mox_policy_dlfu = {
    .name = "dlfu",
    .help = "least decayed frequency (the default)",
    .victim = victim,
};
