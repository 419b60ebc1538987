/* A context's device: the CPU, or a GPU from a module, with the dense weights, the cache and the buffers in its memory.
 *
 * A GPU is opened before memory is taken, since it pins what the host keeps for it. The dense weights are read into
 * ordinary memory first, as without a GPU, go over in one copy, and the memory is given back. Experts stay the store's
 * business.
 */
#include "runtime/context.h"
#include "runtime/dev/loader.h"

#include <stdio.h>
#include <string.h>

mox_err mox_ctx_device_spec(const mox_ctx *ctx, mox_dev_spec *out)
{
    bool played = ctx->cfg.device && strncmp(ctx->cfg.device, "cpu:", 4) == 0; /* devices.c */
    return mox_dev_spec_parse(out, ctx->cfg.device && !played ? ctx->cfg.device : "cpu");
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
static mox_err check_operations(const mox_ctx *ctx)
{
    const mox_ops *ops = ctx->gpu.ops;
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

mox_err mox_ctx_open_gpu(mox_ctx *ctx)
{
    mox_dev_spec spec;
    MOX_TRY(mox_ctx_device_spec(ctx, &spec));
    if (spec.kind == MOX_DEV_CPU || ctx->cfg.dry_run) {
        return MOX_OK;
    }
    const mox_dev_module *m;
    MOX_TRY(mox_dev_load(&m, &spec, ctx->cfg.device_dir));
    MOX_TRY(check_activations(ctx));
    MOX_TRY(m->open(0, &(mox_dev_open_cfg){.vram_limit = spec.vram, .log = &ctx->cfg.log}, &ctx->gpu.dev,
                    &ctx->gpu.ops));
    MOX_TRY(ctx->gpu.dev->ops->stream_create(ctx->gpu.dev, &ctx->gpu.stream));
    return check_operations(ctx);
}

/* One line of the plan becomes an arena in the device's memory. */
static mox_err take_far(mox_ctx *ctx, uint64_t bytes, mox_buf *buf, mox_arena *a)
{
    mox_dev *dev = ctx->gpu.dev;
    MOX_TRY(dev->ops->mem_alloc(dev, bytes, MOX_MEM_DEVICE, 0, buf));
    *a = (mox_arena){.base = buf->ptr, .bytes = bytes};
    return MOX_OK;
}

mox_err mox_ctx_map_gpu(mox_ctx *ctx)
{
    const mox_plan *p = &ctx->plan;
    mox_arena unused;
    MOX_TRY(take_far(ctx, p->gpu_dense_bytes, &ctx->gpu.dense, &unused));
    MOX_TRY(take_far(ctx, p->gpu_kv_bytes, &ctx->gpu.kv, &ctx->gpu.kv_arena));
    return take_far(ctx, p->gpu_buffer_bytes, &ctx->gpu.buffers, &ctx->gpu.buffer_arena);
}

mox_err mox_ctx_move_dense(mox_ctx *ctx)
{
    mox_arena far = {.base = ctx->gpu.dense.ptr, .bytes = ctx->gpu.dense.bytes};
    MOX_TRY(mox_graph_move_dense(&ctx->graph, ctx->model, &ctx->dense, &far));
    mox_arena_unmap(&ctx->dense);
    return MOX_OK;
}

void mox_ctx_close_gpu(mox_ctx *ctx)
{
    mox_dev *dev = ctx->gpu.dev;
    if (!dev) {
        return;
    }
    dev->ops->stream_destroy(dev, &ctx->gpu.stream);
    mox_buf *all[] = {&ctx->gpu.dense, &ctx->gpu.kv, &ctx->gpu.buffers, &ctx->gpu.near, &ctx->gpu.slots};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        dev->ops->mem_free(dev, all[i]);
    }
    mox_ops_destroy(&ctx->gpu.ops);
    mox_dev_destroy(&ctx->gpu.dev);
}
