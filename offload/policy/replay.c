/* One pass over the steps in order, per-layer tables of statistics and of kept experts. For Belady's rule a
 * backward pass first notes, for every (step, expert), the layer step of its next use. */
#include "offload/policy/replay.h"

#include "offload/policy/policy_internal.h"

#include <stdlib.h>
#include <string.h>

#define NOWHERE UINT32_MAX

/* A transit slot. */
typedef struct passing {
    bool full;
    uint32_t layer, expert;
    uint64_t last; /* step that used it */
} passing;

typedef struct replay {
    const mox_replay_cfg *cfg;
    mox_expert_stat *stats; /* [n_layers][n_experts] */
    uint32_t *kept;         /* [n_layers][n_experts], the first n_kept[layer] are valid */
    uint32_t *place;        /* [n_layers][n_experts]: where in kept, NOWHERE: not kept */
    uint64_t *in_step;      /* [n_experts]: the last step whose set it was in */
    uint64_t now;           /* counts steps of all layers */
    uint32_t *n_kept;       /* [n_layers] */
    uint64_t *layer_step;   /* [n_layers] */
    uint64_t *next_use;     /* per entry of cfg->experts */
    uint32_t *open;         /* [n_experts]: kept experts outside the step's set, for the view */
    uint32_t *open_at;      /* [n_experts]: their places in kept */
    passing *transit;       /* [classes][cfg->transit] */
} replay;

mox_err mox_replay_check(const mox_replay_cfg *cfg)
{
    for (size_t i = 0; i < cfg->n_steps; i++) {
        const mox_replay_step *s = &cfg->steps[i];
        if (s->layer >= cfg->n_layers) {
            return MOX_FAIL(MOX_E_ARG, "replay: step %zu has layer %u of %u", i, s->layer, cfg->n_layers);
        }
        for (uint32_t k = 0; k < s->n; k++) {
            if (cfg->experts[s->first + k] >= cfg->n_experts) {
                return MOX_FAIL(MOX_E_ARG, "replay: step %zu has expert %u of %u", i,
                                cfg->experts[s->first + k], cfg->n_experts);
            }
        }
    }
    return MOX_OK;
}

void mox_replay_next_uses(const mox_replay_cfg *cfg, mox_expert_stat *stats, uint64_t *layer_step,
                          uint64_t *next_use)
{
    for (size_t i = 0; i < (size_t)cfg->n_layers * cfg->n_experts; i++) {
        stats[i].next_use = UINT64_MAX;
    }
    for (size_t i = 0; i < cfg->n_steps; i++) {
        layer_step[cfg->steps[i].layer]++;
    }
    for (size_t i = cfg->n_steps; i-- > 0;) {
        const mox_replay_step *s = &cfg->steps[i];
        mox_expert_stat *of_layer = stats + (size_t)s->layer * cfg->n_experts;
        for (uint32_t k = 0; k < s->n; k++) {
            uint32_t expert = cfg->experts[s->first + k];
            next_use[s->first + k] = of_layer[expert].next_use;
            of_layer[expert].next_use = layer_step[s->layer];
        }
        layer_step[s->layer]--;
    }
}

void mox_replay_order(const mox_replay_cfg *cfg, uint32_t layer, mox_expert_stat *stats, uint32_t *order)
{
    for (uint32_t e = 0; e < cfg->n_experts; e++) {
        stats[e].prior = cfg->prior ? cfg->prior[(size_t)layer * cfg->n_experts + e] : 0.0f;
        uint32_t at = e;
        while (at > 0 && stats[order[at - 1]].prior < stats[e].prior) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = e;
    }
}

/* At open the tier holds the experts with the highest prior, of equals those with the lowest ids. */
static void fill(replay *r)
{
    const mox_replay_cfg *cfg = r->cfg;
    for (uint32_t layer = 0; layer < cfg->n_layers; layer++) {
        mox_expert_stat *stats = r->stats + (size_t)layer * cfg->n_experts;
        uint32_t *kept = r->kept + (size_t)layer * cfg->n_experts;
        mox_replay_order(cfg, layer, stats, kept);
        uint32_t quota = cfg->quota[layer];
        r->n_kept[layer] = quota < cfg->n_experts ? quota : cfg->n_experts;
        for (uint32_t i = 0; i < cfg->n_experts; i++) {
            r->place[(size_t)layer * cfg->n_experts + kept[i]] = i < r->n_kept[layer] ? i : NOWHERE;
        }
    }
}

