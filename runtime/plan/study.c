/* Curves come from one pass each (offload/policy/curve.h). Half curves of "static" are added up. */
#include "runtime/plan/study.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { GLOBAL_MAX = 2048 }; /* experts in one list: walking it costs its length */

const char *mox_study_name(int policy)
{
    static const char *const names[] = {"lru", "lfu", "dlfu", "static", "belady"};
    return names[policy];
}

static void half_of(mox_replay_cfg *cfg, int half)
{
    size_t middle = cfg->n_steps / 2;
    cfg->steps += half ? middle : 0;
    cfg->n_steps = half ? cfg->n_steps - middle : middle;
}

static void heat_of(const mox_replay_cfg *cfg, float *heat)
{
    memset(heat, 0, (size_t)cfg->n_layers * cfg->n_experts * sizeof *heat);
    for (size_t i = 0; i < cfg->n_steps; i++) {
        const mox_replay_step *s = &cfg->steps[i];
        for (uint32_t k = 0; k < s->n; k++) {
            heat[(size_t)s->layer * cfg->n_experts + cfg->experts[s->first + k]] +=
                (float)cfg->uses[s->first + k];
        }
    }
}

static mox_err held_out(const mox_replay_cfg *whole, mox_curve *out)
{
    size_t cells = (size_t)whole->n_layers * whole->n_experts, rows = cells + whole->n_layers;
    float *heat = malloc(cells * sizeof *heat);
    mox_err err = heat ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the heat of %zu experts", cells);
    for (int half = 0; half < 2 && err == MOX_OK; half++) {
        mox_curve c;
        mox_replay_cfg other = *whole, cfg = *whole;
        half_of(&other, !half);
        half_of(&cfg, half);
        heat_of(&other, heat);
        cfg.prior = heat;
        err = mox_curve_make(&cfg, &c);
        if (err != MOX_OK) {
            break;
        }
        if (half == 0) {
            *out = c;
            continue;
        }
        for (size_t i = 0; i < rows; i++) {
            out->hits[i] += c.hits[i];
            out->loads[i] += c.loads[i];
        }
        for (uint32_t l = 0; l < c.n_layers; l++) {
            out->uses[l] += c.uses[l];
        }
        mox_curve_free(&c);
    }
    free(heat);
    return err;
}

static int most_first(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* sorted: a copy of the layer's counts, falling; weight: sums of router weights. */
static void figures(const uint64_t *sorted, const uint64_t *count, const double *weight, uint32_t n,
                    mox_layer_figures *f)
{
    static const double shares[3] = {0.10, 0.25, 0.50};
    double square = 0, weights = 0;
    for (uint32_t e = 0; e < n; e++) {
        f->uses += count[e];
        f->dead += count[e] == 0;
        weights += weight[e];
    }
    double uses = f->uses ? (double)f->uses : 1, mean = uses / n;
    for (uint32_t e = 0; e < n; e++) {
        double p = (double)count[e] / uses, d = (double)count[e] - mean;
        f->entropy_bits -= p > 0 ? p * log2(p) : 0;
        f->balance += weights > 0 ? n * p * weight[e] / weights : 0;
        square += d * d;
    }
    f->variation = sqrt(square / n) / mean;
    for (int k = 0; k < 3; k++) {
        uint32_t busiest = (uint32_t)ceil(shares[k] * n - 1e-9);
        for (uint32_t e = 0; e < busiest; e++) {
            f->cover[k] += (double)sorted[e] / uses;
        }
    }
}

static mox_err count_experts(mox_study *s)
{
    const mox_routing *r = s->r;
    uint32_t n = r->h.n_experts;
    size_t cells = (size_t)r->h.n_layers * n;
    double *weight = calloc(cells, sizeof *weight);
    uint64_t *sorted = calloc(n, sizeof *sorted);
    s->count = calloc(cells, sizeof *s->count);
    s->away = calloc(cells, sizeof *s->away);
    s->layers = calloc(r->h.n_layers, sizeof *s->layers);
    mox_err err = MOX_OK;
    if (!weight || !sorted || !s->count || !s->away || !s->layers) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for figures of %zu experts", cells);
        goto out;
    }
    for (size_t i = 0; i < r->n_records; i++) {
        const mox_trace_record *t = &r->records[i];
        size_t cell = (size_t)t->layer * n + t->expert;
        s->count[cell]++;
        s->away[cell] += (t->phase_and_tier & 15) >= MOX_SERVED_LATE;
        weight[cell] += (double)t->weight;
    }
    for (uint32_t l = 0; l < r->h.n_layers; l++) {
        memcpy(sorted, s->count + (size_t)l * n, n * sizeof *sorted);
        qsort(sorted, n, sizeof *sorted, most_first);
        figures(sorted, s->count + (size_t)l * n, weight + (size_t)l * n, n, &s->layers[l]);
    }
out:
    free(weight);
    free(sorted);
    return err;
}

