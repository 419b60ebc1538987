/* Attention: causal, grouped heads, the same bits for prefill and decode and for any split of the rows.
 *
 * Keys are taken in chunks of 256 at absolute positions. A chunk is evaluated afresh (its own maximum,
 * weights, sum and value vector) and then combined in chunk order: m' = max(m, m_c), a = exp(m - m'), b =
 * exp(m_c - m'), l = fma(l, a, l_c b), o = fma(o, a, o_c b) from m = -inf, l = 0, o = 0; the division by l
 * comes last. So a row's result depends on its own position alone.
 *
 * Work is cut into (row, key/value head) pairs, so that the heads of a group find their chunk of keys in the
 * cache; where that leaves workers idle (decode of one row), into (row, head). The running o lives in the
 * output itself.
 */
#include "kernels/vec.h"

#include "kernels/fmath.h"
#include "runtime/core/bits.h"

#include <math.h>

typedef struct attention_job {
    const mox_vec *vec;
    const mox_attention_args *a;
    size_t row_bytes;
    uint32_t heads_per_item, items_per_row;
    size_t scratch_floats; /* per worker */
} attention_job;

typedef struct running { /* of one head */
    float m, l;
} running;

enum { MAX_GROUP = 64 };

static size_t worker_floats(uint32_t head_dim)
{
    return mox_round_up((size_t)MOX_KEY_CHUNK + head_dim, 16);
}

size_t mox_attention_scratch_bytes(uint32_t n_ctx, uint32_t head_dim, uint32_t n_workers)
{
    (void)n_ctx; /* chunks make it independent of the context's length */
    return worker_floats(head_dim) * sizeof(float) * n_workers;
}

/* One chunk of one head. s: MOX_KEY_CHUNK weights, then the chunk's value vector. */
static void head_chunk(const attention_job *job, const float *q, const uint8_t *k, const uint8_t *v,
                       uint32_t n, float *s, running *run, float *o)
{
    const mox_vec *vec = job->vec;
    const mox_kv_view *kv = &job->a->kv;
    float *part = s + MOX_KEY_CHUNK;
    const float mc = vec->scores[kv->type](q, k, job->row_bytes, n, kv->head_dim, job->a->scale, s);
    const float lc = vec->softmax(s, n, mc);
    vec->values[kv->type](s, v, job->row_bytes, n, kv->head_dim, part);
    const float m = run->m > mc ? run->m : mc;
    const float a = mox_expf(run->m - m), b = mox_expf(mc - m);
    run->l = mox_fmaf(run->l, a, lc * b);
    vec->combine(o, a, part, b, kv->head_dim);
    run->m = m;
}

/* Heads h0 .. h0 + n_heads of one row; all read key/value head kv_head. */
static void row_heads(const attention_job *job, uint32_t row, uint32_t h0, uint32_t n_heads, float *s)
{
    const mox_attention_args *a = job->a;
    const mox_kv_view *kv = &a->kv;
    const uint32_t kv_head = h0 / (a->n_heads / kv->n_kv_heads);
    const size_t base = ((size_t)a->place[row].seq * kv->n_kv_heads + kv_head) * kv->n_ctx * job->row_bytes;
    const size_t first = ((size_t)row * a->n_heads + h0) * kv->head_dim;
    const uint32_t n_keys = a->place[row].pos + 1;
    running run[MAX_GROUP];
    for (uint32_t h = 0; h < n_heads; h++) {
        run[h] = (running){-INFINITY, 0.0f};
    }
    memset(a->out + first, 0, (size_t)n_heads * kv->head_dim * sizeof(float));
    for (uint32_t t = 0; t < n_keys; t += MOX_KEY_CHUNK) {
        const uint32_t n = n_keys - t < MOX_KEY_CHUNK ? n_keys - t : MOX_KEY_CHUNK;
        const size_t at = base + t * job->row_bytes;
        for (uint32_t h = 0; h < n_heads; h++) {
            const size_t vector = first + (size_t)h * kv->head_dim;
            head_chunk(job, a->q + vector, kv->k + at, kv->v + at, n, s, &run[h], a->out + vector);
        }
    }
    for (uint32_t h = 0; h < n_heads; h++) {
        float *o = a->out + first + (size_t)h * kv->head_dim;
        for (uint32_t i = 0; i < kv->head_dim; i++) {
            o[i] = o[i] / run[h].l;
        }
    }
}

static void attention_items(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const attention_job *job = arg;
    float *s = (float *)job->a->scratch + worker * job->scratch_floats;
    for (uint32_t item = begin; item < end; item++) {
        row_heads(job, item / job->items_per_row, item % job->items_per_row * job->heads_per_item,
                  job->heads_per_item, s);
    }
}

mox_err mox_attention_cpu(mox_pool *pool, const mox_vec *vec, const mox_attention_args *a)
{
    const uint32_t n_kv = a->kv.n_kv_heads;
    if (mox_attention_is_special(a)) {
        return mox_attention_special_cpu(pool, vec, a);
    }
    if (n_kv == 0 || a->n_heads % n_kv != 0) {
        return MOX_FAIL(MOX_E_ARG, "%u heads do not share %u key/value heads evenly", a->n_heads, n_kv);
    }
    attention_job job = {.vec = vec, .a = a, .heads_per_item = a->n_heads / n_kv};
    job.row_bytes = mox_kv_row_bytes(a->kv.type, a->kv.head_dim);
    job.scratch_floats = worker_floats(a->kv.head_dim);
    if (job.heads_per_item > MAX_GROUP || (uint64_t)a->n * n_kv < 2 * (uint64_t)mox_pool_workers(pool)) {
        job.heads_per_item = 1;
    }
    job.items_per_row = a->n_heads / job.heads_per_item;
    mox_pool_for(pool, a->n * job.items_per_row, 1, attention_items, &job);
    return MOX_OK;
}
