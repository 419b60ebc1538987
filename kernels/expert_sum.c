/* The second pass of few rows: spans added up in order, then the merge, column by column.
 *
 * A worker takes a run of columns through both, so the sums are in its cache when they are merged.
 */
#include "kernels/expert.h"

#include "runtime/core/bits.h"

enum { SUM_COLS = 256 };

/* Columns [col, col + n) of one row of an item. */
static void sum_row(const mox_expert_job *job, const mox_expert_item *it, uint32_t i, uint32_t col,
                    uint32_t n)
{
    const float *part = it->parts + (size_t)i * it->n_parts * job->part_floats + col;
    float *y = job->a->e + (size_t)it->out_row[i] * job->d_model + col;
    memset(y, 0, n * sizeof *y);
    for (uint32_t span = 0; span < job->n_spans; span++) {
        if (span < it->whole_spans) {
            mox_expert_add(y, part, n);
            part += job->part_floats;
            continue;
        }
        uint32_t left = job->n_slices - span * MOX_SPAN_BLOCKS;
        float sum[SUM_COLS] = {0};
        for (uint32_t b = 0; b < left && b < MOX_SPAN_BLOCKS; b++) {
            mox_expert_add(sum, part, n);
            part += job->part_floats;
        }
        mox_expert_add(y, sum, n);
    }
    if (it->bias[MOX_SLAB_DOWN] != NULL) {
        mox_expert_add(y, it->bias[MOX_SLAB_DOWN] + col, n);
    }
}

static void sum_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const mox_expert_job *job = arg;
    const mox_merge_args *m = job->a->merge;
    for (uint32_t at = begin; at < end; at++) {
        uint32_t col = at * SUM_COLS, left = job->d_model - col, n = left < SUM_COLS ? left : SUM_COLS;
        for (uint32_t k = 0; k < job->n_items; k++) {
            for (uint32_t i = 0; i < job->item[k].n; i++) {
                sum_row(job, &job->item[k], i, col, n);
            }
        }
        for (uint32_t i = 0; m != NULL && i < m->n; i++) {
            size_t row = (size_t)i * m->d + col;
            job->vec->merge(m->e + (size_t)i * m->k * m->d + col, m->d, m->weights + (size_t)i * m->k, m->k,
                            m->residual + row, m->y + row, n);
        }
    }
}

void mox_expert_sum(mox_pool *pool, mox_expert_job *j)
{
    mox_pool_for(pool, mox_div_up(j->d_model, SUM_COLS), 1, sum_range, j);
}
