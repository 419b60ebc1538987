/* Creation and destruction of the store, and what can be asked of it. Its steps are in layer_step.c, the fill at open in
 * fill.c, slots and roles in tier_ram.c, VRAM in tier_vram.c, reads in tier_file.c, predictions in lookahead.c.
 *
 * All memory comes from the caller's arena in one fixed order (take_tables, take_slots), so that planning, --dry-run and
 * the run count the same bytes.
 */
#include "offload/store_internal.h"

#include <string.h>

#define DEFAULT_REQUEST ((size_t)1 << 20)
enum { DEFAULT_DEPTH = 32, SLOT_ALIGN = 4096, STATE_ALIGN = 64 };

void mox_store_cfg_defaults(mox_store_cfg *cfg)
{
    *cfg = (mox_store_cfg){
        .layout = {.n_slabs = 3, .row_group = 16},
        .policy = mox_policy_by_name("auto"),
        .margin = MOX_ADMIT_ALWAYS,
        .look_ahead = true,
        .io = MOX_IO_AUTO,
        .verify = MOX_VERIFY_SAMPLE,
        .io_depth = DEFAULT_DEPTH,
        .io_request_bytes = DEFAULT_REQUEST,
    };
}

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
    mox_guess guess;
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

static void take_guess(const mox_store_cfg *cfg, mox_arena *a, mox_guess *g)
{
    size_t cells = (size_t)MOX_GUESS_KINDS * cfg->n_layers;
    g->n_ranks = mox_store_guess_ranks(cfg->top_k, cfg->n_experts);
    g->line = mox_arena_take(a, MOX_GUESS_KINDS * sizeof *g->line, STATE_ALIGN);
    g->shift = mox_arena_take(a, cells * cfg->n_experts * sizeof *g->shift, STATE_ALIGN);
    g->n_seen = mox_arena_take(a, cells * sizeof *g->n_seen, STATE_ALIGN);
    g->seen = mox_arena_take(a, cells * g->n_ranks * sizeof *g->seen, STATE_ALIGN);
    g->chance = mox_arena_take(a, cfg->n_experts * sizeof *g->chance, STATE_ALIGN);
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
    take_guess(cfg, a, &t->guess);
    t->io_state = mox_arena_take(a, state_bytes(cfg), STATE_ALIGN);
    t->buf_bytes = mox_files_buffer_bytes(cfg);
    t->staging_bytes = t->buf_bytes * mox_store_reqs(cfg);
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
    io->n_req = mox_store_reqs(cfg);
    io->demand = io->later = (mox_queue){MOX_SLOT_NONE, MOX_SLOT_NONE};
    for (uint32_t i = 0; i < io->n_req; i++) {
        io->req[i].buf = io->staging + i * io->buf_bytes;
    }
    pthread_mutex_init(&st->lock, NULL);
    pthread_cond_init(&st->changed, NULL);
    mox_ahead_init(st);
    st->guess = t->guess;
    mox_guess_init(st);
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
        mox_vram_create(NULL, cfg, arena);
        take_slots(cfg, arena, &t);
        *out = NULL;
        return MOX_OK;
    }
    if (!t.staging) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "store: %zu bytes left for tables and buffers",
                        arena->bytes > before ? arena->bytes - before : 0);
    }
    mox_store *st = assemble(cfg, &t);
    mox_vram_create(st, cfg, arena);
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
    mox_err landed = mox_vram_settle(st); /* nothing may be copied into memory that is given back */
    (void)landed;
    mox_files_stop(st);
    pthread_cond_destroy(&st->changed);
    pthread_mutex_destroy(&st->lock);
    *store = NULL;
}

mox_served mox_store_served(const mox_store *st, uint32_t expert)
{
    for (uint32_t i = 0; i < st->n_needs; i++) {
        if (st->need[i].need.expert == expert) {
            return st->need[i].served;
        }
    }
    return mox_vram_served(st, expert) ? MOX_SERVED_VRAM : MOX_SERVED_FILE;
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

void mox_store_record(mox_store *st, mox_trace_writer *trace)
{
    pthread_mutex_lock(&st->lock);
    st->trace = trace;
    pthread_mutex_unlock(&st->lock);
}

void mox_store_uses(const mox_store *st, uint32_t *uses)
{
    for (uint32_t l = 0; l < st->cfg.n_layers; l++) {
        for (uint32_t e = 0; e < st->cfg.n_experts; e++) {
            *uses++ = (uint32_t)st->layer[l].stats[e].count;
        }
    }
}
