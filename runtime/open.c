/* Opening a model: header -> model -> plan -> arenas -> threads -> dense weights -> experts -> ready.
 *
 * The plan is made from headers by the code that later allocates, so `mox_plan_model` is the first half of
 * `mox_open` and nothing else. After mox_open returns nothing is allocated by any thread.
 */
#include "runtime/context.h"
#include "runtime/core/bits.h"
#include "runtime/core/clock.h"
#include "runtime/live.h"
#include "runtime/plan/predict.h"
#include "runtime/stop.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    DEFAULT_CTX = 4096,
    DEFAULT_BATCH = 512,
    MAX_CTX = 1 << 24,
    MAX_BATCH = 1 << 16,
    MAX_SEQ = 1 << 15, /* a trace has 16 bits for it */
    MAX_THREADS = 256,
    PROGRESS_NS = 100000000,
    PAGE = 4096,
    DENSE_STAGING = 20 << 20, /* 32 reads of 512 KiB, and more for wide rows */
};

/* Linux 5.14; a kernel without it faults the pages in at first use. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

void mox_cfg_defaults(mox_cfg *cfg)
{
    *cfg = (mox_cfg){.ram = {.kind = MOX_BUDGET_AUTO},
                     .n_seq = 1,
                     .n_batch = DEFAULT_BATCH,
                     .kv = MOX_KV_F16,
                     .io = MOX_IO_AUTO,
                     .verify = MOX_VERIFY_SAMPLE,
                     .policy = "auto",
                     .margin = -1,
                     .look_ahead = true,
                     .cuda_graph = true,
                     .isa = -1,
                     .huge_pages = true,
                     .log = {.level = MOX_LOG_INFO}};
}

static void report(mox_ctx *ctx, const char *stage, uint64_t done, uint64_t total)
{
    uint64_t now = mox_now_ns();
    bool edge = done == 0 || done >= total;
    if (ctx->cfg.progress && (edge || now - ctx->last_progress_ns >= PROGRESS_NS)) {
        ctx->last_progress_ns = now;
        ctx->cfg.progress(ctx->cfg.progress_ctx, stage, done, total);
    }
}

static void report_dense(void *ctx, uint64_t done, uint64_t total)
{
    report(ctx, "dense", done, total);
}

static void report_experts(void *ctx, uint64_t done, uint64_t total)
{
    report(ctx, "experts", done, total);
}

/* Counts that come from the user: bounded, and filled in where left open. */
static mox_err resolve_dims(mox_ctx *ctx)
{
    const mox_cfg *c = &ctx->cfg;
    const mox_hparams *h = &ctx->model->h;
    mox_dims *d = &ctx->dims;
    d->n_ctx = c->n_ctx ? c->n_ctx : h->n_ctx_train < DEFAULT_CTX ? h->n_ctx_train : DEFAULT_CTX;
    d->n_seq = c->n_seq ? c->n_seq : 1;
    d->n_threads = c->n_threads ? c->n_threads : mox_topo_cores(ctx->topo);
    if (d->n_ctx > MAX_CTX || d->n_seq > MAX_SEQ || d->n_threads > MAX_THREADS || c->n_batch > MAX_BATCH) {
        return MOX_FAIL(MOX_E_ARG,
                        "open: context %u, sequences %u, threads %u, batch %u: at most %u, %u, %u, %u",
                        d->n_ctx, d->n_seq, d->n_threads, c->n_batch, (unsigned)MAX_CTX, (unsigned)MAX_SEQ,
                        (unsigned)MAX_THREADS, (unsigned)MAX_BATCH);
    }
    uint64_t positions = (uint64_t)d->n_ctx * d->n_seq;
    uint32_t batch = c->n_batch ? c->n_batch : DEFAULT_BATCH;
    d->n_batch = batch < positions ? batch : (uint32_t)positions;
    d->kv = c->kv;
    d->act_f32 = c->act_f32;
    d->look_ahead = c->look_ahead;
    if ((unsigned)c->kv >= MOX_KV_TYPES || mox_kv_row_bytes(c->kv, h->kv.k_dim) == 0 ||
        mox_kv_row_bytes(c->kv, h->kv.v_dim) == 0) {
        return MOX_FAIL(MOX_E_ARG, "open: a KV cache of type %s cannot hold heads of length %u and %u",
                        (unsigned)c->kv < MOX_KV_TYPES ? mox_kv_type_name(c->kv) : "?", h->kv.k_dim,
                        h->kv.v_dim);
    }
    if (d->n_ctx > h->n_ctx_train) {
        mox_log_line(&c->log, MOX_LOG_WARN, "open: context %u, the model was trained with %u", d->n_ctx,
                     h->n_ctx_train);
    }
    return MOX_OK;
}

