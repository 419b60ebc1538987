/* What devices hold: which layers, and how many of their experts.
 *
 * Devices take whole layers, consecutive ones, in proportion to their free memory: a layer's step then meets one device. A
 * layer brings its dense weights and its part of the cache; buffers, and staging slots where not all experts stay, come
 * with the device. What is left holds experts, evenly over its layers, for the reason that RAM is dealt evenly. A number of
 * experts is dealt to all layers by largest remainder.
 */
#include "runtime/core/bits.h"
#include "runtime/graph/card.h"
#include "runtime/plan/placement.h"
#include "runtime/plan/predict.h"

#include <math.h>

typedef unsigned long long ull;

#define LEFT_FREE   (256ull << 20) /* for the driver, the screen and what fragments */
#define MOVES_TOKEN 2              /* experts that may move in per token */

static void split_layers(const mox_plan_in *in, mox_plan *plan, mox_placement *p)
{
    double all = 0, before = 0;
    uint32_t layer = 0, n = in->m->h.n_layers;
    for (uint32_t i = 0; i < in->n_devices; i++) {
        all += (double)in->device_bytes[i];
    }
    for (uint32_t i = 0; i < in->n_devices; i++) {
        before += (double)in->device_bytes[i];
        uint32_t end = i + 1 == in->n_devices || all == 0 ? n : (uint32_t)llround(n * (before / all));
        for (; layer < end; layer++) {
            plan->layer_device[layer] = i;
            plan->device[i].n_layers++;
        }
    }
    for (uint32_t i = 0; i < in->m->n_ops; i++) {
        const mox_layer_op *op = &in->m->ops[i];
        if (op->kind == MOX_LAYER_MOE) {
            p->vram[op->moe.moe_layer].device = plan->layer_device[op->layer];
        }
    }
}

static uint64_t round_line(size_t bytes)
{
    return mox_round_up(bytes, MOX_CARD_ALIGN);
}

/* What a device holds beside experts: the graph's own code on planning arenas. The host's part comes out the same for
 * each. */
static void count_graph(const mox_plan_in *in, mox_plan *plan, uint32_t i, uint64_t *near_bytes)
{
    mox_plan_device *d = &plan->device[i];
    mox_arena dense = mox_arena_plan(), kv = mox_arena_plan(), far = mox_arena_plan();
    mox_arena near = mox_arena_plan();
    mox_cards cards = {.n = in->n_devices, .of_layer = plan->layer_device};
    mox_graph g = {
        .m = in->m, .dims = *in->dims, .cards = &cards, .card = i, .dev_arena = &far, .played = in->played};
    mox_graph_take_buffers(&g, &near);
    mox_graph_take_kv(&g, &kv);
    for (uint32_t w = 0; w < in->m->n_weights; w++) {
        if (mox_cards_of_weight(&in->m->weights[w], plan->layer_device) == i) {
            mox_model_take_weight(&in->m->weights[w], &dense);
        }
    }
    d->dense_bytes = round_line(dense.used);
    d->kv_bytes = round_line(kv.used);
    d->buffer_bytes = round_line(far.used);
    d->module_bytes = in->module_bytes;
    *near_bytes = near.used;
}

static mox_err no_fit(uint32_t device, const mox_plan_device *d)
{
    double mib = 1024.0 * 1024.0;
    (void)MOX_FAIL(
        MOX_E_NO_FIT,
        "plan: device %u needs %llu bytes (%.1f MiB: dense %.1f, KV %.1f, buffers %.1f, staging %.1f, "
        "experts %.1f), %llu (%.1f MiB) may be used",
        device, (ull)(d->total_bytes + d->module_bytes), (double)d->total_bytes / mib,
        (double)d->dense_bytes / mib, (double)d->kv_bytes / mib, (double)d->buffer_bytes / mib,
        (double)d->staging_bytes / mib, (double)d->expert_bytes / mib, (ull)d->limit_bytes,
        (double)d->limit_bytes / mib);
    return mox_err_fix("fewer --vram-experts, a larger --vram, a smaller --ctx or --batch, or --device cpu");
}

uint64_t mox_plan_limit(const mox_budget *b, uint64_t free_bytes)
{
    switch (b->kind) {
    case MOX_BUDGET_BYTES:
        return b->bytes < free_bytes ? b->bytes : free_bytes;
    case MOX_BUDGET_PCT:
        return (uint64_t)((double)free_bytes * b->pct / 100.0);
    case MOX_BUDGET_EXPERTS:
    case MOX_BUDGET_EXPERTS_PCT:
        return free_bytes;
    default:
        return free_bytes > 2 * LEFT_FREE ? free_bytes - LEFT_FREE : free_bytes;
    }
}

static void deal_number(const mox_budget *b, mox_placement *p)
{
    uint32_t layers = p->store.n_layers;
    uint64_t all = (uint64_t)layers * p->store.n_experts;
    uint64_t n = b->kind == MOX_BUDGET_EXPERTS ? b->experts : (uint64_t)llround((double)all * b->pct / 100.0);
    n = n < all ? n : all;
    for (uint32_t l = 0; l < layers; l++) {
        p->vram[l].quota = (uint32_t)(n / layers + (l < n % layers));
    }
}

