/* Steps of the store: what a layer step needs is protected, leased, given back and considered for keeping.
 *
 * The step thread calls everything here. Per layer step: begin (residents are protected before any miss may
 * look for room, so a step never evicts what it needs itself), next (a resident, else whatever has arrived),
 * release (may start the next wave), end (admission). Waiting is one condition variable that the I/O thread
 * signals when a load ends or a slot becomes free.
 */
#include "offload/store_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_REQUEST ((size_t)1 << 20)
enum { DEFAULT_DEPTH = 32, SLOT_ALIGN = 4096, STATE_ALIGN = 64, POPULATE_AHEAD = 8 };

void mox_store_cfg_defaults(mox_store_cfg *cfg)
{
    *cfg = (mox_store_cfg){
        .layout = {.n_slabs = 3, .row_group = 16},
        .policy = mox_policy_by_name("auto"),
        .look_ahead = true,
        .io = MOX_IO_AUTO,
        .verify = MOX_VERIFY_SAMPLE,
        .io_depth = DEFAULT_DEPTH,
        .io_request_bytes = DEFAULT_REQUEST,
    };
}

/* ---- creation ---- */

static mox_err check_cfg(const mox_store_cfg *cfg)
{
    if (cfg->n_layers == 0 || cfg->n_experts == 0 || cfg->top_k == 0 || cfg->top_k > cfg->n_experts) {
        return MOX_FAIL(MOX_E_ARG, "store: %u layers, %u experts, top %u", cfg->n_layers, cfg->n_experts,
                        cfg->top_k);
    }
    if (cfg->transit_slots < cfg->top_k) {
        return MOX_FAIL(MOX_E_ARG, "store: %u transit slots, at least %u are needed", cfg->transit_slots,
                        cfg->top_k);
    }
    if (cfg->layout.n_slabs == 0 || cfg->layout.n_slabs > MOX_STORE_MAX_SLABS || cfg->layout.row_group == 0) {
        return MOX_FAIL(MOX_E_ARG, "store: %u slabs in groups of %u rows", cfg->layout.n_slabs,
                        cfg->layout.row_group);
    }
    if (cfg->io_depth == 0 || cfg->io_depth > MOX_IO_MAX_DEPTH || cfg->io_request_bytes == 0 ||
        cfg->n_files == 0 || cfg->n_files > MOX_IO_MAX_FILES) {
        return MOX_FAIL(MOX_E_ARG, "store: %u reads of %zu bytes in flight, %u files", cfg->io_depth,
                        cfg->io_request_bytes, cfg->n_files);
    }
    if (!cfg->policy || cfg->policy->needs_future) {
        return MOX_FAIL(MOX_E_ARG, "store: %s", cfg->policy ? "belady is for replay only" : "no policy");
    }
    return MOX_OK;
}

/* Class of a layer: the first layer with the same slot size names it. */
static uint32_t class_of(const mox_store_cfg *cfg, uint32_t layer)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i <= layer; i++) {
        uint32_t same = 0;
        while (cfg->layers[same].slot_bytes != cfg->layers[i].slot_bytes) {
            same++;
        }
        if (same == i) {
            if (cfg->layers[i].slot_bytes == cfg->layers[layer].slot_bytes) {
                return n;
            }
            n++;
        }
    }
    return n;
}

static uint32_t quota_of(const mox_store_cfg *cfg, uint32_t layer)
{
    return cfg->layers[layer].quota < cfg->n_experts ? cfg->layers[layer].quota : cfg->n_experts;
}

static uint32_t count_slots(const mox_store_cfg *cfg, uint32_t *n_classes)
{
    uint32_t n = 0;
    *n_classes = 0;
    for (uint32_t i = 0; i < cfg->n_layers; i++) {
        uint32_t c = class_of(cfg, i);
        *n_classes = c >= *n_classes ? c + 1 : *n_classes;
        n += quota_of(cfg, i);
    }
    return n + *n_classes * cfg->transit_slots;
}

/* Every take of the store, in one order: planning, --dry-run and the run count the same bytes. The tables go
 * to *t (all NULL while planning). */
