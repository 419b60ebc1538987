/* What a report finds beside the replays: changes, stalls, contexts, and how far to trust it. */
#ifndef MOX_CLI_PROFILE_FIND_H
#define MOX_CLI_PROFILE_FIND_H

#include "runtime/cli/profile/profile.h"

typedef struct mox_profile_trust {
    double interval;     /* half-width of the 95 % interval of the run's own rate */
    double half[2];      /* the rate in each half */
    double record_share; /* of the time, spent on recording; < 0: not known */
} mox_profile_trust;
mox_profile_trust mox_profile_trust_of(const mox_profile *p);

/* mox_profile_changes: none without a model. */
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

/* mox_profile_estimate: tokens per second from what was measured, if the share of misses were another; 0: no times. */
double mox_profile_estimate(const mox_profile *p, double rate);
double mox_profile_measured(const mox_profile *p); /* tokens per second of the phase; 0: no times */
/* mox_profile_elsewhere: what is predicted is for another machine than the one that recorded. */
bool mox_profile_elsewhere(const mox_profile *p);

#endif
