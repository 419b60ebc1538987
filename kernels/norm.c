/* RMS norm: y = (x * r) * w, r = 1 / sqrt(mean(x^2) + eps), the sum of squares by the reduction of vec.h. */
#include "kernels/vec.h"

#include <math.h>

typedef struct norm_job {
    const mox_vec *vec;
    const mox_rms_norm_args *a;
} norm_job;

static void norm_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const norm_job *job = arg;
    const mox_rms_norm_args *a = job->a;
    (void)worker;
    for (uint32_t row = begin; row < end; row++) {
        const float *x = a->x + (size_t)row * a->d;
        float *y = a->y + (size_t)row * a->d;
        const float mean = job->vec->dot(x, x, a->d) / (float)a->d;
        const float r = 1.0f / sqrtf(mean + a->eps);
        for (uint32_t i = 0; a->w != NULL && i < a->d; i++) {
            y[i] = x[i] * r * a->w[i];
        }
        for (uint32_t i = 0; a->w == NULL && i < a->d; i++) {
            y[i] = x[i] * r;
        }
    }
}

mox_err mox_rms_norm_cpu(mox_pool *pool, const mox_vec *vec, const mox_rms_norm_args *a)
{
    norm_job job = {vec, a};
    if (a->n == 1) { /* one row costs less than waking a worker */
        norm_rows(&job, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 4, norm_rows, &job);
    }
    return MOX_OK;
}