typedef struct tables {
    mox_store *st;
    mox_layer_state *layer;
    uint32_t *kept;
    mox_expert_stat *stats;
    mox_slot *slot;
    uint32_t *map;
    mox_slot_info *info;
    mox_need_entry *need;
    uint8_t *in_set;
    uint32_t *open, *open_at, *fill_order;
    mox_io_file *file;
    int *fd;
    const char **path;
    uint64_t *hashes;
    void *io_state;
    uint8_t *staging;
    size_t staging_bytes, buf_bytes;
    uint32_t n_slots, n_classes;
} tables;

static size_t state_bytes(const mox_store_cfg *cfg)
{
    size_t ring = mox_io_ring.state_bytes;
    size_t preads = mox_io_preads.state_bytes;
    size_t own = ring > preads ? ring : preads;
    return cfg->io_override && cfg->io_override->state_bytes > own ? cfg->io_override->state_bytes : own;
}

static void take_tables(const mox_store_cfg *cfg, mox_arena *a, tables *t)
{
    size_t cells = (size_t)cfg->n_layers * cfg->n_experts;
    t->n_slots = count_slots(cfg, &t->n_classes);
    t->st = mox_arena_take(a, sizeof *t->st, STATE_ALIGN);
    t->layer = mox_arena_take(a, cfg->n_layers * sizeof *t->layer, STATE_ALIGN);
    t->kept = mox_arena_take(a, cells * sizeof *t->kept, STATE_ALIGN);
    t->stats = mox_arena_take(a, cells * sizeof *t->stats, STATE_ALIGN);
    t->slot = mox_arena_take(a, t->n_slots * sizeof *t->slot, STATE_ALIGN);
    t->map = mox_arena_take(a, cells * sizeof *t->map, STATE_ALIGN);
    t->info = mox_arena_take(a, t->n_slots * sizeof *t->info, STATE_ALIGN);
    t->need = mox_arena_take(a, cfg->n_experts * sizeof *t->need, STATE_ALIGN);
    t->in_set = mox_arena_take(a, cfg->n_experts, STATE_ALIGN);
    t->open = mox_arena_take(a, cfg->n_experts * sizeof *t->open, STATE_ALIGN);
    t->open_at = mox_arena_take(a, cfg->n_experts * sizeof *t->open_at, STATE_ALIGN);
    t->fill_order = mox_arena_take(a, t->n_slots * sizeof *t->fill_order, STATE_ALIGN);
    t->file = mox_arena_take(a, cfg->n_files * sizeof *t->file, STATE_ALIGN);
    t->fd = mox_arena_take(a, cfg->n_files * sizeof *t->fd, STATE_ALIGN);
    t->path = mox_arena_take(a, cfg->n_files * sizeof *t->path, STATE_ALIGN);
    t->hashes = mox_arena_take(a, cells * cfg->layout.n_slabs * sizeof *t->hashes, STATE_ALIGN);
    t->io_state = mox_arena_take(a, state_bytes(cfg), STATE_ALIGN);
    t->buf_bytes = mox_files_buffer_bytes(cfg);
    t->staging_bytes = t->buf_bytes * cfg->io_depth;
    t->staging = mox_arena_take(a, t->staging_bytes, SLOT_ALIGN);
}

/* Slots of a class lie together; `bytes` of each go to info (NULL while planning). */
static void take_slots(const mox_store_cfg *cfg, mox_arena *a, tables *t)
{
    uint32_t at = 0;
    for (uint32_t c = 0; c < t->n_classes; c++) {
        uint32_t n = cfg->transit_slots;
        size_t bytes = 0;
        for (uint32_t i = 0; i < cfg->n_layers; i++) {
            if (class_of(cfg, i) == c) {
                n += quota_of(cfg, i);
                bytes = cfg->layers[i].slot_bytes;
            }
        }
        for (uint32_t i = 0; i < n; i++, at++) {
            uint8_t *p = mox_arena_take(a, bytes, SLOT_ALIGN);
            if (p && t->info && !cfg->reserve_only) {
                t->info[at].bytes = p;
                t->info[at].n_bytes = bytes;
                t->slot[at].size_class = (uint8_t)c;
            }
        }
    }
}

