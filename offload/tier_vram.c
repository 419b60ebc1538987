/* The VRAM tier: which experts lie there, and which move in.
 *
 * A layer has slots of its own and never another's: one list for all collapses, as in RAM. The slots go through the
 * transition function of RAM slots, with a copy over the link as their one read. An expert that was used from RAM moves in
 * where there is room, or where the policy names a victim that it beats by a margin (a move costs a transfer, so admission
 * is not free as in RAM), within a budget of bytes per token: 4 slots a layer of recorded Mixtral routing take 2 moves a
 * token and lose 3 points of hits to inserting always, which takes 23.
 *
 * What moves in keeps its RAM copy, which is the first that RAM gives up when it needs the place. So a victim that still
 * has one is simply forgotten, and only one that has none goes down, into a spare RAM slot, if it is worth more than
 * something there; RAM's admission then decides as for any other expert that passes through.
 */
#include "offload/vram_internal.h"

#include <string.h>

mox_slot_result mox_vram_apply(mox_vram *v, uint32_t layer, mox_slot_event_kind kind, uint32_t slot,
                               uint32_t generation)
{
    mox_slot_event e = {.kind = kind, .slot = slot, .generation = generation};
    return mox_slots_apply(&v->layer[layer].t, &e);
}

mox_slot_result mox_vram_take(mox_vram *v, uint32_t layer, uint32_t expert)
{
    mox_slot_event e = {.kind = MOX_SLOT_PREFETCH, .key = expert, .parts = 1};
    mox_slot_result r = mox_slots_apply(&v->layer[layer].t, &e);
    if (r.verdict == MOX_SLOT_ALLOCATED) {
        mox_vram_apply(v, layer, MOX_SLOT_SUBMIT, r.slot, r.generation);
    }
    return r;
}

uint8_t *mox_vram_at(const mox_vram *v, uint32_t layer, uint32_t slot)
{
    return v->layer[layer].base + slot * v->layer[layer].stride;
}

/* The slot that holds the expert, to the last byte; MOX_SLOT_NONE: none. */
static uint32_t find(const mox_vram *v, uint32_t layer, uint32_t expert)
{
    const mox_slots *t = &v->layer[layer].t;
    uint32_t slot = t->map[expert];
    return slot != MOX_SLOT_NONE && t->slot[slot].state != MOX_SLOT_LOADING ? slot : MOX_SLOT_NONE;
}

bool mox_vram_has(const mox_store *st, uint32_t layer, uint32_t expert)
{
    return st->vram && st->vram->layer[layer].t.map[expert] != MOX_SLOT_NONE;
}

bool mox_vram_served(const mox_store *st, uint32_t expert)
{
    for (uint32_t i = 0; st->vram && i < st->vram->n_hits; i++) {
        if (st->vram->hit[i].expert == expert) {
            return true;
        }
    }
    return false;
}

static float heat_of(const mox_store *st, uint32_t layer, uint32_t expert)
{
    const mox_layer_state *l = &st->layer[layer];
    return mox_policy_heat(&l->stats[expert], l->step);
}

int32_t mox_vram_duplicate(const mox_store *st, uint32_t layer, const uint32_t *open, uint32_t n_open)
{
    int32_t best = -1;
    for (uint32_t i = 0; st->vram && i < n_open; i++) {
        if (find(st->vram, layer, open[i]) != MOX_SLOT_NONE &&
            (best < 0 || heat_of(st, layer, open[i]) > heat_of(st, layer, open[best]))) {
            best = (int32_t)i;
        }
    }
    return best;
}

static void count_hit(mox_store *st, uint32_t layer, mox_phase phase, uint64_t uses)
{
    mox_use_counters *both[2] = {&st->layer[layer].use, &st->count.use[phase]};
    for (int i = 0; i < 2; i++) {
        both[i]->uses += uses;
        both[i]->vram += uses;
        both[i]->vram_bytes += uses * st->layer[layer].slot_bytes;
    }
}

static void protect(mox_store *st, uint32_t layer, uint32_t expert, mox_lease *out)
{
    mox_vram *v = st->vram;
    mox_slot_event e = {.kind = MOX_SLOT_DEMAND, .key = expert, .parts = 1};
    mox_slot_result r = mox_slots_apply(&v->layer[layer].t, &e); /* a hit: it is there */
    mox_vram_apply(v, layer, MOX_SLOT_PIN, r.slot, r.generation);
    v->hit[v->n_hits++] = (mox_vram_hit){expert, r.slot, r.generation};
    *out = (mox_lease){.expert = expert,
                       .served = MOX_SERVED_VRAM,
                       .slot = mox_vram_at(v, layer, r.slot),
                       .slot_idx = r.slot,
                       .generation = r.generation};
}

