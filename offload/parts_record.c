/* Parts of experts as a packed file has them: the slot's own bytes, read straight into the slot.
 *
 * A record is cut at multiples of 4 KiB, which suits every alignment, and never copied: no staging, no
 * repacking. Its slices have checksums in the file. A slice is compared when the last part that reaches into it
 * has arrived, while its bytes are still in the cache; slices and parts need not begin together. One that
 * differs has all its parts read again, once, and whatever else lies in those parts is compared again too.
 *
 * `todo` is guarded by the lock; `here`, `bad` and `was_again` belong to the I/O thread.
 */
#include "offload/store_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/hash.h"

#include <string.h>

enum {
    SAMPLE = 64, /* MOX_VERIFY_SAMPLE: one slice in so many is compared */
    WORD = 64,
};

static bool has(const uint64_t *bits, uint32_t i)
{
    return (bits[i / WORD] >> i % WORD & 1) != 0;
}

static void put(uint64_t *bits, uint32_t i, bool on)
{
    uint64_t bit = UINT64_C(1) << i % WORD;
    bits[i / WORD] = on ? bits[i / WORD] | bit : bits[i / WORD] & ~bit;
}

/* The lowest bit that is set, `none` if there is not one. */
static uint32_t first(const uint64_t *bits, uint32_t n_words, uint32_t none)
{
    for (uint32_t w = 0; w < n_words; w++) {
        if (bits[w]) {
            return w * WORD + (uint32_t)__builtin_ctzll(bits[w]);
        }
    }
    return none;
}

static mox_record_src record_of(const mox_store *st, uint32_t layer, uint32_t expert)
{
    mox_record_src src = {0};
    st->cfg.layout.record(st->cfg.layout.ctx, layer, expert, &src);
    return src;
}

/* About the requested size, and never more parts than the bitmaps hold. */
static uint32_t part_bytes(const mox_store *st, const mox_record_src *src)
{
    uint64_t least = (src->bytes + MOX_RECORD_MAX_PARTS - 1) / MOX_RECORD_MAX_PARTS;
    uint64_t bytes = st->io.request_bytes > least ? st->io.request_bytes : least;
    return (uint32_t)mox_round_up(bytes, MOX_IO_ALIGN);
}

static uint32_t record_parts(const mox_store *st, uint32_t layer, uint32_t expert)
{
    mox_record_src src = record_of(st, layer, expert);
    uint32_t each = part_bytes(st, &src);
    return (uint32_t)((src.bytes + each - 1) / each);
}

/* Slice by slice, as they come: what counts as arrived is not read again. */
static bool record_compared(const mox_store *st, uint32_t layer, uint32_t expert)
{
    (void)st, (void)layer, (void)expert;
    return false;
}

static void record_begin(mox_store *st, mox_load *load)
{
    mox_record_load *l = &load->record;
    mox_record_src src = record_of(st, load->layer, load->expert);
    memset(l, 0, sizeof *l);
    l->part_bytes = part_bytes(st, &src);
    l->n_parts = record_parts(st, load->layer, load->expert);
    for (uint32_t i = 0; i < l->n_parts; i++) {
        put(l->todo, i, true);
    }
    load->n_slices = src.n_slices;
    l->first_slice = st->io.slices;
    st->io.slices += src.n_slices;
}

static bool record_cut(mox_store *st, uint32_t slot, mox_req *r)
{
    mox_slot_info *info = &st->info[slot];
    mox_record_load *l = &info->load.record;
    mox_record_src src = record_of(st, info->load.layer, info->load.expert);
    uint32_t part = first(l->todo, MOX_RECORD_WORDS, 0);
    uint64_t at = (uint64_t)part * l->part_bytes;
    put(l->todo, part, false);
    r->piece = part;
    r->file = src.file;
    r->off = src.off + at;
    r->len = r->want = (uint32_t)(src.bytes - at < l->part_bytes ? src.bytes - at : l->part_bytes);
    r->skip = 0;
    r->buf = info->bytes + at;
    return first(l->todo, MOX_RECORD_WORDS, UINT32_MAX) != UINT32_MAX;
}

/* Begin and end of a slice in the record. */
static void slice_range(const mox_record_src *src, uint32_t slice, uint64_t *begin, uint64_t *end)
{
    *begin = slice * src->slice_bytes;
    *end = slice + 1 < src->n_slices ? *begin + src->slice_bytes : src->bytes;
}

static uint32_t slice_at(const mox_record_src *src, uint64_t at)
{
    uint64_t slice = at / src->slice_bytes;
    return slice < src->n_slices ? (uint32_t)slice : src->n_slices - 1;
}

static bool to_check(const mox_store *st, const mox_record_load *l, uint32_t slice)
{
    switch (st->cfg.verify) {
    case MOX_VERIFY_ALWAYS:
        return true;
    case MOX_VERIFY_SAMPLE:
        return (l->first_slice + slice) % SAMPLE == 0;
    default:
        return false;
    }
}

