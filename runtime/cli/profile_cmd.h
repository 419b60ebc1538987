/* What the files of `moxie profile` share. */
#ifndef MOX_CLI_PROFILE_CMD_H
#define MOX_CLI_PROFILE_CMD_H

#include "profiler/report/json.h"
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
    double actual; /* share of pairs that the run found resident */
} mox_profile;

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

void mox_profile_json(const mox_profile *p, mox_json *j);

mox_err mox_profile_import(const mox_opts *o);
mox_err mox_profile_what_if(const mox_opts *o);
mox_err mox_profile_report(const mox_opts *o);

#endif
