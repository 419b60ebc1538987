/* Tiers, hits, times. The priors are tables of (share kept, share of uses served) with straight lines between; where
 * they come from stands in docs/cost-model.md. */
#include "runtime/plan/predict.h"

#include <string.h>

enum { COARSE_EXPERTS = 16 }; /* up to here a model is of Mixtral's kind */

typedef struct point {
    double kept, hits;
} point;

/* Mixtral-8x7B-Instruct, 585 recorded tokens, a list for each layer, decayed LFU. */
static const point coarse_ram[] = {{0, 0},          {0.25, 0.3747}, {0.375, 0.5147}, {0.5, 0.6329},
                                   {0.625, 0.7386}, {0.75, 0.837},  {0.875, 0.928},  {1, 1}};
/* The same with admission, two experts at most into the cache a token. */
static const point coarse_vram[] = {{0, 0},         {0.25, 0.335}, {0.375, 0.474}, {0.5, 0.601},
                                    {0.625, 0.720}, {0.75, 0.828}, {0.875, 0.924}, {1, 1}};
/* Many small experts: between the static coverage of Qwen3-30B-A3B and reported caches; an assumption. */
static const point fine[] = {{0, 0},       {0.05, 0.35},  {0.10, 0.55}, {0.25, 0.77},
                             {0.50, 0.92}, {0.75, 0.975}, {1, 1}};

static double between(const point *p, size_t n, double kept)
{
    for (size_t i = 1; i < n; i++) {
        if (kept <= p[i].kept) {
            double t = (kept - p[i - 1].kept) / (p[i].kept - p[i - 1].kept);
            return p[i - 1].hits + t * (p[i].hits - p[i - 1].hits);
        }
    }
    return 1;
}

double mox_prior(uint32_t n_experts, double kept, bool vram, const char **source)
{
    if (n_experts > COARSE_EXPERTS) {
        *source = "a prior for models of many small experts (assumed, docs/cost-model.md)";
        return between(fine, sizeof fine / sizeof *fine, kept);
    }
    *source = "a prior for models of few large experts (Mixtral 8x7B, 585 tokens)";
    return vram ? between(coarse_vram, sizeof coarse_vram / sizeof *coarse_vram, kept)
                : between(coarse_ram, sizeof coarse_ram / sizeof *coarse_ram, kept);
}

static void count(const mox_plan *plan, mox_tiers *t)
{
    for (uint32_t l = 0; l < plan->n_moe_layers; l++) {
        uint32_t held = t->vram[l] + t->ram[l]; /* a run may have one in both, until RAM gives it up */
        uint32_t rest = held < plan->n_experts ? plan->n_experts - held : 0;
        t->n_vram += t->vram[l];
        t->n_ram += t->ram[l];
        t->n_file += rest;
        t->vram_experts += t->vram[l] * plan->slot_bytes[l];
        t->ram_experts += t->ram[l] * plan->slot_bytes[l];
        t->file_experts += rest * plan->slot_bytes[l];
    }
    t->vram_total = t->vram_dense + t->vram_kv + t->vram_buffers + t->vram_reserve + t->vram_experts;
    t->ram_total = t->ram_dense + t->ram_kv + t->ram_buffers + t->ram_fixed + t->ram_experts;
}

void mox_tiers_of(const mox_plan *plan, mox_tiers *out)
{
    memset(out, 0, sizeof *out);
    out->fits = true;
    out->gpu = plan->n_devices > 0;
    for (uint32_t i = 0; i < plan->n_devices; i++) {
        const mox_plan_device *d = &plan->device[i];
        out->vram_dense += d->dense_bytes;
        out->vram_kv += d->kv_bytes;
        out->vram_buffers += d->buffer_bytes + d->staging_bytes;
    }
    memcpy(out->vram, plan->vram_kept, sizeof out->vram);
    out->ram_dense = plan->dense_bytes;
    out->ram_kv = plan->kv_bytes;
    out->ram_buffers = plan->buffer_bytes;
    out->ram_fixed = plan->process_bytes + plan->metadata_bytes + plan->io_bytes + plan->transit_bytes;
    memcpy(out->ram, plan->kept, sizeof out->ram);
    count(plan, out);
}