uint32_t mox_vram_begin(mox_store *st, uint32_t layer, mox_phase phase, mox_need *needs, uint32_t n,
                        mox_lease *hits, uint32_t *n_hits)
{
    mox_vram *v = st->vram;
    uint32_t left = 0;
    *n_hits = 0;
    if (!v) {
        return n;
    }
    v->cur_layer = layer;
    v->n_hits = 0;
    v->n_tokens = 0;
    /* What landed meanwhile counts. A copy that failed is told of by mox_vram_end, which looks again. */
    bool fresh = mox_vram_land(st, false) == MOX_OK;
    pthread_mutex_lock(&st->lock);
    for (uint32_t i = 0; i < n; i++) {
        v->n_tokens += needs[i].n_uses;
        if (!fresh || find(v, layer, needs[i].expert) == MOX_SLOT_NONE) {
            needs[left++] = needs[i];
            continue;
        }
        /* begin of the RAM tier counts the layer's step on; this use is of that step */
        mox_layer_state *l = &st->layer[layer];
        mox_policy_touch(&l->stats[needs[i].expert], l->step + 1, needs[i].n_uses);
        count_hit(st, layer, phase, needs[i].n_uses);
        protect(st, layer, needs[i].expert, &hits[(*n_hits)++]);
    }
    v->n_tokens /= st->cfg.top_k;
    pthread_mutex_unlock(&st->lock);
    return left;
}

/* Whether RAM would keep the victim: there is room, or a copy that is in VRAM too, or an expert it beats. Lock held. */
static bool worth_keeping(const mox_store *st, uint32_t layer, uint32_t expert)
{
    const mox_layer_state *l = &st->layer[layer];
    if (l->quota == 0) {
        return false;
    }
    bool worth = l->n_kept < l->quota;
    for (uint32_t i = 0; i < l->n_kept && !worth; i++) {
        worth = mox_vram_has(st, layer, l->kept[i]) ||
                heat_of(st, layer, l->kept[i]) < heat_of(st, layer, expert);
    }
    return worth;
}

/* Of the layer's residents the one that `expert` may replace; MOX_SLOT_NONE: none. */
static uint32_t choose_victim(mox_store *st, uint32_t layer, uint32_t expert)
{
    mox_vram *v = st->vram;
    const mox_slots *t = &v->layer[layer].t;
    uint32_t n_open = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->slot[i].state == MOX_SLOT_READY && t->slot[i].needed == 0) {
            v->open[n_open++] = t->slot[i].key;
        }
    }
    mox_policy_view view = {.stats = st->layer[layer].stats,
                            .kept = v->open,
                            .n_kept = n_open,
                            .n_experts = st->cfg.n_experts,
                            .step = st->layer[layer].step,
                            .margin = v->cfg.margin};
    int32_t at = n_open ? st->cfg.policy->victim(&view, expert) : -1;
    return at < 0 ? MOX_SLOT_NONE : t->map[v->open[at]];
}

/* The victim leaves its slot, downwards if RAM lacks it and has a use for it. */
static mox_err leave(mox_store *st, uint32_t layer, uint32_t slot)
{
    mox_vram *v = st->vram;
    uint32_t expert = v->layer[layer].t.slot[slot].key;
    uint32_t generation = v->layer[layer].t.slot[slot].generation;
    mox_slot_result r = {.verdict = MOX_SLOT_NO_ROOM};
    pthread_mutex_lock(&st->lock);
    bool in_ram = st->slots.map[mox_store_key(st, layer, expert)] != MOX_SLOT_NONE;
    if (!in_ram && v->n_moves < MOX_VRAM_MOVES && worth_keeping(st, layer, expert)) {
        r = mox_ram_receive(st, layer, expert);
    }
    bool down = r.verdict == MOX_SLOT_ALLOCATED;
    st->count.vram.demotions += down;
    st->count.vram.still_in_ram += in_ram;
    st->count.vram.dropped += !down && !in_ram;
    pthread_mutex_unlock(&st->lock);
    mox_err err = down ? mox_vram_down(st, layer, slot, r.slot) : MOX_OK;
    mox_vram_apply(v, layer, MOX_SLOT_EVICT, slot, generation);
    mox_vram_apply(v, layer, MOX_SLOT_EVICTED, slot, generation);
    return err;
}

/* An expert that lies READY in RAM moves in, if there is room or a victim. */
static mox_err consider(mox_store *st, uint32_t layer, uint32_t expert)
{
    mox_vram *v = st->vram;
    pthread_mutex_lock(&st->lock);
    uint32_t near = st->slots.map[mox_store_key(st, layer, expert)];
    bool ready = near != MOX_SLOT_NONE && st->slots.slot[near].state == MOX_SLOT_READY;
    uint32_t generation = ready ? st->slots.slot[near].generation : 0;
    if (ready) { /* the victim must not be given its place */
        mox_ram_apply(st, MOX_SLOT_PIN, near, generation);
    }
    pthread_mutex_unlock(&st->lock);
    if (!ready) {
        return MOX_OK;
    }
    mox_err err = MOX_OK;
    mox_slot_result r = mox_vram_take(v, layer, expert);
    uint32_t victim = r.verdict == MOX_SLOT_NO_ROOM ? choose_victim(st, layer, expert) : MOX_SLOT_NONE;
    if (victim != MOX_SLOT_NONE) {
        err = leave(st, layer, victim);
        r = mox_vram_take(v, layer, expert);
    }
    if (r.verdict == MOX_SLOT_ALLOCATED && err == MOX_OK) {
        err = mox_vram_up(st, layer, near, r.slot);
    } else if (r.verdict == MOX_SLOT_ALLOCATED) {
        mox_vram_apply(v, layer, MOX_SLOT_READ_FAILED, r.slot, r.generation);
    }
    pthread_mutex_lock(&st->lock);
    mox_ram_apply(st, MOX_SLOT_UNPIN, near, generation); /* the copy has a pin of its own */
    pthread_mutex_unlock(&st->lock);
    return err;
}