static passing *class_of(const replay *r, uint32_t layer)
{
    const uint32_t *of = r->cfg->size_class;
    return r->transit + (size_t)(of ? of[layer] : 0) * r->cfg->transit;
}

static passing *find(const replay *r, uint32_t layer, uint32_t expert)
{
    passing *slot = class_of(r, layer);
    for (uint32_t i = 0; i < r->cfg->transit; i++) {
        if (slot[i].full && slot[i].layer == layer && slot[i].expert == expert) {
            return &slot[i];
        }
    }
    return NULL;
}

/* As the RAM tier has it: its heat, the less the longer it is until its layer comes again. */
static float promise(const replay *r, const passing *p, uint32_t layer)
{
    uint32_t n = r->cfg->n_layers, between = (p->layer + 2 * n - layer - 1) % n;
    const mox_expert_stat *stat = &r->stats[(size_t)p->layer * r->cfg->n_experts + p->expert];
    return mox_policy_heat(stat, r->layer_step[p->layer]) / (float)(1 + between);
}

/* A free slot, else the least promising of those that this step does not use, else of those that it has used. */
static void pass_through(replay *r, uint32_t layer, uint32_t expert)
{
    passing *slot = class_of(r, layer), *best = NULL;
    float least = 0;
    for (uint32_t i = 0; i < r->cfg->transit; i++) {
        passing *p = &slot[i];
        float promised = p->full ? promise(r, p, layer) : 0;
        bool used = p->full && p->last == r->now, best_used = best && best->full && best->last == r->now;
        if (!best ||
            (best->full && (!p->full || used < best_used || (used == best_used && promised < least)))) {
            best = p;
            least = promised;
        }
    }
    *best = (passing){.full = true, .layer = layer, .expert = expert, .last = r->now};
}

/* What is there is protected before room is made for what is not. */
static void travel(replay *r, const mox_replay_step *s)
{
    const uint32_t *place = r->place + (size_t)s->layer * r->cfg->n_experts;
    for (int missing = 0; missing < 2; missing++) {
        for (uint32_t k = 0; k < s->n; k++) {
            uint32_t expert = r->cfg->experts[s->first + k];
            passing *p = place[expert] == NOWHERE ? find(r, s->layer, expert) : NULL;
            if (p) {
                p->last = r->now;
            } else if (missing && place[expert] == NOWHERE) {
                pass_through(r, s->layer, expert);
            }
        }
    }
}

static void admit(replay *r, const mox_replay_step *s, uint32_t expert, mox_replay_result *count)
{
    const mox_replay_cfg *cfg = r->cfg;
    passing *from = cfg->transit ? find(r, s->layer, expert) : NULL;
    if (cfg->transit && !from) {
        return; /* its slot was needed by another one of the step */
    }
    uint32_t *kept = r->kept + (size_t)s->layer * cfg->n_experts;
    uint32_t n_open = 0;
    for (uint32_t i = 0; i < r->n_kept[s->layer]; i++) {
        if (cfg->policy->needs_future || r->in_step[kept[i]] != r->now) {
            r->open[n_open] = kept[i];
            r->open_at[n_open++] = i;
        }
    }
    mox_policy_view view = {
        .stats = r->stats + (size_t)s->layer * cfg->n_experts,
        .kept = r->open,
        .n_kept = n_open,
        .n_experts = cfg->n_experts,
        .step = r->layer_step[s->layer],
        .margin = cfg->margin,
    };
    int32_t victim = n_open ? cfg->policy->victim(&view, expert) : -1;
    if (victim >= 0) {
        uint32_t *place = r->place + (size_t)s->layer * cfg->n_experts;
        place[r->open[victim]] = NOWHERE;
        place[expert] = r->open_at[victim];
        kept[r->open_at[victim]] = expert;
        count->inserts++;
        if (from) { /* the two slots change roles */
            from->expert = r->open[victim];
            from->last = 0;
        }
    }
}

