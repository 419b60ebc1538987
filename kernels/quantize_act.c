/* Activations: rows of f32 to one of the three kinds (act.h). The rule is in the twin (vec_ref.c). */
#include "kernels/vec.h"

#include <stdatomic.h>
#include <string.h>

typedef struct quantize_job {
    const mox_vec *vec;
    const mox_quantize_args *a;
    _Atomic uint32_t bad_row; /* the first row with a value that is not finite; n: none */
} quantize_job;

size_t mox_act_row_bytes(mox_act_kind kind, uint32_t n_cols)
{
    const size_t blocks = ((size_t)n_cols + MOX_BLOCK - 1) / MOX_BLOCK;
    return kind == MOX_ACT_F32 ? n_cols * sizeof(float)
                               : blocks * (kind == MOX_ACT_K ? sizeof(mox_act_k) : sizeof(mox_act_b));
}

static bool quantize_row(const mox_vec *vec, const float *x, const mox_acts *y, void *row)
{
    switch (y->kind) {
    case MOX_ACT_K:
        return vec->quantize_k(x, y->n_cols, row);
    case MOX_ACT_B32:
        return vec->quantize_b(x, y->n_cols, row);
    default:
        memcpy(row, x, y->n_cols * sizeof *x);
        return true;
    }
}

static void quantize_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    quantize_job *job = arg;
    const mox_quantize_args *a = job->a;
    (void)worker;
    for (uint32_t i = begin; i < end; i++) {
        if (!quantize_row(job->vec, a->x + i * a->x_stride, &a->y, (char *)a->y.data + i * a->y.row_bytes)) {
            uint32_t seen = atomic_load(&job->bad_row);
            while (i < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, i)) {
            }
        }
    }
}

mox_err mox_quantize_cpu(mox_pool *pool, const mox_vec *vec, const mox_quantize_args *a)
{
    quantize_job job = {.vec = vec, .a = a, .bad_row = a->n};
    if (a->n == 1) {
        quantize_rows(&job, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 4, quantize_rows, &job);
    }
    const uint32_t bad = atomic_load(&job.bad_row);
    return bad == a->n ? MOX_OK : MOX_FAIL(MOX_E_NUMERIC, "row %u holds a value that is not finite", bad);
}