static mox_err read_header(mox_ctx *ctx)
{
    if (!ctx->cfg.model) {
        return MOX_FAIL(MOX_E_ARG, "open: no model given");
    }
    report(ctx, "header", 0, 1);
    mox_gguf *g = NULL;
    bool header_only = ctx->cfg.header_only;
    MOX_TRY(header_only ? mox_gguf_open_header(&g, ctx->cfg.model) : mox_gguf_open(&g, ctx->cfg.model));
    mox_err err = mox_model_create(&ctx->model, g, &ctx->cfg.log);
    if (err == MOX_OK && mox_gguf_has(g, "tokenizer.ggml.model")) {
        if (mox_tokenizer_is_known(g)) {
            err = mox_tokenizer_create(&ctx->tokenizer, g);
            if (err == MOX_OK && mox_tokenizer_note(ctx->tokenizer)) {
                mox_log_line(&ctx->cfg.log, MOX_LOG_WARN, "tokenizer: %s",
                             mox_tokenizer_note(ctx->tokenizer));
            }
        } else { /* the model can still be run on ids */
            mox_log_line(&ctx->cfg.log, MOX_LOG_WARN, "%s: ids only, no text", mox_err_last()->msg);
        }
    }
    mox_gguf_close(&g);
    return err;
}

/* Everything up to the plan. */
static mox_err prepare(mox_ctx *ctx)
{
    const mox_policy_ops *policy = mox_policy_by_name(ctx->cfg.policy ? ctx->cfg.policy : "auto");
    if (!policy || policy->needs_future) {
        return MOX_FAIL(MOX_E_ARG, "open: '%s' is not a policy that can run", ctx->cfg.policy);
    }
    MOX_TRY(read_header(ctx));
    MOX_TRY(mox_topo_create(&ctx->topo));
    MOX_TRY(resolve_dims(ctx));
    uint64_t metadata = sizeof *ctx + mox_model_bytes(ctx->model) + mox_ctx_heat_bytes(ctx) +
                        mox_ctx_record_bytes(ctx) + mox_live_memory(ctx);
    if (ctx->tokenizer) {
        ctx->text_bytes = MOX_STOP_BYTES + 2 * mox_detok_max(ctx->tokenizer); /* held, a token, a flush */
        metadata += mox_tokenizer_bytes(ctx->tokenizer) + ctx->text_bytes;
    }
    MOX_TRY(mox_ctx_cards_find(ctx));
    mox_plan_in in = {.m = ctx->model,
                      .dims = &ctx->dims,
                      .cfg = &ctx->cfg,
                      .policy = policy,
                      .metadata_bytes = metadata,
                      .n_devices = ctx->on.cards.n,
                      .device_bytes = ctx->on.free_bytes,
                      .module_bytes = ctx->on.module ? ctx->on.module->own_bytes : 0,
                      .played = !ctx->on.module};
    MOX_TRY(mox_plan_make(&in, &ctx->plan, &ctx->place));
    report(ctx, "header", 1, 1);
    return MOX_OK;
}

static void touch(mox_arena *a)
{
    for (size_t at = 0; at < a->bytes; at += PAGE) {
        ((volatile uint8_t *)a->base)[at] = 0;
    }
}

