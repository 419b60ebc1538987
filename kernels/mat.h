/* A weight matrix in the compute layout ("x16"): W [rows][cols], y = W x.
 *
 * Rows are taken in groups of 16, columns in blocks of 256; a (group, block) pair is a *chunk* of contiguous
 * bytes in which the 16 rows are interleaved (x16.h). A chunk has the size of its GGUF bytes. Where rows is
 * not a multiple of 16 the last group is filled up with zero rows. How chunks follow each other is told by
 * strides, so a dense matrix, the gate/up part and the down part of a sliced expert are the same type:
 *
 *   dense      chunk(g, b) = data + g * group_stride + b * block_stride
 *   gate, up   rows cut into slices of 256 (16 groups): data + (g / slice_groups) * slice_stride
 *                                                            + (g % slice_groups) * group_stride + b *
 * block_stride down       columns cut into slices of 256 (one block each): as dense, block_stride = the
 * slice's bytes
 *
 * The last slice may be short (intermediate width not a multiple of 256): its chunks start at tail_data and,
 * for down, are tail_group_stride apart.
 */
#ifndef MOX_KERNELS_MAT_H
#define MOX_KERNELS_MAT_H

#include "kernels/host_device.h"
#include "runtime/core/err.h"
#include "runtime/core/tensor_types.h"

#include <stddef.h>
#include <stdint.h>

enum { MOX_ROWS_PER_GROUP = 16, MOX_BLOCK = 256, MOX_SPAN_BLOCKS = 4, MOX_SLICE = 256 };

typedef struct mox_mat {
    mox_type type;
    uint32_t rows, cols;
    const uint8_t *data;
    size_t group_stride, block_stride;
    uint32_t slice_groups; /* groups per slice; UINT32_MAX when rows are not sliced */
    size_t slice_stride;
    const uint8_t *tail_data; /* short last slice, else NULL */
    uint32_t tail_group;      /* first group of the short slice (gate, up); UINT32_MAX otherwise */
    uint32_t tail_block;      /* the short slice's block (down); UINT32_MAX otherwise */
    size_t tail_group_stride; /* down: bytes between groups in the tail block */
} mox_mat;

static inline MOX_HOST_DEVICE uint32_t mox_mat_groups(const mox_mat *m)
{
    return (m->rows + MOX_ROWS_PER_GROUP - 1) / MOX_ROWS_PER_GROUP;
}

static inline MOX_HOST_DEVICE uint32_t mox_mat_blocks(const mox_mat *m)
{
    return (m->cols + MOX_BLOCK - 1) / MOX_BLOCK;
}

static inline MOX_HOST_DEVICE const uint8_t *mox_mat_chunk(const mox_mat *m, uint32_t g, uint32_t b)
{
    if (g >= m->tail_group) {
        return m->tail_data + (size_t)(g - m->tail_group) * m->group_stride + (size_t)b * m->block_stride;
    }
    if (b == m->tail_block) {
        return m->tail_data + (size_t)g * m->tail_group_stride;
    }
    size_t slice = 0;
    if (m->slice_groups != UINT32_MAX) {
        slice = (size_t)(g / m->slice_groups) * m->slice_stride;
        g %= m->slice_groups;
    }
    return m->data + slice + (size_t)g * m->group_stride + (size_t)b * m->block_stride;
}

/* mox_mat_bytes: bytes of a dense matrix in the compute layout (rows rounded up to 16). 0: type cannot be
 * computed with, or cols is not a multiple of its block. */
size_t mox_mat_bytes(mox_type type, uint32_t rows, uint32_t cols);

/* mox_mat_dense: describe a dense matrix at `data` (64-byte aligned, mox_mat_bytes long). */
mox_mat mox_mat_dense(mox_type type, uint32_t rows, uint32_t cols, const void *data);

/* mox_mat_repack_rows: move rows [row0, row0 + n) from GGUF order at src into their chunks of a dense matrix.
 * row0 is a multiple of 16; n is a multiple of 16 or ends at rows (the group is then filled with zeros).
 * Threads: any, on disjoint row ranges. */
void mox_mat_repack_rows(const mox_mat *m, uint32_t row0, uint32_t n, const uint8_t *src);

/* mox_mat_row: dequantise one row to f32 (embedding look-up); ggml's values. */
void mox_mat_row(const mox_mat *m, uint32_t row, float *out);

/* The slot of an expert: gate [d_ff][d_model], up [d_ff][d_model], down [d_model][d_ff], cut into slices of
 * 256 intermediate neurons; each slice holds its gate rows, up rows and down columns one after the other. The
 * slot has the size of the three slabs in the file (plus zero rows where a count is not a multiple of 16). */
typedef enum mox_slab { MOX_SLAB_GATE, MOX_SLAB_UP, MOX_SLAB_DOWN, MOX_SLABS } mox_slab;

typedef struct mox_expert_layout {
    mox_type type[MOX_SLABS];
    uint32_t d_model, d_ff;
    uint32_t n_slices;                 /* the last may be short */
    size_t part_bytes[MOX_SLABS];      /* bytes of each part in a full slice */
    size_t tail_part_bytes[MOX_SLABS]; /* in a short last slice; 0 if there is none */
    size_t slice_bytes;
    size_t slot_bytes; /* multiple of 64 */
} mox_expert_layout;

/* mox_expert_layout_init. Errors MOX_E_TYPE: a type that cannot be computed with, or a width its block does
 * not divide. */
MOX_NODISCARD mox_err mox_expert_layout_init(mox_expert_layout *out, const mox_type type[MOX_SLABS],
                                             uint32_t d_model, uint32_t d_ff);
/* Rows of a slab as it stands in the file: d_ff, d_ff, d_model; and bytes per such row. */
uint32_t mox_expert_slab_rows(const mox_expert_layout *l, mox_slab slab);
size_t mox_expert_slab_row_bytes(const mox_expert_layout *l, mox_slab slab);
/* mox_expert_repack: rows [row0, row0 + n) of a slab from file order into their place in the slot (rules of
 * mox_mat_repack_rows). Threads: any, on disjoint row ranges. */
void mox_expert_repack(const mox_expert_layout *l, mox_slab slab, uint32_t row0, uint32_t n,
                       const uint8_t *src, uint8_t *slot);
/* mox_expert_views: the three matrices of a slot. */
void mox_expert_views(const mox_expert_layout *l, const uint8_t *slot, mox_mat out[MOX_SLABS]);

#endif
