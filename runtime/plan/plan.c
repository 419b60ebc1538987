/* Budget -> placement.
 *
 * What must be there (program, metadata, dense weights, KV, buffers, transit slots for the top k, the least
 * staging) is counted first: that is the floor. What is left goes to staging worth its bytes, to a second set
 * of transit slots for look-ahead where it is cheap, and then to kept experts, evenly over layers: one global
 * list of experts collapses (a layer's whole working set is older than the next layer's), equal shares do
 * not.
 */
#include "runtime/core/bits.h"
#include "runtime/graph/graph.h"
#include "runtime/plan/placement.h"
#include "runtime/plan/predict.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long ull;

enum {
    PAGE = 4096,
    PROCESS_BYTES = 6 << 20,  /* program, libraries, stdio, topology; 4 MiB measured */
    THREAD_BYTES = 128 << 10, /* what a worker touches of its stack, and its thread block */
    STAGING_MIN = 2 << 20,
    STAGING_MAX = 32 << 20,
    STAGING_SHARE = 16, /* of the experts' bytes */
    REQUEST_MIN = 128 << 10,
    REQUEST_MAX = 1 << 20,
    RECORD_DEPTH = 16,
    AHEAD_SHARE = 10, /* look-ahead slots may cost a tenth of what is left */
};
#define AUTO_LEFT_FREE (2ull << 30)

/* Staging: about `experts` / 16, in requests of a sixteenth of it or 1 MiB. Records are read without. */
static void choose_io(const mox_plan_in *in, mox_placement *p, uint64_t experts)
{
    uint32_t given = in->cfg->io_depth;
    if (p->store.layout.record) {
        p->store.io_request_bytes = REQUEST_MAX;
        p->store.io_depth = given ? given : RECORD_DEPTH;
        return;
    }
    uint64_t staging = experts / STAGING_SHARE;
    staging = staging > STAGING_MAX ? STAGING_MAX : staging;
    staging = staging < STAGING_MIN ? STAGING_MIN : staging;
    size_t request = REQUEST_MIN;
    while (request < REQUEST_MAX && request * 16 < staging) {
        request *= 2;
    }
    p->store.io_request_bytes = request;
    p->store.io_depth = given ? given : (uint32_t)(staging / request / 2);
}

/* The store's bytes with the quotas as they stand: its own code on a planning arena. */
static mox_err count_store(mox_placement *p)
{
    mox_arena a = mox_arena_plan();
    mox_store *none = NULL;
    p->store.layers = p->layers;
    if (p->store.n_layers) {
        MOX_TRY(mox_store_create(&none, &p->store, &a));
    }
    p->store_bytes = mox_round_up(a.used, PAGE);
    return MOX_OK;
}

/* Bytes of one slot of every size class. */
static uint64_t class_bytes(const mox_placement *p, uint32_t *n_classes)
{
    uint64_t sum = 0;
    *n_classes = 0;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        bool seen = false;
        for (uint32_t j = 0; j < l && !seen; j++) {
            seen = p->layers[j].slot_bytes == p->layers[l].slot_bytes;
        }
        sum += seen ? 0 : p->layers[l].slot_bytes;
        *n_classes += !seen;
    }
    return sum;
}

static uint64_t kept_bytes(const mox_placement *p, uint32_t *n_kept)
{
    uint64_t sum = 0;
    *n_kept = 0;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        sum += p->layers[l].quota * p->layers[l].slot_bytes;
        *n_kept += p->layers[l].quota;
    }
    return sum;
}

/* A layer whose experts all stay in VRAM has no use for RAM. */
static bool in_vram(const mox_placement *p, uint32_t layer)
{
    return p->vram[layer].quota == p->store.n_experts;
}

static uint64_t whole_bytes(const mox_placement *p)
{
    uint64_t sum = 0;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        sum += in_vram(p, l) ? 0 : p->store.n_experts * p->layers[l].slot_bytes;
    }
    return sum;
}

/* n experts in all, largest remainder: layers have equal claims, so the first n % layers get one more. */
static void deal_count(mox_placement *p, uint64_t n)
{
    uint32_t layers = p->store.n_layers;
    for (uint32_t l = 0; l < layers; l++) {
        uint64_t q = n / layers + (l < n % layers);
        p->layers[l].quota = (uint32_t)(q < p->store.n_experts ? q : p->store.n_experts);
    }
}

