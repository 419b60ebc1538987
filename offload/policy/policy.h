/* Which experts a layer keeps. A policy is pure: snapshot in, decision out; no I/O, no clock, no memory of
 * its own.
 *
 * The store keeps the statistics in the snapshot up to date (mox_policy_touch) and asks when an expert that
 * is not kept has been used: is it worth more than one that is? The same code replays recorded traces for
 * planner and tests, where `next_use` is known and Belady's rule can be run as the yardstick. Adding a policy
 * = one file, one row in mox_policies, its row in the replay test.
 */
#ifndef MOX_OFFLOAD_POLICY_H
#define MOX_OFFLOAD_POLICY_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of one expert of one layer. */
typedef struct mox_expert_stat {
    uint64_t last_use;  /* step of the last use, 0 = never */
    uint64_t count;     /* uses so far */
    float heat;         /* decayed uses, as of last_heat */
    uint64_t last_heat; /* step at which heat was brought up to date */
    uint64_t next_use;  /* replay only: step of the next use, UINT64_MAX = never */
    float prior;        /* saved heat given at open (static policy's rank) */
} mox_expert_stat;

typedef struct mox_policy_view {
    const mox_expert_stat *stats; /* [n_experts] of this layer */
    const uint32_t *kept;         /* experts kept now that may be evicted (not in the current step's set) */
    uint32_t n_kept;
    uint32_t n_experts;
    uint64_t step; /* counts layer steps of this layer */
    /* Heat by which a candidate must beat the victim (dlfu). Where admission moves no bytes (the RAM tier
     * swaps slot roles) it is as a rule MOX_ADMIT_ALWAYS: recorded Mixtral routing loses 2 points of hit rate to
     * any margin. */
    float margin;
} mox_policy_view;

#define MOX_ADMIT_ALWAYS (-1e30f)

typedef struct mox_policy_ops {
    const char *name;  /* "lru", "lfu", "dlfu", "static", "belady" */
    const char *help;  /* one line */
    bool needs_future; /* replay only */
    /* Index into view->kept of the expert that `candidate` should replace, or -1: keep what is there. */
    int32_t (*victim)(const mox_policy_view *view, uint32_t candidate);
    /* The two questions victim is made of, for curves over all sizes: does expert a make room before b (a total
     * order, whatever else is kept), and may the candidate take this one's place (NULL: always; of a policy that
     * knows the future the order decides). kept is not looked at. */
    bool (*before)(const mox_policy_view *view, uint32_t a, uint32_t b);
    bool (*admit)(const mox_policy_view *view, uint32_t candidate, uint32_t victim);
} mox_policy_ops;

/* mox_policy_touch: account one layer step in which the expert had n_uses uses. */
void mox_policy_touch(mox_expert_stat *stat, uint64_t step, uint32_t n_uses);
/* mox_policy_heat: decayed uses as of `step`. */
float mox_policy_heat(const mox_expert_stat *stat, uint64_t step);

/* mox_policy_by_name: NULL if unknown; "auto" is dlfu. */
const mox_policy_ops *mox_policy_by_name(const char *name);
extern const mox_policy_ops *const mox_policies[]; /* NULL-terminated */

#endif
