/* Weight matrices and expert slots in the compute layout: sizes, views, repacking (mat.h has the picture).
 *
 * Dense matrices and the three parts of an expert are the same mox_mat with different strides, so repacking
 * and products know nothing of slices. Sizes are exact: a slot is its three slabs' bytes (plus zero rows
 * where a count of rows is not a multiple of 16), which is what lets the plan promise bytes. Called by the
 * loader (dense part), by the store's reading side (experts) and by the planner (sizes).
 */
#include "kernels/mat.h"

#include "kernels/formats.h"
#include "runtime/core/bits.h"

enum { R = MOX_ROWS_PER_GROUP, MAX_ROW_BLOCK = MOX_BLOCK * 4, SLICE_GROUPS = MOX_SLICE / MOX_ROWS_PER_GROUP };

static size_t chunk_bytes(mox_type type, uint32_t cols)
{
    return R * (size_t)mox_type_row_bytes(type, cols);
}

static uint32_t block_cols(const mox_mat *m, uint32_t b)
{
    uint32_t left = m->cols - b * MOX_BLOCK;
    return left < MOX_BLOCK ? left : MOX_BLOCK;
}

size_t mox_mat_bytes(mox_type type, uint32_t rows, uint32_t cols)
{
    uint64_t bytes = 0;
    if (mox_format_of(type) == NULL || rows > UINT32_MAX - (R - 1) ||
        !mox_mul_u64(mox_type_row_bytes(type, cols), (uint64_t)mox_div_up(rows, R) * R, &bytes)) {
        return 0;
    }
    return (size_t)bytes;
}

mox_mat mox_mat_dense(mox_type type, uint32_t rows, uint32_t cols, const void *data)
{
    return (mox_mat){.type = type,
                     .rows = rows,
                     .cols = cols,
                     .data = data,
                     .group_stride = chunk_bytes(type, cols),
                     .block_stride = chunk_bytes(type, MOX_BLOCK),
                     .slice_groups = UINT32_MAX,
                     .tail_group = UINT32_MAX,
                     .tail_block = UINT32_MAX};
}

void mox_mat_repack_rows(const mox_mat *m, uint32_t row0, uint32_t n, const uint8_t *src)
{
    static const uint8_t zero_row[MAX_ROW_BLOCK];
    const mox_format *f = mox_format_of(m->type);
    size_t row_bytes = (size_t)mox_type_row_bytes(m->type, m->cols);
    size_t block_bytes = (size_t)mox_type_row_bytes(m->type, MOX_BLOCK);
    uint32_t n_blocks = mox_mat_blocks(m);
    for (uint32_t done = 0; done < n; done += R) {
        for (uint32_t b = 0; b < n_blocks; b++) {
            const uint8_t *rows[R];
            for (uint32_t r = 0; r < R; r++) {
                bool real = done + r < n;
                rows[r] = real ? src + (done + r) * row_bytes + b * block_bytes : zero_row;
            }
            f->pack(rows, block_cols(m, b), (uint8_t *)mox_mat_chunk(m, (row0 + done) / R, b));
        }
    }
}

void mox_mat_row(const mox_mat *m, uint32_t row, float *out)
{
    const mox_format *f = mox_format_of(m->type);
    uint8_t bytes[R][MAX_ROW_BLOCK];
    uint8_t *rows[R];
    for (uint32_t r = 0; r < R; r++) {
        rows[r] = bytes[r];
    }
    uint32_t n_blocks = mox_mat_blocks(m);
    for (uint32_t b = 0; b < n_blocks; b++) {
        f->unpack(mox_mat_chunk(m, row / R, b), block_cols(m, b), rows);
        f->dequant(rows[row % R], out + (size_t)b * MOX_BLOCK, block_cols(m, b));
    }
}

static uint32_t slab_cols(const mox_expert_layout *l, mox_slab slab)
{
    return slab == MOX_SLAB_DOWN ? l->d_ff : l->d_model;
}

