/* The devices of a context: found before the plan, given memory after it, stopped at close.
 *
 * "cpu:vram=SIZE" is the CPU playing devices: the same calls in the same order as a GPU gets, on memory that is set aside. It
 * is how the hybrid step is tested where there is no GPU, and it is no faster than none.
 */
#include "runtime/context.h"

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

/* "vram=64M,n=2" */
static mox_err read_played(const char *text, uint64_t *bytes, uint64_t *n)
{
    *n = 1;
    *bytes = 0;
    for (const char *at = text + strlen("cpu:"); *at;) {
        bool vram = strncmp(at, "vram=", 5) == 0;
        char *end = NULL;
        if ((!vram && strncmp(at, "n=", 2) != 0) || !read_size(at + (vram ? 5 : 2), &end, vram ? bytes : n) ||
            (*end != '\0' && *end != ',')) {
            return bad_spec(text);
        }
        at = end + (*end == ',');
    }
    return *bytes > 0 && *n <= MOX_PLAN_MAX_DEVICES ? MOX_OK : bad_spec(text);
}

static mox_err open_played(mox_ctx *ctx)
{
    uint64_t bytes, n;
    MOX_TRY(read_played(ctx->cfg.device, &bytes, &n));
    for (uint32_t i = 0; i < n; i++) {
        MOX_TRY(mox_dev_cpu_create(&ctx->device_of[i].dev));
        ctx->device_bytes[i] = bytes;
        ctx->devices.n = i + 1;
    }
    return MOX_OK;
}

mox_err mox_ctx_devices_open(mox_ctx *ctx)
{
    const char *name = ctx->cfg.device;
    ctx->devices.d = ctx->device_of;
    if (!name || strcmp(name, "cpu") == 0) {
        return MOX_OK;
    }
    if (strncmp(name, "cpu:", 4) == 0) {
        return open_played(ctx);
    }
    /* The graph runs in its memory (device.c), and experts are read over the link. */
    if (ctx->cfg.vram.kind != MOX_BUDGET_AUTO || ctx->cfg.miss != MOX_MISS_AUTO) {
        (void)MOX_FAIL(MOX_E_CONFLICT,
                       "open: experts do not stay in the VRAM of '%.60s' yet: it reads all of them over "
                       "the link",
                       name);
        return mox_err_fix("no --vram, --vram-experts and --miss, or --device cpu:vram=SIZE");
    }
    return MOX_OK;
}

mox_err mox_ctx_devices_start(mox_ctx *ctx)
{
    mox_devices *ds = &ctx->devices;
    mox_device_shape shape = {ctx->model, &ctx->dims};
    ds->of_layer = ctx->plan.vram_device;
    ds->miss = ctx->cfg.miss;
    mox_miss_init(&ds->automatic);
    if (ds->n == 0 || ctx->cfg.dry_run) {
        return MOX_OK;
    }
    for (uint32_t i = 0; i < ds->n; i++) {
        mox_device *d = &ds->d[i];
        d->ops = d->ops ? d->ops : ctx->ops;
        MOX_TRY(mox_device_start(d, &shape, i, ctx->place.vram, ctx->place.far_bytes[i],
                                 ctx->place.near_bytes[i]));
    }
    ctx->place.store.vram.layers = ctx->place.vram;
    ctx->place.store.vram.link = mox_devices_link(ds);
    return MOX_OK;
}

void mox_ctx_devices_stop(mox_ctx *ctx)
{
    char text[160];
    if (ctx->devices.miss == MOX_MISS_AUTO && ctx->devices.automatic.best_ns[MOX_MISS_CPU]) {
        mox_log_line(&ctx->cfg.log, MOX_LOG_INFO, "miss: %s", mox_get_miss(ctx, text, sizeof text));
    }
    for (uint32_t i = 0; i < ctx->devices.n; i++) {
        mox_device_stop(&ctx->device_of[i]);
    }
    ctx->devices.n = 0;
}

const char *mox_get_miss(const mox_ctx *ctx, char *out, size_t n)
{
    const mox_devices *ds = &ctx->devices;
    const mox_miss_auto *a = &ds->automatic;
    if (ds->n == 0) {
        return "none";
    }
    if (ds->miss != MOX_MISS_AUTO) {
        return mox_miss_name(ds->miss);
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
