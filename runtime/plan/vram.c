/* Which experts VRAM holds, and of which device.
 *
 * Devices take whole layers, consecutive ones, in proportion to their free memory: a layer's step then meets one device. Of
 * a device's memory staging slots and buffers come first; what is left holds experts, evenly over its layers, for the
 * reason that RAM is dealt evenly. A number of experts is dealt to all layers by largest remainder.
 */
#include "runtime/core/bits.h"
#include "runtime/graph/device.h"
#include "runtime/plan/placement.h"

#include <math.h>

typedef unsigned long long ull;

#define LEFT_FREE   (256ull << 20) /* for the driver, the screen and what fragments */
#define MARGIN      1.0f           /* of heat: 2 moves a token instead of 23 on recorded Mixtral routing */
#define MOVES_TOKEN 2              /* experts that may move in per token */

static void split_layers(const mox_plan_in *in, mox_placement *p)
{
    double all = 0, before = 0;
    uint32_t layer = 0, n = p->store.n_layers;
    for (uint32_t i = 0; i < in->n_devices; i++) {
        all += (double)in->device_bytes[i];
    }
    for (uint32_t i = 0; i < in->n_devices; i++) {
        before += (double)in->device_bytes[i];
        uint32_t end = i + 1 == in->n_devices || all == 0 ? n : (uint32_t)llround(n * (before / all));
        for (; layer < end; layer++) {
            p->vram[layer].device = i;
        }
    }
}

/* Bytes of a device with the quotas as they stand: its own code on planning arenas. */
static void count(const mox_plan_in *in, mox_placement *p, uint32_t i)
{
    mox_device d = {.dev = NULL};
    mox_device_shape shape = {in->m, in->dims};
    mox_arena far = mox_arena_plan(), near = mox_arena_plan();
    mox_device_take(&d, &shape, i, p->vram, &far, &near);
    p->far_bytes[i] = far.used;
    p->near_bytes[i] = mox_round_up(near.used, 4096);
}

static mox_err no_fit(uint32_t device, uint64_t need, uint64_t limit)
{
    double mib = 1024.0 * 1024.0;
    (void)MOX_FAIL(MOX_E_NO_FIT, "plan: device %u needs %llu bytes (%.1f MiB), %llu (%.1f MiB) may be used",
                   device, (ull)need, (double)need / mib, (ull)limit, (double)limit / mib);
    return mox_err_fix("fewer --vram-experts, a larger --vram, a smaller --batch, or --device cpu");
}

static uint64_t limit_of(const mox_budget *b, uint64_t free_bytes)
{
    uint64_t most = free_bytes;
    switch (b->kind) {
    case MOX_BUDGET_BYTES:
        return b->bytes < most ? b->bytes : most;
    case MOX_BUDGET_PCT:
        return (uint64_t)((double)most * b->pct / 100.0);
    case MOX_BUDGET_EXPERTS:
    case MOX_BUDGET_EXPERTS_PCT:
        return most;
    default:
        return most > 2 * LEFT_FREE ? most - LEFT_FREE : most;
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
static void deal_rest(mox_placement *p, uint32_t device, uint64_t left)
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

static void write_device(const mox_plan_in *in, mox_plan *plan, const mox_placement *p, uint32_t i,
                         size_t fixed)
{
    mox_plan_device *d = &plan->device[i];
    mox_device measure = {.dev = NULL};
    mox_device_shape shape = {in->m, in->dims};
    mox_arena far = mox_arena_plan(), near = mox_arena_plan();
    mox_device_take(&measure, &shape, i, NULL, &far, &near);
    d->total_bytes = p->far_bytes[i];
    d->staging_bytes = MOX_STAGING_SLOTS * measure.staging_bytes;
    d->buffer_bytes = fixed - d->staging_bytes;
    d->expert_bytes = d->total_bytes - fixed;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        d->n_layers += p->vram[l].device == i;
        d->n_experts += p->vram[l].device == i ? p->vram[l].quota : 0;
    }
    plan->vram_experts += d->n_experts;
    plan->link_bytes += p->near_bytes[i];
}

mox_err mox_plan_vram(const mox_plan_in *in, mox_plan *plan, mox_placement *p)
{
    const mox_budget *b = &in->cfg->vram;
    bool number = b->kind == MOX_BUDGET_EXPERTS || b->kind == MOX_BUDGET_EXPERTS_PCT;
    if (in->n_devices == 0 || p->store.n_layers == 0) {
        return MOX_OK;
    }
    plan->n_devices = in->n_devices;
    split_layers(in, p);
    size_t fixed[MOX_PLAN_MAX_DEVICES];
    for (uint32_t i = 0; i < in->n_devices; i++) {
        count(in, p, i); /* no quotas yet */
        fixed[i] = p->far_bytes[i];
    }
    if (number) {
        deal_number(b, p);
    }
    for (uint32_t i = 0; i < in->n_devices; i++) {
        uint64_t limit = plan->device[i].limit_bytes = limit_of(b, in->device_bytes[i]);
        if (!number && b->kind != MOX_BUDGET_MIN && fixed[i] <= limit) {
            deal_rest(p, i, limit - fixed[i]);
        }
        count(in, p, i);
        if (p->far_bytes[i] > limit) {
            return no_fit(i, p->far_bytes[i], limit);
        }
        write_device(in, plan, p, i, fixed[i]);
    }
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        plan->vram_kept[l] = p->vram[l].quota;
        plan->vram_device[l] = p->vram[l].device;
    }
    uint64_t biggest = 0;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        biggest = p->layers[l].slot_bytes > biggest ? p->layers[l].slot_bytes : biggest;
    }
    p->store.vram =
        (mox_vram_cfg){.layers = p->vram, .margin = MARGIN, .bytes_per_token = MOVES_TOKEN * biggest};
    p->store.transit_slots++; /* victims go down into it */
    return MOX_OK;
}
