/* Saved heat of a context: where the file is, when it is read and when it is written.
 *
 * Read before the RAM tier is filled, written when the context is closed, if anything was computed since. Neither is
 * needed to work: a file that cannot be used and a folder that cannot be written to are said in one line. The memory for
 * it is taken at open and part of the plan.
 */
#include "offload/heat.h"

#include "runtime/context.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool wanted(const mox_ctx *ctx)
{
    return ctx->cfg.heat && ctx->cfg.heat[0] != '\0' && ctx->model->n_moe_layers > 0;
}

size_t mox_ctx_heat_bytes(const mox_ctx *ctx)
{
    size_t cells = (size_t)ctx->model->n_moe_layers * ctx->model->h.n_experts;
    return wanted(ctx) ? cells * sizeof *ctx->heat + strlen(ctx->cfg.heat) + sizeof "0123456789abcdef" : 0;
}

static mox_heat_id identify(const mox_ctx *ctx)
{
    return (mox_heat_id){ctx->model->id, ctx->model->n_moe_layers, ctx->model->h.n_experts};
}

mox_err mox_ctx_heat_take(mox_ctx *ctx)
{
    size_t bytes = mox_ctx_heat_bytes(ctx);
    if (bytes == 0) {
        return MOX_OK;
    }
    ctx->heat = calloc(1, bytes);
    if (!ctx->heat) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "open: %zu bytes for saved heat", bytes);
    }
    size_t cells = (size_t)ctx->model->n_moe_layers * ctx->model->h.n_experts;
    size_t n = strlen(ctx->cfg.heat);
    ctx->heat_path = (char *)(ctx->heat + cells);
    memcpy(ctx->heat_path, ctx->cfg.heat, n);
    if (ctx->cfg.heat[n - 1] == '/') {
        snprintf(ctx->heat_path + n, sizeof "0123456789abcdef", "%016llx",
                 (unsigned long long)ctx->model->id);
    }
    return MOX_OK;
}

const float *mox_ctx_heat_load(mox_ctx *ctx)
{
    mox_heat_id id = identify(ctx);
    ctx->heat_used = false;
    if (!ctx->heat) {
        return NULL;
    }
    mox_err err = mox_heat_load(ctx->heat_path, &id, ctx->heat);
    ctx->heat_used = err == MOX_OK;
    if (err != MOX_OK && mox_err_last()->sys != ENOENT) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_WARN, "heat: %s; the experts are filled in turn",
                     mox_err_last()->msg);
    }
    return ctx->heat_used ? ctx->heat : NULL;
}

void mox_ctx_heat_save(mox_ctx *ctx)
{
    mox_heat_id id = identify(ctx);
    if (ctx->heat && mox_store_heat(ctx->store, ctx->heat) &&
        mox_heat_save(ctx->heat_path, &id, ctx->heat) != MOX_OK) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_WARN, "heat: %s; the next start does not know what was used",
                     mox_err_last()->msg);
    }
}

const char *mox_get_fill_order(const mox_ctx *ctx)
{
    return !ctx->store ? "none" : ctx->heat_used ? "saved heat" : "in turn";
}
