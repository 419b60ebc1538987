/* Slices of experts for few rows: gate, up, silu, rounding and this slice's share of down, without a barrier.
 *
 * The bytes of a slot are read in the order in which they lie there, once, whatever the number of rows. Units
 * are spans of four slices, whose partials are added up as they come; the last spans of a call are dealt
 * slice by slice, so that the workers end together, and their partials wait for the second pass.
 */
#include "kernels/expert.h"

#include "runtime/core/bits.h"

enum { R = MOX_ROWS_PER_GROUP, SLICE_GROUPS = MOX_SLICE / R };

/* All items of a call are experts of one layer and have the same number of slices. */
static uint32_t first_split_slice(const mox_expert_job *j)
{
    return j->whole_units / j->n_spans * j->n_slices + j->whole_units % j->n_spans * MOX_SPAN_BLOCKS;
}

uint32_t mox_expert_units(const mox_expert_job *j)
{
    return j->whole_units + j->n_items * j->n_slices - first_split_slice(j);
}

uint32_t mox_expert_units_in(const mox_expert_job *j, uint32_t slices)
{
    uint32_t split = first_split_slice(j);
    if (slices < split) {
        return slices / MOX_SPAN_BLOCKS;
    }
    return j->whole_units + (slices < j->n_slices ? slices : j->n_slices) - split;
}

/* Rows of gate or up that belong to a slice: y[i][c] for neuron c. */
static void slice_rows(const mox_mat_job *j, uint32_t slice, float (*y)[MOX_SLICE])
{
    uint32_t begin = slice * SLICE_GROUPS, left = mox_mat_groups(j->w) - begin;
    uint32_t n = left < SLICE_GROUPS ? left : SLICE_GROUPS;
    for (uint32_t g = 0; g < n; g++) {
        float group[MOX_TILE_ROWS][R];
        mox_mat_group_mul(j, begin + g, group);
        for (uint32_t i = 0; i < j->n; i++) {
            memcpy(y[i] + g * R, group[i], sizeof group[i]);
        }
    }
}

/* The slice's block of h, rounded for down; x[i] is where row i then is. False: a value is not finite. */
static bool slice_h(const mox_expert_job *job, const mox_expert_item *it, uint32_t slice,
                    float (*h)[MOX_SLICE], mox_h_block *rounded, const void **x)
{
    uint32_t left = job->d_ff - slice * MOX_SLICE, cols = left < MOX_SLICE ? left : MOX_SLICE;
    float up[MOX_TILE_ROWS][MOX_SLICE];
    bool finite = true;
    slice_rows(&it->gate, slice, h);
    slice_rows(&it->up, slice, up);
    for (uint32_t i = 0; i < it->n; i++) {
        mox_expert_glu(job, it, slice * MOX_SLICE, cols, h[i], up[i], h[i]);
        finite = mox_expert_round(job->vec, it->down.kind, h[i], cols, &rounded[i], &x[i]) && finite;
    }
    return finite;
}

/* Down's columns of a slice times its h: partials to y[i], or added to what is there. */
static void slice_down(const mox_expert_item *it, uint32_t slice, const void *const *x, bool first,
                       float *const *y)
{
    const mox_mat_job *j = &it->down;
    uint32_t left = j->w->cols - slice * MOX_BLOCK, cols = left < MOX_BLOCK ? left : MOX_BLOCK;
    for (uint32_t g = 0; g < mox_mat_groups(j->w); g++) {
        float p[MOX_TILE_ROWS][R];
        j->tile(j->f, mox_mat_chunk(j->w, g, slice), cols, x, it->n, p);
        for (uint32_t i = 0; i < it->n; i++) {
            float *to = y[i] + (size_t)g * R;
            for (uint32_t r = 0; r < R; r++) {
                to[r] = (first ? 0.0F : to[r]) + p[i][r];
            }
        }
    }
}

/* Slices [begin, end), at most a span, into one partial vector per row. */
static void run_slices(mox_expert_job *job, const mox_expert_item *it, uint32_t begin, uint32_t end,
                       uint32_t part)
{
    float *y[MOX_TILE_ROWS];
    for (uint32_t i = 0; i < it->n; i++) {
        y[i] = it->parts + ((size_t)i * it->n_parts + part) * job->part_floats;
    }
    for (uint32_t s = begin; s < end; s++) {
        _Alignas(64) float h[MOX_TILE_ROWS][MOX_SLICE];
        mox_h_block rounded[MOX_TILE_ROWS];
        const void *x[MOX_TILE_ROWS];
        if (!slice_h(job, it, s, h, rounded, x)) {
            atomic_store_explicit(&job->not_finite, true, memory_order_relaxed);
            return;
        }
        slice_down(it, s, x, s == begin, y);
    }
}

void mox_expert_unit_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    mox_expert_job *job = arg;
    for (uint32_t u = job->first_unit + begin; u < job->first_unit + end; u++) {
        if (u < job->whole_units) {
            uint32_t span = u % job->n_spans, first = span * MOX_SPAN_BLOCKS, left = job->n_slices - first;
            run_slices(job, &job->item[u / job->n_spans], first,
                       first + (left < MOX_SPAN_BLOCKS ? left : MOX_SPAN_BLOCKS), span);
        } else {
            uint32_t s = first_split_slice(job) + u - job->whole_units, slice = s % job->n_slices;
            const mox_expert_item *it = &job->item[s / job->n_slices];
            run_slices(job, it, slice, slice + 1, slice - it->whole_spans * (MOX_SPAN_BLOCKS - 1));
        }
    }
}