static mox_err allocate(mox_ctx *ctx)
{
    MOX_TRY(mox_ctx_map(ctx));
    mox_graph *g = &ctx->graph;
    *g = (mox_graph){.m = ctx->model, .dims = ctx->dims, .kept = ctx->plan.kept};
    if (ctx->cfg.dry_run) {
        return MOX_OK;
    }
    if (ctx->text_bytes && !(ctx->text = malloc(ctx->text_bytes))) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "open: %zu bytes for a token's text", ctx->text_bytes);
    }
    MOX_TRY(mox_ctx_heat_take(ctx));
    touch(&ctx->kv);
    touch(&ctx->buffers);
    if (ctx->on.cards.n) {
        mox_ctx_cards_take(ctx);
        return MOX_OK;
    }
    mox_model_take_dense(ctx->model, &ctx->dense);
    mox_graph_take_buffers(g, &ctx->buffers);
    mox_graph_take_kv(g, &ctx->kv);
    return MOX_OK;
}

/* Workers are pinned, the caller is not: it belongs to the program, opens other contexts, and the I/O thread
 * would inherit its pin. */
static void bind_worker(void *topo, uint32_t worker)
{
    if (worker != 0) {
        mox_topo_bind_worker(topo, worker);
    }
}

static mox_err start_device(mox_ctx *ctx)
{
    mox_topo_set_workers(ctx->topo, ctx->dims.n_threads);
    mox_pool_cfg pool = {
        .n_workers = ctx->dims.n_threads, .bind = bind_worker, .bind_ctx = ctx->topo, .spin_us = 50};
    MOX_TRY(mox_pool_create(&ctx->pool, &pool));
    MOX_TRY(mox_dev_cpu_create(&ctx->dev));
    mox_isa isa = ctx->cfg.isa < 0 ? mox_isa_best() : (mox_isa)ctx->cfg.isa;
    MOX_TRY(mox_ops_cpu_create(&ctx->ops, ctx->pool, isa));
    if (ctx->on.cards.n) {
        mox_ctx_cards_set_ops(ctx);
        return MOX_OK;
    }
    ctx->graph.ops = ctx->graph.host_ops = ctx->ops;
    MOX_TRY(ctx->dev->ops->stream_create(ctx->dev, &ctx->graph.stream));
    return MOX_OK;
}

static mox_err start_store(mox_ctx *ctx)
{
    if (!ctx->model->n_moe_layers) {
        return MOX_OK;
    }
    mox_store_cfg *s = &ctx->place.store;
    s->layers = ctx->place.layers;
    s->log = &ctx->cfg.log;
    s->io_override = ctx->cfg.io_override;
    s->io_override_ctx = ctx->cfg.io_override_ctx;
    s->pool = ctx->pool;
    s->reserve_only = ctx->cfg.dry_run;
    s->vram.link = mox_cards_link(&ctx->on.cards);
    MOX_TRY(mox_store_create(&ctx->store, s, &ctx->store_arena));
    ctx->graph.store = ctx->store;
    for (uint32_t i = 1; i < ctx->on.cards.n; i++) {
        ctx->on.graph[i - 1].store = ctx->store;
    }
    if (ctx->cfg.dry_run) {
        return MOX_OK;
    }
    MOX_TRY(mox_store_fill(ctx->store, mox_ctx_heat_load(ctx), report_experts, ctx));
    /* The fill touched the kept slots; now the rest, so that all memory is there before "ready". */
    madvise(ctx->store_arena.base, mox_round_up(ctx->store_arena.bytes, PAGE), MADV_POPULATE_WRITE);
    return MOX_OK;
}

static mox_err start_replay(mox_ctx *ctx)
{
    if (!ctx->cfg.replay_routing) {
        return MOX_OK;
    }
    mox_replay_shape shape = {ctx->model->n_moe_layers, ctx->model->h.n_experts, ctx->model->h.top_k};
    MOX_TRY(mox_replay_open(&ctx->replay, ctx->cfg.replay_routing, shape));
    ctx->graph.replay = &ctx->replay;
    return MOX_OK;
}

/* With cards: through the experts' memory, beside what is lent for the reads if there is room for both. */
static mox_err load_through(mox_ctx *ctx, mox_dense_load *load, size_t lent)
{
    mox_arena window = ctx->dense, *experts = &ctx->store_arena;
    if (!window.base) {
        size_t room = experts->bytes >= lent + ctx->place.load_bytes ? experts->bytes - lent : 0;
        if (room == 0) {
            load->staging = ctx->graph.staging;
            load->staging_bytes = ctx->graph.staging_bytes;
            room = experts->bytes;
        }
        window = (mox_arena){.base = experts->base, .bytes = room < MOX_LOAD_WINDOW ? room : MOX_LOAD_WINDOW};
        window.bytes = window.bytes > ctx->place.load_bytes ? window.bytes : ctx->place.load_bytes;
    }
    return mox_ctx_cards_load_dense(ctx, load, &window);
}

