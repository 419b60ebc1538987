/* Gated delta nets: what comes before the recurrence (lengths of q and k, decay and strength of each head) and the
 * recurrence itself.
 *
 * A column of a head's matrix needs nothing of the other columns, and the chain within it is the same row by row however
 * the rows come: so work is cut by heads and columns, vectors run over columns, and a batch gives what token by token
 * gives. A form that takes many rows at once by matrices would round otherwise; it was not taken. */
#include "kernels/vec.h"

#include "kernels/fmath.h"

#include <math.h>
#include <string.h>

typedef struct prepare_job {
    const mox_vec *vec;
    const mox_delta_prepare_args *a;
    float q_scale;
} prepare_job;

static void norm_heads(const prepare_job *job, float *x, float scale)
{
    const mox_state_view *v = &job->a->state;
    for (uint32_t h = 0; h < v->k_heads; h++, x += v->k_dim) {
        const float r = 1.0f / sqrtf(job->vec->dot(x, x, v->k_dim) + job->a->eps);
        for (uint32_t i = 0; i < v->k_dim; i++) {
            x[i] = x[i] * r * scale;
        }
    }
}

static void prepare_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const prepare_job *job = arg;
    const mox_delta_prepare_args *a = job->a;
    const mox_state_view *v = &a->state;
    const uint32_t each = v->v_heads / v->k_heads;
    (void)worker;
    for (uint32_t row = begin; row < end; row++) {
        float *y = a->y + row * mox_state_channels(v);
        norm_heads(job, y, job->q_scale);
        norm_heads(job, y + (size_t)v->k_heads * v->k_dim, 1.0f);
        for (uint32_t h = 0; h < v->v_heads; h++) {
            const float *ba = a->ba + (size_t)row * 2 * v->v_heads + h / each * 2 * each + h % each;
            const size_t at = (size_t)row * v->v_heads + h;
            a->beta[at] = mox_sigmoidf(ba[0]);
            a->decay[at] = mox_expf(a->a[h] * mox_softplusf(ba[each] + a->dt_bias[h]));
        }
    }
}

mox_err mox_delta_prepare_cpu(mox_pool *pool, const mox_vec *vec, const mox_delta_prepare_args *a)
{
    prepare_job job = {.vec = vec, .a = a, .q_scale = (float)(1.0 / sqrt((double)a->state.k_dim))};
    mox_pool_for(pool, a->n, 4, prepare_rows, &job);
    return MOX_OK;
}

typedef struct rule_job {
    const mox_vec *vec;
    const mox_delta_rule_args *a;
    uint32_t blocks; /* of columns, in a head */
} rule_job;

/* Columns [c0, c0 + n) of a head's matrix over the rows of one sequence. */
static void run_columns(const rule_job *job, uint32_t seq, uint32_t head, uint32_t c0, uint32_t n)
{
    const mox_delta_rule_args *a = job->a;
    const mox_state_view *v = &a->state;
    const size_t matrix = (size_t)v->k_dim * v->v_dim, slot = matrix * v->v_heads;
    float *base = v->s + (size_t)seq * v->n_slots * slot + head * matrix + c0;
    const uint32_t k_head = head / (v->v_heads / v->k_heads);
    mox_delta_cols c = {.from = NULL, .stride = v->v_dim, .k_dim = v->k_dim};
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->place[i].seq != seq) {
            continue;
        }
        if (c.from == NULL) { /* the step's first row of this sequence */
            c.to = base + a->step[seq].to * slot;
            c.from = a->place[i].pos != 0 ? base + a->step[seq].from * slot : c.to;
            for (uint32_t r = 0; a->place[i].pos == 0 && r < v->k_dim; r++) {
                memset(c.to + (size_t)r * v->v_dim, 0, n * sizeof *c.to);
            }
        }
        const float *y = a->y + i * mox_state_channels(v);
        const size_t at = (size_t)i * v->v_heads + head;
        c.q = y + (size_t)k_head * v->k_dim;
        c.k = c.q + (size_t)v->k_heads * v->k_dim;
        c.v = y + (size_t)2 * v->k_heads * v->k_dim + (size_t)head * v->v_dim + c0;
        c.o = a->out + at * v->v_dim + c0;
        job->vec->delta(&c, a->decay[at], a->beta[at], n);
        c.from = c.to;
    }
}

static void rule_items(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const rule_job *job = arg;
    const mox_state_view *v = &job->a->state;
    (void)worker;
    for (uint32_t item = begin; item < end; item++) {
        const uint32_t c0 = item % job->blocks * MOX_DELTA_COLS, head = item / job->blocks % v->v_heads;
        const uint32_t left = v->v_dim - c0;
        run_columns(job, item / job->blocks / v->v_heads, head, c0,
                    left < MOX_DELTA_COLS ? left : MOX_DELTA_COLS);
    }
}

mox_err mox_delta_rule_cpu(mox_pool *pool, const mox_vec *vec, const mox_delta_rule_args *a)
{
    const mox_state_view *v = &a->state;
    rule_job job = {.vec = vec, .a = a, .blocks = (v->v_dim + MOX_DELTA_COLS - 1) / MOX_DELTA_COLS};
    mox_pool_for(pool, v->n_seq * v->v_heads * job.blocks, 1, rule_items, &job);
    return MOX_OK;
}
