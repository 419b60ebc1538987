/* The fill at open: the kept experts are read in one sweep in the order of the file, so that the disk streams. The
 * I/O thread reads; meanwhile all workers of the pool take the page faults of the slots, in the same order and ahead
 * of it: clearing pages costs more than repacking into them, and in a virtual machine that is given its memory only
 * now several times as much as reading. The step thread is worker 0, and keeps what has arrived and reports progress
 * between two faults.
 */
#include "offload/store_internal.h"

#include "runtime/core/pool.h"

#include <stdatomic.h>
#include <string.h>

enum { PIECE_BYTES = 2 << 20 };

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

/* Whether an expert is to be kept rather than another: not also in VRAM, then the hotter. */
static bool rather(const mox_store *st, uint32_t layer, uint32_t e, uint32_t other)
{
    bool a = mox_vram_has(st, layer, e), b = mox_vram_has(st, layer, other);
    const mox_expert_stat *stats = st->layer[layer].stats;
    return a != b ? b : stats[e].prior > stats[other].prior;
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
                if (!here && !st->in_set[e] && (best == UINT32_MAX || rather(st, layer, e, best))) {
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

typedef struct fill_job {
    mox_store *st;
    uint32_t n_slots;            /* st->fill_order holds slots: those being filled, then the free ones */
    uint32_t n_filling, n_ended; /* step thread */
    uint64_t done, total;
    mox_err err;
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *progress_ctx;
    uint32_t slot_pieces; /* of the biggest slot */
    _Atomic uint64_t next_piece;
    _Atomic bool stop;
} fill_job;

/* The next load has ended: keep it; after a failure the others are given up. Lock held. */
static void end_one(fill_job *f)
{
    mox_store *st = f->st;
    uint32_t slot = st->fill_order[f->n_ended++];
    const mox_load *l = &st->info[slot].load;
    if (f->err == MOX_OK && st->slots.slot[slot].state != MOX_SLOT_READY) {
        f->err = mox_files_fail(st, l->layer, l->expert, &l->error);
        atomic_store(&f->stop, true);
    }
    if (f->err != MOX_OK) {
        mox_ram_cancel(st, slot);
        return;
    }
    mox_ram_keep(st, l->layer, slot);
    f->done += st->layer[l->layer].slot_bytes;
    if (f->progress) {
        pthread_mutex_unlock(&st->lock);
        f->progress(f->progress_ctx, f->done, f->total);
        pthread_mutex_lock(&st->lock);
    }
}

/* Loads that have ended, in order; wait: all of them. */
static void collect(fill_job *f, bool wait)
{
    mox_store *st = f->st;
    pthread_mutex_lock(&st->lock);
    while (f->n_ended < f->n_filling) {
        const mox_slot *s = &st->slots.slot[st->fill_order[f->n_ended]];
        if (f->err != MOX_OK || s->state != MOX_SLOT_LOADING) {
            end_one(f);
        } else if (wait) {
            pthread_cond_wait(&st->changed, &st->lock);
        } else {
            break;
        }
    }
    pthread_mutex_unlock(&st->lock);
}

static void fill_work(void *arg, uint32_t worker, uint32_t n_workers)
{
    (void)n_workers;
    fill_job *f = arg;
    uint64_t n = (uint64_t)f->n_slots * f->slot_pieces;
    uint64_t piece;
    while (!atomic_load(&f->stop) && (piece = atomic_fetch_add(&f->next_piece, 1)) < n) {
        mox_ram_populate(f->st, f->st->fill_order[piece / f->slot_pieces],
                         piece % f->slot_pieces * PIECE_BYTES, PIECE_BYTES);
        if (worker == 0) {
            collect(f, false);
        }
    }
    if (worker == 0) {
        collect(f, true);
    }
}

/* Start the loads; their slots, and then the slots that stay free, to fill_order. Lock held. */
static void start_loads(mox_store *st, fill_job *f)
{
    uint32_t n = fill_list(st);
    for (; f->n_filling < n; f->n_filling++) {
        uint32_t key = st->fill_order[f->n_filling], layer = key / st->cfg.n_experts;
        mox_slot_result r = mox_ram_want(st, layer, key % st->cfg.n_experts, MOX_READ_FILL);
        if (r.verdict != MOX_SLOT_ALLOCATED) {
            break; /* cannot be: quotas are slots */
        }
        f->total += st->layer[layer].slot_bytes;
        st->fill_order[f->n_filling] = r.slot;
    }
    f->n_slots = f->n_filling;
    size_t biggest = 1;
    for (uint32_t i = 0; i < st->slots.n; i++) {
        biggest = st->info[i].n_bytes > biggest ? st->info[i].n_bytes : biggest;
        if (st->slots.slot[i].state == MOX_SLOT_FREE) {
            st->fill_order[f->n_slots++] = i;
        }
    }
    f->slot_pieces = (uint32_t)((biggest + PIECE_BYTES - 1) / PIECE_BYTES);
}

mox_err mox_store_fill(mox_store *st, const float *heat,
                       void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx)
{
    size_t cells = (size_t)st->cfg.n_layers * st->cfg.n_experts;
    for (size_t i = 0; heat && i < cells; i++) {
        st->layer[i / st->cfg.n_experts].stats[i % st->cfg.n_experts].prior = heat[i];
    }
    if (st->vram) {
        MOX_TRY(mox_vram_fill(st, progress, ctx));
    }
    fill_job f = {.st = st, .progress = progress, .progress_ctx = ctx};
    pthread_mutex_lock(&st->lock);
    start_loads(st, &f);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
    if (st->cfg.pool) {
        mox_pool_run(st->cfg.pool, fill_work, &f);
    } else {
        fill_work(&f, 0, 1);
    }
    return f.err;
}