/* Buffers for the reads are lent by what is not in use yet: the scratch of the graph or the end of the experts'
 * memory, which is given back as it was. */
static mox_err load_dense(mox_ctx *ctx)
{
    mox_dense_load load = {.pool = ctx->pool,
                           .arena = &ctx->dense,
                           .staging = ctx->graph.staging,
                           .staging_bytes = ctx->graph.staging_bytes,
                           .io = ctx->cfg.io,
                           .progress = report_dense,
                           .progress_ctx = ctx};
    size_t lent = ctx->store_arena.bytes < DENSE_STAGING ? ctx->store_arena.bytes : DENSE_STAGING;
    if (lent <= load.staging_bytes) {
        lent = 0;
    } else {
        load.staging = ctx->store_arena.base + ctx->store_arena.bytes - lent;
        load.staging_bytes = lent;
    }
    mox_err err = ctx->on.cards.n ? load_through(ctx, &load, lent) : mox_model_load_dense(ctx->model, &load);
    if (lent) {
        memset(ctx->store_arena.base + ctx->store_arena.bytes - lent, 0, lent);
    }
    return err;
}

static double seconds_since(uint64_t begin)
{
    return (double)(mox_now_ns() - begin) / 1e9;
}

/* "emu and cpu avx2, 2 threads" */
static void name_device(mox_ctx *ctx)
{
    uint32_t n = ctx->on.module ? ctx->on.cards.n : 0;
    char many[16] = "";
    if (n > 1) {
        snprintf(many, sizeof many, "%u ", n);
    }
    snprintf(ctx->device, sizeof ctx->device, "%s%s%s%s, %u thread%s", many, n ? ctx->on.module->name : "",
             n ? " and " : "", ctx->ops->name, ctx->dims.n_threads, ctx->dims.n_threads == 1 ? "" : "s");
}

static mox_err bring_up(mox_ctx *ctx)
{
    MOX_TRY(prepare(ctx));
    MOX_TRY(mox_ctx_cards_start(ctx));
    MOX_TRY(allocate(ctx));
    if (ctx->cfg.dry_run) {
        snprintf(ctx->device, sizeof ctx->device, "cpu, dry run");
        MOX_TRY(mox_ctx_map_experts(ctx));
        return start_store(ctx);
    }
    MOX_TRY(start_device(ctx));
    name_device(ctx);
    uint64_t begin = mox_now_ns();
    MOX_TRY(load_dense(ctx));
    MOX_TRY(mox_ctx_map_experts(ctx));
    for (uint32_t i = 0; i < ctx->model->n_weights; i++) {
        ctx->load.dense_bytes += ctx->model->weights[i].file_bytes;
    }
    ctx->load.dense_s = seconds_since(begin);
    begin = mox_now_ns();
    MOX_TRY(start_store(ctx));
    ctx->load.experts_s = seconds_since(begin);
    if (ctx->store) {
        mox_counters c = {0};
        mox_store_counters(ctx->store, &c, NULL);
        ctx->load.expert_bytes = c.io.fill_bytes;
    }
    if (ctx->on.cards.n && ctx->cfg.cuda_graph) {
        mox_cards_capture(&ctx->on.cards, ctx->on.buffers.kind == MOX_MEM_PINNED, &ctx->cfg.log);
    }
    mox_ctx_check_huge(ctx);
    MOX_TRY(start_replay(ctx));
    mox_live_start(ctx);
    return mox_ctx_record(ctx);
}

mox_err mox_open(mox_ctx **out, const mox_cfg *cfg)
{
    mox_ctx *ctx = aligned_alloc(64, mox_round_up(sizeof *ctx, 64));
    if (!ctx) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "open: %zu bytes for the context", sizeof *ctx);
    }
    memset(ctx, 0, sizeof *ctx);
    ctx->cfg = *cfg;
    mox_hash128_init(&ctx->hash);
    uint64_t begin = mox_now_ns();
    mox_err err = bring_up(ctx);
    ctx->load.total_s = seconds_since(begin);
    if (err != MOX_OK) {
        /* closing may fail in ways of its own; the first failure is the answer */
        mox_err_info first = *mox_err_last();
        mox_close(&ctx);
        return mox_err_restore(&first);
    }
    *out = ctx;
    return MOX_OK;
}

