/* Attention with what only some models have: a window or blocks of keys, scores capped by tanh, sinks, compressed
 * attention. Plain calls stay in attention.c; with none of it wanted, the results here are the same bits.
 *
 * Chunks are those of attention.c, 256 keys at absolute positions. Where the first visible key lies inside a chunk, the
 * chunk's reductions run over its visible keys, from the first of them: what is masked is never read, and which keys
 * a row sees depends on its position alone. A sink is a score without a value that starts the chain: m = sink, l = 1.
 * Work is cut into (row, heads of one key/value head); with compressed attention all heads share one, so at most
 * HEADS_AT_ONCE go together. */
#include "kernels/vec.h"

#include "kernels/fmath.h"
#include "runtime/core/bits.h"

#include <math.h>
#include <string.h>

enum { HEADS_AT_ONCE = 16, MAX_DIM = 1024 };

typedef struct special_job {
    const mox_vec *vec;
    const mox_attention_args *a;
    size_t k_row, v_row; /* bytes */
    uint32_t v_dim, heads_per_item, items_per_row;
} special_job;

typedef struct running { /* of one head */
    float m, l;
} running;

bool mox_attention_is_special(const mox_attention_args *a)
{
    return a->window != 0 || a->chunk != 0 || a->softcap != 0.0f || a->sinks != NULL || a->q_latent != NULL ||
           mox_kv_v_dim(&a->kv) != a->kv.head_dim;
}

/* The first key that a row at a position sees. */
static uint32_t first_key(const mox_attention_args *a, uint32_t pos)
{
    if (a->window != 0 && pos >= a->window) {
        return pos - a->window + 1;
    }
    return a->chunk != 0 ? pos - pos % a->chunk : 0;
}

/* Scores of n keys to s; returns the largest. */
static float chunk_scores(const special_job *job, const float *q, const float *latent, const uint8_t *k,
                          const uint8_t *v, uint32_t n, float *s)
{
    const mox_attention_args *a = job->a;
    const mox_kv_view *kv = &a->kv;
    if (latent == NULL && a->softcap == 0.0f) {
        return job->vec->scores[kv->type](q, k, job->k_row, n, kv->head_dim, a->scale, s);
    }
    float most = -INFINITY, added[MOX_KEY_CHUNK] = {0};
    (void)job->vec->scores[kv->type](q, k, job->k_row, n, kv->head_dim, 1.0f, s);
    if (latent != NULL) {
        (void)job->vec->scores[kv->type](latent, v, job->v_row, n, job->v_dim, 1.0f, added);
    }
    for (uint32_t i = 0; i < n; i++) {
        s[i] = latent != NULL ? (s[i] + added[i]) * a->scale : s[i] * a->scale;
        s[i] = a->softcap != 0.0f ? a->softcap * mox_tanhf(s[i] / a->softcap) : s[i];
        most = s[i] > most ? s[i] : most;
    }
    return most;
}

static void head_chunk(const special_job *job, const float *q, const float *latent, const uint8_t *k,
                       const uint8_t *v, uint32_t n, running *run, float *o)
{
    const mox_vec *vec = job->vec;
    float s[MOX_KEY_CHUNK], part[MAX_DIM];
    const float mc = chunk_scores(job, q, latent, k, v, n, s);
    const float lc = vec->softmax(s, n, mc);
    vec->values[job->a->kv.type](s, v, job->v_row, n, job->v_dim, part);
    const float m = run->m > mc ? run->m : mc;
    const float a = mox_expf(run->m - m), b = mox_expf(mc - m);
    run->l = mox_fmaf(run->l, a, lc * b);
    vec->combine(o, a, part, b, job->v_dim);
    run->m = m;
}

/* Heads h0 .. h0 + heads_per_item of one row; all read key/value head kv_head. */
static void row_heads(const special_job *job, uint32_t row, uint32_t h0)
{
    const mox_attention_args *a = job->a;
    const mox_kv_view *kv = &a->kv;
    const uint32_t kv_head = h0 / (a->n_heads / kv->n_kv_heads), pos = a->place[row].pos;
    const size_t base = ((size_t)a->place[row].seq * kv->n_kv_heads + kv_head) * kv->n_ctx;
    const size_t first_head = (size_t)row * a->n_heads + h0;
    running run[HEADS_AT_ONCE];
    for (uint32_t h = 0; h < job->heads_per_item; h++) {
        run[h] = (running){-INFINITY, 0.0f};
        if (a->sinks != NULL) {
            run[h] = (running){a->sinks[h0 + h], 1.0f};
        }
    }
    float *out = a->out + first_head * job->v_dim;
    memset(out, 0, (size_t)job->heads_per_item * job->v_dim * sizeof *out);
    for (uint32_t t = first_key(a, pos), end; t <= pos; t = end) {
        end = (t / MOX_KEY_CHUNK + 1) * MOX_KEY_CHUNK;
        const uint32_t n = (end <= pos ? end : pos + 1) - t;
        const size_t at = base + t % kv->n_ctx; /* a chunk is not torn: see mox_kv_view */
        const uint8_t *k = kv->k + at * job->k_row, *v = kv->v + at * job->v_row;
        for (uint32_t h = 0; h < job->heads_per_item; h++) {
            const float *latent = a->q_latent != NULL ? a->q_latent + (first_head + h) * job->v_dim : NULL;
            head_chunk(job, a->q + (first_head + h) * kv->head_dim, latent, k, v, n, &run[h],
                       out + (size_t)h * job->v_dim);
        }
    }
    for (uint32_t h = 0; h < job->heads_per_item; h++) {
        for (uint32_t i = 0; i < job->v_dim; i++) {
            out[(size_t)h * job->v_dim + i] = out[(size_t)h * job->v_dim + i] / run[h].l;
        }
    }
}

static void special_items(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const special_job *job = arg;
    (void)worker;
    for (uint32_t item = begin; item < end; item++) {
        row_heads(job, item / job->items_per_row, item % job->items_per_row * job->heads_per_item);
    }
}

mox_err mox_attention_special_cpu(mox_pool *pool, const mox_vec *vec, const mox_attention_args *a)
{
    const uint32_t n_kv = a->kv.n_kv_heads, v_dim = mox_kv_v_dim(&a->kv);
    if (n_kv == 0 || a->n_heads % n_kv != 0 || v_dim > MAX_DIM) {
        return MOX_FAIL(MOX_E_ARG, "%u heads of %u do not share %u key/value heads evenly", a->n_heads, v_dim,
                        n_kv);
    }
    special_job job = {.vec = vec, .a = a, .v_dim = v_dim, .heads_per_item = a->n_heads / n_kv};
    job.k_row = mox_kv_row_bytes(a->kv.type, a->kv.head_dim);
    job.v_row = mox_kv_row_bytes(a->kv.type, v_dim);
    while (job.heads_per_item > HEADS_AT_ONCE && job.heads_per_item % 2 == 0) {
        job.heads_per_item /= 2;
    }
    const uint64_t items = (uint64_t)a->n * (a->n_heads / job.heads_per_item);
    if (job.heads_per_item > HEADS_AT_ONCE || items < 2 * (uint64_t)mox_pool_workers(pool)) {
        job.heads_per_item = 1;
    }
    job.items_per_row = a->n_heads / job.heads_per_item;
    mox_pool_for(pool, a->n * job.items_per_row, 1, special_items, &job);
    return MOX_OK;
}