static void init_layers(mox_store *st, const tables *t)
{
    const mox_store_cfg *cfg = &st->cfg;
    memset(t->stats, 0, (size_t)cfg->n_layers * cfg->n_experts * sizeof *t->stats);
    for (uint32_t i = 0; i < cfg->n_layers; i++) {
        st->layer[i] = (mox_layer_state){
            .size_class = class_of(cfg, i),
            .slot_bytes = cfg->layers[i].slot_bytes,
            .quota = quota_of(cfg, i),
            .kept = t->kept + (size_t)i * cfg->n_experts,
            .stats = t->stats + (size_t)i * cfg->n_experts,
        };
    }
}

static mox_store *assemble(const mox_store_cfg *cfg, const tables *t)
{
    mox_store *st = t->st;
    memset(st, 0, sizeof *st);
    st->cfg = *cfg;
    st->layer = t->layer;
    st->info = t->info;
    st->need = t->need;
    st->in_set = t->in_set;
    st->open = t->open;
    st->open_at = t->open_at;
    st->fill_order = t->fill_order;
    st->n_classes = t->n_classes;
    memset(t->info, 0, t->n_slots * sizeof *t->info);
    memset(t->in_set, 0, cfg->n_experts);
    mox_slots_init(&st->slots, t->slot, t->n_slots, t->map, cfg->n_layers * cfg->n_experts);
    init_layers(st, t);
    mox_file_tier *io = &st->io;
    io->file = t->file;
    io->fd = t->fd;
    io->path = t->path;
    io->n_files = cfg->n_files;
    io->hashes = t->hashes;
    memset(io->hashes, 0, (size_t)cfg->n_layers * cfg->n_experts * cfg->layout.n_slabs * sizeof *io->hashes);
    io->io_state = t->io_state;
    io->staging = t->staging;
    io->staging_bytes = t->staging_bytes;
    io->buf_bytes = t->buf_bytes;
    io->request_bytes = cfg->io_request_bytes;
    io->depth = cfg->io_depth;
    io->demand = io->later = (mox_queue){MOX_SLOT_NONE, MOX_SLOT_NONE};
    for (uint32_t i = 0; i < io->depth; i++) {
        io->req[i].buf = io->staging + i * io->buf_bytes;
    }
    pthread_mutex_init(&st->lock, NULL);
    pthread_cond_init(&st->changed, NULL);
    mox_ahead_init(st);
    return st;
}

mox_err mox_store_create(mox_store **out, const mox_store_cfg *cfg, mox_arena *arena)
{
    MOX_TRY(check_cfg(cfg));
    tables t = {0};
    bool planning = arena->base == NULL || cfg->reserve_only;
    size_t before = arena->used;
    take_tables(cfg, arena, &t);
    if (t.n_classes > MOX_STORE_MAX_CLASSES) {
        return MOX_FAIL(MOX_E_ARG, "store: %u sizes of experts, at most %d", t.n_classes,
                        MOX_STORE_MAX_CLASSES);
    }
    if (planning) {
        take_slots(cfg, arena, &t);
        *out = NULL;
        return MOX_OK;
    }
    if (!t.staging) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "store: %zu bytes left for tables and buffers",
                        arena->bytes > before ? arena->bytes - before : 0);
    }
    mox_store *st = assemble(cfg, &t);
    take_slots(cfg, arena, &t);
    mox_err err = MOX_OK;
    if (arena->used > arena->bytes) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "store: %u slots do not fit in %zu bytes", t.n_slots, arena->bytes);
    }
    if (err == MOX_OK) {
        err = mox_files_open(st);
    }
    if (err == MOX_OK) {
        err = mox_files_start(st);
    }
    if (err != MOX_OK) {
        mox_store_destroy(&st);
        return err;
    }
    *out = st;
    return MOX_OK;
}

void mox_store_destroy(mox_store **store)
{
    mox_store *st = *store;
    if (!st) {
        return;
    }
    mox_files_stop(st);
    pthread_cond_destroy(&st->changed);
    pthread_mutex_destroy(&st->lock);
    *store = NULL;
}

/* ---- the fill at open ---- */

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

/* ---- a layer step ---- */