void mox_close(mox_ctx **pctx)
{
    mox_ctx *ctx = *pctx;
    if (!ctx) {
        return;
    }
    mox_live_stop(ctx);
    if (mox_end_record(ctx) != MOX_OK) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_ERROR, "trace: %s", mox_err_last()->msg);
    }
    if (ctx->store) {
        mox_ctx_heat_save(ctx);
        mox_store_destroy(&ctx->store);
    }
    mox_ctx_cards_stop(ctx);
    if (ctx->ops) {
        mox_ops_destroy(&ctx->ops);
    }
    if (ctx->graph.stream) {
        ctx->dev->ops->stream_destroy(ctx->dev, &ctx->graph.stream);
    }
    if (ctx->dev) {
        mox_dev_destroy(&ctx->dev);
    }
    if (ctx->pool) {
        mox_pool_destroy(&ctx->pool);
    }
    if (ctx->topo) {
        mox_topo_destroy(&ctx->topo);
    }
    mox_arena_unmap(&ctx->store_arena);
    mox_arena_unmap(&ctx->buffers);
    mox_arena_unmap(&ctx->kv);
    mox_arena_unmap(&ctx->dense);
    free(ctx->text);
    free(ctx->heat);
    mox_replay_close(&ctx->replay);
    if (ctx->tokenizer) {
        mox_tokenizer_destroy(&ctx->tokenizer);
    }
    mox_model_destroy(&ctx->model);
    free(ctx);
    *pctx = NULL;
}

mox_err mox_plan_model(mox_plan *out, const mox_cfg *cfg)
{
    mox_work work;
    return mox_plan_work(out, &work, cfg);
}

mox_err mox_plan_work(mox_plan *out, mox_work *work, const mox_cfg *cfg)
{
    mox_ctx *ctx = aligned_alloc(64, mox_round_up(sizeof *ctx, 64));
    if (!ctx) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "plan: %zu bytes for the context", sizeof *ctx);
    }
    memset(ctx, 0, sizeof *ctx);
    ctx->cfg = *cfg;
    mox_err err = prepare(ctx);
    if (err == MOX_OK) {
        *out = ctx->plan;
        mox_work_of(ctx->model, ctx->plan.kv_bytes, work);
    }
    mox_err_info first = *mox_err_last();
    mox_close(&ctx);
    return err == MOX_OK ? MOX_OK : mox_err_restore(&first);
}

const mox_plan *mox_get_plan(const mox_ctx *ctx)
{
    return &ctx->plan;
}

uint64_t mox_actual_bytes(const mox_ctx *ctx)
{
    uint64_t metadata = sizeof *ctx + mox_model_bytes(ctx->model) + mox_ctx_heat_bytes(ctx) +
                        mox_ctx_record_bytes(ctx) + mox_live_memory(ctx);
    if (ctx->tokenizer) {
        metadata += mox_tokenizer_bytes(ctx->tokenizer) + ctx->text_bytes;
    }
    return metadata + ctx->dense.bytes + ctx->kv.bytes + ctx->buffers.bytes + ctx->store_arena.bytes +
           ctx->gone_bytes;
}

const mox_load_times *mox_get_load(const mox_ctx *ctx)
{
    return &ctx->load;
}

const mox_tokenizer *mox_get_tokenizer(const mox_ctx *ctx)
{
    return ctx->tokenizer;
}

const char *mox_get_device(const mox_ctx *ctx)
{
    return ctx->device;
}

const char *mox_get_io(const mox_ctx *ctx)
{
    return ctx->store ? mox_store_io_name(ctx->store) : "none";
}

const char *mox_get_look_ahead(const mox_ctx *ctx)
{
    if (!ctx->store || !ctx->cfg.look_ahead) {
        return "off";
    }
    return mox_store_ahead_off(ctx->store) ? "switched off" : "on";
}
