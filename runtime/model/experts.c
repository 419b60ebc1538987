/* The expert table as the store sees it: (layer, expert, slab) -> place in a file, and rows from file order
 * into a slot; of a packed file (layer, expert) -> record. The store calls these from its I/O thread; everything read here is fixed after
 * mox_model_create.
 */
#include "runtime/model/model.h"

static void source(void *ctx, uint32_t layer, uint32_t expert, uint32_t slab, mox_slab_src *out)
{
    const mox_model *m = ctx;
    const mox_expert_layout *l = &m->layouts[layer];
    if (m->packed) {
        const mox_pack_layer *r = &m->packed[layer];
        *out = (mox_slab_src){.file = r->file, .off = r->off + expert * r->record_bytes};
        return;
    }
    const mox_slab_place *p = &m->slabs[((size_t)layer * m->h.n_experts + expert) * MOX_SLABS + slab];
    *out = (mox_slab_src){.file = p->file,
                          .off = p->off,
                          .row_bytes = mox_expert_slab_row_bytes(l, (mox_slab)slab),
                          .n_rows = mox_expert_slab_rows(l, (mox_slab)slab)};
}

static void repack(void *ctx, uint32_t layer, uint32_t slab, uint32_t row0, uint32_t n_rows,
                   const uint8_t *src, uint8_t *slot)
{
    const mox_model *m = ctx;
    mox_expert_repack(&m->layouts[layer], (mox_slab)slab, row0, n_rows, src, slot);
}

static void record(void *ctx, uint32_t layer, uint32_t expert, mox_record_src *out)
{
    const mox_model *m = ctx;
    const mox_pack_layer *p = &m->packed[layer];
    *out = (mox_record_src){.file = p->file,
                            .n_slices = p->n_slices,
                            .off = p->off + expert * p->record_bytes,
                            .bytes = p->record_bytes,
                            .slice_bytes = p->slice_bytes,
                            .sums = p->sums + (size_t)expert * p->n_slices};
}

size_t mox_model_slot_bytes(const mox_model *m, uint32_t moe_layer)
{
    return m->packed ? m->packed[moe_layer].record_bytes : m->layouts[moe_layer].slot_bytes;
}

mox_layout_ops mox_model_layout_ops(mox_model *m)
{
    return (mox_layout_ops){.ctx = m,
                            .n_slabs = MOX_SLABS,
                            .row_group = MOX_ROWS_PER_GROUP,
                            .slice_rows = MOX_SLICE,
                            .whole_slab = MOX_SLAB_DOWN,
                            .source = source,
                            .repack = repack,
                            .record = m->packed ? record : NULL};
}
