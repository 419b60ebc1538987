/* Experts on the CPU, shared by expert.c (what a call consists of), expert_slice.c (few rows, slice by slice),
 * expert_sum.c (sums of partials, merge) and expert_wide.c (many rows).
 *
 * An expert is cut along its intermediate width into slices of 256 neurons, which lie in its slot one after
 * the other: gate rows, up rows, down columns. A slice is an expert of its own: its h is exactly one block, so it
 * can be rounded without knowing the rest, and its share of down is exactly the partial of one block. A
 * worker therefore takes runs of slices, reads them as one stream and meets nobody before the sums. Private to
 * kernels/.
 */
#ifndef MOX_KERNELS_EXPERT_H
#define MOX_KERNELS_EXPERT_H

#include "kernels/mat_tile.h"
#include "kernels/panel.h"
#include "kernels/vec.h"

#ifdef __cplusplus
#include <atomic>
using std::atomic_bool;
#else
#include <stdatomic.h>
#endif
#include <string.h>

enum { MOX_EXPERT_ROWS = 256 /* of one item */ };

/* What an item of many rows has besides. */
typedef struct mox_expert_wide {
    mox_panel_job mul[MOX_SLABS];
    mox_panel x[MOX_SLABS]; /* what each matrix reads; gate's and up's may be one */
} mox_expert_wide;

/* One expert of a call, or a run of its rows. */
typedef struct mox_expert_item {
    mox_mat_job gate, up, down; /* few rows: x is set for gate and up */
    const uint32_t *tok, *out_row;
    const float *const *bias; /* [MOX_SLABS], NULL where a matrix has none */
    uint32_t n;
    /* few rows: partial vectors, [n][n_parts]; first one for each span that is a unit of its own, then one for
     * each slice of the others */
    float *parts;
    uint32_t n_parts, whole_spans;
    mox_expert_wide wide;
} mox_expert_item;

typedef struct mox_expert_job {
    const mox_experts_args *a;
    const mox_vec *vec;
    uint32_t d_model, d_ff, n_slices, n_spans;
    size_t part_floats; /* of one partial vector */
    mox_expert_item *item;
    uint32_t n_items;
    uint32_t whole_units; /* spans that are one unit each, over all items; slices after them are one each */
    uint32_t first_unit;  /* of those that are dealt now */
    uint8_t *worker_mem;  /* [workers][worker_bytes]: h of a slice, many rows */
    size_t worker_bytes;
    atomic_bool not_finite;
} mox_expert_job;

static inline void mox_expert_add(float *y, const float *x, uint32_t n)
{
    for (uint32_t c = 0; c < n; c++) {
        y[c] += x[c];
    }
}

/* h of n neurons of one row from `first` on: biases (gate and up then hold the sums), and what stands before down. Rows
 * that fill up the last group have no bias. */
static inline void mox_expert_glu(const mox_expert_job *job, const mox_expert_item *it, uint32_t first,
                                  uint32_t n, float *gate, float *up, float *h)
{
    const uint32_t left = job->d_ff - first, real = left < n ? left : n;
    if (it->bias[MOX_SLAB_GATE] != NULL) {
        mox_expert_add(gate, it->bias[MOX_SLAB_GATE] + first, real);
    }
    if (it->bias[MOX_SLAB_UP] != NULL) {
        mox_expert_add(up, it->bias[MOX_SLAB_UP] + first, real);
    }
    mox_glu_row(job->a->glu, job->vec, gate, up, h, n);
}

/* One block of h, rounded. */
typedef union mox_h_block {
    mox_act_k k;
    mox_act_b b;
} mox_h_block;

/* A block of h for down: *x is where it then is. False: a value is not finite. */
static inline bool mox_expert_round(const mox_vec *vec, mox_act_kind kind, const float *h, uint32_t cols,
                                    mox_h_block *block, const void **x)
{
    *x = kind == MOX_ACT_F32 ? (const void *)h : block;
    return kind == MOX_ACT_F32 ||
           (kind == MOX_ACT_K ? vec->quantize_k(h, cols, &block->k) : vec->quantize_b(h, cols, &block->b));
}

/* Few rows. Units of the first pass, in the order of the slots' bytes: all, or those in so many slices of one item. */
uint32_t mox_expert_units(const mox_expert_job *j);
uint32_t mox_expert_units_in(const mox_expert_job *j, uint32_t slices);
void mox_expert_unit_range(void *job, uint32_t begin, uint32_t end, uint32_t worker);

/* The second pass: sums of the partials, and the merge where the call has one. */
void mox_expert_sum(mox_pool *pool, mox_expert_job *j);

/* Many rows: the memory of an item and of a worker, the set-up of an item in its memory, and all passes over the
 * items of a turn; their vectors are in e afterwards. */
size_t mox_expert_wide_bytes(const mox_act_kind kind[MOX_SLABS], uint32_t d_model, uint32_t d_ff, uint32_t n);
size_t mox_expert_wide_worker_bytes(uint32_t n_rows);
MOX_NODISCARD mox_err mox_expert_wide_init(mox_expert_wide *w, mox_isa isa, const mox_expert_item *it,
                                           uint8_t *mem);
MOX_NODISCARD mox_err mox_expert_wide_turn(mox_pool *pool, mox_expert_job *j);

#endif
