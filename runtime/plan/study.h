/* What recorded routing says about policies and experts: curves of every policy over all sizes, of each phase, and figures of
 * the layers.
 *
 * Rates are of (step, expert) pairs: what a step needs of an expert is read once. In an answer of one sequence these are
 * the uses. "static" is held out: each half of the trace is served by what the other half used most. docs/hit-rates.md
 * says how all of it is counted.
 */
#ifndef MOX_RUNTIME_STUDY_H
#define MOX_RUNTIME_STUDY_H

#include "offload/policy/curve.h"
#include "runtime/plan/routing.h"

enum { MOX_STUDY_LRU, MOX_STUDY_LFU, MOX_STUDY_DLFU, MOX_STUDY_STATIC, MOX_STUDY_BELADY, MOX_STUDY_POLICIES };

typedef struct mox_layer_figures {
    uint64_t uses;
    double entropy_bits; /* of the layer's uses over its experts; at most log2(n_experts) */
    double cover[3];     /* share of uses of the busiest 10, 25, 50 % of the experts */
    uint32_t dead;       /* experts without a use */
    double balance;      /* n_experts * sum of f_i P_i: 1 is even; P_i: mean router weight */
    double variation;    /* standard deviation of the counts over their mean */
} mox_layer_figures;

typedef struct mox_study {
    const mox_routing *r;
    mox_phase phase; /* the one that a report is about */
    mox_curve curve[MOX_PHASES][MOX_STUDY_POLICIES];
    uint64_t pairs[MOX_PHASES];
    uint64_t *count;           /* [n_layers][n_experts]: uses, both phases */
    uint64_t *away;            /* of these, not resident when they were needed */
    mox_layer_figures *layers; /* [n_layers] */
    uint64_t replayed;         /* uses that went through a policy */
} mox_study;

/* mox_study_make: borrows r. Errors MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_study_make(const mox_routing *r, mox_study *out);
void mox_study_free(mox_study *s);
const char *mox_study_name(int policy);
/* mox_study_served: of the phase's pairs, with these quotas; mox_study_rate: their share. */
uint64_t mox_study_served(const mox_study *s, mox_phase phase, int policy, const uint32_t *quota);
double mox_study_rate(const mox_study *s, mox_phase phase, int policy, const uint32_t *quota);
/* The same with one LRU list of `kept` for all layers instead of one for each; -1: too many experts for that. */
int64_t mox_study_one_list(const mox_study *s, uint32_t kept);

#endif
