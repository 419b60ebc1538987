/* The devices of a context, by what `--device` says: found before the plan, given memory after it, stopped at close.
 *
 * "cuda" and "emu" are modules (runtime/dev). "cpu:vram=SIZE" is the CPU playing devices: the same calls in the same order
 * as a GPU gets, on memory that is set aside, with the CPU's operations. It is how the hybrid step is tested without an
 * emulator, which is slow, and it is no faster than no device.
 *
 * A device is opened before the host's memory is taken, since it pins what the host keeps for it. The dense weights pass
 * through a window of that memory: the experts', which are not there yet, or where that is too small a piece of its own,
 * given back before the experts' is taken. So loading stays within the plan.
 */
#include "runtime/context.h"
#include "runtime/core/bits.h"
#include "runtime/dev/loader.h"
#include "runtime/dev/pick.h"

#include <stdio.h>
#include <string.h>

#define MIB (1024.0 * 1024.0)

/* n devices, of `there` that exist. */
static mox_err take_number(mox_ctx_cards *on, const char *name, uint32_t n, uint32_t there)
{
    on->cards.n = n ? n : 1;
    if (on->cards.n > there || on->cards.n > MOX_PLAN_MAX_DEVICES) {
        (void)MOX_FAIL(MOX_E_DEVICE, "device %s: %u are asked for, there are %u, at most %u can be used",
                       name, on->cards.n, there, (unsigned)MOX_PLAN_MAX_DEVICES);
        return mox_err_fix("--device %s:n=%u", name, there ? there : 1);
    }
    for (uint32_t i = 0; i < on->cards.n; i++) {
        on->id[i] = i;
    }
    return MOX_OK;
}

/* The CPU plays as many as are asked for. */
static mox_err find_played(mox_ctx *ctx, const mox_dev_spec *spec)
{
    MOX_TRY(take_number(&ctx->on, ctx->cfg.device, spec->n, MOX_PLAN_MAX_DEVICES));
    for (uint32_t i = 0; i < ctx->on.cards.n; i++) {
        ctx->on.free_bytes[i] = spec->vram;
    }
    return MOX_OK;
}

/* The module's devices that --gpu names, or its first ones. */
static mox_err choose(mox_ctx *ctx, const mox_dev_spec *spec)
{
    mox_ctx_cards *on = &ctx->on;
    uint32_t there = 0;
    if (!ctx->cfg.gpu) {
        MOX_TRY(on->module->count(&there));
        return take_number(on, on->module->name, spec->n, there);
    }
    MOX_TRY(mox_dev_pick(on->module, ctx->cfg.gpu, on->id, MOX_PLAN_MAX_DEVICES, &on->cards.n));
    if (spec->kind == MOX_DEV_CUDA && spec->n && spec->n != on->cards.n) {
        (void)MOX_FAIL(MOX_E_CONFLICT, "--device cuda:n=%u and --gpu %.60s, which names %u", spec->n,
                       ctx->cfg.gpu, on->cards.n);
        return mox_err_fix("--gpu alone: --device cuda --gpu %.60s", ctx->cfg.gpu);
    }
    return MOX_OK;
}

/* What they are and have. */
static mox_err find_free(mox_ctx *ctx, const mox_dev_spec *spec)
{
    mox_ctx_cards *on = &ctx->on;
    MOX_TRY(choose(ctx, spec));
    for (uint32_t i = 0; i < on->cards.n; i++) {
        mox_dev_info info;
        MOX_TRY(on->module->info(on->id[i], &info));
        bool less = spec->vram != 0 && spec->vram < info.vram_free_bytes;
        on->free_bytes[i] = less ? spec->vram : info.vram_free_bytes;
        mox_log_line(&ctx->cfg.log, MOX_LOG_INFO, "device %u: GPU %u, %s, %s, %.0f of %.0f MiB free", i,
                     on->id[i], info.name, info.uuid, (double)info.vram_free_bytes / MIB,
                     (double)info.vram_bytes / MIB);
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
    const char *name = ctx->cfg.device ? ctx->cfg.device : "cpu";
    mox_dev_spec spec;
    ctx->on.cards.card = ctx->on.card;
    MOX_TRY(mox_dev_spec_parse(&spec, name));
    if (spec.kind == MOX_DEV_CPU && ctx->cfg.gpu) {
        (void)MOX_FAIL(MOX_E_CONFLICT, "--gpu %.60s with --device %.60s, which uses none", ctx->cfg.gpu,
                       name);
        return mox_err_fix("--device cuda --gpu %.60s", ctx->cfg.gpu);
    }
    if (spec.kind == MOX_DEV_CPU) {
        return spec.vram ? find_played(ctx, &spec) : MOX_OK;
    }
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

/* Weights from the first on get places in the window while they fit; behind the last of them. */
static uint32_t take_some(mox_model *m, uint32_t first, mox_arena *window)
{
    uint32_t end = first;
    window->used = 0;
    while (end < m->n_weights && window->used + mox_model_weight_bytes(&m->weights[end]) <= window->bytes) {
        mox_model_take_weight(&m->weights[end++], window);
    }
    return end;
}

mox_err mox_ctx_cards_load_dense(mox_ctx *ctx, mox_dense_load *load, mox_arena *window)
{
    mox_model *m = ctx->model;
    size_t most = 0;
    for (uint32_t end; load->first < m->n_weights; load->first = end) {
        end = take_some(m, load->first, window);
        if (end == load->first) {
            return MOX_FAIL(MOX_E_INTERNAL, "open: %zu bytes are too few for '%s'", window->bytes,
                            m->weights[end].name);
        }
        most = window->used > most ? window->used : most;
        load->n = end - load->first;
        load->arena = &(mox_arena){.base = window->base, .bytes = window->used};
        MOX_TRY(mox_model_load_dense(m, load));
        MOX_TRY(mox_cards_move_dense(&ctx->on.cards, m, load->first, end));
    }
    memset(window->base, 0, most); /* as it was */
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
    mox_cards_forget(cs);
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
