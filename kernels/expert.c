/* One expert for n gathered rows: gate and up, silu, rounding of h to down's kind, down (operation `expert`).
 *
 * Three passes over the pool with a barrier after each. gate and up of one group of neurons are computed
 * together and meet in registers' reach; h is rounded block by block; down reads the slot the way it lies
 * there: for few rows block after block (slice after slice), each group keeping its running sums, because a
 * slice's part of down is contiguous and its rows are not; for many rows group after group, because then
 * weights are reused from cache and running sums of all rows would not fit. The sums are the same.
 * Rows beyond MOX_EXPERT_ROWS go in further rounds, which bounds the scratch the plan must reserve.
 */
#include "kernels/mat_mul.h"
#include "kernels/mat_tile.h"
#include "kernels/vec.h"
#include "runtime/core/bits.h"

#include <stdatomic.h>
#include <string.h>

enum { R = MOX_ROWS_PER_GROUP, MAX_GATE_GRAIN = 16, MAX_DOWN_GRAIN = 32 };

typedef struct expert_job {
    const mox_expert_args *a;
    const mox_vec *vec;
    mox_mat_job gate, up, down;
    uint32_t d_model, d_ff;
    uint32_t row0, n;  /* this round's rows */
    float *h;          /* [n][h_stride] */
    size_t h_stride;   /* floats */
    uint8_t *h_acts;   /* [n][act_stride]; h itself when down takes floats */
    size_t act_stride; /* bytes */
    atomic_bool not_finite;
} expert_job;

static size_t h_stride_of(uint32_t d_ff)
{
    return mox_round_up(d_ff, R);
}

static size_t act_stride_of(uint32_t d_ff)
{
    return mox_div_up(d_ff, MOX_BLOCK) * sizeof(mox_act_k);
}

size_t mox_expert_scratch_bytes(const mox_expert_layout *l, uint32_t n, bool act_f32)
{
    size_t rows = n < MOX_EXPERT_ROWS ? n : MOX_EXPERT_ROWS;
    bool floats = act_f32 || mox_format_of(l->type[MOX_SLAB_DOWN])->kind == MOX_ACT_F32;
    size_t per_row = h_stride_of(l->d_ff) * sizeof(float) + (floats ? 0 : act_stride_of(l->d_ff));
    return mox_round_up(rows * per_row, 64);
}

static uint32_t tile_rows(const expert_job *e, uint32_t i)
{
    return e->n - i < MOX_TILE_ROWS ? e->n - i : MOX_TILE_ROWS;
}

/* Rows i.. of this round as inputs of gate or up. */
static void gather(const expert_job *e, mox_mat_job *j, uint32_t i)
{
    j->n = tile_rows(e, i);
    const mox_acts *x = &e->a->x[j->kind];
    for (uint32_t k = 0; k < j->n; k++) {
        j->x[k] = (const uint8_t *)x->data + e->a->tok[e->row0 + i + k] * x->row_bytes;
    }
}

static void gate_up_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const expert_job *e = arg;
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
    expert_job *e = arg;
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

static void down_inputs(const expert_job *e, mox_mat_job *j, uint32_t i)
{
    j->n = tile_rows(e, i);
    for (uint32_t k = 0; k < j->n; k++) {
        j->x[k] = e->h_acts + (i + k) * e->act_stride;
    }
}

static void down_store(const expert_job *e, uint32_t i, uint32_t g, const float *y)
{
    uint32_t left = e->d_model - g * R;
    float *out = e->a->e + (size_t)e->a->out_row[e->row0 + i] * e->d_model + (size_t)g * R;
    memcpy(out, y, (left < R ? left : R) * sizeof(float));
}