static void count_use(mox_store *st, const mox_need_entry *n)
{
    mox_layer_state *l = &st->layer[st->cur_layer];
    mox_use_counters *both[2] = {&l->use, &st->count.use[st->cur_phase]};
    uint64_t uses = n->need.n_uses;
    for (int i = 0; i < 2; i++) {
        mox_use_counters *c = both[i];
        c->uses += uses;
        switch (n->served) {
        case MOX_SERVED_LATE:
            c->late += uses;
            c->late_bytes += uses * l->slot_bytes;
            break;
        case MOX_SERVED_FILE:
            c->misses += uses;
            c->miss_bytes += uses * l->slot_bytes;
            break;
        default:
            c->hits += uses;
            c->hit_bytes += uses * l->slot_bytes;
        }
        c->loads += n->served != MOX_SERVED_RAM;
    }
}

/* One need meets the table: resident, joined, loading from now on, or to come in a later wave. */
static void place_need(mox_store *st, mox_need_entry *n)
{
    mox_slot_result r = mox_ram_want(st, st->cur_layer, n->need.expert, MOX_READ_DEMAND);
    n->slot = r.slot;
    n->generation = r.generation;
    switch (r.verdict) {
    case MOX_SLOT_HIT:
        n->state = MOX_NEED_RESIDENT;
        break;
    case MOX_SLOT_JOINED:
        n->state = MOX_NEED_WAITING;
        mox_files_raise(st, r.slot);
        break;
    case MOX_SLOT_ALLOCATED:
        n->state = MOX_NEED_WAITING;
        break;
    default:
        n->state = MOX_NEED_QUEUED;
        return;
    }
    mox_slot_info *info = &st->info[r.slot];
    if (info->prefetched) {
        mox_ahead_judge(st, r.slot, true);
    }
    info->predicted = false;
    info->last_step = st->step;
}

void mox_store_begin(mox_store *st, uint32_t layer, mox_phase phase, const mox_need *needs, uint32_t n)
{
    pthread_mutex_lock(&st->lock);
    mox_layer_state *l = &st->layer[layer];
    st->in_step = true;
    st->failed = false;
    st->cur_layer = layer;
    st->cur_phase = phase;
    st->n_needs = n;
    st->step++;
    l->step++;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = st->slots.map[mox_store_key(st, layer, needs[i].expert)];
        bool loading = slot != MOX_SLOT_NONE && st->slots.slot[slot].state == MOX_SLOT_LOADING;
        st->in_set[needs[i].expert] = 1;
        st->need[i] = (mox_need_entry){
            .need = needs[i],
            .state = MOX_NEED_QUEUED,
            .served = slot == MOX_SLOT_NONE ? MOX_SERVED_FILE
                      : loading             ? MOX_SERVED_LATE
                                            : MOX_SERVED_RAM,
        };
        count_use(st, &st->need[i]);
        mox_policy_touch(&l->stats[needs[i].expert], l->step, needs[i].n_uses);
    }
    mox_ahead_refute(st, layer);
    /* Residents and joins first: from then on no miss of this step can take their slots. */
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < n; i++) {
            if ((st->need[i].served == MOX_SERVED_FILE) == (pass == 1)) {
                place_need(st, &st->need[i]);
            }
        }
    }
    mox_ahead_issue(st);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
}

static void start_queued(mox_store *st)
{
    bool started = false;
    for (uint32_t i = 0; i < st->n_needs; i++) {
        mox_need_entry *n = &st->need[i];
        if (n->state == MOX_NEED_QUEUED) {
            place_need(st, n);
            if (n->state == MOX_NEED_QUEUED) {
                break;
            }
            started = true;
        }
    }
    if (started) {
        mox_files_wake(st);
    }
}

static void lease(mox_store *st, mox_need_entry *n, mox_lease *out)
{
    n->state = MOX_NEED_LEASED;
    *out = (mox_lease){n->need.expert, n->served, st->info[n->slot].bytes, n->slot, n->generation};
}

