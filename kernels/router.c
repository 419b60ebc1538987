/* Router: scores by the reduction of vec.h, softmax over all experts, the k best by (probability, lower id),
 * their probabilities divided by their sum, which is taken in rank order.
 *
 * That is Mixtral's rule; a call with another one has its scores turned into a choice by router_rule.c.
 *
 * Comparing floats makes -0 equal to +0; a score that is not finite is an error, never an order. Decode has
 * one row: then the experts are dealt to the workers, otherwise the rows. */
#include "kernels/vec.h"

#include "kernels/half.h"

#include <stdatomic.h>

enum { MAX_EXPERTS = 1024, WORTH_SHARING = 1 << 16 /* multiplications that pay for waking the workers */ };

typedef struct router_job {
    const mox_vec *vec;
    const mox_router_args *a;
    float *scores;            /* of the one row, when experts are dealt */
    _Atomic uint32_t bad_row; /* the first row with a score that is not finite; n: none */
} router_job;

static void score_experts(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    const router_job *job = arg;
    const mox_router_args *a = job->a;
    (void)worker;
    for (uint32_t e = begin; e < end; e++) {
        job->scores[e] = job->vec->dot(a->w + (size_t)e * a->d, a->x, a->d);
    }
}

/* Scores of a row to its ids and weights; false if a score is not finite. Destroys s. */
static bool choose(const router_job *job, float *s, uint32_t row)
{
    const mox_router_args *a = job->a;
    uint32_t *ids = a->ids + (size_t)row * a->k;
    float *weights = a->weights + (size_t)row * a->k;
    if (a->rule != NULL) {
        return mox_router_choose(job->vec, a, s, ids, weights);
    }
    float m = s[0];
    for (uint32_t e = 0; e < a->n_experts; e++) {
        if ((mox_f32_bits(s[e]) & 0x7fffffffu) >= 0x7f800000u) {
            return false;
        }
        m = s[e] > m ? s[e] : m;
    }
    const float sum = job->vec->softmax(s, a->n_experts, m);
    for (uint32_t e = 0; e < a->n_experts; e++) {
        s[e] = s[e] / sum;
    }
    float chosen = 0.0f;
    for (uint32_t r = 0; r < a->k; r++) {
        uint32_t best = 0;
        for (uint32_t e = 1; e < a->n_experts; e++) {
            best = s[e] > s[best] ? e : best;
        }
        ids[r] = best;
        weights[r] = s[best];
        chosen = chosen + s[best];
        s[best] = -1.0f; /* below every probability */
    }
    for (uint32_t r = 0; r < a->k; r++) {
        weights[r] = weights[r] / chosen;
    }
    return true;
}

static void route_rows(void *arg, uint32_t begin, uint32_t end, uint32_t worker)
{
    router_job *job = arg;
    const mox_router_args *a = job->a;
    (void)worker;
    for (uint32_t row = begin; row < end; row++) {
        float s[MAX_EXPERTS];
        for (uint32_t e = 0; e < a->n_experts; e++) {
            s[e] = job->vec->dot(a->w + (size_t)e * a->d, a->x + (size_t)row * a->d, a->d);
        }
        if (!choose(job, s, row)) {
            uint32_t seen = atomic_load(&job->bad_row);
            while (row < seen && !atomic_compare_exchange_weak(&job->bad_row, &seen, row)) {
            }
        }
    }
}

mox_err mox_router_cpu(mox_pool *pool, const mox_vec *vec, const mox_router_args *a)
{
    if (a->n_experts == 0 || a->n_experts > MAX_EXPERTS || a->k == 0 || a->k > a->n_experts) {
        return MOX_FAIL(MOX_E_ARG, "%u of %u experts: at most %d can be ranked", a->k, a->n_experts,
                        MAX_EXPERTS);
    }
    float s[MAX_EXPERTS];
    router_job job = {.vec = vec, .a = a, .scores = s, .bad_row = a->n};
    if (a->n == 1 && (uint64_t)a->n_experts * a->d >= WORTH_SHARING) {
        mox_pool_for(pool, a->n_experts, 8, score_experts, &job);
        if (!choose(&job, s, 0)) {
            atomic_store(&job.bad_row, 0);
        }
    } else if (a->n == 1) {
        route_rows(&job, 0, 1, 0);
    } else {
        mox_pool_for(pool, a->n, 2, route_rows, &job);
    }
    const uint32_t bad = atomic_load(&job.bad_row);
    return bad == a->n ? MOX_OK
                       : MOX_FAIL(MOX_E_NUMERIC, "row %u has a router score that is not finite", bad);
}