static mox_err study_phase(mox_study *s, mox_phase phase)
{
    const mox_routing *r = s->r;
    mox_err err = MOX_OK;
    for (int p = 0; p < MOX_STUDY_POLICIES && err == MOX_OK; p++) {
        mox_curve *out = &s->curve[phase][p];
        mox_replay_cfg cfg =
            mox_routing_replay(r, phase, mox_policy_by_name(mox_study_name(p)), MOX_ADMIT_ALWAYS);
        err = p == MOX_STUDY_STATIC ? held_out(&cfg, out) : mox_curve_make(&cfg, out);
        s->replayed += r->n_uses[phase];
    }
    s->pairs[phase] = r->n_entries[phase];
    return err;
}

mox_err mox_study_make(const mox_routing *r, mox_study *out)
{
    mox_study s = {.r = r, .phase = mox_routing_phase(r)};
    mox_err err = count_experts(&s);
    for (int phase = 0; phase < MOX_PHASES && err == MOX_OK; phase++) {
        err = study_phase(&s, (mox_phase)phase);
    }
    if (err != MOX_OK) {
        mox_study_free(&s);
        return err;
    }
    *out = s;
    return MOX_OK;
}

void mox_study_free(mox_study *s)
{
    for (int phase = 0; phase < MOX_PHASES; phase++) {
        for (int p = 0; p < MOX_STUDY_POLICIES; p++) {
            mox_curve_free(&s->curve[phase][p]);
        }
    }
    free(s->count);
    free(s->away);
    free(s->layers);
    memset(s, 0, sizeof *s);
}

uint64_t mox_study_served(const mox_study *s, mox_phase phase, int policy, const uint32_t *quota)
{
    return s->pairs[phase] - mox_curve_at(&s->curve[phase][policy], quota).loads;
}

double mox_study_rate(const mox_study *s, mox_phase phase, int policy, const uint32_t *quota)
{
    uint64_t pairs = s->pairs[phase];
    return pairs ? (double)mox_study_served(s, phase, policy, quota) / (double)pairs : 0;
}

int64_t mox_study_one_list(const mox_study *s, uint32_t kept)
{
    const mox_routing *r = s->r;
    mox_replay_cfg cfg = mox_routing_replay(r, s->phase, mox_policy_by_name("lru"), MOX_ADMIT_ALWAYS);
    size_t cells = (size_t)cfg.n_layers * cfg.n_experts, n = cfg.n_steps;
    mox_replay_step *steps = malloc((n + 1) * sizeof *steps);
    uint32_t *experts = malloc((r->n_records + 1) * sizeof *experts);
    mox_replay_result out;
    int64_t served = -1;
    if (cells <= GLOBAL_MAX && steps && experts) {
        for (size_t i = 0; i < n; i++) {
            steps[i] = cfg.steps[i];
            steps[i].layer = 0;
            for (uint32_t k = 0; k < steps[i].n; k++) {
                experts[steps[i].first + k] =
                    cfg.steps[i].layer * cfg.n_experts + cfg.experts[steps[i].first + k];
            }
        }
        cfg.quota = &kept;
        cfg.n_layers = 1;
        cfg.n_experts = (uint32_t)cells;
        cfg.steps = steps;
        cfg.experts = experts;
        if (mox_replay(&cfg, &out, NULL) == MOX_OK) {
            served = (int64_t)(s->pairs[s->phase] - out.loads);
        }
    }
    free(steps);
    free(experts);
    return served;
}
