/* What the graph does between its operations where that is a loop over floats: parts of rows, rows times weights, the
 * weights of a merge. On the CPU plain loops on the calling thread; operations, so that a device can have them too. */
#include "kernels/mat_mul.h"

#include <string.h>

mox_err mox_part_cpu(const mox_part_args *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        memcpy(a->y + (size_t)i * a->len, a->x + (size_t)i * a->from + a->at, a->len * sizeof *a->y);
    }
    return MOX_OK;
}

mox_err mox_weigh_cpu(const mox_weigh_args *a)
{
    for (size_t u = 0; u < (size_t)a->n * a->k; u++) {
        const float *x = a->x + u / a->k * a->d, w = a->weights[u];
        float *y = a->y + u * a->d;
        for (uint32_t i = 0; i < a->d; i++) {
            y[i] = x[i] * w;
        }
    }
    return MOX_OK;
}

mox_err mox_ranks_cpu(const mox_ranks_args *a)
{
    for (uint32_t i = 0; i < a->n; i++) {
        float *row = a->y + (size_t)i * a->ranks;
        for (uint32_t r = 0; r < a->k; r++) {
            row[r] = a->weights != NULL ? a->weights[(size_t)i * a->k + r] : 1.0f;
        }
        if (a->last_is_one && a->ranks > a->k) {
            row[a->k] = 1.0f;
        }
        for (uint32_t r = 0; a->scale != 1.0f && r < a->ranks; r++) {
            row[r] = row[r] * a->scale;
        }
    }
    return MOX_OK;
}
