/* Parts of experts as a plain GGUF has them: runs of whole row groups of one slab, about io_request_bytes each,
 * widened to the file's alignment and read into a staging buffer; from there hashed and repacked into the slot.
 *
 * A plain file has no checksums, so bytes are compared with those of the first read. The parts of a slab arrive
 * in any order: the slab's hash is the sum of its parts' hashes, each seeded with its first row.
 */
#include "offload/store_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/hash.h"

enum { SAMPLE = 64 /* MOX_VERIFY_SAMPLE: one load in so many is compared */ };

static mox_slab_src source(const mox_store *st, uint32_t layer, uint32_t expert, uint32_t slab)
{
    mox_slab_src src = {0};
    st->cfg.layout.source(st->cfg.layout.ctx, layer, expert, slab, &src);
    return src;
}

static uint32_t rows_per_part(const mox_store *st, const mox_slab_src *src)
{
    uint32_t group = st->cfg.layout.row_group;
    uint64_t groups = st->io.request_bytes / (src->row_bytes * group);
    uint64_t rows = (groups ? groups : 1) * group;
    return rows < src->n_rows ? (uint32_t)rows : src->n_rows;
}

static uint32_t slab_parts(const mox_store *st, const mox_slab_src *src)
{
    return mox_div_up(src->n_rows, rows_per_part(st, src));
}

static uint32_t slabs_parts(const mox_store *st, uint32_t layer, uint32_t expert)
{
    uint32_t parts = 0;
    for (uint32_t slab = 0; slab < st->cfg.layout.n_slabs; slab++) {
        mox_slab_src src = source(st, layer, expert, slab);
        parts += slab_parts(st, &src);
    }
    return parts;
}

/* One staging buffer: the target size, or one row group where that is more, and both widened edges. */
size_t mox_slabs_buffer_bytes(const mox_store_cfg *cfg)
{
    size_t bytes = cfg->io_request_bytes;
    for (uint32_t layer = 0; layer < cfg->n_layers; layer++) {
        for (uint32_t slab = 0; slab < cfg->layout.n_slabs; slab++) {
            mox_slab_src src = {0};
            cfg->layout.source(cfg->layout.ctx, layer, 0, slab, &src);
            size_t group = src.row_bytes * cfg->layout.row_group;
            bytes = group > bytes ? group : bytes;
        }
    }
    return mox_round_up(bytes, MOX_IO_ALIGN) + 2 * MOX_IO_ALIGN;
}

static uint64_t *stored_hash(mox_store *st, const mox_load *load, uint32_t slab)
{
    size_t at = (size_t)mox_store_key(st, load->layer, load->expert) * st->cfg.layout.n_slabs + slab;
    return &st->io.hashes[at];
}

/* Compared: every slab that has a hash, in each load or in one of 64 of those that were read whole before.
 * Hashed: what may be compared, and what has no hash yet. */
static void choose_check(mox_store *st, mox_load *load)
{
    bool whole = true;
    for (uint32_t slab = 0; slab < st->cfg.layout.n_slabs; slab++) {
        whole = whole && *stored_hash(st, load, slab) != 0;
    }
    bool sampled = whole && st->io.reloads++ % SAMPLE == 0;
    load->slabs.check =
        st->cfg.verify == MOX_VERIFY_ALWAYS || (st->cfg.verify == MOX_VERIFY_SAMPLE && sampled);
    load->slabs.hashed = load->slabs.check || (!whole && st->cfg.verify != MOX_VERIFY_OFF);
}

static void slabs_begin(mox_store *st, mox_load *load)
{
    load->slabs = (mox_slab_load){.slab = 0};
    for (uint32_t slab = 0; slab < st->cfg.layout.n_slabs; slab++) {
        load->slabs.rows_left[slab] = source(st, load->layer, load->expert, slab).n_rows;
    }
    choose_check(st, load);
}

