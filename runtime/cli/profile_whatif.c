/* moxie profile what-if: other policies and sizes over recorded routing, and what opens a profile for the report. */
#include "runtime/cli/profile_cmd.h"
#include "runtime/cli/ui.h"
#include "runtime/core/clock.h"
#include "runtime/gguf/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double resident_share(const mox_profile *p)
{
    const mox_routing *r = &p->routing;
    uint64_t resident =
        r->served[p->study.phase][MOX_SERVED_VRAM] + r->served[p->study.phase][MOX_SERVED_RAM];
    return (double)resident / (double)r->n_uses[p->study.phase];
}

/* As the run was planned; false: the trace does not say. */
static bool recorded_kept(mox_profile *p)
{
    char text[8192], *at = text;
    const char *key = p->routing.served[p->study.phase][MOX_SERVED_VRAM] ? "vram_kept" : "kept";
    if (!mox_trace_info(&p->routing.trace, key, text, sizeof text)) {
        return false;
    }
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        char *end = at;
        unsigned long n = strtoul(at, &end, 10);
        if (end == at || n > p->routing.h.n_experts) {
            return false;
        }
        p->kept[l] = (uint32_t)n;
        at = end;
    }
    return true;
}

/* Without a plan the size may not be in the trace: the one whose hits are nearest to the run's is as good as it. */
static void guess_kept(mox_profile *p)
{
    if (recorded_kept(p)) {
        return;
    }
    double nearest = 2;
    uint32_t best = 0;
    for (uint32_t q = 0; q <= p->routing.h.n_experts; q++) {
        uint32_t quota[MOX_PLAN_MAX_LAYERS];
        for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
            quota[l] = q;
        }
        double d = mox_study_rate(&p->study, MOX_STUDY_DLFU, quota) - p->actual;
        d = d < 0 ? -d : d;
        best = d < nearest ? q : best;
        nearest = d < nearest ? d : nearest;
    }
    if (p->actual <= 0) { /* an imported table, or a run that kept none */
        best = mox_profile_knee(p);
    }
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        p->kept[l] = best;
    }
    p->kept_guessed = true;
}

/* A trace that names its model names its file's header: another quantisation has other bytes. */
static mox_err same_model(const mox_profile *p)
{
    mox_gguf *g = NULL;
    uint64_t id = p->routing.h.model_id;
    MOX_TRY(mox_gguf_open_header(&g, p->o->model));
    uint64_t here = mox_gguf_id(g);
    mox_gguf_close(&g);
    return id == 0 || id == here
               ? MOX_OK
               : MOX_FAIL(MOX_E_FORMAT, "trace %s is of another model than %.200s: %016llx, not %016llx",
                          p->trace, p->o->model, (unsigned long long)id, (unsigned long long)here);
}

static mox_err open_model(mox_profile *p)
{
    mox_plan_cmd *c = &p->plan;
    const mox_trace_header *h = &p->routing.h;
    *c = (mox_plan_cmd){.o = p->o, .cfg = p->o->cfg};
    c->cfg.header_only = true;
    c->cfg.log = (mox_log){0};
    MOX_TRY(mox_plan_situation(c));
    MOX_TRY(same_model(p));
    MOX_TRY(mox_plan_compute(c, &p->view));
    const mox_plan *plan = &p->view.plan;
    if (h->n_layers != plan->n_moe_layers || h->n_experts != plan->n_experts || h->top_k != plan->top_k) {
        return MOX_FAIL(
            MOX_E_FORMAT, "trace %s is of another model: %u layers, %u experts, top %u; this has %u, %u, %u",
            p->trace, h->n_layers, h->n_experts, h->top_k, plan->n_moe_layers, plan->n_experts, plan->top_k);
    }
    if (!p->o->gpu_spec) {
        MOX_TRY(mox_plan_measure(c, plan->n_threads));
    }
    c->policy = p->study.curve[mox_profile_policy(p)]; /* lent */
    c->in_vram = p->in_vram;
    c->belady = p->study.curve[MOX_STUDY_BELADY];
    MOX_TRY(mox_plan_compute(c, &p->view));
    memcpy(p->kept, c->gpu ? p->view.tiers.vram : p->view.tiers.ram, sizeof p->kept);
    p->has_model = true;
    return MOX_OK;
}

mox_err mox_profile_open(const mox_opts *o, mox_profile *out)
{
    static char path[4096];
    mox_profile *p = out;
    memset(p, 0, sizeof *p);
    p->o = o;
    p->trace = mox_profile_trace(o->words[1], path);
    MOX_TRY(mox_routing_read(p->trace, &p->routing));
    mox_trace_info(&p->routing.trace, "machine", p->machine, sizeof p->machine);
    mox_err err = MOX_OK;
    if (p->routing.h.n_layers > MOX_PLAN_MAX_LAYERS) {
        err = MOX_FAIL(MOX_E_LIMIT, "trace: %u layers, %d are allowed", p->routing.h.n_layers,
                       MOX_PLAN_MAX_LAYERS);
    }
    uint64_t t0 = mox_now_ns();
    if (err == MOX_OK) {
        err = mox_study_make(&p->routing, &p->study);
    }
    if (err == MOX_OK && p->routing.trace.n_spans) {
        err = mox_spans_make(&p->routing.trace, &p->spans);
    }
    if (err == MOX_OK) {
        double s = (double)(mox_now_ns() - t0) * 1e-9;
        mox_ui_line("%llu uses through %d policies in %.2f s: %.1f million a second, all sizes at once",
                    (unsigned long long)p->study.replayed, MOX_STUDY_POLICIES, s,
                    s > 0 ? (double)p->study.replayed / s / 1e6 : 0);
        p->actual = resident_share(p);
        err = mox_profile_tier_make(p);
    }
    if (err == MOX_OK && o->model) {
        err = open_model(p);
    } else if (err == MOX_OK) {
        guess_kept(p);
    }
    if (err == MOX_OK) {
        err = mox_profile_tier_deal(p);
    }
    if (err != MOX_OK) {
        mox_err_info why = *mox_err_last();
        mox_profile_close(p);
        return mox_err_restore(&why);
    }
    return MOX_OK;
}

