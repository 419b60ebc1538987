/* The RAM tier: which slot an expert gets, and which role the slot plays.
 *
 * A slot is kept (counts against its layer's quota) or transit. Roles are a flag: admission swaps the flags
 * of two slots and moves no bytes. A transit slot whose expert was used stays READY until somebody needs the
 * room, so what it holds is still a hit by luck. Never touched: kept slots (only admission takes their role),
 * and anything the current step needs, which slot.c itself refuses to evict.
 */
#include "offload/store_internal.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

mox_slot_result mox_ram_apply(mox_store *st, mox_slot_event_kind kind, uint32_t slot, uint32_t generation)
{
    mox_slot_event e = {.kind = kind, .slot = slot, .generation = generation};
    return mox_slots_apply(&st->slots, &e);
}

/* How expendable a READY transit slot is: lowest first. */
static uint32_t worth(const mox_store *st, const mox_slot_info *info)
{
    if (info->predicted) {
        return 2; /* a coming step is expected to use it */
    }
    return info->last_step == st->step ? 1 : 0; /* used by this step: a candidate for admission at its end */
}

/* What the expert of a transit slot may still bring: its heat, the less the longer it is until its layer comes again.
 * By age alone the next layer's expert would go first, shortly before it might be a hit: 7 to 13 % more reads. */
static float promise(const mox_store *st, const mox_slot_info *info)
{
    uint32_t n = st->cfg.n_layers, layer = info->load.layer;
    const mox_layer_state *l = &st->layer[layer];
    uint32_t between = (layer + 2 * n - st->cur_layer - 1) % n;
    return mox_policy_heat(&l->stats[info->load.expert], l->step) / (float)(1 + between);
}

/* Of the slots that the step in hand uses. Its layer has just had its turn, so they are mostly the ones to go: a
 * prediction that would displace a more promising one waits until the step ends (mox_store_end). While the step reads, the
 * drive is not free for it anyway. Not waiting cost 2 to 5 % more reads. */
static float least_in_use(const mox_store *st, uint32_t size_class)
{
    float least = INFINITY;
    for (uint32_t i = 0; i < st->slots.n; i++) {
        const mox_slot *s = &st->slots.slot[i];
        if (s->needed != 0 && s->size_class == size_class && !st->info[i].kept) {
            least = fminf(least, promise(st, &st->info[i]));
        }
    }
    return least;
}

static bool evict_transit(mox_store *st, uint32_t size_class, uint32_t max_worth)
{
    uint32_t best = MOX_SLOT_NONE, least_worth = UINT32_MAX;
    float least = 0.0f;
    for (uint32_t i = 0; i < st->slots.n; i++) {
        const mox_slot *s = &st->slots.slot[i];
        const mox_slot_info *info = &st->info[i];
        if (s->state != MOX_SLOT_READY || s->size_class != size_class || s->needed != 0 || info->kept ||
            worth(st, info) > max_worth) {
            continue;
        }
        uint32_t w = worth(st, info);
        float p = promise(st, info);
        if (w < least_worth || (w == least_worth && p < least)) {
            best = i;
            least_worth = w;
            least = p;
        }
    }
    if (best == MOX_SLOT_NONE || (max_worth == 0 && least > least_in_use(st, size_class))) {
        return false;
    }
    if (st->info[best].prefetched) {
        mox_ahead_judge(st, best, false);
    }
    uint32_t generation = st->slots.slot[best].generation;
    mox_ram_apply(st, MOX_SLOT_EVICT, best, generation);
    mox_ram_apply(st, MOX_SLOT_EVICTED, best, generation);
    return true;
}

void mox_ram_cancel(mox_store *st, uint32_t slot)
{
    mox_slot_result r = mox_ram_apply(st, MOX_SLOT_CANCEL, slot, st->slots.slot[slot].generation);
    if (r.actions & MOX_SLOT_STOP) {
        mox_files_remove(st, slot);
        mox_ahead_lost(st, slot);
    }
}

/* A demand without room takes the slot of a prediction that is still being read; one at a time, since the
 * slot is free only when its reads in flight have landed. False: there is none to take or to wait for. */
static bool cancel_one_prefetch(mox_store *st, uint32_t size_class)
{
    uint32_t found = MOX_SLOT_NONE;
    for (uint32_t i = 0; i < st->slots.n; i++) {
        const mox_slot *s = &st->slots.slot[i];
        if (s->state == MOX_SLOT_ZOMBIE && s->size_class == size_class) {
            return true;
        }
        if (s->state == MOX_SLOT_LOADING && s->size_class == size_class && s->waiters == 0 &&
            st->info[i].load.kind == MOX_READ_PREFETCH) {
            found = i;
        }
    }
    if (found != MOX_SLOT_NONE) {
        mox_ram_cancel(st, found);
    }
    return found != MOX_SLOT_NONE;
}

