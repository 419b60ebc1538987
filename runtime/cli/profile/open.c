/* A trace is opened and studied; where --model names its model, that is planned for the machine in question. */
#include "runtime/cli/profile/profile.h"
#include "runtime/cli/ui.h"
#include "runtime/core/clock.h"
#include "runtime/gguf/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *mox_profile_trace(const char *word, char path[4096])
{
    struct stat st;
    if (stat(word, &st) == 0 && S_ISDIR(st.st_mode)) {
        int n = snprintf(path, 4096, "%s/" MOX_PROFILE_TRACE, word);
        return n < 4096 ? path : word;
    }
    return word;
}

mox_err mox_profile_read(const char *trace, mox_routing *out)
{
    MOX_TRY(mox_routing_read(trace, out));
    uint32_t n = out->h.n_layers;
    if (n > MOX_PLAN_MAX_LAYERS) {
        mox_routing_free(out);
        return MOX_FAIL(MOX_E_LIMIT, "trace: %.300s has %u layers, %d are allowed", trace, n,
                        MOX_PLAN_MAX_LAYERS);
    }
    return MOX_OK;
}

static double resident_share(const mox_profile *p)
{
    const uint64_t *s = p->routing.served[p->study.phase];
    return (double)(s[MOX_SERVED_VRAM] + s[MOX_SERVED_RAM]) / (double)p->routing.n_uses[p->study.phase];
}

/* As the run was planned; false: the trace does not say. */
static bool recorded_kept(mox_profile *p)
{
    char text[8192], *at = text;
    p->kept_in_vram = p->routing.served[p->study.phase][MOX_SERVED_VRAM] > 0;
    if (!mox_trace_info(&p->routing.trace, p->kept_in_vram ? "vram_kept" : "kept", text, sizeof text)) {
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
    double nearest = 2;
    uint32_t best = 0;
    if (recorded_kept(p)) {
        return;
    }
    for (uint32_t q = 0; q <= p->routing.h.n_experts; q++) {
        double d = fabs(mox_profile_even(p, q).rate[MOX_STUDY_DLFU] - p->actual);
        best = d < nearest ? q : best;
        nearest = d < nearest ? d : nearest;
    }
    if (p->actual <= 0) { /* an imported table, or a run that kept none */
        best = mox_profile_knee(p);
    }
    mox_profile_quota(p, best, p->kept);
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
    c->policy = p->study.curve[p->study.phase][mox_profile_policy(p)]; /* lent */
    c->in_vram = p->in_vram;
    c->belady = p->study.curve[p->study.phase][MOX_STUDY_BELADY];
    MOX_TRY(mox_plan_compute(c, &p->view));
    p->kept_in_vram = c->gpu;
    memcpy(p->kept, c->gpu ? p->view.tiers.vram : p->view.tiers.ram, sizeof p->kept);
    p->has_model = true;
    return MOX_OK;
}

/* What the trace says by itself. */
static mox_err study(mox_profile *p)
{
    uint64_t t0 = mox_now_ns();
    MOX_TRY(mox_study_make(&p->routing, &p->study));
    double s = (double)(mox_now_ns() - t0) * 1e-9;
    mox_ui_line("%llu uses through %d policies in %.2f s: %.1f million a second, all sizes at once",
                (unsigned long long)p->study.replayed, MOX_STUDY_POLICIES, s,
                s > 0 ? (double)p->study.replayed / s / 1e6 : 0);
    p->actual = resident_share(p);
    return p->routing.trace.n_spans ? mox_spans_make(&p->routing.trace, &p->spans) : MOX_OK;
}

static mox_err open_all(mox_profile *p)
{
    MOX_TRY(mox_profile_read(p->trace, &p->routing));
    mox_trace_info(&p->routing.trace, "machine", p->machine, sizeof p->machine);
    MOX_TRY(study(p));
    MOX_TRY(mox_profile_tier_make(p));
    if (p->o->model) {
        MOX_TRY(open_model(p));
    } else {
        guess_kept(p);
    }
    return mox_profile_tier_deal(p);
}

mox_err mox_profile_open(const mox_opts *o, mox_profile *out)
{
    static char path[4096];
    memset(out, 0, sizeof *out);
    out->o = o;
    out->trace = mox_profile_trace(o->words[1], path);
    mox_err err = open_all(out);
    if (err != MOX_OK) {
        mox_err_info why = *mox_err_last();
        mox_profile_close(out);
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
