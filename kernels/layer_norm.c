/* Layer norm: y = ((x - mean) * r) * w + bias, r = 1 / sqrt(mean of squares of (x - mean) + eps). Both sums by the
 * reduction of vec.h; the plain sum as products with 1, which round nothing. */
#include "kernels/vec.h"

#include <math.h>

typedef struct norm_job {
    const mox_vec *vec;
    const mox_layer_norm_args *a;
    float ones[MOX_REDUCE_CHUNK];
} norm_job;

static float sum_of(const norm_job *job, const float *x, uint32_t n)
{
    float sum = 0.0f;
    for (uint32_t c = 0; c < n; c += MOX_REDUCE_CHUNK) {
        const uint32_t len = n - c < MOX_REDUCE_CHUNK ? n - c : MOX_REDUCE_CHUNK;
        sum = sum + job->vec->dot(x + c, job->ones, len);
    }
    return sum;
}

static void norm_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const norm_job *job = arg;
    const mox_layer_norm_args *a = job->a;
    (void)worker;
    for (uint32_t row = begin; row < end; row++) {
        const float *x = a->x + (size_t)row * a->d;
        float *y = a->y + (size_t)row * a->d;
        const float mean = sum_of(job, x, a->d) / (float)a->d;
        for (uint32_t i = 0; i < a->d; i++) {
            y[i] = x[i] - mean;
        }
        const float r = 1.0f / sqrtf(job->vec->dot(y, y, a->d) / (float)a->d + a->eps);
        for (uint32_t i = 0; i < a->d; i++) {
            y[i] = y[i] * r * a->w[i];
        }
        for (uint32_t i = 0; a->bias != NULL && i < a->d; i++) {
            y[i] = y[i] + a->bias[i];
        }
    }
}

mox_err mox_layer_norm_cpu(mox_pool *pool, const mox_vec *vec, const mox_layer_norm_args *a)
{
    norm_job job = {.vec = vec, .a = a};
    for (int i = 0; i < MOX_REDUCE_CHUNK; i++) {
        job.ones[i] = 1.0f;
    }
    if (a->n == 1) {
        norm_rows(&job, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 4, norm_rows, &job);
    }
    return MOX_OK;
}
