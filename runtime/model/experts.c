/* The expert table as the store sees it: (layer, expert, slab) -> place in a file, and rows from file order
 * into a slot. The store calls these from its I/O thread; everything read here is fixed after
 * mox_model_create.
 */
#include "runtime/model/model.h"

static void source(void *ctx, uint32_t layer, uint32_t expert, uint32_t slab, mox_slab_src *out)
{
    const mox_model *m = ctx;
    const mox_expert_layout *l = &m->layouts[layer];
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

mox_layout_ops mox_model_layout_ops(mox_model *m)
{
    return (mox_layout_ops){
        .ctx = m, .n_slabs = MOX_SLABS, .row_group = MOX_ROWS_PER_GROUP, .source = source, .repack = repack};
}