/* As many as `bytes` hold: the same number for every layer, then one more where it still fits. */
static void deal_bytes(mox_placement *p, uint64_t bytes)
{
    uint64_t round = whole_bytes(p) / p->store.n_experts;
    if (round == 0) {
        return;
    }
    uint64_t each = bytes / round < p->store.n_experts ? bytes / round : p->store.n_experts;
    bytes -= each * round;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        mox_store_layer *layer = &p->layers[l];
        if (in_vram(p, l)) {
            continue;
        }
        bool more = each < p->store.n_experts && bytes >= layer->slot_bytes;
        layer->quota = (uint32_t)each + more;
        bytes -= more ? layer->slot_bytes : 0;
    }
}

/* --layer-shares: one after another to the layer that has least for its share, up to n and to `bytes`. A share of 0 comes
 * when no other layer can take more. */
static void deal_shares(mox_placement *p, const char *shares, uint64_t n, uint64_t bytes)
{
    for (; n > 0; n--) {
        uint32_t best = UINT32_MAX;
        double least = INFINITY;
        for (uint32_t l = 0; l < p->store.n_layers; l++) {
            uint32_t quota = p->layers[l].quota;
            double share = shares[l] > '0' ? shares[l] - '0' : 1e-3, claim = (quota + 0.5) / share;
            if (quota < p->store.n_experts && p->layers[l].slot_bytes <= bytes && !in_vram(p, l) &&
                claim < least) {
                best = l;
                least = claim;
            }
        }
        if (best == UINT32_MAX) {
            return;
        }
        p->layers[best].quota++;
        bytes -= p->layers[best].slot_bytes;
    }
}

/* NULL: even. */
static const char *shares_of(const mox_plan_in *in)
{
    const char *s = in->cfg->layer_shares;
    return s && strcmp(s, "even") != 0 ? s : NULL;
}

static mox_err check_shares(const mox_plan_in *in)
{
    const char *s = shares_of(in);
    size_t n = s ? strlen(s) : 0;
    if (!s || (n == in->m->n_moe_layers && strspn(s, "0123456789") == n && strspn(s, "0") < n)) {
        return MOX_OK;
    }
    (void)MOX_FAIL(
        MOX_E_OPTION,
        "--layer-shares %.40s%s: a digit for each of %u layers with experts is expected, not all 0", s,
        n > 40 ? "..." : "", in->m->n_moe_layers);
    return mox_err_fix("--layer-shares even\nmoxie tune MODEL --save finds shares");
}

static void drop_one(mox_placement *p)
{
    uint32_t most = 0;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        most = p->layers[l].quota >= p->layers[most].quota ? l : most;
    }
    p->layers[most].quota--;
}

