/* See fixture.h. The layout transposes each row group word by word, so a part that is repacked to a wrong
 * place or twice with other rows shows. */
#include "offload/fixture.h"

#include "offload/slot.h"
#include "offload/store_internal.h"
#include "runtime/core/hash.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEAD = 1000, GROUP = 16, WORD = 8, PAGE = 4096 };

static uint32_t rows_of(const fixture *fx, uint32_t layer, uint32_t slab)
{
    return (slab == 2 ? 30 : 44) * fx->rows_scale + (layer >= 2 ? 4 : 0);
}

static uint32_t words_per_row(uint32_t slab)
{
    return slab == 2 ? 37 : 25; /* 296 and 200 bytes */
}

static uint64_t word_at(uint32_t layer, uint32_t expert, uint32_t slab, uint32_t row, uint32_t word)
{
    uint64_t v = ((((uint64_t)layer * 64 + expert) * 4 + slab) * 65536 + row) * 64 + word + 1;
    v *= UINT64_C(0x9E3779B97F4A7C15);
    return v ^ v >> 29;
}

static uint64_t slab_bytes(const fixture *fx, uint32_t layer, uint32_t slab)
{
    return (uint64_t)rows_of(fx, layer, slab) * words_per_row(slab) * WORD;
}

/* Tensors follow each other: slab by slab of a layer, all experts in each, as in a GGUF. */
void fx_source(void *ctx, uint32_t layer, uint32_t expert, uint32_t slab, mox_slab_src *out)
{
    const fixture *fx = ctx;
    uint64_t off = HEAD;
    if (fx->packed) {
        mox_record_src r;
        fx_record(ctx, layer, expert, &r);
        *out = (mox_slab_src){.off = r.off};
        return;
    }
    for (uint32_t l = 0; l <= layer; l++) {
        for (uint32_t s = 0; s < FX_SLABS && (l < layer || s < slab); s++) {
            off += slab_bytes(fx, l, s) * FX_EXPERTS;
        }
    }
    *out = (mox_slab_src){
        .file = 0,
        .off = off + expert * slab_bytes(fx, layer, slab),
        .row_bytes = (uint64_t)words_per_row(slab) * WORD,
        .n_rows = rows_of(fx, layer, slab),
    };
}

static size_t slab_start(const fixture *fx, uint32_t layer, uint32_t slab)
{
    size_t at = 0;
    for (uint32_t s = 0; s < slab; s++) {
        at += slab_bytes(fx, layer, s);
    }
    return at;
}

size_t fx_expert_bytes(const fixture *fx, uint32_t layer)
{
    return slab_start(fx, layer, FX_SLABS);
}

size_t fx_slot_bytes(const fixture *fx, uint32_t layer)
{
    size_t bytes = fx_expert_bytes(fx, layer);
    return fx->packed ? (bytes + PAGE - 1) / PAGE * PAGE : bytes;
}

/* Layer by layer, expert after expert. */
void fx_record(void *ctx, uint32_t layer, uint32_t expert, mox_record_src *out)
{
    const fixture *fx = ctx;
    uint64_t off = PAGE;
    for (uint32_t l = 0; l < layer; l++) {
        off += FX_EXPERTS * fx_slot_bytes(fx, l);
    }
    uint64_t bytes = fx_slot_bytes(fx, layer);
    *out = (mox_record_src){.off = off + expert * bytes,
                            .bytes = bytes,
                            .slice_bytes = FX_SLICE,
                            .n_slices = (uint32_t)((fx_expert_bytes(fx, layer) + FX_SLICE - 1) / FX_SLICE),
                            .sums = fx->sums[layer][expert]};
    cr_assert_leq(out->n_slices, FX_MAX_SLICES);
}

/* Where word `word` of `row` lies in the slot: groups in order, inside a group word-major. */
static size_t slot_at(const fixture *fx, uint32_t layer, uint32_t slab, uint32_t row, uint32_t word)
{
    uint32_t group = row / GROUP;
    uint32_t left = rows_of(fx, layer, slab) - group * GROUP;
    uint32_t in_group = left < GROUP ? left : GROUP;
    size_t words = (size_t)group * GROUP * words_per_row(slab) + (size_t)word * in_group + row % GROUP;
    return slab_start(fx, layer, slab) + words * WORD;
}

void fx_repack(void *ctx, uint32_t layer, uint32_t slab, uint32_t row0, uint32_t n_rows, const uint8_t *src,
               uint8_t *slot)
{
    const fixture *fx = ctx;
    cr_assert_eq(row0 % GROUP, 0, "a part begins inside a row group");
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t w = 0; w < words_per_row(slab); w++, src += WORD) {
            memcpy(slot + slot_at(fx, layer, slab, row0 + r, w), src, WORD);
        }
    }
}

