/* One expert for many rows: gate and up, silu, rounding of h to down's kind, down, a barrier after each.
 *
 * gate and up of one group of neurons are computed together and meet in registers' reach; h is rounded block
 * by block; down goes group after group, so that weights are reused from cache. Rows beyond MOX_EXPERT_ROWS
 * go in further rounds, which bounds the scratch the plan must reserve.
 */
#include "kernels/expert.h"

#include "kernels/mat_mul.h"
#include "runtime/core/bits.h"

#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, MAX_GATE_GRAIN = 16, MAX_DOWN_GRAIN = 32 };

typedef struct wide_job {
    const mox_experts_args *a;
    const mox_vec *vec;
    mox_mat_job gate, up, down;
    const uint32_t *tok, *out_row;
    uint32_t d_model, d_ff, n; /* rows of this round */
    float *h;                  /* [n][h_stride] */
    size_t h_stride;           /* floats */
    uint8_t *h_acts;           /* [n][act_stride]; h itself when down takes floats */
    size_t act_stride;         /* bytes */
    atomic_bool not_finite;
} wide_job;

static size_t h_stride_of(uint32_t d_ff)
{
    return mox_round_up(d_ff, MOX_BLOCK);
}

static size_t act_stride_of(uint32_t d_ff)
{
    return mox_div_up(d_ff, MOX_BLOCK) * sizeof(mox_act_k);
}

size_t mox_expert_wide_bytes(uint32_t d_ff, uint32_t n_rows)
{
    size_t rows = n_rows < MOX_EXPERT_ROWS ? n_rows : MOX_EXPERT_ROWS;
    return rows * (h_stride_of(d_ff) * sizeof(float) + act_stride_of(d_ff));
}

/* Rows i.. of this round as inputs of gate or up. */
static void gather(const wide_job *e, mox_mat_job *j, uint32_t i)
{
    j->n = e->n - i < MOX_TILE_ROWS ? e->n - i : MOX_TILE_ROWS;
    const mox_acts *x = &e->a->x[j->kind];
    for (uint32_t k = 0; k < j->n; k++) {
        j->x[k] = (const uint8_t *)x->data + e->tok[i + k] * x->row_bytes;
    }
}

static void gate_up_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const wide_job *e = arg;
    mox_mat_job gate = e->gate, up = e->up;
    for (uint32_t i = 0; i < e->n; i += MOX_TILE_ROWS) {
        gather(e, &gate, i);
        gather(e, &up, i);
        for (uint32_t g = begin; g < end; g++) {
            float yg[MOX_TILE_ROWS][R], yu[MOX_TILE_ROWS][R];
            mox_mat_group_mul(&gate, g, yg);
            mox_mat_group_mul(&up, g, yu);
            for (uint32_t k = 0; k < gate.n; k++) {
                e->vec->swiglu(yg[k], yu[k], e->h + (i + k) * e->h_stride + (size_t)g * R, R);
            }
        }
    }
}

/* Items are (row, block): block-wise rounding is the same as row-wise, since every kind's scales lie inside a
 * block. */
static void round_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    wide_job *e = arg;
    uint32_t n_blocks = mox_div_up(e->d_ff, MOX_BLOCK);
    for (uint32_t item = begin; item < end; item++) {
        uint32_t i = item / n_blocks, b = item % n_blocks, left = e->d_ff - b * MOX_BLOCK;
        uint32_t cols = left < MOX_BLOCK ? left : MOX_BLOCK;
        const float *h = e->h + i * e->h_stride + (size_t)b * MOX_BLOCK;
        void *out = e->h_acts + i * e->act_stride + b * sizeof(mox_act_k);
        bool finite =
            e->down.kind == MOX_ACT_K ? e->vec->quantize_k(h, cols, out) : e->vec->quantize_b(h, cols, out);
        if (!finite) {
            atomic_store_explicit(&e->not_finite, true, memory_order_relaxed);
        }
    }
}

static void down_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const wide_job *e = arg;
    mox_mat_job down = e->down;
    for (uint32_t g = begin; g < end; g++) {
        uint32_t left = e->d_model - g * R, n = left < R ? left : R;
        for (uint32_t i = 0; i < e->n; i += down.n) {
            float y[MOX_TILE_ROWS][R];
            down.n = e->n - i < MOX_TILE_ROWS ? e->n - i : MOX_TILE_ROWS;
            for (uint32_t k = 0; k < down.n; k++) {
                down.x[k] = e->h_acts + (i + k) * e->act_stride;
            }
            mox_mat_group_mul(&down, g, y);
            for (uint32_t k = 0; k < down.n; k++) {
                memcpy(e->a->e + (size_t)e->out_row[i + k] * e->d_model + (size_t)g * R, y[k],
                       n * sizeof(float));
            }
        }
    }
}

static mox_err wide_round(wide_job *e, mox_pool *pool)
{
    uint32_t workers = mox_pool_workers(pool);
    uint32_t ff_groups = mox_div_up(e->d_ff, R), model_groups = mox_div_up(e->d_model, R);
    mox_pool_for(pool, ff_groups, mox_mat_grain(ff_groups, workers, MAX_GATE_GRAIN), gate_up_range, e);
    if (e->down.kind == MOX_ACT_F32) {
        e->h_acts = (uint8_t *)e->h;
        e->act_stride = e->h_stride * sizeof(float);
    } else {
        e->h_acts = (uint8_t *)(e->h + e->n * e->h_stride);
        e->act_stride = act_stride_of(e->d_ff);
        uint32_t items = e->n * mox_div_up(e->d_ff, MOX_BLOCK);
        mox_pool_for(pool, items, mox_mat_grain(items, workers, MAX_GATE_GRAIN), round_range, e);
        if (atomic_load_explicit(&e->not_finite, memory_order_relaxed)) {
            return MOX_FAIL(MOX_E_NUMERIC, "an expert's intermediate vector is not finite");
        }
    }
    mox_pool_for(pool, model_groups, mox_mat_grain(model_groups, workers, MAX_DOWN_GRAIN), down_range, e);
    return MOX_OK;
}

mox_err mox_expert_wide(mox_pool *pool, const mox_expert_job *j, const mox_expert_item *it, void *scratch)
{
    wide_job e = {.a = j->a,
                  .vec = j->vec,
                  .gate = it->gate,
                  .up = it->up,
                  .down = it->down,
                  .d_model = j->d_model,
                  .d_ff = j->d_ff,
                  .h = scratch,
                  .h_stride = h_stride_of(j->d_ff)};
    for (uint32_t row0 = 0; row0 < it->n; row0 += e.n) {
        e.n = it->n - row0 < MOX_EXPERT_ROWS ? it->n - row0 : MOX_EXPERT_ROWS;
        e.tok = it->tok + row0;
        e.out_row = it->out_row + row0;
        MOX_TRY(wide_round(&e, pool));
    }
    return MOX_OK;
}
