/* Decayed frequency with admission: the kept expert with the least heat makes room, if the candidate's heat
 * beats it by the tier's margin. The default: between lru and lfu it gives the most hits on recorded routing,
 * and the margin is what keeps a tier that pays for every insert (VRAM) from thrashing. */
#include "offload/policy/policy_internal.h"

static bool colder(const mox_policy_view *view, uint32_t a, uint32_t b)
{
    float ha = mox_policy_heat(&view->stats[a], view->step);
    float hb = mox_policy_heat(&view->stats[b], view->step);
    return ha != hb ? ha < hb : mox_policy_tie(view, a, b);
}

static bool hotter(const mox_policy_view *view, uint32_t candidate, uint32_t kept)
{
    float heat = mox_policy_heat(&view->stats[kept], view->step);
    return mox_policy_heat(&view->stats[candidate], view->step) > heat + view->margin;
}

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
    .before = colder,
    .admit = hotter,
};