/* Of rows [row0, end) of a slab. */
static size_t wrong_rows(const fixture *fx, uint32_t layer, const mox_lease *l, uint32_t slab, uint32_t row0,
                         uint32_t end)
{
    size_t wrong = 0;
    for (uint32_t row = row0; row < end && row < rows_of(fx, layer, slab); row++) {
        for (uint32_t w = 0; w < words_per_row(slab); w++) {
            uint64_t v;
            memcpy(&v, l->slot + slot_at(fx, layer, slab, row, w), WORD);
            wrong += v != word_at(layer, l->expert, slab, row, w);
        }
    }
    return wrong;
}

size_t fx_wrong_words(uint32_t layer, uint32_t expert, const fixture *fx, const uint8_t *slot)
{
    mox_lease l = {.expert = expert, .slot = slot};
    size_t wrong = 0;
    for (uint32_t slab = 0; slab < FX_SLABS; slab++) {
        wrong += wrong_rows(fx, layer, &l, slab, 0, UINT32_MAX);
    }
    return wrong;
}

static void write_slab(FILE *f, const fixture *fx, uint32_t layer, uint32_t expert, uint32_t slab)
{
    for (uint32_t row = 0; row < rows_of(fx, layer, slab); row++) {
        for (uint32_t w = 0; w < words_per_row(slab); w++) {
            uint64_t v = word_at(layer, expert, slab, row, w);
            cr_assert_eq(fwrite(&v, WORD, 1, f), 1);
        }
    }
}

/* The slot as repacking would fill it, to the end of the record, and its slices' hashes. */
static void write_record(FILE *f, fixture *fx, uint32_t layer, uint32_t expert)
{
    mox_record_src r;
    fx_record(fx, layer, expert, &r);
    uint8_t *slot = calloc(1, r.bytes);
    for (uint32_t slab = 0; slab < FX_SLABS; slab++) {
        for (uint32_t row = 0; row < rows_of(fx, layer, slab); row++) {
            for (uint32_t w = 0; w < words_per_row(slab); w++) {
                uint64_t v = word_at(layer, expert, slab, row, w);
                memcpy(slot + slot_at(fx, layer, slab, row, w), &v, WORD);
            }
        }
    }
    for (uint32_t s = 0; s < r.n_slices; s++) {
        uint64_t end = s + 1 < r.n_slices ? (s + 1) * r.slice_bytes : r.bytes;
        fx->sums[layer][expert][s] = mox_hash64(slot + s * r.slice_bytes, end - s * r.slice_bytes, 0);
    }
    cr_assert_eq((uint64_t)ftell(f), r.off);
    cr_assert_eq(fwrite(slot, r.bytes, 1, f), 1);
    free(slot);
}

static FILE *create(fixture *fx, uint32_t scale)
{
    memset(fx, 0, sizeof *fx);
    fx->rows_scale = scale;
    const char *dir = getenv("TMPDIR");
    snprintf(fx->path, sizeof fx->path, "%.90s/moxie-store-XXXXXX", dir ? dir : "/tmp");
    int fd = mkstemp(fx->path);
    cr_assert(fd >= 0, "no temporary file at %s", fx->path);
    fx->files[0] = fx->path;
    return fdopen(fd, "wb");
}

static void head(FILE *f, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        fputc('h', f);
    }
}

void fx_write_packed(fixture *fx, uint32_t scale)
{
    FILE *f = create(fx, scale);
    fx->packed = true;
    head(f, PAGE);
    for (uint32_t layer = 0; layer < FX_LAYERS; layer++) {
        for (uint32_t expert = 0; expert < FX_EXPERTS; expert++) {
            write_record(f, fx, layer, expert);
        }
    }
    fx->file_bytes = (uint64_t)ftell(f);
    cr_assert_eq(fclose(f), 0);
}

void fx_write(fixture *fx, uint32_t scale)
{
    FILE *f = create(fx, scale);
    head(f, HEAD);
    for (uint32_t layer = 0; layer < FX_LAYERS; layer++) {
        for (uint32_t slab = 0; slab < FX_SLABS; slab++) {
            for (uint32_t expert = 0; expert < FX_EXPERTS; expert++) {
                write_slab(f, fx, layer, expert, slab);
            }
        }
    }
    fx->file_bytes = (uint64_t)ftell(f);
    cr_assert_eq(fclose(f), 0);
}

static void keep_line(void *ctx, mox_log_level level, const char *line)
{
    fixture *fx = ctx;
    (void)level;
    size_t used = strlen(fx->logged);
    snprintf(fx->logged + used, FX_LOG - used, "%s\n", line);
}