static mox_slot_result make_room(mox_store *st, const mox_slot_event *e)
{
    bool demand = e->kind == MOX_SLOT_DEMAND;
    if (!evict_transit(st, e->size_class, demand ? 1 : 0)) {
        if (!demand) {
            return (mox_slot_result){.verdict = MOX_SLOT_NO_ROOM};
        }
        if (!cancel_one_prefetch(st, e->size_class)) {
            evict_transit(st, e->size_class, 2);
        }
    }
    return mox_slots_apply(&st->slots, e);
}

mox_slot_result mox_ram_want(mox_store *st, uint32_t layer, uint32_t expert, mox_read_kind kind)
{
    mox_slot_event e = {
        .kind = kind == MOX_READ_DEMAND ? MOX_SLOT_DEMAND : MOX_SLOT_PREFETCH,
        .key = mox_store_key(st, layer, expert),
        .size_class = st->layer[layer].size_class,
        .parts = mox_files_parts(st, layer, expert),
        .compared = mox_files_compared(st, layer, expert),
    };
    mox_slot_result r = mox_slots_apply(&st->slots, &e);
    if (r.verdict == MOX_SLOT_NO_ROOM) {
        r = make_room(st, &e);
    }
    if (r.verdict == MOX_SLOT_ALLOCATED) {
        mox_slot_info *info = &st->info[r.slot];
        info->kept = false;
        info->predicted = info->prefetched = kind == MOX_READ_PREFETCH;
        info->last_step = st->step;
        info->load.layer = layer;
        info->load.expert = expert;
        mox_files_queue(st, r.slot, kind);
    }
    return r;
}

mox_slot_result mox_ram_receive(mox_store *st, uint32_t layer, uint32_t expert)
{
    mox_slot_event e = {.kind = MOX_SLOT_PREFETCH,
                        .key = mox_store_key(st, layer, expert),
                        .size_class = st->layer[layer].size_class,
                        .parts = 1};
    mox_slot_result r = mox_slots_apply(&st->slots, &e);
    if (r.verdict == MOX_SLOT_NO_ROOM) {
        r = make_room(st, &e);
    }
    if (r.verdict == MOX_SLOT_ALLOCATED) {
        mox_slot_info *info = &st->info[r.slot];
        info->kept = info->predicted = info->prefetched = false;
        info->last_step = st->step;
        info->load.layer = layer;
        info->load.expert = expert;
        info->load.kind = MOX_READ_FILL;
        mox_ram_apply(st, MOX_SLOT_SUBMIT, r.slot, r.generation);
    }
    return r;
}

void mox_ram_keep(mox_store *st, uint32_t layer, uint32_t slot)
{
    mox_layer_state *l = &st->layer[layer];
    l->kept[l->n_kept++] = st->info[slot].load.expert;
    st->info[slot].kept = true;
}

/* The expert in transit `slot` was used: keep it if there is room or the policy names a worse one. */
void mox_ram_admit(mox_store *st, uint32_t layer, uint32_t slot)
{
    mox_layer_state *l = &st->layer[layer];
    uint32_t expert = st->info[slot].load.expert;
    if (l->n_kept < l->quota) {
        mox_ram_keep(st, layer, slot);
        st->count.admissions++;
        return;
    }
    uint32_t n_open = 0;
    for (uint32_t i = 0; i < l->n_kept; i++) {
        if (!st->in_set[l->kept[i]]) {
            st->open[n_open] = l->kept[i];
            st->open_at[n_open++] = i;
        }
    }
    mox_policy_view view = {
        .stats = l->stats,
        .kept = st->open,
        .n_kept = n_open,
        .n_experts = st->cfg.n_experts,
        .step = l->step,
        .margin = st->cfg.margin,
    };
    int32_t victim = mox_vram_duplicate(st, layer, st->open, n_open);
    if (victim < 0 && n_open) {
        victim = st->cfg.policy->victim(&view, expert);
    }
    if (victim < 0) {
        return;
    }
    uint32_t out = st->slots.map[mox_store_key(st, layer, st->open[victim])];
    st->info[out].kept = false;
    st->info[slot].kept = true;
    l->kept[st->open_at[victim]] = expert;
    st->count.admissions++;
    st->count.evictions++;
}

void mox_ram_populate(const mox_store *st, uint32_t slot, size_t off, size_t bytes)
{
    const mox_slot_info *info = &st->info[slot];
    if (off >= info->n_bytes) {
        return;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)info->bytes + off) & ~(page - 1);
    uintptr_t end = (uintptr_t)info->bytes + (off + bytes < info->n_bytes ? off + bytes : info->n_bytes);
    /* Older kernels refuse: the first load of the slot then takes the faults. Contents are left alone, so the
     * I/O thread may be writing here. */
    madvise((void *)begin, end - begin, MADV_POPULATE_WRITE);
}
