/* The devices of a context, by what `--device` says: found before the plan, given memory after it, stopped at close.
 *
 * "cuda" and "emu" are modules (runtime/dev). "cpu:vram=SIZE" is the CPU playing devices: the same calls in the same order
 * as a GPU gets, on memory that is set aside, with the CPU's operations. It is how the hybrid step is tested without an
 * emulator, which is slow, and it is no faster than no device.
 *
 * A device is opened before the host's memory is taken, since it pins what the host keeps for it. The dense weights are
 * read into ordinary memory first, as without a device, go over, and the memory is given back.
 */
#include "runtime/context.h"
#include "runtime/core/bits.h"
#include "runtime/dev/loader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mox_err bad_spec(const char *text)
{
    (void)MOX_FAIL(MOX_E_OPTION, "--device: '%.100s'", text);
    return mox_err_fix("cpu, cuda[:n=N], emu[:n=N,vram=SIZE] or cpu:vram=SIZE[,n=N]");
}

static bool read_size(const char *s, char **end, uint64_t *out)
{
    static const char units[] = "KMGT";
    if (s[0] < '0' || s[0] > '9') {
        return false;
    }
    unsigned long long v = strtoull(s, end, 10);
    const char *unit = **end ? strchr(units, **end) : NULL;
    int shift = unit ? 10 * (int)(unit - units + 1) : 0;
    *end += unit != NULL;
    *out = (uint64_t)v << shift;
    return v > 0 && v <= UINT64_MAX >> shift;
}

/* "cpu:vram=64M,n=2" */
static mox_err find_played(mox_ctx *ctx)
{
    const char *text = ctx->cfg.device;
    uint64_t n = 1, bytes = 0;
    for (const char *at = text + strlen("cpu:"); *at;) {
        bool vram = strncmp(at, "vram=", 5) == 0;
        char *end = NULL;
        if ((!vram && strncmp(at, "n=", 2) != 0) ||
            !read_size(at + (vram ? 5 : 2), &end, vram ? &bytes : &n) || (*end != '\0' && *end != ',')) {
            return bad_spec(text);
        }
        at = end + (*end == ',');
    }
    if (bytes == 0 || n > MOX_PLAN_MAX_DEVICES) {
        return bad_spec(text);
    }
    ctx->on.cards.n = (uint32_t)n;
    for (uint32_t i = 0; i < n; i++) {
        ctx->on.free_bytes[i] = bytes;
    }
    return MOX_OK;
}

/* What the module's devices have. */
static mox_err find_free(mox_ctx *ctx, const mox_dev_spec *spec)
{
    mox_ctx_cards *on = &ctx->on;
    uint32_t there = 0;
    MOX_TRY(on->module->count(&there));
    on->cards.n = spec->n ? spec->n : 1;
    if (on->cards.n > there || on->cards.n > MOX_PLAN_MAX_DEVICES) {
        (void)MOX_FAIL(MOX_E_DEVICE, "device %s: %u are asked for, there are %u, at most %u can be used",
                       on->module->name, on->cards.n, there, (unsigned)MOX_PLAN_MAX_DEVICES);
        return mox_err_fix("--device %s:n=%u", on->module->name, there ? there : 1);
    }
    for (uint32_t i = 0; i < on->cards.n; i++) {
        mox_dev_info info;
        on->id[i] = i;
        MOX_TRY(on->module->info(on->id[i], &info));
        bool less = spec->vram != 0 && spec->vram < info.vram_free_bytes;
        on->free_bytes[i] = less ? spec->vram : info.vram_free_bytes;
    }
    return MOX_OK;
}

/* Every type has kernels there, but only with its own kind of activations. */
static mox_err check_activations(const mox_ctx *ctx)
{
    if (ctx->dims.act_f32) {
        (void)MOX_FAIL(MOX_E_CONFLICT, "open: activations that are not rounded have no kernels on a GPU");
        return mox_err_fix("--device cpu with --act f32");
    }
    return MOX_OK;
}

/* Operations that a device lacks. */
static mox_err check_operations(const mox_ctx *ctx, const mox_ops *ops)
{
    bool can_recur = ops->conv && ops->delta_prepare && ops->delta_rule;
    for (uint32_t i = 0; i < ctx->model->n_ops; i++) {
        if (ctx->model->ops[i].kind == MOX_LAYER_DELTA && !can_recur) {
            (void)MOX_FAIL(MOX_E_DEVICE, "open: layer %u is a gated delta net, which has no kernels on a GPU",
                           ctx->model->ops[i].layer);
            return mox_err_fix("--device cpu");
        }
    }
    return MOX_OK;
}

mox_err mox_ctx_cards_find(mox_ctx *ctx)
{
    const char *name = ctx->cfg.device;
    mox_dev_spec spec;
    ctx->on.cards.card = ctx->on.card;
    if (!name || strcmp(name, "cpu") == 0) {
        return MOX_OK;
    }
    if (strncmp(name, "cpu:", 4) == 0) {
        return find_played(ctx);
    }
    MOX_TRY(mox_dev_spec_parse(&spec, name));
    MOX_TRY(mox_dev_load(&ctx->on.module, &spec, ctx->cfg.device_dir));
    MOX_TRY(check_activations(ctx));
    return find_free(ctx, &spec);
}

