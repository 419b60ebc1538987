/* From a plan to a prediction: what lies in which tier, how many uses find their expert there, how fast that is.
 *
 * Tiers of a machine with a GPU are dealt here from the plan's own lines (its dense part, KV and buffers go to the
 * GPU, experts fill the rest of its memory, then RAM; no expert is in both). Hit rates come from recorded routing
 * where there is some, else from a prior of the family; `source` says which.
 */
#ifndef MOX_RUNTIME_PREDICT_H
#define MOX_RUNTIME_PREDICT_H

#include "offload/policy/curve.h"
#include "runtime/model/model.h"
#include "runtime/plan/cost.h"
#include "runtime/plan/plan.h"

#define MOX_VRAM_RESERVE (768ull << 20) /* the driver's context and the desktop */

typedef struct mox_tiers {
    bool gpu, fits;
    uint64_t vram_dense, vram_kv, vram_buffers, vram_reserve, vram_experts, vram_total;
    uint64_t ram_dense, ram_kv, ram_buffers, ram_fixed, ram_experts,
        ram_total; /* fixed: program, I/O, transit */
    uint64_t file_experts;
    uint64_t vram_short, ram_short; /* bytes that are missing where it does not fit */
    uint32_t vram[MOX_PLAN_MAX_LAYERS],
        ram[MOX_PLAN_MAX_LAYERS]; /* experts of each layer; the rest in the file */
    uint32_t n_vram, n_ram, n_file;
} mox_tiers;

/* mox_tiers_of: as the plan itself has it, which is what a run takes. */
void mox_tiers_of(const mox_plan *plan, mox_tiers *out);
/* mox_tiers_gpu: of a machine that is not here; plan: one that keeps no expert. */
void mox_tiers_gpu(const mox_plan *plan, uint64_t vram_bytes, uint64_t ram_bytes, mox_tiers *out);

typedef struct mox_prediction {
    mox_hits hits;      /* shares of the uses of an answer */
    mox_hits best;      /* the same under Belady's rule; vram < 0: not known */
    const char *source; /* of the hits */
    mox_choice_of_way ways;
    mox_cost token, batch;
    double decode_tok_s, prefill_tok_s;
} mox_prediction;

/* Heat by which an expert must beat the one whose place in VRAM it takes: 2 moves a token instead of 23 on recorded
 * Mixtral routing. */
#define MOX_VRAM_MARGIN 1.0f

/* Curves of recorded routing; in_vram: of the same policy with that margin. */
typedef struct mox_recorded {
    const mox_curve *policy, *in_vram, *belady;
} mox_recorded;

/* mox_hits_of: shares of the uses with such quotas. RAM is exclusive of VRAM: what both serve is what one cache of their
 * joint size would. ram NULL: none. */
mox_hits mox_hits_of(const mox_curve *in_vram, const mox_curve *both, const uint32_t *vram,
                     const uint32_t *ram);

void mox_predict(const mox_machine *m, const mox_work *w, const mox_plan *plan, const mox_tiers *t,
                 const mox_recorded *recorded, mox_prediction *out);
/* mox_prior: share of uses that a layer's cache serves which keeps this share of its experts. vram: one that is slow to
 * admit. */
double mox_prior(uint32_t n_experts, double kept, bool vram, const char **source);

/* mox_work_of: what a token of this model asks for; KV: of half the context. */
void mox_work_of(const mox_model *m, uint64_t kv_bytes, mox_work *out);

#endif
