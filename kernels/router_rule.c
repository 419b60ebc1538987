/* Routers other than Mixtral's: what a score is (softmax, sigmoid), a bias for the choice alone, groups of experts,
 * whether weights are made to sum to 1, a factor. router.c makes the scores and calls this row by row.
 *
 * An expert is chosen by its selection value, the higher first, equal ones by lower id; an expert whose group is not
 * among the best comes after all others. Weights never contain the bias of the choice. */
#include "kernels/vec.h"

#include "kernels/fmath.h"
#include "kernels/half.h"

#include <float.h>
#include <math.h>

enum { MAX_EXPERTS = 1024 };

#define MIXER_RANGE 0.02f    /* of the sparse mixer: twice its jitter, 0.01 */
#define LEAST_SUM   1.0e-20f /* weights are divided by their sum, but by no less */

/* b after a in the order of choice: taken ones (-infinity) are never better. */
static uint32_t best_of(const float *value, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t e = 1; e < n; e++) {
        best = value[e] > value[best] ? e : best;
    }
    return best;
}

/* The score of experts [0, n) of one group: the best, or the sum of the two best. */
static float group_score(const float *value, uint32_t n, bool by_best)
{
    float first = -INFINITY, second = -INFINITY;
    for (uint32_t e = 0; e < n; e++) {
        if (value[e] > first) {
            second = first;
            first = value[e];
        } else if (value[e] > second) {
            second = value[e];
        }
    }
    return by_best || n == 1 ? first : first + second;
}

/* Experts of other groups than the best: below every value that can be chosen, above those taken. */
static void limit_groups(const mox_router_rule *rule, float *value, uint32_t n_experts)
{
    const uint32_t each = n_experts / rule->n_groups;
    float score[MAX_EXPERTS];
    bool kept[MAX_EXPERTS] = {false};
    for (uint32_t g = 0; g < rule->n_groups; g++) {
        score[g] = group_score(value + (size_t)g * each, each, rule->gating == MOX_GATING_SOFTMAX);
    }
    for (uint32_t i = 0; i < rule->n_groups_used; i++) {
        const uint32_t g = best_of(score, rule->n_groups);
        kept[g] = true;
        score[g] = -INFINITY;
    }
    for (uint32_t e = 0; e < n_experts; e++) {
        value[e] = kept[e / each] ? value[e] : -FLT_MAX;
    }
}

/* One expert's weight in the sparse mixer: softmax over the scores near the largest of those left, m. s: all scores;
 * left: those left, taken ones -infinity. */
static float mixer_weight(const mox_vec *vec, const float *s, const float *left, uint32_t n, uint32_t best)
{
    const float m = left[best];
    float near[MAX_EXPERTS];
    for (uint32_t e = 0; e < n; e++) {
        const float mag = s[e] < 0.0f ? -s[e] : s[e];
        const float far = (m - s[e]) / (mag < m ? m : mag);
        near[e] = far > MIXER_RANGE ? -INFINITY : left[e];
    }
    const float sum = vec->softmax(near, n, m);
    return near[best] / sum;
}

/* Scores to what weights are made of. */
static void probabilities(const mox_vec *vec, mox_gating gating, float *s, uint32_t n)
{
    if (gating == MOX_GATING_SOFTMAX) {
        const float sum = vec->softmax(s, n, s[best_of(s, n)]);
        for (uint32_t e = 0; e < n; e++) {
            s[e] = s[e] / sum;
        }
    } else if (gating == MOX_GATING_SIGMOID) {
        for (uint32_t e = 0; e < n; e++) {
            s[e] = mox_sigmoidf(s[e]);
        }
    }
}

static void finish_weights(const mox_vec *vec, const mox_router_rule *rule, float *weights, uint32_t k)
{
    if (rule->gating == MOX_GATING_SIGMOID_TOP) {
        for (uint32_t r = 0; r < k; r++) {
            weights[r] = mox_sigmoidf(weights[r]);
        }
    } else if (rule->gating == MOX_GATING_SOFTMAX_TOP) {
        const float sum = vec->softmax(weights, k, weights[0]);
        for (uint32_t r = 0; r < k; r++) {
            weights[r] = weights[r] / sum;
        }
    } else if (!rule->not_normalised && rule->gating != MOX_GATING_SPARSE_MIXER) {
        float sum = 0.0f;
        for (uint32_t r = 0; r < k; r++) {
            sum = sum + weights[r];
        }
        sum = sum < LEAST_SUM ? LEAST_SUM : sum;
        for (uint32_t r = 0; r < k; r++) {
            weights[r] = weights[r] / sum;
        }
    }
    for (uint32_t r = 0; rule->scale != 0.0f && r < k; r++) {
        weights[r] = weights[r] * rule->scale;
    }
}

bool mox_router_choose(const mox_vec *vec, const mox_router_args *a, float *s, uint32_t *ids, float *weights)
{
    const mox_router_rule *rule = a->rule;
    float value[MAX_EXPERTS];
    for (uint32_t e = 0; e < a->n_experts; e++) {
        s[e] = a->bias != NULL ? s[e] + a->bias[e] : s[e];
        if ((mox_f32_bits(s[e]) & 0x7fffffffu) >= 0x7f800000u) {
            return false;
        }
    }
    probabilities(vec, rule->gating, s, a->n_experts);
    for (uint32_t e = 0; e < a->n_experts; e++) {
        value[e] = a->select_bias != NULL ? s[e] + a->select_bias[e] : s[e];
    }
    if (rule->n_groups > 1) {
        limit_groups(rule, value, a->n_experts);
    }
    for (uint32_t r = 0; r < a->k; r++) {
        const uint32_t best = best_of(value, a->n_experts);
        ids[r] = best;
        weights[r] = rule->gating == MOX_GATING_SPARSE_MIXER ? mixer_weight(vec, s, value, a->n_experts, best)
                                                             : s[best];
        value[best] = -INFINITY;
    }
    finish_weights(vec, rule, weights, a->k);
    return true;
}