/* A resident, else the load that ended first; false: nothing yet. */
static bool try_lease(mox_store *st, mox_lease *out)
{
    mox_need_entry *first = NULL;
    for (uint32_t i = 0; i < st->n_needs; i++) {
        mox_need_entry *n = &st->need[i];
        if (n->state == MOX_NEED_RESIDENT) {
            mox_ram_apply(st, MOX_SLOT_PIN, n->slot, n->generation);
            lease(st, n, out);
            return true;
        }
        if (n->state == MOX_NEED_WAITING && st->slots.slot[n->slot].state == MOX_SLOT_PINNED &&
            (!first || st->info[n->slot].load.arrived < st->info[first->slot].load.arrived)) {
            first = n;
        }
    }
    if (first) { /* pinned for us by its last read */
        lease(st, first, out);
    }
    return first != NULL;
}

static mox_err try_fail(mox_store *st)
{
    for (uint32_t i = 0; i < st->n_needs; i++) {
        mox_need_entry *n = &st->need[i];
        if (n->state == MOX_NEED_WAITING && st->slots.slot[n->slot].state == MOX_SLOT_FAILED) {
            mox_load_error error = st->info[n->slot].load.error;
            mox_ram_apply(st, MOX_SLOT_TOLD, n->slot, n->generation);
            n->state = MOX_NEED_DONE;
            st->failed = true;
            return mox_files_fail(st, st->cur_layer, n->need.expert, &error);
        }
    }
    return MOX_OK;
}

/* Whether waiting can bring anything: a load or a zombie is under way, or nothing is left to wait for. */
typedef enum progress { WAIT, ALL_LEASED, STUCK } progress;

static progress look(const mox_store *st)
{
    bool waiting = false, queued = false;
    for (uint32_t i = 0; i < st->n_needs; i++) {
        waiting = waiting || st->need[i].state == MOX_NEED_WAITING;
        queued = queued || st->need[i].state == MOX_NEED_QUEUED;
    }
    if (!waiting && !queued) {
        return ALL_LEASED;
    }
    if (waiting) {
        return WAIT;
    }
    for (uint32_t i = 0; i < st->slots.n; i++) {
        mox_slot_state s = st->slots.slot[i].state;
        if (s == MOX_SLOT_LOADING || s == MOX_SLOT_ZOMBIE || s == MOX_SLOT_FAILED) {
            return WAIT;
        }
    }
    return STUCK;
}

mox_err mox_store_next(mox_store *st, mox_lease *out, bool *done)
{
    mox_err err = MOX_OK;
    uint64_t since = 0;
    pthread_mutex_lock(&st->lock);
    *done = false;
    for (;;) {
        err = try_fail(st);
        if (err != MOX_OK) {
            break;
        }
        start_queued(st);
        if (try_lease(st, out)) {
            break;
        }
        progress p = look(st);
        if (p == ALL_LEASED) {
            *done = true;
            break;
        }
        if (p == STUCK) {
            err = MOX_FAIL(MOX_E_INTERNAL, "store: next() with every transit slot leased; release one first");
            break;
        }
        since = since ? since : mox_now_ns();
        pthread_cond_wait(&st->changed, &st->lock);
    }
    if (since) {
        st->count.wait_ns[st->cur_phase] += mox_now_ns() - since;
    }
    pthread_mutex_unlock(&st->lock);
    return err;
}

static mox_need_entry *find_need(mox_store *st, uint32_t expert)
{
    for (uint32_t i = 0; i < st->n_needs; i++) {
        if (st->need[i].need.expert == expert) {
            return &st->need[i];
        }
    }
    return NULL;
}

static void give_back(mox_store *st, mox_need_entry *n)
{
    mox_ram_apply(st, MOX_SLOT_UNPIN, n->slot, n->generation);
    mox_ram_apply(st, MOX_SLOT_UNNEED, n->slot, n->generation);
    n->state = MOX_NEED_DONE;
}

void mox_store_release(mox_store *st, const mox_lease *l)
{
    pthread_mutex_lock(&st->lock);
    mox_need_entry *n = find_need(st, l->expert);
    if (n && n->state == MOX_NEED_LEASED && n->slot == l->slot_idx && n->generation == l->generation) {
        give_back(st, n);
        start_queued(st);
    }
    pthread_mutex_unlock(&st->lock);
}