/* The next run of rows. */
static bool slabs_cut(mox_store *st, uint32_t slot, mox_req *r)
{
    const mox_load *load = &st->info[slot].load;
    mox_slab_load *l = &st->info[slot].load.slabs;
    uint32_t n_slabs = st->cfg.layout.n_slabs;
    if (l->slab == n_slabs) { /* the first pass is over: a slab to read again */
        l->slab = (uint32_t)__builtin_ctz(l->again);
        l->again &= ~(1u << l->slab);
        l->row = 0;
    }
    mox_slab_src src = source(st, load->layer, load->expert, l->slab);
    uint32_t left = src.n_rows - l->row;
    uint32_t rows = rows_per_part(st, &src);
    r->piece = l->slab;
    r->row0 = l->row;
    r->n_rows = rows < left ? rows : left;
    r->file = src.file;
    uint32_t align = st->io.file[src.file].align;
    uint64_t off = src.off + (uint64_t)r->row0 * src.row_bytes;
    r->len = (uint32_t)(r->n_rows * src.row_bytes);
    r->off = off & ~(uint64_t)(align - 1);
    r->skip = (uint32_t)(off - r->off);
    r->want = (uint32_t)mox_round_up(r->skip + r->len, align);
    l->row += r->n_rows;
    if (l->row < src.n_rows) {
        return true;
    }
    l->row = 0;
    bool first_pass = (l->was_again >> l->slab & 1) == 0;
    l->slab = first_pass ? l->slab + 1 : n_slabs;
    return l->slab < n_slabs || l->again != 0;
}

static void slabs_place(mox_store *st, mox_req *r)
{
    const uint8_t *payload = r->buf + r->skip;
    mox_slot_info *info = &st->info[r->slot];
    /* hashed was set before the read was queued */
    r->hash = info->load.slabs.hashed ? mox_hash64(payload, r->len, r->row0) : 0;
    st->cfg.layout.repack(st->cfg.layout.ctx, r->layer, r->piece, r->row0, r->n_rows, payload, info->bytes);
}

/* The last part of a slab is in. */
static mox_slot_event_kind slab_complete(mox_store *st, mox_load *load, const mox_req *r, uint32_t *parts)
{
    mox_file_tier *t = &st->io;
    mox_slab_load *l = &load->slabs;
    uint32_t slab = r->piece;
    mox_slab_src src = source(st, load->layer, load->expert, slab);
    load->error = (mox_load_error){MOX_E_CHANGED, 0, slab, src.file, src.off};
    if (mox_io_file_same(&t->file[src.file], t->path[src.file]) != MOX_OK) {
        return MOX_SLOT_READ_FAILED;
    }
    uint64_t *stored = stored_hash(st, load, slab);
    if (l->hashed && *stored == 0) {
        *stored = l->hash[slab];
        return MOX_SLOT_READ_DONE;
    }
    if (!l->check) {
        return MOX_SLOT_READ_DONE;
    }
    st->count.io.verified++;
    if (l->hash[slab] == *stored) {
        return MOX_SLOT_READ_DONE;
    }
    st->count.io.verify_failed++;
    uint32_t bit = 1u << slab;
    if (l->was_again & bit) {
        load->error.code = MOX_E_CORRUPT;
        return MOX_SLOT_READ_FAILED;
    }
    st->count.io.rereads++;
    l->again |= bit;
    l->was_again |= bit;
    l->rows_left[slab] = src.n_rows;
    l->hash[slab] = 0;
    *parts = slab_parts(st, &src);
    return MOX_SLOT_READ_AGAIN;
}

static mox_slot_event_kind slabs_arrived(mox_store *st, const mox_req *r, uint32_t *parts)
{
    mox_load *load = &st->info[r->slot].load;
    load->slabs.hash[r->piece] += r->hash;
    load->slabs.rows_left[r->piece] -= r->n_rows;
    return load->slabs.rows_left[r->piece] == 0 ? slab_complete(st, load, r, parts) : MOX_SLOT_READ_DONE;
}

const mox_parts_ops mox_parts_slabs = {
    .parts = slabs_parts,
    .begin = slabs_begin,
    .cut = slabs_cut,
    .place = slabs_place,
    .arrived = slabs_arrived,
};
