/* The key/value cache: row sizes, names, and appending the rows of a step.
 *
 * A stored vector is an array of f16 or f32, or for q8_0 head_dim codes followed by one f16 scale per 32 of
 * them: codes in one piece, so that no SIMD load straddles a scale. The codes are made with the exact scale
 * (the rule for 32 of act.h); what is stored is its f16 rounding, and the value of a code is code * that. */
#include "kernels/vec.h"

#include <stdatomic.h>

typedef struct append_job {
    const mox_vec *vec;
    const mox_kv_append_args *a;
    size_t k_row, v_row; /* bytes */
    uint32_t v_dim;
    _Atomic uint32_t bad_row; /* the first row with a value that cannot be stored; n: none */
} append_job;

size_t mox_kv_row_bytes(mox_kv_type type, uint32_t head_dim)
{
    switch (type) {
    case MOX_KV_F16:
        return (size_t)head_dim * 2;
    case MOX_KV_Q8_0:
        return head_dim % 32 == 0 ? (size_t)head_dim + head_dim / 32 * 2 : 0;
    case MOX_KV_F32:
        return (size_t)head_dim * 4;
    default:
        return 0;
    }
}

const char *mox_kv_type_name(mox_kv_type type)
{
    static const char *const names[MOX_KV_TYPES] = {"f16", "q8_0", "f32"};
    return (unsigned)type < MOX_KV_TYPES ? names[type] : "?";
}

static void append_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    append_job *job = arg;
    const mox_kv_append_args *a = job->a;
    const mox_kv_view *kv = &a->kv;
    (void)worker;
    for (uint32_t i = begin; i < end; i++) {
        bool good = true;
        for (uint32_t h = 0; h < kv->n_kv_heads; h++) {
            const size_t head = (size_t)a->place[i].seq * kv->n_kv_heads + h;
            const size_t at = head * kv->n_ctx + a->place[i].pos % kv->n_ctx;
            const size_t from = (size_t)i * kv->n_kv_heads + h;
            good &= job->vec->kv_store[kv->type](a->k + from * kv->head_dim, kv->head_dim,
                                                 kv->k + at * job->k_row);
            good &=
                job->vec->kv_store[kv->type](a->v + from * job->v_dim, job->v_dim, kv->v + at * job->v_row);
        }
        if (!good) {
            uint32_t seen = atomic_load(&job->bad_row);
            while (i < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, i)) {
            }
        }
    }
}

mox_err mox_kv_append_cpu(mox_pool *pool, const mox_vec *vec, const mox_kv_append_args *a)
{
    append_job job = {.vec = vec, .a = a, .v_dim = mox_kv_v_dim(&a->kv), .bad_row = a->n};
    job.k_row = mox_kv_row_bytes(a->kv.type, a->kv.head_dim);
    job.v_row = mox_kv_row_bytes(a->kv.type, job.v_dim);
    if (a->n == 1) {
        append_rows(&job, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 4, append_rows, &job);
    }
    const uint32_t bad = atomic_load(&job.bad_row);
    if (bad == a->n) {
        return MOX_OK;
    }
    (void)MOX_FAIL(MOX_E_NUMERIC, "row %u (position %u) holds a key or value that %s cannot store", bad,
                   a->place[bad].pos, mox_kv_type_name(a->kv.type));
    return mox_err_fix("--kv f32 stores every finite value");
}