static uint64_t fixed_bytes(const mox_plan *plan)
{
    return plan->process_bytes + plan->metadata_bytes + plan->dense_bytes + plan->kv_bytes +
           plan->buffer_bytes;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static mox_err no_fit(const mox_plan *plan, uint64_t budget)
{
    double mib = 1024.0 * 1024.0;
    MOX_FAIL(MOX_E_NO_FIT,
             "plan: the floor is %llu bytes (%.1f MiB: dense %.1f, KV %.1f, buffers %.1f, experts in transit "
             "and I/O %.1f, program %.1f), the budget is %llu (%.1f MiB)",
             (ull)plan->floor_bytes, (double)plan->floor_bytes / mib, (double)plan->dense_bytes / mib,
             (double)plan->kv_bytes / mib, (double)plan->buffer_bytes / mib,
             (double)(plan->floor_bytes - fixed_bytes(plan)) / mib,
             (double)(plan->process_bytes + plan->metadata_bytes) / mib, (ull)budget, (double)budget / mib);
    return mox_err_fix("--ram min or more; the floor falls with a smaller --ctx (%u now), --kv q8_0, a "
                       "smaller --batch (%u now)",
                       plan->n_ctx, plan->n_batch);
}

static uint64_t resolve_budget(const mox_budget *b, const mox_plan *plan)
{
    switch (b->kind) {
    case MOX_BUDGET_BYTES:
        return b->bytes;
    case MOX_BUDGET_PCT:
        return (uint64_t)((double)mox_host_total_bytes() * b->pct / 100.0);
    case MOX_BUDGET_MIN:
        return plan->floor_bytes;
    default: {
        uint64_t available = mox_host_available_bytes();
        return available > AUTO_LEFT_FREE ? available - AUTO_LEFT_FREE : 0;
    }
    }
}

/* Budget in bytes: floor first, then staging, look-ahead slots, kept experts. */
static mox_err place_bytes(const mox_plan_in *in, mox_plan *plan, mox_placement *p)
{
    uint64_t budget = resolve_budget(&in->cfg->ram, plan);
    plan->budget_bytes = budget;
    if (budget < plan->floor_bytes) {
        return no_fit(plan, budget);
    }
    if (!p->store.n_layers) {
        return MOX_OK;
    }
    uint64_t left = budget - plan->floor_bytes, whole = whole_bytes(p);
    choose_io(in, p, left < whole ? left : whole);
    MOX_TRY(count_store(p));
    if (fixed_bytes(plan) + p->store_bytes > budget) {
        choose_io(in, p, 0);
        MOX_TRY(count_store(p));
    }
    left = budget - fixed_bytes(plan) - p->store_bytes;
    uint32_t n_classes;
    uint64_t ahead = p->store.top_k * class_bytes(p, &n_classes);
    if (left < whole && ahead * AHEAD_SHARE <= left) {
        p->store.transit_slots *= 2;
        left -= ahead;
    }
    if (shares_of(in)) {
        deal_shares(p, shares_of(in), UINT64_MAX, left);
    } else {
        deal_bytes(p, left);
    }
    MOX_TRY(count_store(p));
    uint32_t n_kept;
    while (fixed_bytes(plan) + p->store_bytes > budget && kept_bytes(p, &n_kept)) {
        drop_one(p);
        MOX_TRY(count_store(p));
    }
    return MOX_OK;
}

/* Budget in experts: exactly so many kept, whatever that takes. */
static mox_err place_experts(const mox_plan_in *in, mox_placement *p)
{
    const mox_budget *b = &in->cfg->ram;
    uint64_t all = (uint64_t)p->store.n_layers * p->store.n_experts;
    uint64_t n = b->experts;
    if (b->kind == MOX_BUDGET_EXPERTS_PCT) {
        n = (uint64_t)llround((double)all * b->pct / 100.0);
    }
    if (!p->store.n_layers) {
        return MOX_OK;
    }
    if (shares_of(in)) {
        deal_shares(p, shares_of(in), n, UINT64_MAX);
    } else {
        deal_count(p, n < all ? n : all);
    }
    uint32_t n_kept;
    choose_io(in, p, kept_bytes(p, &n_kept));
    if (n < all) {
        p->store.transit_slots *= 2; /* no limit in bytes was given */
    }
    return count_store(p);
}

float mox_ram_margin(const mox_cfg *cfg)
{
    return cfg->margin < 0 ? MOX_ADMIT_ALWAYS : cfg->margin;
}

float mox_vram_margin(const mox_cfg *cfg)
{
    return cfg->margin < 0 ? MOX_VRAM_MARGIN : cfg->margin;
}

/* Everything that does not depend on the budget; with devices mox_plan_vram moves some of it to their memory. */
static void count_fixed(const mox_plan_in *in, mox_plan *plan)
{
    mox_graph g = {.m = in->m, .dims = *in->dims};
    mox_arena dense = mox_arena_plan(), buffers = mox_arena_plan(), kv = mox_arena_plan();
    mox_model_take_dense(in->m, &dense);
    mox_graph_take_buffers(&g, &buffers);
    mox_graph_take_kv(&g, &kv);
    plan->process_bytes = PROCESS_BYTES + (uint64_t)in->dims->n_threads * THREAD_BYTES;
    plan->metadata_bytes = in->metadata_bytes;
    plan->dense_bytes = mox_round_up(dense.used, PAGE);
    plan->buffer_bytes = mox_round_up(buffers.used, PAGE);
    plan->kv_bytes = mox_round_up(kv.used, PAGE);
    plan->n_layers = in->m->h.n_layers;
    plan->n_moe_layers = in->m->n_moe_layers;
    plan->n_experts = in->m->h.n_experts;
    plan->top_k = in->m->h.top_k;
    plan->n_ctx = in->dims->n_ctx;
    plan->n_seq = in->dims->n_seq;
    plan->n_batch = in->dims->n_batch;
    plan->n_threads = in->dims->n_threads;
    plan->kv_type = mox_kv_type_name(in->dims->kv);
}

static void store_base(const mox_plan_in *in, mox_placement *p)
{
    const mox_model *m = in->m;
    mox_store_cfg_defaults(&p->store);
    p->store.n_layers = m->n_moe_layers;
    p->store.n_experts = m->h.n_experts;
    p->store.top_k = m->h.top_k;
    p->store.transit_slots = m->h.top_k;
    p->store.files = (const char *const *)m->files;
    p->store.file_ids = m->file_ids;
    p->store.n_files = m->n_files;
    p->store.layout = mox_model_layout_ops(in->m);
    p->store.policy = in->policy;
    p->store.margin = mox_ram_margin(in->cfg);
    p->store.look_ahead = in->dims->look_ahead;
    p->store.lease_arriving = true;
    p->store.io = in->cfg->io;
    p->store.verify = in->cfg->verify;
    p->store.io_limit_bps = in->cfg->io_limit_bps;
    p->store.shuffle_predictions = in->cfg->shuffle_predictions;
    p->store.seed = in->cfg->seed;
    for (uint32_t l = 0; l < m->n_moe_layers; l++) {
        p->layers[l] = (mox_store_layer){.slot_bytes = mox_model_slot_bytes(m, l)};
    }
}

/* The store's arena, split into the plan's lines; what is not a slot is I/O. */
static void write_lines(mox_plan *plan, const mox_placement *p)
{
    plan->expert_bytes = kept_bytes(p, &plan->kept_total);
    plan->transit_bytes = p->store.transit_slots * class_bytes(p, &plan->n_size_classes);
    plan->io_bytes = p->store_bytes - plan->expert_bytes - plan->transit_bytes;
    plan->experts_total = p->store.n_layers * p->store.n_experts;
    plan->transit_slots = p->store.transit_slots;
    for (uint32_t l = 0; l < p->store.n_layers; l++) {
        plan->kept[l] = p->layers[l].quota;
        plan->slot_bytes[l] = p->layers[l].slot_bytes;
    }
    if (p->store.n_layers == 0) {
        plan->transit_slots = 0;
    }
    plan->total_bytes =
        fixed_bytes(plan) + plan->io_bytes + plan->transit_bytes + plan->expert_bytes + plan->load_bytes;
}

/* The dense part passes through the slots' memory, or where that is less than its largest tensor through a piece of its
 * own before: as much of it as is of use and the budget allows. */
static void widen_window(mox_plan *plan, mox_placement *p)
{
    uint64_t of_use = p->dense_bytes < MOX_LOAD_WINDOW ? p->dense_bytes : MOX_LOAD_WINDOW;
    if (p->load_bytes <= p->store_bytes) {
        return;
    }
    uint64_t allowed = plan->budget_bytes ? plan->budget_bytes - fixed_bytes(plan) : UINT64_MAX;
    of_use = mox_round_up(of_use < allowed ? of_use : allowed - PAGE + 1, PAGE);
    p->load_bytes = larger(p->load_bytes, of_use);
    plan->load_bytes = p->load_bytes - p->store_bytes;
}

mox_err mox_plan_make(const mox_plan_in *in, mox_plan *plan, mox_placement *place)
{
    memset(plan, 0, sizeof *plan);
    memset(place, 0, sizeof *place);
    MOX_TRY(check_shares(in));
    count_fixed(in, plan);
    store_base(in, place);
    MOX_TRY(mox_plan_vram(in, plan, place));
    choose_io(in, place, 0);
    MOX_TRY(count_store(place));
    plan->floor_bytes = fixed_bytes(plan) + larger(place->store_bytes, place->load_bytes);
    mox_budget_kind kind = in->cfg->ram.kind;
    if (kind == MOX_BUDGET_EXPERTS || kind == MOX_BUDGET_EXPERTS_PCT) {
        MOX_TRY(place_experts(in, place));
    } else {
        MOX_TRY(place_bytes(in, plan, place));
    }
    widen_window(plan, place);
    write_lines(plan, place);
    return MOX_OK;
}
