/* What VRAM holds at open: of each layer the experts that were used most, else the first ones.
 *
 * They pass through RAM slots, which are all free then: read, copied up, given up. Only what RAM has room to hold as well
 * stays there (quotas of both together above the number of experts), so nothing is read twice; the RAM tier's own
 * fill then takes the experts that are left. Layer by layer and in the order of the file, with reads ahead as far as
 * slots reach while a copy is under way.
 */
#include "offload/vram_internal.h"

#include <string.h>

/* The layer's experts for VRAM, in the order of their ids; how many. */
static uint32_t choose(const mox_store *st, uint32_t layer, uint32_t *list)
{
    const mox_layer_state *l = &st->layer[layer];
    uint32_t quota = st->vram->layer[layer].t.n, n = 0;
    for (uint32_t e = 0; e < st->cfg.n_experts; e++) {
        uint32_t better = 0;
        for (uint32_t o = 0; o < st->cfg.n_experts; o++) {
            better +=
                l->stats[o].prior > l->stats[e].prior || (l->stats[o].prior == l->stats[e].prior && o < e);
        }
        if (better < quota) {
            list[n++] = e;
        }
    }
    return n;
}

typedef struct vram_fill {
    mox_store *st;
    uint32_t layer, n, n_started, n_ended;
    uint32_t surplus;       /* that RAM has room to keep as well */
    const uint32_t *expert; /* [n] */
    uint32_t *slot;         /* [n_started] */
} vram_fill;

/* As many reads as there are slots. Lock held. */
static void start(vram_fill *f)
{
    for (; f->n_started < f->n; f->n_started++) {
        mox_slot_result r = mox_ram_want(f->st, f->layer, f->expert[f->n_started], MOX_READ_FILL);
        if (r.verdict != MOX_SLOT_ALLOCATED) {
            break;
        }
        f->slot[f->n_started] = r.slot;
    }
    mox_files_wake(f->st);
}

/* The oldest read has ended: up with it. Lock held, and given up for the copy. */
static mox_err end_one(vram_fill *f)
{
    mox_store *st = f->st;
    uint32_t expert = f->expert[f->n_ended], near = f->slot[f->n_ended++];
    uint32_t generation = st->slots.slot[near].generation;
    if (st->slots.slot[near].state != MOX_SLOT_READY) {
        return mox_files_fail(st, f->layer, expert, &st->info[near].load.error);
    }
    pthread_mutex_unlock(&st->lock);
    mox_slot_result r = mox_vram_take(st->vram, f->layer, expert);
    mox_err err = r.verdict == MOX_SLOT_ALLOCATED ? mox_vram_up(st, f->layer, near, r.slot)
                                                  : MOX_FAIL(MOX_E_INTERNAL, "store: no VRAM slot to fill");
    if (err == MOX_OK) {
        err = mox_vram_land(st, true);
    }
    pthread_mutex_lock(&st->lock);
    if (err == MOX_OK && f->surplus > 0) {
        f->surplus--;
        mox_ram_keep(st, f->layer, near);
    } else {
        mox_ram_apply(st, MOX_SLOT_EVICT, near, generation);
        mox_ram_apply(st, MOX_SLOT_EVICTED, near, generation);
    }
    return err;
}

static mox_err fill_layer(vram_fill *f)
{
    mox_store *st = f->st;
    mox_err err = MOX_OK;
    uint32_t both = f->n + st->layer[f->layer].quota;
    f->surplus = both > st->cfg.n_experts ? both - st->cfg.n_experts : 0;
    pthread_mutex_lock(&st->lock);
    while (f->n_ended < f->n && err == MOX_OK) {
        start(f);
        while (st->slots.slot[f->slot[f->n_ended]].state == MOX_SLOT_LOADING) {
            pthread_cond_wait(&st->changed, &st->lock);
        }
        err = end_one(f);
    }
    for (uint32_t i = f->n_ended; i < f->n_started; i++) { /* after a failure */
        mox_ram_cancel(st, f->slot[i]);
    }
    pthread_mutex_unlock(&st->lock);
    return err;
}

mox_err mox_vram_fill(mox_store *st, void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx)
{
    uint64_t done = 0, total = 0;
    for (uint32_t l = 0; l < st->cfg.n_layers; l++) {
        total += st->vram->layer[l].t.n * st->layer[l].slot_bytes;
    }
    for (uint32_t l = 0; l < st->cfg.n_layers; l++) {
        vram_fill f = {.st = st,
                       .layer = l,
                       .n = choose(st, l, st->vram->list),
                       .expert = st->vram->list,
                       .slot = st->open_at};
        MOX_TRY(fill_layer(&f));
        done += f.n * st->layer[l].slot_bytes;
        if (progress && f.n) {
            progress(ctx, done, total);
        }
    }
    pthread_mutex_lock(&st->lock);
    st->count.vram.fill_bytes = st->count.vram.up_bytes;
    st->count.vram.up_bytes = st->count.vram.promotions = 0; /* those count what a run moves */
    pthread_mutex_unlock(&st->lock);
    return MOX_OK;
}