static void play(replay *r, const mox_replay_step *s, mox_replay_result *count)
{
    const mox_replay_cfg *cfg = r->cfg;
    mox_expert_stat *stats = r->stats + (size_t)s->layer * cfg->n_experts;
    const uint32_t *place = r->place + (size_t)s->layer * cfg->n_experts;
    uint64_t step = ++r->layer_step[s->layer];
    r->now++;
    for (uint32_t k = 0; k < s->n; k++) {
        uint32_t expert = cfg->experts[s->first + k];
        uint32_t uses = cfg->uses[s->first + k];
        bool hit = place[expert] != NOWHERE || (cfg->transit && find(r, s->layer, expert));
        r->in_step[expert] = r->now;
        count->uses += uses;
        count->hits += hit ? uses : 0;
        count->loads += !hit;
        stats[expert].next_use = r->next_use[s->first + k];
        mox_policy_touch(&stats[expert], step, uses);
    }
    if (cfg->transit) {
        travel(r, s);
    }
    for (uint32_t k = 0; k < s->n; k++) {
        uint32_t expert = cfg->experts[s->first + k];
        if (place[expert] == NOWHERE) {
            admit(r, s, expert, count);
        }
    }
}

size_t mox_replay_entries(const mox_replay_cfg *cfg)
{
    size_t n = 0;
    for (size_t i = 0; i < cfg->n_steps; i++) {
        size_t end = (size_t)cfg->steps[i].first + cfg->steps[i].n;
        n = end > n ? end : n;
    }
    return n;
}

void mox_replay_classes(const uint64_t *slot_bytes, uint32_t n_layers, uint32_t *size_class)
{
    uint32_t n = 0;
    for (uint32_t l = 0; l < n_layers; l++) {
        uint32_t like = 0;
        while (like < l && slot_bytes[like] != slot_bytes[l]) {
            like++;
        }
        size_class[l] = like < l ? size_class[like] : n++;
    }
}

/* counted NULL: all steps. */
static mox_err play_all(const mox_replay_cfg *cfg, const uint8_t *counted, mox_replay_result *out,
                        mox_replay_result *per_layer)
{
    MOX_TRY(mox_replay_check(cfg));
    size_t cells = (size_t)cfg->n_layers * cfg->n_experts;
    replay r = {
        .cfg = cfg,
        .stats = calloc(cells + 1, sizeof *r.stats),
        .kept = calloc(cells + 1, sizeof *r.kept),
        .place = calloc(cells + 1, sizeof *r.place),
        .in_step = calloc((size_t)cfg->n_experts + 1, sizeof *r.in_step),
        .n_kept = calloc((size_t)cfg->n_layers + 1, sizeof *r.n_kept),
        .layer_step = calloc((size_t)cfg->n_layers + 1, sizeof *r.layer_step),
        .next_use = calloc(mox_replay_entries(cfg) + 1, sizeof *r.next_use),
        .open = calloc((size_t)cfg->n_experts + 1, sizeof *r.open),
        .open_at = calloc((size_t)cfg->n_experts + 1, sizeof *r.open_at),
        .transit = calloc((size_t)cfg->transit * cfg->n_layers + 1, sizeof *r.transit),
    };
    mox_err err = MOX_OK;
    if (!r.stats || !r.kept || !r.place || !r.in_step || !r.n_kept || !r.layer_step || !r.next_use ||
        !r.open || !r.open_at || !r.transit) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "replay: no memory for %zu experts", cells);
        goto done;
    }
    mox_replay_next_uses(cfg, r.stats, r.layer_step, r.next_use);
    fill(&r);
    memset(out, 0, sizeof *out);
    if (per_layer) {
        memset(per_layer, 0, cfg->n_layers * sizeof *per_layer);
    }
    for (size_t i = 0; i < cfg->n_steps; i++) {
        mox_replay_result count = {0};
        play(&r, &cfg->steps[i], &count);
        if (counted && !counted[i]) {
            continue;
        }
        out->uses += count.uses;
        out->hits += count.hits;
        out->loads += count.loads;
        out->inserts += count.inserts;
        if (per_layer) {
            mox_replay_result *l = &per_layer[cfg->steps[i].layer];
            l->uses += count.uses;
            l->hits += count.hits;
            l->loads += count.loads;
            l->inserts += count.inserts;
        }
    }
done:
    free(r.stats);
    free(r.kept);
    free(r.place);
    free(r.in_step);
    free(r.n_kept);
    free(r.layer_step);
    free(r.next_use);
    free(r.open);
    free(r.open_at);
    free(r.transit);
    return err;
}

mox_err mox_replay(const mox_replay_cfg *cfg, mox_replay_result *out, mox_replay_result *per_layer)
{
    return play_all(cfg, NULL, out, per_layer);
}

mox_err mox_replay_part(const mox_replay_cfg *cfg, const uint8_t *counted, mox_replay_result *out)
{
    return play_all(cfg, counted, out, NULL);
}
