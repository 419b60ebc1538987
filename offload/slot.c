/* See slot.h. Each event has one small function; mox_slots_apply looks up the slot, rejects what is stale and
 * dispatches. The MOX_BUG_* alternatives are known bugs of expert caches, kept here so that the explorer can
 * prove it would find them; no build of the program defines them.
 */
#include "offload/slot.h"

#include <stddef.h>
#include <string.h>

static const char *const state_names[MOX_SLOT_STATES] = {
    [MOX_SLOT_FREE] = "free",     [MOX_SLOT_LOADING] = "loading",   [MOX_SLOT_READY] = "ready",
    [MOX_SLOT_PINNED] = "pinned", [MOX_SLOT_EVICTING] = "evicting", [MOX_SLOT_ZOMBIE] = "zombie",
    [MOX_SLOT_FAILED] = "failed",
};

const char *mox_slot_state_name(mox_slot_state state)
{
    return state_names[state];
}

void mox_slots_init(mox_slots *t, mox_slot *slot, uint32_t n, uint32_t *map, uint32_t n_keys)
{
    *t = (mox_slots){.slot = slot, .n = n, .map = map, .n_keys = n_keys};
    memset(slot, 0, n * sizeof *slot);
    for (uint32_t i = 0; i < n_keys; i++) {
        map[i] = MOX_SLOT_NONE;
    }
}

static mox_slot_result result(mox_slot_verdict verdict, const mox_slots *t, const mox_slot *s,
                              unsigned actions)
{
    return (mox_slot_result){verdict, (uint32_t)(s - t->slot), s->generation, actions};
}

static mox_slot_result refused(const mox_slots *t, const mox_slot *s)
{
    return result(MOX_SLOT_REFUSED, t, s, 0);
}

static void unmap(mox_slots *t, const mox_slot *s)
{
    if (t->map[s->key] == (uint32_t)(s - t->slot)) {
        t->map[s->key] = MOX_SLOT_NONE;
    }
}

/* Owner gone: FREE as soon as no read can write into the bytes any more. */
static unsigned settle(mox_slot *s)
{
    bool untold = s->state == MOX_SLOT_FAILED && s->waiters != 0;
#ifdef MOX_BUG_E1
    untold = false; /* a waiter that uses what has arrived loses the slot when the rest fails */
#endif
    if (s->flying != 0 || untold) {
        return 0;
    }
#ifdef MOX_BUG_D7
    if (s->state == MOX_SLOT_ZOMBIE) {
        return 0; /* the load of a cancelled request ends and nobody frees its slot */
    }
#endif
    s->state = MOX_SLOT_FREE;
    s->parts = 0;
    s->needed = 0;
    return MOX_SLOT_FREED;
}

static mox_slot *find_free(const mox_slots *t, uint32_t size_class)
{
    for (uint32_t i = 0; i < t->n; i++) {
        if (t->slot[i].state == MOX_SLOT_FREE && t->slot[i].size_class == size_class) {
            return &t->slot[i];
        }
    }
    return NULL;
}

static mox_slot_result want(mox_slots *t, const mox_slot_event *e)
{
    bool demand = e->kind == MOX_SLOT_DEMAND;
    uint32_t at = t->map[e->key];
#ifdef MOX_BUG_D3
    if (at != MOX_SLOT_NONE && t->slot[at].state == MOX_SLOT_LOADING && t->slot[at].waiters == 0) {
        at = MOX_SLOT_NONE; /* a prefetch is not found by the demand: the expert is read twice */
    }
#endif
    if (at != MOX_SLOT_NONE) {
        mox_slot *s = &t->slot[at];
        bool loading = s->state == MOX_SLOT_LOADING;
        s->needed += demand;
        s->waiters += demand && loading;
        return result(loading ? MOX_SLOT_JOINED : MOX_SLOT_HIT, t, s, 0);
    }
    mox_slot *s = find_free(t, e->size_class);
    if (!s) {
        return (mox_slot_result){MOX_SLOT_NO_ROOM, MOX_SLOT_NONE, 0, 0};
    }
    s->state = MOX_SLOT_LOADING;
    s->key = e->key;
    s->generation++;
    s->parts = e->parts;
    s->compared = e->compared;
    s->waiters = demand;
    s->needed = demand;
    t->map[e->key] = (uint32_t)(s - t->slot);
    return result(MOX_SLOT_ALLOCATED, t, s, MOX_SLOT_START);
}

/* I7: with a waiter the slot goes straight to PINNED; there is no READY moment in which it could be stolen.
 */
