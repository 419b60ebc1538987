/* Merge of the experts' vectors in rank order, and the plain sum of two tensors.
 * y = +0; y = fma(w_r, e_r, y) for r = 0, 1, ...; then residual + y. Parts are merged here, never accumulated
 * as they come, so it does not matter which expert was computed where and when. */
#include "kernels/vec.h"

enum { RUN = 16384 };

typedef struct merge_job {
    const mox_vec *vec;
    const mox_merge_args *a;
} merge_job;

static void merge_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const merge_job *job = arg;
    const mox_merge_args *a = job->a;
    (void)worker;
    for (uint32_t i = begin; i < end; i++) {
        const size_t row = (size_t)i * a->d;
        job->vec->merge(a->e + row * a->k, a->d, a->weights + (size_t)i * a->k, a->k, a->residual + row,
                        a->y + row, a->d);
    }
}

mox_err mox_merge_cpu(mox_pool *pool, const mox_vec *vec, const mox_merge_args *a)
{
    merge_job job = {vec, a};
    if (a->n == 1) {
        merge_rows(&job, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 4, merge_rows, &job);
    }
    return MOX_OK;
}

static void add_runs(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const mox_add_args *a = arg;
    const size_t to = (size_t)end * RUN < a->n ? (size_t)end * RUN : a->n;
    (void)worker;
    for (size_t i = (size_t)begin * RUN; i < to; i++) {
        a->y[i] = a->a[i] + a->b[i];
    }
}

mox_err mox_add_cpu(mox_pool *pool, const mox_add_args *a)
{
    mox_add_args args = *a;
    if (a->n <= RUN) {
        add_runs(&args, 0, 1, 0);
    } else {
        mox_pool_for(pool, (uint32_t)((a->n + RUN - 1) / RUN), 1, add_runs, &args);
    }
    return MOX_OK;
}