mox_store_cfg fx_cfg(fixture *fx)
{
    mox_store_cfg cfg;
    mox_store_cfg_defaults(&cfg);
    for (uint32_t i = 0; i < FX_LAYERS; i++) {
        fx->layers[i] = (mox_store_layer){.slot_bytes = fx_slot_bytes(fx, i), .quota = 3};
    }
    fx->log = (mox_log){.fn = keep_line, .ctx = fx, .level = MOX_LOG_INFO};
    cfg.n_layers = FX_LAYERS;
    cfg.n_experts = FX_EXPERTS;
    cfg.top_k = FX_TOP_K;
    cfg.layers = fx->layers;
    cfg.transit_slots = 4;
    cfg.files = fx->files;
    cfg.n_files = 1;
    cfg.layout = (mox_layout_ops){
        .ctx = fx, .n_slabs = FX_SLABS, .row_group = GROUP, .source = fx_source, .repack = fx_repack};
    cfg.layout.slice_rows = FX_SLICE_ROWS;
    cfg.layout.whole_slab = FX_WHOLE_SLAB;
    cfg.lease_arriving = true;
    if (fx->packed) {
        cfg.layout.record = fx_record;
        cfg.layout.repack = NULL;
    }
    cfg.verify = MOX_VERIFY_ALWAYS;
    cfg.io_depth = 8;
    cfg.io_request_bytes = 8192;
    cfg.log = &fx->log;
    return cfg;
}

mox_err fx_open(fixture *fx, const mox_store_cfg *cfg)
{
    mox_arena plan = mox_arena_plan();
    mox_err err = mox_store_create(&fx->store, cfg, &plan);
    if (err == MOX_OK) {
        cr_assert_null(fx->store);
        err = mox_arena_map(&fx->arena, plan.used, 0);
    }
    if (err == MOX_OK) {
        err = mox_store_create(&fx->store, cfg, &fx->arena);
        if (err == MOX_OK) {
            cr_assert_eq(fx->arena.used, plan.used, "planned %zu, took %zu", plan.used, fx->arena.used);
        }
    }
    return err;
}

void fx_close(fixture *fx)
{
    mox_store_destroy(&fx->store);
    mox_arena_unmap(&fx->arena);
}

void fx_remove(fixture *fx)
{
    unlink(fx->path);
}

static uint32_t slices_of(const fixture *fx, uint32_t layer)
{
    mox_record_src r;
    if (fx->packed) {
        fx_record((void *)(uintptr_t)fx, layer, 0, &r);
        return r.n_slices;
    }
    return (rows_of(fx, layer, 0) + FX_SLICE_ROWS - 1) / FX_SLICE_ROWS;
}

/* One slice: of a plain file its rows and all of down. */
static size_t wrong_slice(fixture *fx, uint32_t layer, const mox_lease *lease, uint32_t s)
{
    mox_record_src r;
    if (!fx->packed) {
        size_t wrong = wrong_rows(fx, layer, lease, FX_WHOLE_SLAB, 0, UINT32_MAX);
        for (uint32_t slab = 0; slab < FX_WHOLE_SLAB; slab++) {
            wrong += wrong_rows(fx, layer, lease, slab, s * FX_SLICE_ROWS, (s + 1) * FX_SLICE_ROWS);
        }
        return wrong;
    }
    fx_record(fx, layer, lease->expert, &r);
    uint64_t begin = s * r.slice_bytes, end = s + 1 < r.n_slices ? begin + r.slice_bytes : r.bytes;
    return mox_hash64(lease->slot + begin, end - begin, 0) != r.sums[s];
}

/* Of an expert that is still arriving: each slice when it is said to be there, up to the last. */
static mox_err take_arriving(fixture *fx, uint32_t layer, const mox_lease *lease, size_t *wrong)
{
    uint32_t n_slices = slices_of(fx, layer);
    for (uint32_t had = 0, n = 0; had < n_slices; had = n) {
        mox_err err = mox_store_arrived(fx->store, lease, &n);
        if (err != MOX_OK) {
            return err;
        }
        cr_assert_gt(n, had);
        for (uint32_t s = had; s < n && s < n_slices; s++) {
            *wrong += wrong_slice(fx, layer, lease, s);
        }
        fx->n_arrived += n != UINT32_MAX;
    }
    return MOX_OK;
}

