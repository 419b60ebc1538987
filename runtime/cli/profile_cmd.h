/* What the files of `moxie profile` share. */
#ifndef MOX_CLI_PROFILE_CMD_H
#define MOX_CLI_PROFILE_CMD_H

#include "profiler/report/json.h"
#include "profiler/spans.h"
#include "runtime/cli/plan_cmd.h"
#include "runtime/plan/study.h"

/* A trace, what it says, and, where --model names the model, the plan and the speeds that follow. */
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
    bool kept_guessed;
    mox_curve in_vram; /* the policy with what VRAM asks of newcomers */
    bool has_vram;     /* such a tier is in question: of --gpu-spec, --vram or --vram-experts */
    uint32_t vram[MOX_PLAN_MAX_LAYERS], ram[MOX_PLAN_MAX_LAYERS]; /* experts of each layer there */
    double actual;     /* share of pairs that the run found resident */
    mox_spans spans;   /* n 0: the trace has no times */
    char machine[160]; /* of the recording; "": an imported table */
} mox_profile;

#define MOX_PROFILE_TRACE "run.trace" /* in the folder of a report */

/* mox_profile_open: Errors MOX_E_OPEN, MOX_E_FORMAT (no trace, or of another model), MOX_E_NO_FIT. */
MOX_NODISCARD mox_err mox_profile_open(const mox_opts *o, mox_profile *out);
void mox_profile_close(mox_profile *p);
/* Where a size stands on the curves: hits and speed with so many experts kept in every layer; tok_s 0: no model. */
typedef struct mox_profile_point {
    double rate[MOX_STUDY_POLICIES];
    double tok_s;
} mox_profile_point;
mox_profile_point mox_profile_at(const mox_profile *p, const uint32_t *quota);
/* mox_profile_knee: the size beyond which more brings less and less: furthest above the line between the curve's ends. */
uint32_t mox_profile_knee(const mox_profile *p);
double mox_profile_mean_kept(const mox_profile *p);

int mox_profile_policy(const mox_profile *p); /* of --policy, or the default */
double mox_profile_speed(const mox_profile *p, mox_hits h);

/* A tier in VRAM over the same routing (profile_tier.c), with so many experts there and in RAM what p->ram says. */
typedef struct mox_profile_tier {
    mox_hits hits;
    double moves;                     /* into VRAM, a token */
    double always_vram, always_moves; /* if every newcomer were admitted */
    double best_vram;                 /* by Belady's rule */
    double tok_s;                     /* 0: no model */
} mox_profile_tier;
MOX_NODISCARD mox_err mox_profile_tier_make(mox_profile *p);
/* mox_profile_tier_deal: what --vram, --vram-experts and the plan say. Errors MOX_E_CONFLICT: no bytes of an expert. */
MOX_NODISCARD mox_err mox_profile_tier_deal(mox_profile *p);
mox_profile_tier mox_profile_tier_at(const mox_profile *p, const uint32_t *vram);
void mox_profile_tier_text(const mox_profile *p);
void mox_profile_tier_json(const mox_profile *p, mox_json *j);

/* mox_profile_trace: a trace's path; a folder is that of `profile run`. */
const char *mox_profile_trace(const char *word, char path[4096]);

typedef enum mox_profile_form { MOX_PROFILE_CSV, MOX_PROFILE_CHROME, MOX_PROFILE_FOLDED } mox_profile_form;
/* mox_profile_export_to: path NULL or "-": standard output. */
MOX_NODISCARD mox_err mox_profile_export_to(const char *trace, const char *path, mox_profile_form form);

/* The report's parts: what it works out (profile_report.c), its JSON (profile_json.c), its text (profile_text.c). */
typedef struct mox_profile_trust {
    double interval,
        half[2];         /* half-width of the 95 % interval of the run's own rate; the rate in each half */
    double record_share; /* of the time, spent on recording; < 0: not known */
} mox_profile_trust;
mox_profile_trust mox_profile_trust_of(const mox_profile *p);
uint32_t mox_profile_changes(const mox_profile *p, mox_plan_change out[MOX_PLAN_CHANGES]);
/* A wait of the step thread. */
typedef struct mox_profile_stall {
    double at_s, wait_s;
    uint32_t step, layer;
    uint64_t bytes; /* read meanwhile for that layer */
    uint8_t phase;
} mox_profile_stall;
enum { MOX_PROFILE_STALLS = 10, MOX_PROFILE_CTX = 5 };
/* mox_profile_stalls: the longest first; returns how many. */
uint32_t mox_profile_stalls(const mox_profile *p, mox_profile_stall out[MOX_PROFILE_STALLS]);
/* Another context with the same budget. */
typedef struct mox_profile_ctx {
    uint32_t n_ctx, n_fast; /* experts in the fastest tier */
    double tok_s;
    bool fits;
} mox_profile_ctx;
uint32_t mox_profile_contexts(const mox_profile *p, mox_profile_ctx out[MOX_PROFILE_CTX]);
/* mox_profile_quota: the same number in every layer. mox_profile_bytes: what these experts take; 0: not known. */
void mox_profile_quota(const mox_profile *p, uint32_t q, uint32_t *quota);
double mox_profile_bytes(const mox_profile *p, const uint32_t *quota);
/* mox_profile_estimate: tokens per second from what was measured, if the share of misses were another; 0: no times. */
double mox_profile_estimate(const mox_profile *p, double rate);
double mox_profile_measured(const mox_profile *p); /* tokens per second of the phase; 0: no times */

void mox_profile_json(const mox_profile *p, mox_json *j);
void mox_profile_text(const mox_profile *p);

mox_err mox_profile_import(const mox_opts *o);
mox_err mox_profile_what_if(const mox_opts *o);
mox_err mox_profile_report(const mox_opts *o);
mox_err mox_profile_export(const mox_opts *o);
mox_err mox_profile_diff(const mox_opts *o);

#endif