/* Of a step that ended early: whatever it still holds or waits for. */
static void abandon(mox_store *st, mox_need_entry *n)
{
    mox_slot_state s = st->slots.slot[n->slot].state;
    if (n->state == MOX_NEED_RESIDENT) {
        mox_ram_apply(st, MOX_SLOT_UNNEED, n->slot, n->generation);
    } else if (n->state == MOX_NEED_LEASED || (n->state == MOX_NEED_WAITING && s == MOX_SLOT_PINNED)) {
        give_back(st, n);
    } else if (n->state == MOX_NEED_WAITING && s == MOX_SLOT_FAILED) {
        mox_ram_apply(st, MOX_SLOT_TOLD, n->slot, n->generation);
    } else if (n->state == MOX_NEED_WAITING) {
        mox_slot_result r = mox_ram_apply(st, MOX_SLOT_LEAVE, n->slot, n->generation);
        if (r.actions & MOX_SLOT_STOP) {
            mox_files_remove(st, n->slot);
        }
    }
    n->state = MOX_NEED_DONE;
}

void mox_store_end(mox_store *st)
{
    pthread_mutex_lock(&st->lock);
    for (uint32_t i = 0; i < st->n_needs; i++) {
        if (st->need[i].state != MOX_NEED_DONE) {
            abandon(st, &st->need[i]);
        }
    }
    for (uint32_t i = 0; i < st->n_needs && !st->failed; i++) {
        uint32_t slot = st->slots.map[mox_store_key(st, st->cur_layer, st->need[i].need.expert)];
        bool ready = slot != MOX_SLOT_NONE && st->slots.slot[slot].state == MOX_SLOT_READY;
        if (ready && !st->info[slot].kept) {
            mox_ram_admit(st, st->cur_layer, slot);
        }
    }
    for (uint32_t i = 0; i < st->n_needs; i++) {
        st->in_set[st->need[i].need.expert] = 0;
    }
    st->in_step = false;
    st->step++; /* what the step used is from now on expendable */
    mox_ahead_issue(st);
    mox_files_wake(st);
    pthread_mutex_unlock(&st->lock);
}

/* ---- questions ---- */

mox_served mox_store_served(const mox_store *st, uint32_t expert)
{
    for (uint32_t i = 0; i < st->n_needs; i++) {
        if (st->need[i].need.expert == expert) {
            return st->need[i].served;
        }
    }
    return MOX_SERVED_FILE;
}

static void add_all(uint64_t *to, const uint64_t *from, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        to[i] += from[i];
    }
}

_Static_assert(sizeof(mox_counters) % sizeof(uint64_t) == 0, "counters are 64-bit numbers and nothing else");

void mox_store_counters(mox_store *st, mox_counters *c, mox_use_counters *per_layer)
{
    pthread_mutex_lock(&st->lock);
    add_all((uint64_t *)c, (const uint64_t *)&st->count, sizeof *c / sizeof(uint64_t));
    for (uint32_t i = 0; per_layer && i < st->cfg.n_layers; i++) {
        add_all((uint64_t *)&per_layer[i], (const uint64_t *)&st->layer[i].use,
                sizeof *per_layer / sizeof(uint64_t));
    }
    pthread_mutex_unlock(&st->lock);
}

uint32_t mox_store_resident(mox_store *st, uint32_t layer, uint64_t *bitmap)
{
    uint32_t n = 0;
    pthread_mutex_lock(&st->lock);
    memset(bitmap, 0, (st->cfg.n_experts + 63) / 64 * sizeof *bitmap);
    for (uint32_t e = 0; e < st->cfg.n_experts; e++) {
        uint32_t slot = st->slots.map[mox_store_key(st, layer, e)];
        if (slot != MOX_SLOT_NONE && st->slots.slot[slot].state != MOX_SLOT_LOADING) {
            bitmap[e / 64] |= UINT64_C(1) << e % 64;
            n++;
        }
    }
    pthread_mutex_unlock(&st->lock);
    return n;
}

bool mox_store_ahead_off(mox_store *st)
{
    pthread_mutex_lock(&st->lock);
    bool off = !st->cfg.look_ahead || st->ahead.off;
    pthread_mutex_unlock(&st->lock);
    return off;
}

const char *mox_store_io_name(const mox_store *st)
{
    return st->io.name;
}