mox_err fx_step(fixture *fx, uint32_t layer, const uint32_t *experts, uint32_t n, size_t *wrong)
{
    mox_need needs[FX_EXPERTS];
    for (uint32_t i = 0; i < n; i++) {
        needs[i] = (mox_need){.expert = experts[i], .n_uses = 1, .weight = 0.5f};
    }
    mox_store_begin(fx->store, layer, MOX_PHASE_DECODE, needs, n);
    uint32_t seen = 0;
    mox_err err;
    for (;;) {
        mox_lease lease;
        uint32_t n_leases;
        err = mox_store_next(fx->store, &lease, 1, &n_leases);
        if (err != MOX_OK || n_leases == 0) {
            break;
        }
        cr_assert_eq(seen >> lease.expert & 1, 0, "expert %u was leased twice", lease.expert);
        seen |= 1u << lease.expert;
        err = lease.arriving ? take_arriving(fx, layer, &lease, wrong) : MOX_OK;
        if (err != MOX_OK) {
            break;
        }
        *wrong += fx_wrong_words(layer, lease.expert, fx, lease.slot);
        mox_store_release(fx->store, &lease);
    }
    mox_store_end(fx->store);
    for (uint32_t i = 0; i < n && err == MOX_OK; i++) {
        cr_assert_eq(seen >> experts[i] & 1, 1, "expert %u was not served", experts[i]);
    }
    return err;
}

uint32_t fx_random(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((*state >> 33) % below);
}

/* At rest no slot is loading, pinned, failed or a zombie, and nothing is needed or in flight. */
void fx_assert_at_rest(fixture *fx)
{
    mox_store *st = fx->store;
    for (int tries = 0; tries < 2000; tries++) { /* prefetches and cancelled reads are still landing */
        bool busy = false;
        pthread_mutex_lock(&st->lock);
        for (uint32_t i = 0; i < st->slots.n; i++) {
            mox_slot_state s = st->slots.slot[i].state;
            busy = busy || (s != MOX_SLOT_FREE && s != MOX_SLOT_READY);
        }
        pthread_mutex_unlock(&st->lock);
        if (!busy) {
            break;
        }
        usleep(1000);
    }
    pthread_mutex_lock(&st->lock);
    const char *broken = mox_slots_check(&st->slots);
    cr_assert_null(broken, "%s", broken);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < st->slots.n; i++) {
        const mox_slot *s = &st->slots.slot[i];
        cr_assert(s->state == MOX_SLOT_FREE || s->state == MOX_SLOT_READY, "slot %u is %s", i,
                  mox_slot_state_name(s->state));
        cr_assert_eq(s->needed, 0);
        cr_assert_eq(s->flying, 0);
        kept += s->state == MOX_SLOT_READY && st->info[i].kept;
    }
    uint32_t listed = 0;
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        listed += st->layer[l].n_kept;
    }
    cr_assert_eq(kept, listed, "%u slots say kept, the layers list %u", kept, listed);
    pthread_mutex_unlock(&st->lock);
}

mox_counters fx_counters(fixture *fx)
{
    mox_counters c = {0};
    mox_use_counters per_layer[FX_LAYERS] = {{0}};
    mox_store_counters(fx->store, &c, per_layer);
    const mox_use_counters *u = &c.use[MOX_PHASE_DECODE];
    cr_assert_eq(u->vram + u->hits + u->late + u->misses, u->uses);
    cr_assert_eq(c.io.fill_bytes + c.io.demand_bytes + c.io.prefetch_bytes, c.io.read_bytes);
    const mox_prefetch_counters *p = &c.prefetch;
    cr_assert_leq(p->used + p->late + p->wasted + p->cancelled, p->issued);
    uint64_t uses = 0, hits = 0, bytes = 0;
    for (uint32_t l = 0; l < FX_LAYERS; l++) {
        uses += per_layer[l].uses;
        hits += per_layer[l].hits;
        bytes += per_layer[l].hit_bytes + per_layer[l].late_bytes + per_layer[l].miss_bytes;
        bytes += per_layer[l].vram_bytes;
        cr_assert_eq(per_layer[l].hit_bytes, per_layer[l].hits * fx_slot_bytes(fx, l));
    }
    cr_assert_eq(uses, u->uses + c.use[MOX_PHASE_PREFILL].uses);
    cr_assert_eq(hits, u->hits + c.use[MOX_PHASE_PREFILL].hits);
    cr_assert_gt(bytes, 0);
    return c;
}

uint32_t fx_random_set(uint64_t *seed, uint32_t n, uint32_t *set)
{
    uint32_t used = 0, k = 0;
    while (k < n) {
        uint32_t e = fx_random(seed, FX_EXPERTS);
        if (!(used >> e & 1)) {
            used |= 1u << e;
            set[k++] = e;
        }
    }
    return n;
}