static void give_back(mox_vram *v)
{
    for (uint32_t i = 0; i < v->n_hits; i++) {
        mox_vram_apply(v, v->cur_layer, MOX_SLOT_UNPIN, v->hit[i].slot, v->hit[i].generation);
        mox_vram_apply(v, v->cur_layer, MOX_SLOT_UNNEED, v->hit[i].slot, v->hit[i].generation);
    }
    v->n_hits = 0;
}

/* Experts that this step used and VRAM has not, hottest first. */
static uint32_t candidates(mox_store *st, uint32_t layer, uint32_t *list)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < st->n_needs; i++) {
        uint32_t e = st->need[i].need.expert, at = n;
        if (mox_vram_has(st, layer, e)) {
            continue;
        }
        for (; at > 0 && heat_of(st, layer, list[at - 1]) < heat_of(st, layer, e); at--) {
            list[at] = list[at - 1];
        }
        list[at] = e;
        n++;
    }
    return n;
}

mox_err mox_vram_end(mox_store *st, bool failed)
{
    mox_vram *v = st->vram;
    if (!v) {
        return MOX_OK;
    }
    uint32_t layer = v->cur_layer;
    give_back(v);
    MOX_TRY(mox_vram_land(st, false));
    if (failed || v->layer[layer].t.n == 0) {
        return MOX_OK;
    }
    /* A token's worth may be saved up, no more: what was not needed then is no claim on the link now. A prompt's
     * micro-batch has as many tokens' worth, which is how it seeds the tier. */
    size_t bytes = st->layer[layer].slot_bytes;
    uint64_t share = v->cfg.bytes_per_token * v->n_tokens / st->cfg.n_layers;
    uint64_t most = v->cfg.bytes_per_token + bytes;
    most = share > most ? share : most;
    v->budget = v->budget + share < most ? v->budget + share : most;
    uint32_t n = candidates(st, layer, v->list);
    for (uint32_t i = 0; i < n && v->budget >= bytes && v->n_moves + 2 <= MOX_VRAM_MOVES; i++) {
        uint32_t before = v->n_moves;
        MOX_TRY(consider(st, layer, v->list[i]));
        v->budget -= v->n_moves > before ? bytes : 0;
    }
    return MOX_OK;
}

uint32_t mox_vram_resident(mox_store *st, uint32_t layer, uint64_t *bitmap)
{
    uint32_t n = 0;
    memset(bitmap, 0, (st->cfg.n_experts + 63) / 64 * sizeof *bitmap);
    for (uint32_t e = 0; st->vram && e < st->cfg.n_experts; e++) {
        if (find(st->vram, layer, e) != MOX_SLOT_NONE) {
            bitmap[e / 64] |= UINT64_C(1) << e % 64;
            n++;
        }
    }
    return n;
}

/* Every take of the tier, in one order; NULLs while planning. */
void mox_vram_create(mox_store *st, const mox_store_cfg *cfg, mox_arena *a)
{
    enum { ALIGN = 64 };
    const mox_vram_cfg *c = &cfg->vram;
    if (!c->layers) {
        return;
    }
    mox_vram *v = mox_arena_take(a, sizeof *v, ALIGN);
    mox_vram_slots *layer = mox_arena_take(a, cfg->n_layers * sizeof *layer, ALIGN);
    mox_vram_hit *hit = mox_arena_take(a, cfg->n_experts * sizeof *hit, ALIGN);
    uint32_t *open = mox_arena_take(a, 2 * (size_t)cfg->n_experts * sizeof *open, ALIGN);
    bool real =
        st && v && layer && hit && open; /* too little memory is found by the caller, when all is taken */
    if (real) {
        *v = (mox_vram){.cfg = *c, .layer = layer, .hit = hit, .open = open, .list = open + cfg->n_experts};
        v->cfg.layers = NULL;
    }
    for (uint32_t l = 0; l < cfg->n_layers; l++) {
        uint32_t quota = c->layers[l].quota < cfg->n_experts ? c->layers[l].quota : cfg->n_experts;
        mox_slot *slot = mox_arena_take(a, quota * sizeof *slot, ALIGN);
        uint32_t *map = mox_arena_take(a, cfg->n_experts * sizeof *map, ALIGN);
        real = real && slot && map;
        if (real) {
            layer[l] = (mox_vram_slots){.device = c->layers[l].device,
                                        .base = c->layers[l].base,
                                        .stride = mox_vram_slot_bytes(cfg->layers[l].slot_bytes)};
            mox_slots_init(&layer[l].t, slot, quota, map, cfg->n_experts);
        }
    }
    if (real) {
        st->vram = v;
    }
}