/* Few rows: the slot's order. */
static void down_by_block(const expert_job *e, uint32_t begin, uint32_t end)
{
    mox_row_sums s[MAX_DOWN_GRAIN][MOX_TILE_ROWS];
    memset(s, 0, (end - begin) * sizeof s[0]);
    mox_mat_job down = e->down;
    down_inputs(e, &down, 0);
    uint32_t n_blocks = mox_mat_blocks(down.w);
    for (uint32_t b = 0; b < n_blocks; b++) {
        for (uint32_t g = begin; g < end; g++) {
            mox_mat_block_add(&down, g, b, s[g - begin]);
        }
    }
    for (uint32_t g = begin; g < end; g++) {
        for (uint32_t i = 0; i < down.n; i++) {
            down_store(e, i, g, s[g - begin][i].row);
        }
    }
}

static void down_range(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    (void)worker;
    const expert_job *e = arg;
    if (e->n <= MOX_TILE_ROWS) {
        down_by_block(e, begin, end);
        return;
    }
    mox_mat_job down = e->down;
    for (uint32_t g = begin; g < end; g++) {
        for (uint32_t i = 0; i < e->n; i += MOX_TILE_ROWS) {
            float y[MOX_TILE_ROWS][R];
            down_inputs(e, &down, i);
            mox_mat_group_mul(&down, g, y);
            for (uint32_t k = 0; k < down.n; k++) {
                down_store(e, i + k, g, y[k]);
            }
        }
    }
}

static mox_err expert_round(expert_job *e, mox_pool *pool)
{
    uint32_t workers = mox_pool_workers(pool);
    uint32_t ff_groups = mox_div_up(e->d_ff, R), model_groups = mox_div_up(e->d_model, R);
    e->h = e->a->scratch;
    mox_pool_for(pool, ff_groups, mox_mat_grain(ff_groups, workers, MAX_GATE_GRAIN), gate_up_range, e);
    if (e->down.kind == MOX_ACT_F32) {
        e->h_acts = (uint8_t *)e->h;
        e->act_stride = e->h_stride * sizeof(float);
    } else {
        e->h_acts = (uint8_t *)(e->h + e->n * e->h_stride);
        uint32_t items = e->n * mox_div_up(e->d_ff, MOX_BLOCK);
        mox_pool_for(pool, items, mox_mat_grain(items, workers, MAX_GATE_GRAIN), round_range, e);
        if (atomic_load_explicit(&e->not_finite, memory_order_relaxed)) {
            return MOX_FAIL(MOX_E_NUMERIC, "an expert's intermediate vector is not finite");
        }
    }
    mox_pool_for(pool, model_groups, mox_mat_grain(model_groups, workers, MAX_DOWN_GRAIN), down_range, e);
    return MOX_OK;
}

mox_err mox_expert_cpu(mox_pool *pool, mox_isa isa, const mox_expert_args *a)
{
    const mox_mat *gate = &a->mats[MOX_SLAB_GATE], *up = &a->mats[MOX_SLAB_UP],
                  *down = &a->mats[MOX_SLAB_DOWN];
    expert_job e = {.a = a, .vec = mox_vec_of(isa), .d_model = down->rows, .d_ff = gate->rows};
    const mox_mat *mats[MOX_SLABS] = {gate, up, down};
    mox_mat_job *jobs[MOX_SLABS] = {&e.gate, &e.up, &e.down};
    for (int s = 0; s < MOX_SLABS; s++) {
        const mox_format *f = mox_format_of(mats[s]->type);
        mox_act_kind kind = a->act_f32 || f == NULL ? MOX_ACT_F32 : f->kind;
        MOX_TRY(mox_mat_job_init(jobs[s], isa, mats[s], kind));
    }
    e.h_stride = h_stride_of(e.d_ff);
    e.act_stride = act_stride_of(e.d_ff);
    for (e.row0 = 0; e.row0 < a->n; e.row0 += e.n) {
        e.n = a->n - e.row0 < MOX_EXPERT_ROWS ? a->n - e.row0 : MOX_EXPERT_ROWS;
        MOX_TRY(expert_round(&e, pool));
    }
    return MOX_OK;
}
