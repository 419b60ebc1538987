/* moxie profile what-if: other policies and sizes over recorded routing. */
#include "runtime/cli/profile/cmd.h"
#include "runtime/cli/profile/write.h"

#include <stdio.h>
#include <string.h>

static void line(const mox_profile *p, const char *label, mox_profile_point at, int only)
{
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

/* Which policy is asked for; -1: all. */
static int asked(const mox_profile *p)
{
    const char *name = p->o->cfg.policy;
    int k = mox_profile_policy(p);
    return name && strcmp(mox_study_name(k), name) == 0 ? k : -1;
}

static void table(const mox_profile *p)
{
    int only = asked(p);
    uint32_t n = p->routing.h.n_experts, layers = p->routing.h.n_layers;
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
    for (uint32_t q = 0; q <= n; q = mox_profile_after(p, q)) {
        snprintf(label, sizeof label, "%u", q);
        line(p, label, mox_profile_even(p, q), only);
    }
    snprintf(label, sizeof label, "%s %.2f", p->kept_guessed ? "guess" : "plan",
             mox_profile_mean(p, p->kept));
    line(p, label, mox_profile_at(p, p->kept), only);
    putchar('\n');
    mox_profile_one_list_text(p);
    printf("the run itself found %.2f %% resident; the knee is at %u a layer\n", 100 * p->actual,
           mox_profile_knee(p));
    if (p->has_vram) {
        putchar('\n');
    }
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
