/* Parts of experts as a plain GGUF has them: runs of whole row groups of one slab, about io_request_bytes each,
 * widened to the file's alignment and read into a staging buffer; from there hashed and repacked into the slot.
 * Down comes first and gate and up in turns, so that slices become whole one after the other and can be used while the
 * rest arrives (arriving.c).
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

static uint64_t *stored_hash(const mox_store *st, uint32_t layer, uint32_t expert, uint32_t slab)
{
    size_t at = (size_t)mox_store_key(st, layer, expert) * st->cfg.layout.n_slabs + slab;
    return &st->io.hashes[at];
}

static bool all_hashed(const mox_store *st, uint32_t layer, uint32_t expert)
{
    bool all = true;
    for (uint32_t slab = 0; slab < st->cfg.layout.n_slabs; slab++) {
        all = all && *stored_hash(st, layer, expert, slab) != 0;
    }
    return all;
}

/* Compared: every slab that has a hash, in each load or in one of 64 of those that were read whole before. */
static bool slabs_compared(const mox_store *st, uint32_t layer, uint32_t expert)
{
    switch (st->cfg.verify) {
    case MOX_VERIFY_ALWAYS:
        return true;
    case MOX_VERIFY_SAMPLE:
        return st->io.reloads % SAMPLE == 0 && all_hashed(st, layer, expert);
    default:
        return false;
    }
}

static bool by_slices(const mox_store *st)
{
    return st->cfg.layout.slice_rows != 0;
}

/* Hashed: what may be compared, and what has no hash yet. */
static void slabs_begin(mox_store *st, mox_load *load)
{
    const mox_layout_ops *lay = &st->cfg.layout;
    bool again = all_hashed(st, load->layer, load->expert);
    load->slabs = (mox_slab_load){.check = slabs_compared(st, load->layer, load->expert)};
    load->slabs.hashed = load->slabs.check || (!again && st->cfg.verify != MOX_VERIFY_OFF);
    st->io.reloads += again;
    for (uint32_t slab = 0; slab < lay->n_slabs; slab++) {
        load->slabs.rows_left[slab] = source(st, load->layer, load->expert, slab).n_rows;
    }
    if (by_slices(st)) {
        load->n_slices = mox_div_up(load->slabs.rows_left[lay->whole_slab == 0], lay->slice_rows);
    }
}

/* The slab whose turn it is: the one that every slice has a piece of, then the others in turns, so that slices become
 * whole one after the other. n_slabs: none is left. */
static uint32_t next_slab(const mox_store *st, const mox_load *load)
{
    const mox_layout_ops *lay = &st->cfg.layout;
    uint32_t best = lay->n_slabs;
    for (uint32_t slab = 0; slab < lay->n_slabs; slab++) {
        uint32_t row = load->slabs.row[slab];
        if (row == source(st, load->layer, load->expert, slab).n_rows) {
            continue;
        }
        if (by_slices(st) && slab == lay->whole_slab) {
            return slab;
        }
        if (best == lay->n_slabs || (by_slices(st) && row < load->slabs.row[best])) {
            best = slab;
        }
    }
    return best;
}

/* The next run of rows. */
static bool slabs_cut(mox_store *st, uint32_t slot, mox_req *r)
{
    mox_load *load = &st->info[slot].load;
    uint32_t slab = next_slab(st, load);
    mox_slab_src src = source(st, load->layer, load->expert, slab);
    uint32_t row = load->slabs.row[slab], left = src.n_rows - row;
    uint32_t rows = rows_per_part(st, &src);
    r->piece = slab;
    r->row0 = row;
    r->n_rows = rows < left ? rows : left;
    r->file = src.file;
    uint32_t align = st->io.file[src.file].align;
    uint64_t off = src.off + (uint64_t)r->row0 * src.row_bytes;
    r->len = (uint32_t)(r->n_rows * src.row_bytes);
    r->off = off & ~(uint64_t)(align - 1);
    r->skip = (uint32_t)(off - r->off);
    r->want = (uint32_t)mox_round_up(r->skip + r->len, align);
    load->slabs.row[slab] = row + r->n_rows;
    return next_slab(st, load) != st->cfg.layout.n_slabs;
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
    uint64_t *stored = stored_hash(st, load->layer, load->expert, slab);
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
    l->was_again |= bit;
    l->row[slab] = 0;
    l->rows_left[slab] = src.n_rows;
    l->hash[slab] = 0;
    *parts = slab_parts(st, &src);
    return MOX_SLOT_READ_AGAIN;
}

/* Rows at the front of a slab that are in the slot: those before the next one to be read that no request under way has.
 * The present one's are in. */
static uint32_t rows_here(const mox_store *st, const mox_req *present, uint32_t slab)
{
    uint32_t rows = st->info[present->slot].load.slabs.row[slab];
    for (uint32_t i = 0; i < st->io.n_req; i++) {
        const mox_req *r = &st->io.req[i];
        if (r != present && r->state != MOX_REQ_FREE && r->slot == present->slot &&
            r->generation == present->generation && r->piece == slab && r->row0 < rows) {
            rows = r->row0;
        }
    }
    return rows;
}

/* Slices that are whole, from the first on. */
static void count_arrived(mox_store *st, const mox_req *r, mox_load *load)
{
    const mox_layout_ops *lay = &st->cfg.layout;
    uint32_t slices = load->n_slices;
    for (uint32_t slab = 0; slab < lay->n_slabs; slab++) {
        if (load->slabs.rows_left[slab] != 0) {
            uint32_t whole =
                slab == lay->whole_slab || slices == 0 ? 0 : rows_here(st, r, slab) / lay->slice_rows;
            slices = whole < slices ? whole : slices;
        }
    }
    load->arrived_slices = slices;
}

static mox_slot_event_kind slabs_arrived(mox_store *st, const mox_req *r, uint32_t *parts)
{
    mox_load *load = &st->info[r->slot].load;
    load->slabs.hash[r->piece] += r->hash;
    load->slabs.rows_left[r->piece] -= r->n_rows;
    count_arrived(st, r, load);
    return load->slabs.rows_left[r->piece] == 0 ? slab_complete(st, load, r, parts) : MOX_SLOT_READ_DONE;
}

const mox_parts_ops mox_parts_slabs = {
    .parts = slabs_parts,
    .compared = slabs_compared,
    .begin = slabs_begin,
    .cut = slabs_cut,
    .place = slabs_place,
    .arrived = slabs_arrived,
};
