/* Small elementwise functions that only some models have (operation `map`), and the share of a shared expert
 * (operation `gate`). Every step is one IEEE operation on one element, so any cut and any compiler give the same
 * bits. */
#include "kernels/vec.h"

#include "kernels/fmath.h"

static void map_row(const mox_map_args *a, uint32_t row)
{
    float *x = a->x + (size_t)row * a->d;
    switch (a->kind) {
    case MOX_MAP_SCALE:
        for (uint32_t i = 0; i < a->d; i++) {
            x[i] = x[i] * a->a;
        }
        break;
    case MOX_MAP_CLAMP:
        for (uint32_t i = 0; i < a->d; i++) { /* a NaN stays */
            x[i] = x[i] > a->a ? a->a : x[i] < -a->a ? -a->a : x[i];
        }
        break;
    case MOX_MAP_SOFTCAP:
        for (uint32_t i = 0; i < a->d; i++) {
            x[i] = a->a * mox_tanhf(x[i] / a->a);
        }
        break;
    case MOX_MAP_ROWS:
        for (uint32_t i = 0; i < a->d; i++) {
            x[i] = x[i] * a->by[row];
        }
        break;
    case MOX_MAP_GATE:
        for (uint32_t i = 0; i < a->d; i++) {
            x[i] = x[i] * mox_sigmoidf(a->by[(size_t)row * a->d + i]);
        }
        break;
    }
}

static void map_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    for (uint32_t row = begin; row < end; row++) {
        map_row(arg, row);
    }
}

mox_err mox_map_cpu(mox_pool *pool, const mox_map_args *a)
{
    mox_map_args args = *a;
    if (a->n == 1) { /* one row costs less than waking a worker */
        map_rows(&args, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 4, map_rows, &args);
    }
    return MOX_OK;
}

mox_err mox_gate_cpu(mox_pool *pool, const mox_vec *vec, const mox_gate_args *a)
{
    (void)pool; /* one product of two vectors for each row */
    for (uint32_t i = 0; i < a->n; i++) {
        a->y[i * a->y_stride] = mox_sigmoidf(vec->dot(a->w, a->x + (size_t)i * a->d, a->d));
    }
    return MOX_OK;
}