static mox_slot_result loaded(mox_slots *t, mox_slot *s)
{
    s->state = s->waiters ? MOX_SLOT_PINNED : MOX_SLOT_READY;
    s->pins = s->waiters;
    s->waiters = 0;
    return result(MOX_SLOT_DID, t, s, MOX_SLOT_WAKE);
}

static mox_slot_result submit(mox_slots *t, mox_slot *s, const mox_slot_event *e)
{
    uint64_t bit = UINT64_C(1) << e->request;
    if (s->state != MOX_SLOT_LOADING || (s->flying & bit) != 0) {
        return refused(t, s);
    }
    s->flying |= bit;
#ifdef MOX_BUG_B3
    if ((uint32_t)__builtin_popcountll(s->flying) == s->parts) {
        return loaded(t, s); /* "done" is said when the last read is queued, not when it has arrived */
    }
#endif
    return result(MOX_SLOT_DID, t, s, 0);
}

/* Of a read that ended in any way. False: it was counted before (or never submitted). */
static bool land(mox_slot *s, const mox_slot_event *e)
{
    uint64_t bit = UINT64_C(1) << e->request;
#ifndef MOX_BUG_D12 /* a second completion of the same read is counted like a first one */
    if ((s->flying & bit) == 0) {
        return false;
    }
#endif
    s->flying &= ~bit;
    return true;
}

static mox_slot_result read_ended(mox_slots *t, mox_slot *s, const mox_slot_event *e)
{
    if (!land(s, e)) {
        return result(MOX_SLOT_STALE, t, s, 0);
    }
    if (s->state == MOX_SLOT_ZOMBIE || s->state == MOX_SLOT_FAILED) {
        return result(MOX_SLOT_DID, t, s, settle(s));
    }
    if (s->state != MOX_SLOT_LOADING) {
        return refused(t, s);
    }
    if (e->kind == MOX_SLOT_READ_FAILED) {
        unmap(t, s);
        s->state = MOX_SLOT_FAILED;
        return result(MOX_SLOT_DID, t, s, MOX_SLOT_STOP | MOX_SLOT_WAKE | settle(s));
    }
    if (e->kind == MOX_SLOT_READ_AGAIN) {
        s->parts += e->parts;
    }
    s->parts--;
    return s->parts == 0 ? loaded(t, s) : result(MOX_SLOT_DID, t, s, 0);
}

static mox_slot_result early(mox_slots *t, mox_slot *s)
{
    bool compared = s->compared;
#ifdef MOX_BUG_E3
    compared = false; /* used while it arrives, though all of it may be read again */
#endif
    if (s->state != MOX_SLOT_LOADING || s->waiters == 0 || compared) {
        return refused(t, s);
    }
    return result(MOX_SLOT_DID, t, s, 0);
}

static mox_slot_result pin(mox_slots *t, mox_slot *s)
{
    if (s->state != MOX_SLOT_READY && s->state != MOX_SLOT_PINNED) {
        return refused(t, s);
    }
    s->state = MOX_SLOT_PINNED;
    s->pins++;
    return result(MOX_SLOT_DID, t, s, 0);
}

static mox_slot_result unpin(mox_slots *t, mox_slot *s)
{
    if (s->state != MOX_SLOT_PINNED) {
        return refused(t, s);
    }
    s->pins--;
    if (s->pins == 0) {
        s->state = MOX_SLOT_READY;
    }
    return result(MOX_SLOT_DID, t, s, 0);
}

static mox_slot_result unneed(mox_slots *t, mox_slot *s)
{
    if (s->needed == 0) {
        return refused(t, s);
    }
    s->needed--;
    return result(MOX_SLOT_DID, t, s, 0);
}

static mox_slot_result abandon(mox_slots *t, mox_slot *s)
{
    unmap(t, s);
    s->state = MOX_SLOT_ZOMBIE;
    return result(MOX_SLOT_DID, t, s, MOX_SLOT_STOP | settle(s));
}

static mox_slot_result leave(mox_slots *t, mox_slot *s)
{
    if (s->state != MOX_SLOT_LOADING || s->waiters == 0) {
        return refused(t, s);
    }
    s->waiters--;
    s->needed--;
    return s->waiters == 0 ? abandon(t, s) : result(MOX_SLOT_DID, t, s, 0);
}

static mox_slot_result cancel(mox_slots *t, mox_slot *s)
{
    bool waited_for = s->waiters != 0;
#ifdef MOX_BUG_E2
    waited_for = false; /* a refuted prediction is dropped though a waiter already uses what has arrived */
#endif
    if (s->state != MOX_SLOT_LOADING || waited_for) {
        return refused(t, s);
    }
    return abandon(t, s);
}