static bool whole(const mox_record_load *l, uint64_t begin, uint64_t end)
{
    for (uint64_t part = begin / l->part_bytes; part * l->part_bytes < end; part++) {
        if (!has(l->here, (uint32_t)part)) {
            return false;
        }
    }
    return true;
}

/* The bytes are where they belong; compare the slices that this part completes. */
static void record_place(mox_store *st, mox_req *r)
{
    mox_slot_info *info = &st->info[r->slot];
    mox_record_load *l = &info->load.record;
    mox_record_src src = record_of(st, r->layer, r->expert);
    uint64_t part_begin = (uint64_t)r->piece * l->part_bytes;
    put(l->here, r->piece, true);
    r->n_checked = 0;
    uint64_t begin, end;
    for (uint32_t s = slice_at(&src, part_begin); s < src.n_slices; s++) {
        slice_range(&src, s, &begin, &end);
        if (begin >= part_begin + r->len) {
            break;
        }
        if (to_check(st, l, s) && whole(l, begin, end)) {
            r->n_checked++;
            put(l->bad, s, mox_hash64(info->bytes + begin, end - begin, 0) != src.sums[s]);
        }
    }
}

static mox_slot_event_kind read_again(mox_store *st, const mox_req *r, const mox_record_src *src,
                                      uint32_t *parts)
{
    mox_load *load = &st->info[r->slot].load;
    mox_record_load *l = &load->record;
    uint32_t s;
    while ((s = first(l->bad, MOX_SLICE_WORDS, UINT32_MAX)) != UINT32_MAX) {
        uint64_t begin, end;
        slice_range(src, s, &begin, &end);
        st->count.io.verify_failed++;
        if (has(l->was_again, s)) {
            load->error = (mox_load_error){MOX_E_CORRUPT, 0, s, src->file, src->off + begin};
            return MOX_SLOT_READ_FAILED;
        }
        put(l->bad, s, false);
        put(l->was_again, s, true);
        st->count.io.rereads++;
        for (uint64_t part = begin / l->part_bytes; part * l->part_bytes < end; part++) {
            if (has(l->here, (uint32_t)part)) { /* not shared with a slice seen just before */
                put(l->here, (uint32_t)part, false);
                put(l->todo, (uint32_t)part, true);
                ++*parts;
            }
        }
    }
    return MOX_SLOT_READ_AGAIN;
}

/* Slices that are there and will not be read again: whole and as they should be, and so is every slice that shares
 * a part with them. */
static void count_arrived(mox_load *load, const mox_record_src *src)
{
    const mox_record_load *l = &load->record;
    uint32_t good = load->arrived_slices;
    uint64_t begin, end;
    for (; good < src->n_slices; good++) {
        slice_range(src, good, &begin, &end);
        if (!whole(l, begin, end)) {
            break;
        }
    }
    uint64_t safe = (uint64_t)good * src->slice_bytes / l->part_bytes * l->part_bytes;
    uint32_t n = (uint32_t)(safe / src->slice_bytes);
    if (n > load->arrived_slices) {
        load->arrived_slices = n;
    }
}

/* A file that was written to says so, and not that it is damaged; asked when the load ends or a slice differs. */
static mox_slot_event_kind record_arrived(mox_store *st, const mox_req *r, uint32_t *parts)
{
    mox_load *load = &st->info[r->slot].load;
    mox_record_load *l = &load->record;
    const mox_file_tier *t = &st->io;
    mox_record_src src = record_of(st, load->layer, load->expert);
    st->count.io.verified += r->n_checked;
    bool differs = first(l->bad, MOX_SLICE_WORDS, UINT32_MAX) != UINT32_MAX;
    bool last = whole(l, 0, (uint64_t)l->n_parts * l->part_bytes);
    if ((differs || last) && mox_io_file_same(&t->file[src.file], t->path[src.file]) != MOX_OK) {
        load->error = (mox_load_error){MOX_E_CHANGED, 0, 0, src.file, src.off};
        return MOX_SLOT_READ_FAILED;
    }
    mox_slot_event_kind kind = differs ? read_again(st, r, &src, parts) : MOX_SLOT_READ_DONE;
    if (kind != MOX_SLOT_READ_FAILED) {
        count_arrived(load, &src);
    }
    return kind;
}

/* No read goes there, but opening a file tries its alignment on 8 KiB of it. */
size_t mox_records_buffer_bytes(const mox_store_cfg *cfg)
{
    return mox_round_up(mox_div_up(2 * MOX_IO_ALIGN, mox_store_reqs(cfg)), 64);
}

const mox_parts_ops mox_parts_records = {
    .parts = record_parts,
    .compared = record_compared,
    .begin = record_begin,
    .cut = record_cut,
    .place = record_place,
    .arrived = record_arrived,
};
