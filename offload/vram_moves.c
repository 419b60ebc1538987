/* Copies between RAM and VRAM slots that are on their way.
 *
 * The link makes one device's copies in order, so the list is looked at from its oldest end. A RAM slot that is the source
 * of a copy is pinned until it has landed; one that is filled by a copy is LOADING as from the file, and a step that needs
 * it joins and waits. Nothing here waits for the link except mox_vram_land when it is told to, which a step does
 * only when it has nothing else to wait for.
 */
#include "offload/vram_internal.h"

#include <string.h>

static void put(mox_vram *v, const mox_vram_move *m)
{
    v->move[v->n_moves++] = *m;
}

mox_err mox_vram_up(mox_store *st, uint32_t layer, uint32_t near, uint32_t far)
{
    mox_vram *v = st->vram;
    const mox_slot *slot = &v->layer[layer].t.slot[far];
    mox_vram_move m = {.layer = layer,
                       .device = v->layer[layer].device,
                       .far = far,
                       .far_generation = slot->generation,
                       .near = near};
    pthread_mutex_lock(&st->lock);
    m.near_generation = st->slots.slot[near].generation;
    mox_ram_apply(st, MOX_SLOT_PIN, near, m.near_generation);
    pthread_mutex_unlock(&st->lock);
    size_t bytes = st->layer[layer].slot_bytes;
    mox_err err = v->cfg.link.up(v->cfg.link.ctx, m.device, mox_vram_at(v, layer, far), st->info[near].bytes,
                                 bytes, &m.ticket);
    if (err != MOX_OK) {
        mox_vram_apply(v, layer, MOX_SLOT_READ_FAILED, far, m.far_generation);
        pthread_mutex_lock(&st->lock);
        mox_ram_apply(st, MOX_SLOT_UNPIN, near, m.near_generation);
        pthread_mutex_unlock(&st->lock);
        return err;
    }
    put(v, &m);
    pthread_mutex_lock(&st->lock);
    st->count.vram.promotions++;
    st->count.vram.up_bytes += bytes;
    pthread_mutex_unlock(&st->lock);
    return MOX_OK;
}

mox_err mox_vram_down(mox_store *st, uint32_t layer, uint32_t far, uint32_t near)
{
    mox_vram *v = st->vram;
    mox_vram_move m = {.down = true, .layer = layer, .device = v->layer[layer].device, .near = near};
    pthread_mutex_lock(&st->lock);
    m.near_generation = st->slots.slot[near].generation;
    pthread_mutex_unlock(&st->lock);
    size_t bytes = st->layer[layer].slot_bytes;
    mox_err err = v->cfg.link.down(v->cfg.link.ctx, m.device, st->info[near].bytes,
                                   mox_vram_at(v, layer, far), bytes, &m.ticket);
    pthread_mutex_lock(&st->lock);
    if (err != MOX_OK) {
        mox_ram_apply(st, MOX_SLOT_READ_FAILED, near, m.near_generation);
    } else {
        st->count.vram.down_bytes += bytes;
    }
    pthread_mutex_unlock(&st->lock);
    if (err == MOX_OK) {
        put(v, &m);
    }
    return err;
}

/* The copy is over: what it filled is there, what it read is free to go. */
static void account(mox_store *st, const mox_vram_move *m, bool ok)
{
    mox_slot_event_kind ended = ok ? MOX_SLOT_READ_DONE : MOX_SLOT_READ_FAILED;
    pthread_mutex_lock(&st->lock);
    if (!m->down) {
        mox_vram_apply(st->vram, m->layer, ended, m->far, m->far_generation);
        mox_ram_apply(st, MOX_SLOT_UNPIN, m->near, m->near_generation);
    } else {
        mox_slot_event e = {.kind = ended, .slot = m->near, .generation = m->near_generation};
        mox_slot_result r = mox_slots_apply(&st->slots, &e);
        st->info[m->near].load.arrived = ++st->arrivals;
        st->info[m->near].load.error = (mox_load_error){.code = MOX_E_DEVICE};
        bool idle = r.verdict == MOX_SLOT_DID && st->slots.slot[m->near].state == MOX_SLOT_READY;
        if (idle && !st->in_step) { /* one that a step waits for is considered at its end */
            mox_ram_admit(st, m->layer, m->near);
        }
    }
    pthread_mutex_unlock(&st->lock);
}

mox_err mox_vram_land(mox_store *st, bool wait)
{
    mox_vram *v = st->vram;
    const mox_link_ops *link = &v->cfg.link;
    mox_err err = MOX_OK;
    uint32_t left = 0;
    for (uint32_t i = 0; i < v->n_moves; i++) {
        mox_vram_move m = v->move[i];
        bool over = err != MOX_OK || wait || link->landed(link->ctx, m.device, m.ticket);
        if (over && err == MOX_OK && wait) {
            err = link->wait(link->ctx, m.device, m.ticket);
        }
        if (over) {
            account(st, &m, err == MOX_OK);
        } else {
            v->move[left++] = m;
        }
    }
    v->n_moves = left;
    return err;
}

mox_err mox_vram_settle(mox_store *st)
{
    return st->vram ? mox_vram_land(st, true) : MOX_OK;
}

bool mox_vram_waited(mox_store *st, mox_err *err)
{
    if (!st->vram || st->vram->n_moves == 0) {
        return false;
    }
    pthread_mutex_unlock(&st->lock);
    *err = mox_vram_land(st, true);
    pthread_mutex_lock(&st->lock);
    return true;
}