/* The same number for every layer, then one more where it still fits. */
static void deal(const mox_plan *plan, uint64_t bytes, const uint32_t *taken, uint32_t *out)
{
    for (uint32_t round = 0; round < plan->n_experts; round++) {
        bool any = false;
        for (uint32_t l = 0; l < plan->n_moe_layers; l++) {
            if ((taken ? taken[l] : 0) + out[l] < plan->n_experts && bytes >= plan->slot_bytes[l]) {
                bytes -= plan->slot_bytes[l];
                out[l]++;
                any = true;
            }
        }
        if (!any) {
            return;
        }
    }
}

void mox_tiers_gpu(const mox_plan *plan, uint64_t vram_bytes, uint64_t ram_bytes, mox_tiers *out)
{
    memset(out, 0, sizeof *out);
    out->gpu = true;
    out->vram_dense = plan->dense_bytes;
    out->vram_kv = plan->kv_bytes;
    out->vram_buffers = plan->buffer_bytes;
    out->vram_reserve = MOX_VRAM_RESERVE;
    out->ram_fixed = plan->process_bytes + plan->metadata_bytes + plan->io_bytes + plan->transit_bytes;
    uint64_t need = out->vram_dense + out->vram_kv + out->vram_buffers + out->vram_reserve;
    out->vram_short = need > vram_bytes ? need - vram_bytes : 0;
    out->ram_short = out->ram_fixed > ram_bytes ? out->ram_fixed - ram_bytes : 0;
    out->fits = !out->vram_short && !out->ram_short;
    deal(plan, out->vram_short ? 0 : vram_bytes - need, NULL, out->vram);
    deal(plan, out->ram_short ? 0 : ram_bytes - out->ram_fixed, out->vram, out->ram);
    count(plan, out);
}

mox_hits mox_hits_of(const mox_curve *in_vram, const mox_curve *both, const uint32_t *vram,
                     const uint32_t *ram)
{
    uint32_t quota[MOX_PLAN_MAX_LAYERS];
    for (uint32_t l = 0; l < both->n_layers; l++) {
        quota[l] = vram[l] + (ram ? ram[l] : 0);
    }
    bool some = false;
    for (uint32_t l = 0; ram && l < both->n_layers; l++) {
        some = some || ram[l] > 0;
    }
    mox_replay_result v = mox_curve_at(in_vram, vram), all = mox_curve_at(both, quota);
    double uses = all.uses ? (double)all.uses : 1, far = (double)v.hits / uses, any = (double)all.hits / uses;
    return (mox_hits){far, some && any > far ? any - far : 0};
}

void mox_predict(const mox_machine *m, const mox_work *w, const mox_plan *plan, const mox_tiers *t,
                 const mox_recorded *recorded, mox_prediction *out)
{
    memset(out, 0, sizeof *out);
    double all = plan->experts_total ? plan->experts_total : 1;
    mox_hits resident = {t->n_vram / all, t->n_ram / all};
    if (plan->experts_total == 0) {
        out->source = "none: there are no experts";
        out->hits = out->best = (mox_hits){t->gpu, !t->gpu};
    } else if (recorded) {
        out->hits = mox_hits_of(recorded->in_vram, recorded->policy, t->vram, t->ram);
        out->best = mox_hits_of(recorded->belady, recorded->belady, t->vram, t->ram);
        out->source = "recorded routing";
    } else {
        double vram = mox_prior(w->n_experts, resident.vram, true, &out->source);
        double both = mox_prior(w->n_experts, resident.vram + resident.ram, false, &out->source);
        out->hits = (mox_hits){vram, both > vram ? both - vram : 0};
        out->best.vram = -1;
    }
    out->ways = mox_cost_choose(m, w, out->hits);
    out->token = mox_cost_token(m, w, out->hits, out->ways.best);
    out->batch = mox_cost_batch(m, w, resident, plan->n_batch, NULL);
    out->decode_tok_s = 1 / out->token.total_s;
    out->prefill_tok_s = plan->n_batch / out->batch.total_s;
}
