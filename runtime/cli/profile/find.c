/* What a report finds in a trace beside the replays. */
#include "runtime/cli/profile/find.h"

#include "runtime/plan/placement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

mox_profile_trust mox_profile_trust_of(const mox_profile *p)
{
    uint64_t uses[2] = {0}, resident[2] = {0}, seen = 0, all = p->routing.n_uses[p->study.phase];
    for (size_t i = 0; i < p->routing.n_records; i++) {
        uint32_t both = p->routing.records[i].phase_and_tier;
        if (both >> 4 == (uint32_t)p->study.phase) {
            int half = seen++ >= all / 2;
            uses[half]++;
            resident[half] += (both & 15) <= MOX_SERVED_RAM;
        }
    }
    mox_profile_trust t = {.interval = 1.96 * sqrt(p->actual * (1 - p->actual) / (double)(all ? all : 1)),
                           .record_share = -1};
    for (int h = 0; h < 2; h++) {
        t.half[h] = uses[h] ? (double)resident[h] / (double)uses[h] : 0;
    }
    char text[32];
    double total = p->spans.times.total_s[0] + p->spans.times.total_s[1];
    if (total > 0 && mox_trace_info(&p->routing.trace, "record_ns", text, sizeof text)) {
        double records = (double)p->routing.n_records;
        for (size_t i = 0; i < p->spans.n && p->spans.node[i].s->lane == MOX_LANE_STEP; i++) {
            records++;
        }
        t.record_share = records * strtod(text, NULL) * 1e-9 / total;
    }
    return t;
}

uint32_t mox_profile_changes(const mox_profile *p, mox_plan_change out[MOX_PLAN_CHANGES])
{
    return p->has_model ? mox_plan_changes(&p->plan, &p->view, out) : 0;
}

double mox_profile_measured(const mox_profile *p)
{
    const mox_span_times *t = &p->spans.times;
    return t->total_s[p->study.phase] > 0 ? (double)t->rows[p->study.phase] / t->total_s[p->study.phase] : 0;
}

double mox_profile_estimate(const mox_profile *p, double rate)
{
    const mox_span_times *t = &p->spans.times;
    int phase = p->study.phase;
    double wait = t->group_s[phase][MOX_GROUP_WAIT], missed = 1 - p->actual;
    if (t->total_s[phase] <= 0 || t->rows[phase] == 0) {
        return 0;
    }
    double then = missed > 0 ? wait * (1 - rate) / missed : wait;
    return (double)t->rows[phase] / (t->total_s[phase] - wait + then);
}

/* Bytes of reads for the layer that were under way during the wait. */
static uint64_t read_meanwhile(const mox_profile *p, const mox_span_node *wait)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < p->spans.n; i++) {
        const mox_span_node *n = &p->spans.node[i];
        if (n->s->kind == MOX_SPAN_READ && n->s->layer == wait->s->layer && n->begin_ns < wait->end_ns &&
            n->end_ns > wait->begin_ns) {
            sum += n->s->amount;
        }
    }
    return sum;
}

uint32_t mox_profile_stalls(const mox_profile *p, mox_profile_stall out[MOX_PROFILE_STALLS])
{
    const mox_span_node *longest[MOX_PROFILE_STALLS];
    uint32_t n = 0;
    for (size_t i = 0; i < p->spans.n; i++) {
        const mox_span_node *w = &p->spans.node[i];
        if (w->s->kind != MOX_SPAN_WAIT || w->self_ns == 0) {
            continue;
        }
        uint32_t at = n;
        for (; at > 0 && longest[at - 1]->self_ns < w->self_ns; at--) {
            if (at < MOX_PROFILE_STALLS) {
                longest[at] = longest[at - 1];
            }
        }
        if (at < MOX_PROFILE_STALLS) {
            longest[at] = w;
            n += n < MOX_PROFILE_STALLS;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        const mox_span_node *w = longest[i];
        out[i] = (mox_profile_stall){.at_s = (double)w->begin_ns * 1e-9,
                                     .wait_s = (double)w->self_ns * 1e-9,
                                     .step = w->s->step,
                                     .layer = w->s->layer,
                                     .phase = w->s->phase,
                                     .bytes = read_meanwhile(p, w)};
    }
    return n;
}

uint32_t mox_profile_contexts(const mox_profile *p, mox_profile_ctx out[MOX_PROFILE_CTX])
{
    static mox_plan_view v; /* plans are too big for a stack */
    uint32_t n = 0, now = p->view.plan.n_ctx;
    for (int k = -2; p->has_model && k <= 2; k++) {
        mox_plan_cmd c = p->plan;
        uint64_t ctx = k < 0 ? now >> -k : (uint64_t)now << k;
        if (ctx < 64 || ctx > 1 << 20) {
            continue;
        }
        c.cfg.n_ctx = (uint32_t)ctx;
        bool fits = mox_plan_compute(&c, &v) == MOX_OK;
        out[n++] = (mox_profile_ctx){.n_ctx = (uint32_t)ctx,
                                     .n_fast = v.tiers.gpu ? v.tiers.n_vram : v.tiers.n_ram,
                                     .tok_s = fits ? v.p.decode_tok_s : 0,
                                     .fits = fits};
    }
    return n;
}

bool mox_profile_elsewhere(const mox_profile *p)
{
    char here[sizeof p->machine];
    mox_host_cpu_name("", here, sizeof here);
    return p->has_model && (p->o->gpu_spec || (p->machine[0] && strcmp(p->machine, here) != 0));
}
