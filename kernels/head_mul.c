/* A small matrix for each head (operation `head_mul`): the two products of compressed attention. Items are (head, group
 * of 16 rows) for all rows of the step, so a weight is read once; sums are those of mat_mul.c. */
#include "kernels/mat_mul.h"

#include "kernels/mat_tile.h"

#include <string.h>

enum { R = MOX_ROWS_PER_GROUP };

typedef struct head_job {
    const mox_head_mul_args *a;
    mox_mat_job tile; /* of head 0; the others differ in w alone */
    uint32_t groups;
} head_job;

static void head_group(const head_job *job, uint32_t head, uint32_t g)
{
    const mox_head_mul_args *a = job->a;
    mox_mat_job j = job->tile;
    j.w = &a->w[head];
    const uint32_t rows = j.w->rows, left = rows - g * R;
    for (uint32_t i = 0; i < a->n; i += j.n) {
        j.n = a->n - i < MOX_TILE_ROWS ? a->n - i : MOX_TILE_ROWS;
        for (uint32_t k = 0; k < j.n; k++) {
            const size_t row = (size_t)(i + k) * a->n_heads + head;
            j.x[k] = (const uint8_t *)a->x.data + row * a->x.row_bytes;
        }
        float y[MOX_TILE_ROWS][R];
        mox_mat_group_mul(&j, g, y);
        for (uint32_t k = 0; k < j.n; k++) {
            float *out = a->y + ((size_t)(i + k) * a->n_heads + head) * rows + (size_t)g * R;
            memcpy(out, y[k], (left < R ? left : R) * sizeof *out);
        }
    }
}

static void head_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const head_job *job = arg;
    (void)worker;
    for (uint32_t item = begin; item < end; item++) {
        head_group(job, item / job->groups, item % job->groups);
    }
}

mox_err mox_head_mul_cpu(mox_pool *pool, mox_isa isa, const mox_head_mul_args *a)
{
    head_job job = {.a = a, .groups = mox_mat_groups(&a->w[0])};
    MOX_TRY(mox_mat_job_init(&job.tile, isa, &a->w[0], a->x.kind));
    mox_pool_for(pool, job.groups * a->n_heads, 4, head_range, &job);
    return MOX_OK;
}