/* One more for each layer of the device in turn, while it fits. */
static void deal_bytes(mox_placement *p, uint32_t device, uint64_t left)
{
    bool more = true;
    while (more) {
        more = false;
        for (uint32_t l = 0; l < p->store.n_layers; l++) {
            size_t slot = mox_vram_slot_bytes(p->layers[l].slot_bytes);
            if (p->vram[l].device == device && p->vram[l].quota < p->store.n_experts && slot <= left) {
                p->vram[l].quota++;
                left -= slot;
                more = true;
            }
        }
    }
}

/* Of a device's layers: all experts' bytes, those of the experts that stay, and four of the largest slot. */
typedef struct slots {
    uint64_t all, kept, staging;
    uint32_t n_kept, n_all;
} slots;

static slots count_slots(const mox_placement *p, uint32_t device)
{
    slots s = {0};
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        uint64_t slot = mox_vram_slot_bytes(p->layers[l].slot_bytes);
        if (p->vram[l].device == device) {
            s.all += p->store.n_experts * slot;
            s.n_all += p->store.n_experts;
            s.kept += p->vram[l].quota * slot;
            s.n_kept += p->vram[l].quota;
            s.staging = MOX_STAGING_SLOTS * slot > s.staging ? MOX_STAGING_SLOTS * slot : s.staging;
        }
    }
    return s;
}

static mox_err place_device(const mox_plan_in *in, mox_plan *plan, mox_placement *p, uint32_t i)
{
    const mox_budget *b = &in->cfg->vram;
    bool number = b->kind == MOX_BUDGET_EXPERTS || b->kind == MOX_BUDGET_EXPERTS_PCT;
    mox_plan_device *d = &plan->device[i];
    uint64_t fixed = d->dense_bytes + d->kv_bytes + d->buffer_bytes;
    slots s = count_slots(p, i);
    d->limit_bytes = mox_plan_limit(b, in->device_bytes[i]);
    uint64_t left = d->limit_bytes > fixed + d->module_bytes ? d->limit_bytes - fixed - d->module_bytes : 0;
    if (!number && b->kind != MOX_BUDGET_MIN) { /* staging only where something will cross */
        deal_bytes(p, i, s.all <= left ? s.all : left > s.staging ? left - s.staging : 0);
        s = count_slots(p, i);
    }
    d->staging_bytes = s.n_kept == s.n_all ? 0 : s.staging;
    d->expert_bytes = s.kept;
    d->n_experts = s.n_kept;
    d->total_bytes = fixed + d->staging_bytes + d->expert_bytes;
    plan->vram_experts += d->n_experts;
    return d->total_bytes + d->module_bytes > d->limit_bytes ? no_fit(i, d) : MOX_OK;
}

/* Victims go down into a slot more. Experts come in by moves, a token's worth at a time. */
static void configure_store(const mox_plan_in *in, mox_plan *plan, mox_placement *p)
{
    uint64_t biggest = 0;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        plan->vram_kept[l] = p->vram[l].quota;
        biggest = p->layers[l].slot_bytes > biggest ? p->layers[l].slot_bytes : biggest;
    }
    p->store.vram = (mox_vram_cfg){
        .layers = p->vram, .margin = mox_vram_margin(in->cfg), .bytes_per_token = MOVES_TOKEN * biggest};
    p->store.transit_slots++;
}

mox_err mox_plan_vram(const mox_plan_in *in, mox_plan *plan, mox_placement *p)
{
    const mox_budget *b = &in->cfg->vram;
    uint64_t near_bytes = 0;
    if (in->n_devices == 0) {
        return MOX_OK;
    }
    plan->n_devices = in->n_devices;
    split_layers(in, plan, p);
    for (uint32_t i = 0; i < in->n_devices; i++) {
        count_graph(in, plan, i, &near_bytes);
    }
    for (uint32_t w = 0; w < in->m->n_weights; w++) {
        size_t bytes = mox_round_up(mox_model_weight_bytes(&in->m->weights[w]), 4096);
        p->load_bytes = bytes > p->load_bytes ? bytes : p->load_bytes;
    }
    p->dense_bytes = plan->dense_bytes;
    plan->dense_bytes = plan->kv_bytes = 0;
    plan->buffer_bytes = mox_round_up(near_bytes, 4096);
    if (p->store.n_layers && (b->kind == MOX_BUDGET_EXPERTS || b->kind == MOX_BUDGET_EXPERTS_PCT)) {
        deal_number(b, p);
    }
    for (uint32_t i = 0; i < in->n_devices; i++) {
        MOX_TRY(place_device(in, plan, p, i));
    }
    if (p->store.n_layers) {
        configure_store(in, plan, p);
    }
    return MOX_OK;
}
