/* A layer step is a run of records with one step, phase and layer; within
 * it an expert is looked up through `at`, where its entry was written for the step in question. */
#include "runtime/plan/routing.h"

#include <stdlib.h>
#include <string.h>

typedef struct grouping {
    mox_routing *r;
    uint32_t *at; /* [n_experts]: entry of the expert in the current step */
    uint32_t n_entries;
} grouping;

static void add(grouping *g, size_t i)
{
    mox_routing *r = g->r;
    const mox_trace_record *t = &r->records[i];
    uint32_t phase = t->phase_and_tier >> 4, tier = t->phase_and_tier & 15;
    mox_replay_step *list = r->steps[phase];
    if (i == 0 || t->step != t[-1].step || t->layer != t[-1].layer || phase != t[-1].phase_and_tier >> 4) {
        list[r->n_steps[phase]++] = (mox_replay_step){.layer = t->layer, .first = g->n_entries};
    }
    mox_replay_step *s = &list[r->n_steps[phase] - 1];
    uint32_t at = g->at[t->expert];
    if (at < s->first || at >= g->n_entries || r->experts[at] != t->expert) {
        at = g->at[t->expert] = g->n_entries++;
        r->experts[at] = t->expert;
        s->n++;
        r->n_entries[phase]++;
    }
    r->uses[at]++;
    r->n_uses[phase]++;
    r->served[phase][tier]++;
    r->n_tokens[phase] += t->layer == 0 && t->rank == 0;
}

static mox_err group(mox_routing *r)
{
    size_t n = r->n_records;
    grouping g = {.r = r, .at = calloc((size_t)r->h.n_experts + 1, sizeof *g.at)};
    r->experts = calloc(n + 1, sizeof *r->experts);
    r->uses = calloc(n + 1, sizeof *r->uses);
    r->steps[0] = calloc(n + 1, sizeof *r->steps[0]);
    r->steps[1] = calloc(n + 1, sizeof *r->steps[1]);
    mox_err err = MOX_OK;
    if (!g.at || !r->experts || !r->uses || !r->steps[0] || !r->steps[1]) {
        err = MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a trace of %zu records", n);
    }
    for (size_t i = 0; i < n && err == MOX_OK; i++) {
        add(&g, i);
    }
    free(g.at);
    return err;
}

mox_err mox_routing_read(const char *path, mox_routing *out)
{
    mox_routing r = {0};
    MOX_TRY(mox_trace_read(path, &r.trace));
    r.h = r.trace.header;
    r.records = r.trace.uses;
    r.n_records = r.trace.n_uses;
    mox_err err = MOX_OK;
    if (r.n_records == 0 || r.n_records > UINT32_MAX) {
        err = MOX_FAIL(MOX_E_FORMAT, "trace: %s has %zu uses of experts", path, r.n_records);
    } else {
        err = group(&r);
    }
    if (err != MOX_OK) {
        mox_routing_free(&r);
        return err;
    }
    *out = r;
    return MOX_OK;
}

void mox_routing_free(mox_routing *r)
{
    mox_trace_free(&r->trace);
    free(r->steps[0]);
    free(r->steps[1]);
    free(r->experts);
    free(r->uses);
    memset(r, 0, sizeof *r);
}

mox_phase mox_routing_phase(const mox_routing *r)
{
    return r->n_steps[MOX_PHASE_DECODE] ? MOX_PHASE_DECODE : MOX_PHASE_PREFILL;
}

mox_replay_cfg mox_routing_replay(const mox_routing *r, mox_phase phase, const mox_policy_ops *policy,
                                  float margin)
{
    return (mox_replay_cfg){.n_layers = r->h.n_layers,
                            .n_experts = r->h.n_experts,
                            .policy = policy,
                            .margin = margin,
                            .steps = r->steps[phase],
                            .n_steps = r->n_steps[phase],
                            .experts = r->experts,
                            .uses = r->uses};
}