uint32_t mox_expert_slab_rows(const mox_expert_layout *l, mox_slab slab)
{
    return slab == MOX_SLAB_DOWN ? l->d_model : l->d_ff;
}

size_t mox_expert_slab_row_bytes(const mox_expert_layout *l, mox_slab slab)
{
    return (size_t)mox_type_row_bytes(l->type[slab], slab_cols(l, slab));
}

/* Bytes of a slab's part in a slice of `width` neurons. */
static size_t part_bytes(const mox_expert_layout *l, mox_slab slab, uint32_t width)
{
    if (slab == MOX_SLAB_DOWN) {
        return mox_mat_bytes(l->type[slab], l->d_model, width);
    }
    return mox_mat_bytes(l->type[slab], width, l->d_model);
}

mox_err mox_expert_layout_init(mox_expert_layout *out, const mox_type type[MOX_SLABS], uint32_t d_model,
                               uint32_t d_ff)
{
    mox_expert_layout l = {.d_model = d_model, .d_ff = d_ff, .n_slices = mox_div_up(d_ff, MOX_SLICE)};
    uint32_t tail = d_ff % MOX_SLICE;
    size_t tail_bytes = 0;
    for (mox_slab s = 0; s < MOX_SLABS; s++) {
        l.type[s] = type[s];
        if (mox_format_of(type[s]) == NULL) {
            return MOX_FAIL(MOX_E_TYPE, "expert tensors of type %u cannot be computed with",
                            (unsigned)type[s]);
        }
        if (mox_expert_slab_row_bytes(&l, s) == 0) {
            return MOX_FAIL(MOX_E_TYPE, "expert rows of %u elements are no multiple of the %s block of %u",
                            slab_cols(&l, s), mox_type_info(type[s])->name,
                            mox_type_info(type[s])->block_elems);
        }
        l.part_bytes[s] = part_bytes(&l, s, MOX_SLICE);
        l.tail_part_bytes[s] = tail != 0 ? part_bytes(&l, s, tail) : 0;
        l.slice_bytes += l.part_bytes[s];
        tail_bytes += l.tail_part_bytes[s];
    }
    l.slot_bytes = mox_round_up(d_ff / MOX_SLICE * l.slice_bytes + tail_bytes, 64);
    *out = l;
    return MOX_OK;
}

void mox_expert_views(const mox_expert_layout *l, const uint8_t *slot, mox_mat out[MOX_SLABS])
{
    uint32_t full = l->d_ff / MOX_SLICE, tail = l->d_ff % MOX_SLICE;
    const uint8_t *part = slot, *tail_part = slot + full * l->slice_bytes;
    for (mox_slab s = 0; s < MOX_SLABS; s++) {
        mox_mat m = mox_mat_dense(l->type[s], mox_expert_slab_rows(l, s), slab_cols(l, s), part);
        if (s == MOX_SLAB_DOWN) {
            m.group_stride = m.block_stride;
            m.block_stride = l->slice_bytes;
        } else {
            m.slice_groups = SLICE_GROUPS;
            m.slice_stride = l->slice_bytes;
        }
        if (tail != 0) {
            m.tail_data = tail_part;
            if (s == MOX_SLAB_DOWN) {
                m.tail_block = full;
                m.tail_group_stride = chunk_bytes(l->type[s], tail);
            } else {
                m.tail_group = full * SLICE_GROUPS;
            }
        }
        part += l->part_bytes[s];
        tail_part += l->tail_part_bytes[s];
        out[s] = m;
    }
}

void mox_expert_repack(const mox_expert_layout *l, mox_slab slab, uint32_t row0, uint32_t n,
                       const uint8_t *src, uint8_t *slot)
{
    mox_mat views[MOX_SLABS];
    mox_expert_views(l, slot, views);
    mox_mat_repack_rows(&views[slab], row0, n, src);
}