static mox_slot_result told(mox_slots *t, mox_slot *s)
{
    if (s->state != MOX_SLOT_FAILED || s->waiters == 0) {
        return refused(t, s);
    }
    s->waiters--;
    s->needed--;
    return result(MOX_SLOT_DID, t, s, settle(s));
}

static mox_slot_result evict(mox_slots *t, mox_slot *s)
{
    bool idle = s->state == MOX_SLOT_READY;
#ifdef MOX_BUG_B2
    idle = idle || s->state == MOX_SLOT_PINNED; /* with every slot pinned, one is taken all the same */
#endif
#ifdef MOX_BUG_B1
    bool free_to_go = true; /* what this very step needs next is evicted by its own miss */
#else
    bool free_to_go = s->needed == 0;
#endif
    if (!idle || !free_to_go) {
        return refused(t, s);
    }
    unmap(t, s);
    s->state = MOX_SLOT_EVICTING;
    return result(MOX_SLOT_DID, t, s, 0);
}

static mox_slot_result evicted(mox_slots *t, mox_slot *s)
{
    if (s->state != MOX_SLOT_EVICTING) {
        return refused(t, s);
    }
    s->state = MOX_SLOT_FREE;
    return result(MOX_SLOT_DID, t, s, MOX_SLOT_FREED);
}

mox_slot_result mox_slots_apply(mox_slots *t, const mox_slot_event *e)
{
    if (e->kind == MOX_SLOT_DEMAND || e->kind == MOX_SLOT_PREFETCH) {
        return want(t, e);
    }
    mox_slot *s = &t->slot[e->slot];
#ifndef MOX_BUG_D13 /* between the look-up and the pin the slot was given to another expert */
    if (s->generation != e->generation || s->state == MOX_SLOT_FREE) {
        return result(MOX_SLOT_STALE, t, s, 0);
    }
#endif
    switch (e->kind) {
    case MOX_SLOT_SUBMIT:
        return submit(t, s, e);
    case MOX_SLOT_READ_DONE:
    case MOX_SLOT_READ_AGAIN:
    case MOX_SLOT_READ_FAILED:
        return read_ended(t, s, e);
    case MOX_SLOT_EARLY:
        return early(t, s);
    case MOX_SLOT_PIN:
        return pin(t, s);
    case MOX_SLOT_UNPIN:
        return unpin(t, s);
    case MOX_SLOT_UNNEED:
        return unneed(t, s);
    case MOX_SLOT_LEAVE:
        return leave(t, s);
    case MOX_SLOT_CANCEL:
        return cancel(t, s);
    case MOX_SLOT_TOLD:
        return told(t, s);
    case MOX_SLOT_EVICT:
        return evict(t, s);
    case MOX_SLOT_EVICTED:
        return evicted(t, s);
    default:
        return refused(t, s);
    }
}

static const char *check_slot(const mox_slots *t, uint32_t i)
{
    const mox_slot *s = &t->slot[i];
    bool live = s->state == MOX_SLOT_LOADING || s->state == MOX_SLOT_READY || s->state == MOX_SLOT_PINNED;
    if (live != (s->state != MOX_SLOT_FREE && t->map[s->key] == i)) {
        return "I1: a live slot is the one slot its key maps to, and no other slot is mapped";
    }
    if (s->flying != 0 && s->state != MOX_SLOT_LOADING && s->state != MOX_SLOT_ZOMBIE &&
        s->state != MOX_SLOT_FAILED) {
        return "I2: a read is in flight into a slot that is not loading";
    }
    if ((s->pins > 0) != (s->state == MOX_SLOT_PINNED)) {
        return "I3: pins without PINNED, or PINNED without pins";
    }
    if ((s->state == MOX_SLOT_LOADING) != (s->parts > 0) && s->state != MOX_SLOT_ZOMBIE &&
        s->state != MOX_SLOT_FAILED) {
        return "I4: LOADING ended before its last read, or goes on after it";
    }
    if ((s->state == MOX_SLOT_EVICTING || s->state == MOX_SLOT_FREE || s->state == MOX_SLOT_ZOMBIE) &&
        (s->needed != 0 || s->waiters != 0)) {
        return "I11: a slot that a step needs is gone or going";
    }
    if (s->state == MOX_SLOT_ZOMBIE && s->flying == 0) {
        return "I10: a zombie with no read in flight: nothing will ever free it";
    }
    return NULL;
}

const char *mox_slots_check(const mox_slots *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        const char *broken = check_slot(t, i);
        if (broken) {
            return broken;
        }
    }
    for (uint32_t key = 0; key < t->n_keys; key++) {
        if (t->map[key] != MOX_SLOT_NONE && t->slot[t->map[key]].key != key) {
            return "I1: a key maps to a slot that holds another expert";
        }
    }
    return NULL;
}
