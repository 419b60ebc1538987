/* The fill at open: the kept experts are read in one sweep in the order of the file, so that the disk streams. The
 * step thread waits for them one by one and reports progress; the I/O thread reads ahead as far as its queue goes.
 */
#include "offload/store_internal.h"

#include <string.h>

enum { POPULATE_AHEAD = 8 };

typedef struct fill_item {
    uint32_t file;
    uint64_t off;
} fill_item;

static fill_item place(const mox_store *st, uint32_t key)
{
    mox_slab_src src = {0};
    const mox_layout_ops *l = &st->cfg.layout;
    l->source(l->ctx, key / st->cfg.n_experts, key % st->cfg.n_experts, 0, &src);
    return (fill_item){src.file, src.off};
}

static bool before(fill_item a, fill_item b)
{
    return a.file != b.file ? a.file < b.file : a.off < b.off;
}

/* Keys of the experts to keep, in the order of the file. Shell sort: no memory, and n is a few thousand. */
static uint32_t fill_list(mox_store *st)
{
    uint32_t n = 0;
    for (uint32_t layer = 0; layer < st->cfg.n_layers; layer++) {
        mox_layer_state *l = &st->layer[layer];
        memset(st->in_set, 0, st->cfg.n_experts);
        for (uint32_t k = l->n_kept; k < l->quota; k++) {
            uint32_t best = UINT32_MAX;
            for (uint32_t e = 0; e < st->cfg.n_experts; e++) {
                bool here = st->slots.map[mox_store_key(st, layer, e)] != MOX_SLOT_NONE;
                if (!here && !st->in_set[e] &&
                    (best == UINT32_MAX || l->stats[e].prior > l->stats[best].prior)) {
                    best = e;
                }
            }
            if (best == UINT32_MAX) {
                break;
            }
            st->in_set[best] = 1;
            st->fill_order[n++] = mox_store_key(st, layer, best);
        }
    }
    memset(st->in_set, 0, st->cfg.n_experts);
    for (uint32_t gap = n / 2; gap > 0; gap /= 2) {
        for (uint32_t i = gap; i < n; i++) {
            uint32_t key = st->fill_order[i];
            uint32_t at = i;
            for (; at >= gap && before(place(st, key), place(st, st->fill_order[at - gap])); at -= gap) {
                st->fill_order[at] = st->fill_order[at - gap];
            }
            st->fill_order[at] = key;
        }
    }
    return n;
}

/* Wait until the load in `slot` has ended. Lock held. */
static mox_err wait_filled(mox_store *st, uint32_t slot, uint32_t generation)
{
    const mox_slot *s = &st->slots.slot[slot];
    while (s->generation == generation && s->state == MOX_SLOT_LOADING) {
        pthread_cond_wait(&st->changed, &st->lock);
    }
    if (s->generation != generation || s->state != MOX_SLOT_READY) {
        const mox_load *l = &st->info[slot].load;
        return mox_files_fail(st, l->layer, l->expert, &l->error);
    }
    return MOX_OK;
}

/* While the I/O thread reads, this thread takes the page faults of the slots ahead of it, and at the end
 * those of the slots that are not filled now: no step pays for them. */
mox_err mox_store_fill(mox_store *st, const float *heat,
                       void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx)
{
    size_t cells = (size_t)st->cfg.n_layers * st->cfg.n_experts;
    for (size_t i = 0; heat && i < cells; i++) {
        st->layer[i / st->cfg.n_experts].stats[i % st->cfg.n_experts].prior = heat[i];
    }
    pthread_mutex_lock(&st->lock);
    uint32_t n = fill_list(st);
    uint64_t total = 0;
    uint32_t queued = 0;
    for (; queued < n; queued++) {
        uint32_t layer = st->fill_order[queued] / st->cfg.n_experts;
        mox_slot_result r =
            mox_ram_want(st, layer, st->fill_order[queued] % st->cfg.n_experts, MOX_READ_FILL);
        if (r.verdict != MOX_SLOT_ALLOCATED) {
            break; /* cannot be: quotas are slots */
        }
        total += st->layer[layer].slot_bytes;
        st->fill_order[queued] = r.slot;
    }
    mox_files_wake(st);
    mox_err err = MOX_OK;
    uint64_t done = 0;
    uint32_t populated = 0;
    for (uint32_t i = 0; i < queued; i++) {
        uint32_t slot = st->fill_order[i];
        pthread_mutex_unlock(&st->lock);
        for (; populated < queued && populated < i + POPULATE_AHEAD; populated++) {
            mox_ram_populate(st, st->fill_order[populated]);
        }
        pthread_mutex_lock(&st->lock);
        mox_err e = err == MOX_OK ? wait_filled(st, slot, st->slots.slot[slot].generation) : MOX_OK;
        if (err != MOX_OK || e != MOX_OK) {
            err = err != MOX_OK ? err : e;
            mox_ram_cancel(st, slot);
            continue;
        }
        uint32_t layer = st->info[slot].load.layer;
        mox_ram_keep(st, layer, slot);
        done += st->layer[layer].slot_bytes;
        if (progress) {
            pthread_mutex_unlock(&st->lock);
            progress(ctx, done, total);
            pthread_mutex_lock(&st->lock);
        }
    }
    pthread_mutex_unlock(&st->lock);
    for (uint32_t i = 0; i < st->slots.n; i++) { /* transit slots too; the others cost a system call */
        mox_ram_populate(st, i);
    }
    return err;
}
