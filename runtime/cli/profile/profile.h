/* A recorded trace as `moxie profile` looks at it: opened, studied, and, where --model names the model, planned.
 *
 * The files of the command call downward only: cmd_profile.c has its words; report.c, whatif.c,
 * diff.c and import.c are commands; text.c and json.c put into words (write.h)
 * what find.c works out (find.h) from what is here: open.c opens, size.c says what
 * sizes would bring, tier.c what a tier in VRAM would.
 */
#ifndef MOX_CLI_PROFILE_H
#define MOX_CLI_PROFILE_H

#include "profiler/spans.h"
#include "runtime/cli/plan/plan.h"
#include "runtime/plan/study.h"

typedef struct mox_profile {
    const mox_opts *o;
    const char *trace;
    mox_routing routing;
    mox_study study;
    bool has_model;
    mox_plan_cmd plan;
    mox_plan_view view;
    uint32_t kept
        [MOX_PLAN_MAX_LAYERS]; /* per layer, of the tier that matters; of the plan, or guessed from the hits */
    bool kept_guessed, kept_in_vram;
    mox_curve in_vram; /* the policy with what VRAM asks of newcomers */
    bool has_vram;     /* such a tier is in question: of --gpu-spec, --vram or --vram-experts */
    uint32_t vram[MOX_PLAN_MAX_LAYERS], ram[MOX_PLAN_MAX_LAYERS]; /* experts of each layer there */
    double actual;     /* share of the phase's uses that the run found resident */
    mox_spans spans;   /* n 0: the trace has no times */
    char machine[160]; /* of the recording; "": an imported table */
} mox_profile;

#define MOX_PROFILE_TRACE "run.trace" /* in the folder of a report */

/* mox_profile_trace: a trace's path; a folder is that of `profile run`. */
const char *mox_profile_trace(const char *word, char path[4096]);
/* mox_profile_read: Errors MOX_E_OPEN, MOX_E_FORMAT, MOX_E_LIMIT (more layers than a plan has). */
MOX_NODISCARD mox_err mox_profile_read(const char *trace, mox_routing *out);
/* mox_profile_open: the trace that is the command's second word. Errors MOX_E_OPEN, MOX_E_FORMAT (no trace, or of another
 * model), MOX_E_NO_FIT. */
MOX_NODISCARD mox_err mox_profile_open(const mox_opts *o, mox_profile *out);
void mox_profile_close(mox_profile *p);

/* What a size would have brought in the report's phase. */
typedef struct mox_profile_point {
    uint64_t served[MOX_STUDY_POLICIES]; /* of study.pairs */
    double rate[MOX_STUDY_POLICIES];
    double bytes; /* of these experts; 0: not known */
    double tok_s; /* predicted; 0: no model */
} mox_profile_point;
mox_profile_point mox_profile_at(const mox_profile *p, const uint32_t *quota);
mox_profile_point mox_profile_even(const mox_profile *p, uint32_t q); /* the same number in every layer */
void mox_profile_quota(const mox_profile *p, uint32_t q, uint32_t *quota);
double mox_profile_mean(const mox_profile *p, const uint32_t *quota);
/* mox_profile_knee: the size beyond which more brings less and less: furthest above the line between the curve's ends. */
uint32_t mox_profile_knee(const mox_profile *p);
uint32_t mox_profile_after(const mox_profile *p,
                           uint32_t q);       /* the size behind q in a table; the last is n_experts */
int mox_profile_policy(const mox_profile *p); /* of --policy, or the default */
double mox_profile_speed(const mox_profile *p, mox_hits h);
/* mox_profile_one_list: pairs served by one LRU list for all layers, with as many as p->kept; -1: too many for that. */
int64_t mox_profile_one_list(const mox_profile *p, uint32_t *kept);

/* A tier in VRAM over the same routing, and one in RAM below it. */
typedef struct mox_profile_tier {
    uint64_t uses, vram, ram;           /* uses served there */
    uint64_t moves;                     /* into VRAM */
    uint64_t always_vram, always_moves; /* if every newcomer were admitted */
    uint64_t best_vram;                 /* by Belady's rule */
    double tok_s;                       /* 0: no model */
} mox_profile_tier;
MOX_NODISCARD mox_err mox_profile_tier_make(mox_profile *p);
/* mox_profile_tier_deal: what --vram, --vram-experts and the plan say. Errors MOX_E_CONFLICT: no bytes of an expert. */
MOX_NODISCARD mox_err mox_profile_tier_deal(mox_profile *p);
mox_profile_tier mox_profile_tier_at(const mox_profile *p, const uint32_t *vram, const uint32_t *ram);
/* mox_profile_tier_even: with the same number in every layer of RAM, or of VRAM; p->vram and p->ram say the other. */
mox_profile_tier mox_profile_tier_even(const mox_profile *p, bool in_ram, uint32_t q);

#endif
