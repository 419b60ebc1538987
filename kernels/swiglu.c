/* SwiGLU: h = silu(gate) * up, elementwise, so the rows are one long vector that is cut into runs. */
#include "kernels/vec.h"

enum { RUN = 4096 };

typedef struct swiglu_job {
    const mox_vec *vec;
    const mox_swiglu_args *a;
    size_t n;
} swiglu_job;

static void swiglu_runs(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const swiglu_job *job = arg;
    const size_t from = (size_t)begin * RUN, to = (size_t)end * RUN < job->n ? (size_t)end * RUN : job->n;
    (void)worker;
    job->vec->swiglu(job->a->gate + from, job->a->up + from, job->a->h + from, to - from);
}

mox_err mox_swiglu_cpu(mox_pool *pool, const mox_vec *vec, const mox_swiglu_args *a)
{
    swiglu_job job = {vec, a, (size_t)a->n * a->d_ff};
    mox_pool_for(pool, (uint32_t)((job.n + RUN - 1) / RUN), 1, swiglu_runs, &job);
    return MOX_OK;
}