void mox_profile_close(mox_profile *p)
{
    mox_spans_free(&p->spans);
    mox_study_free(&p->study);
    mox_curve_free(&p->in_vram);
    mox_routing_free(&p->routing);
}

mox_profile_point mox_profile_at(const mox_profile *p, const uint32_t *quota)
{
    mox_profile_point at = {.tok_s = 0};
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        at.rate[k] = mox_study_rate(&p->study, k, quota);
    }
    if (p->has_model) {
        at.tok_s = p->plan.gpu ? mox_profile_tier_at(p, quota).tok_s
                               : mox_profile_speed(p, (mox_hits){0, at.rate[mox_profile_policy(p)]});
    }
    return at;
}

static double even(const mox_profile *p, uint32_t q, double *tok_s)
{
    uint32_t quota[MOX_PLAN_MAX_LAYERS];
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        quota[l] = q;
    }
    mox_profile_point at = mox_profile_at(p, quota);
    *tok_s = at.tok_s;
    return at.rate[MOX_STUDY_DLFU];
}

uint32_t mox_profile_knee(const mox_profile *p)
{
    uint32_t n = p->routing.h.n_experts, best = 0;
    double tok_s, above = 0, first = even(p, 0, &tok_s), last = even(p, n, &tok_s);
    for (uint32_t q = 0; q <= n; q++) {
        double d = even(p, q, &tok_s) - (first + (last - first) * q / n);
        best = d > above ? q : best;
        above = d > above ? d : above;
    }
    return best;
}

double mox_profile_mean_kept(const mox_profile *p)
{
    double sum = 0;
    for (uint32_t l = 0; l < p->routing.h.n_layers; l++) {
        sum += p->kept[l];
    }
    return sum / p->routing.h.n_layers;
}

static void line(const mox_profile *p, const char *label, const uint32_t *quota, int only)
{
    mox_profile_point at = mox_profile_at(p, quota);
    printf("  %-12s", label);
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        if (only < 0 || k == only || k == MOX_STUDY_BELADY) {
            printf("  %7.2f", 100 * at.rate[k]);
        }
    }
    if (p->has_model) {
        printf("  %9.1f", at.tok_s);
    }
    putchar('\n');
}

static int policy_of(const mox_opts *o)
{
    const char *name = o->cfg.policy;
    for (int k = 0; name && strcmp(name, "auto") != 0 && k < MOX_STUDY_POLICIES; k++) {
        if (strcmp(mox_study_name(k), name) == 0) {
            return k;
        }
    }
    return -1;
}

int mox_profile_policy(const mox_profile *p)
{
    int only = policy_of(p->o);
    return only < 0 ? MOX_STUDY_DLFU : only;
}

static void table(const mox_profile *p)
{
    int only = policy_of(p->o);
    uint32_t n = p->routing.h.n_experts, layers = p->routing.h.n_layers, quota[MOX_PLAN_MAX_LAYERS];
    char label[32];
    printf("trace: %u layers, %u experts, top %u; %llu tokens of the %s, %llu uses\n\n  %-12s", layers, n,
           p->routing.h.top_k, (unsigned long long)p->routing.n_tokens[p->study.phase],
           p->study.phase == MOX_PHASE_DECODE ? "answer" : "prompt",
           (unsigned long long)p->routing.n_uses[p->study.phase], "kept/layer");
    for (int k = 0; k < MOX_STUDY_POLICIES; k++) {
        if (only < 0 || k == only || k == MOX_STUDY_BELADY) {
            printf("  %7s", mox_study_name(k));
        }
    }
    puts(p->has_model ? "  tok/s pred." : "");
    uint32_t step = n > 16 ? n / 16 : 1;
    for (uint32_t q = 0; q <= n; q += step) {
        for (uint32_t l = 0; l < layers; l++) {
            quota[l] = q;
        }
        snprintf(label, sizeof label, "%u", q);
        line(p, label, quota, only);
    }
    snprintf(label, sizeof label, "%s %.2f", p->kept_guessed ? "guess" : "plan", mox_profile_mean_kept(p));
    line(p, label, p->kept, only);
    double global =
        mox_study_global_lru(&p->routing, p->study.phase, (uint32_t)(mox_profile_mean_kept(p) * layers));
    if (global >= 0) {
        printf("\none lru list for all layers instead of one for each: %.2f %%\n", 100 * global);
    }
    printf("the run itself found %.2f %% resident; the knee is at %u a layer\n", 100 * p->actual,
           mox_profile_knee(p));
    mox_profile_tier_text(p);
}

mox_err mox_profile_what_if(const mox_opts *o)
{
    static mox_profile p; /* plans are too big for a stack */
    MOX_TRY(mox_profile_open(o, &p));
    if (o->json) {
        mox_json j;
        mox_json_begin(&j, stdout);
        mox_profile_json(&p, &j);
        mox_json_end(&j);
    } else {
        table(&p);
    }
    mox_profile_close(&p);
    return MOX_OK;
}