static mox_err open_card(mox_ctx *ctx, uint32_t i)
{
    mox_card *c = &ctx->on.card[i];
    mox_dev_open_cfg cfg = {.vram_limit = ctx->plan.device[i].limit_bytes, .log = &ctx->cfg.log};
    if (!ctx->on.module) {
        return mox_dev_cpu_create(&c->dev);
    }
    MOX_TRY(ctx->on.module->open(ctx->on.id[i], &cfg, &c->dev, &c->ops));
    c->own_ops = true;
    return check_operations(ctx, c->ops);
}

mox_err mox_ctx_cards_start(mox_ctx *ctx)
{
    mox_cards *cs = &ctx->on.cards;
    cs->of_layer = ctx->plan.layer_device;
    cs->kept = ctx->plan.vram_kept;
    cs->miss = ctx->cfg.miss;
    mox_miss_init(&cs->automatic);
    for (uint32_t i = 0; i < cs->n && !ctx->cfg.dry_run; i++) {
        MOX_TRY(open_card(ctx, i));
        MOX_TRY(mox_card_start(&cs->card[i], ctx->model, &ctx->plan.device[i], i, ctx->place.vram));
    }
    return MOX_OK;
}

void mox_ctx_cards_take(mox_ctx *ctx)
{
    mox_cards *cs = &ctx->on.cards;
    for (uint32_t i = 0; i < cs->n; i++) {
        mox_graph *g = cs->graph[i] = i == 0 ? &ctx->graph : &ctx->on.graph[i - 1];
        mox_arena near = ctx->buffers; /* each from its beginning: they share it */
        *g = (mox_graph){.m = ctx->model,
                         .dims = ctx->dims,
                         .kept = ctx->plan.kept,
                         .cards = cs,
                         .card = i,
                         .dev = cs->card[i].dev,
                         .stream = cs->card[i].compute,
                         .dev_arena = &cs->card[i].buffers,
                         .played = !ctx->on.module};
        mox_graph_take_buffers(g, &near);
        mox_graph_take_kv(g, &cs->card[i].kv);
    }
}

void mox_ctx_cards_set_ops(mox_ctx *ctx)
{
    mox_cards *cs = &ctx->on.cards;
    for (uint32_t i = 0; i < cs->n; i++) {
        cs->card[i].ops = cs->card[i].ops ? cs->card[i].ops : ctx->ops;
        cs->graph[i]->ops = cs->card[i].ops;
        cs->graph[i]->host_ops = ctx->ops;
    }
}

mox_err mox_ctx_cards_move_dense(mox_ctx *ctx)
{
    MOX_TRY(mox_cards_move_dense(&ctx->on.cards, ctx->model));
    mox_arena_unmap(&ctx->dense);
    return MOX_OK;
}

static void free_pinned(mox_buf *buf, mox_arena *a)
{
    if (buf->ptr) {
        buf->dev->ops->mem_free(buf->dev, buf);
        *a = (mox_arena){0};
    }
}

void mox_ctx_cards_stop(mox_ctx *ctx)
{
    char text[160];
    mox_cards *cs = &ctx->on.cards;
    if (cs->n == 0) {
        return;
    }
    if (cs->miss == MOX_MISS_AUTO && cs->automatic.best_ns[MOX_MISS_CPU]) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_INFO, "miss: %s", mox_get_miss(ctx, text, sizeof text));
    }
    mox_cards_drain(cs);
    free_pinned(&ctx->on.slots, &ctx->store_arena);
    free_pinned(&ctx->on.buffers, &ctx->buffers);
    for (uint32_t i = cs->n; i-- > 0;) {
        mox_card_stop(&cs->card[i]);
    }
    ctx->graph.stream = NULL; /* it was a card's */
    cs->n = 0;
}

const char *mox_get_miss(const mox_ctx *ctx, char *out, size_t n)
{
    const mox_cards *cs = &ctx->on.cards;
    const mox_miss_auto *a = &cs->automatic;
    if (cs->n == 0) {
        return "none";
    }
    if (cs->miss != MOX_MISS_AUTO) {
        return mox_miss_name(cs->miss);
    }
    size_t at = (size_t)snprintf(out, n, "auto: %s", mox_miss_name(a->chosen));
    for (mox_miss w = MOX_MISS_CPU; w < MOX_MISSES && at < n; w++) {
        if (a->best_ns[w]) {
            at += (size_t)snprintf(out + at, n - at, "%s%s %.2f ms",
                                   w == MOX_MISS_CPU ? " (a step with " : ", ", mox_miss_name(w),
                                   (double)a->best_ns[w] / 1e6);
        }
    }
    if (a->best_ns[MOX_MISS_CPU] && at < n) {
        snprintf(out + at, n - at, ")");
    }
    return out;
}
