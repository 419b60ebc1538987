/* See device.h. Each rate is the best of a few copies of one size: what disturbs a copy is not the link. A copy within
 * a device's memory reads and writes it, so it counts twice. */
#include "runtime/cli/plan/device.h"

#include "runtime/core/clock.h"
#include "runtime/dev/loader.h"
#include "runtime/dev/pick.h"

#include <stdio.h>
#include <string.h>

#define COPY_BYTES (64ull << 20)
enum { PASSES = 5, SHARE = 4 /* of what is free, at most one in so many */ };

const char *mox_device_kind(const char *device)
{
    if (device == NULL || strcmp(device, "cpu") == 0) {
        return NULL;
    }
    return strncmp(device, "cpu:", 4) == 0 ? "cpu" : strncmp(device, "emu", 3) == 0 ? "emu" : "cuda";
}

/* The first one that cfg means, of --gpu's or of all. */
static mox_err find(const mox_cfg *cfg, mox_device_here *out, const mox_dev_module **module, uint32_t *id)
{
    uint32_t ids[MOX_PLAN_MAX_DEVICES] = {0};
    mox_dev_spec spec;
    mox_dev_info info;
    uint32_t n = 0;
    *out = (mox_device_here){.kind = mox_device_kind(cfg->device), .free_bytes = UINT64_MAX};
    *module = NULL;
    if (strcmp(out->kind, "cpu") == 0) {
        snprintf(out->name, sizeof out->name, "the CPU, which plays it");
        return MOX_OK;
    }
    MOX_TRY(mox_dev_spec_parse(&spec, cfg->device));
    MOX_TRY(mox_dev_load(module, &spec, cfg->device_dir));
    MOX_TRY((*module)->count(&n));
    if (n == 0) {
        return MOX_FAIL(MOX_E_DEVICE, "device %s: there is none", (*module)->name);
    }
    if (cfg->gpu) {
        MOX_TRY(mox_dev_pick(*module, cfg->gpu, ids, MOX_PLAN_MAX_DEVICES, &n));
    }
    *id = ids[0];
    MOX_TRY((*module)->info(*id, &info));
    snprintf(out->name, sizeof out->name, "%s", info.name);
    out->free_bytes = spec.vram != 0 && spec.vram < info.vram_free_bytes ? spec.vram : info.vram_free_bytes;
    return MOX_OK;
}

mox_err mox_device_find(const mox_cfg *cfg, mox_device_here *out)
{
    const mox_dev_module *module;
    uint32_t id;
    return find(cfg, out, &module, &id);
}

static mox_err best_copy(mox_dev *dev, mox_stream *s, void *to, const void *from, size_t bytes, double *out)
{
    for (int i = 0; i < PASSES; i++) {
        uint64_t t0 = mox_now_ns();
        MOX_TRY(dev->ops->copy(dev, s, to, from, bytes));
        MOX_TRY(dev->ops->stream_wait(dev, s));
        double rate = 1e9 * (double)bytes / (double)(mox_now_ns() - t0);
        *out = rate > *out ? rate : *out;
    }
    return MOX_OK;
}

static mox_err measure(mox_dev *dev, size_t bytes, mox_device_here *out)
{
    mox_stream *s = NULL;
    mox_buf near = {0}, far = {0};
    mox_err err;
    MOX_TRY_GOTO(err, dev->ops->mem_alloc(dev, bytes, MOX_MEM_PINNED, 0, &near), done);
    MOX_TRY_GOTO(err, dev->ops->mem_alloc(dev, 2 * bytes, MOX_MEM_DEVICE, 0, &far), done);
    MOX_TRY_GOTO(err, dev->ops->stream_create(dev, &s), done);
    memset(near.ptr, 1, bytes);
    MOX_TRY_GOTO(err, best_copy(dev, s, far.ptr, near.ptr, bytes, &out->up_bps), done);
    MOX_TRY_GOTO(err, best_copy(dev, s, near.ptr, far.ptr, bytes, &out->down_bps), done);
    MOX_TRY_GOTO(err, best_copy(dev, s, (char *)far.ptr + bytes, far.ptr, bytes, &out->own_bps), done);
    out->own_bps *= 2;
done:
    if (s) {
        dev->ops->stream_destroy(dev, &s);
    }
    if (far.ptr) {
        dev->ops->mem_free(dev, &far);
    }
    if (near.ptr) {
        dev->ops->mem_free(dev, &near);
    }
    return err;
}

mox_err mox_device_measure(const mox_cfg *cfg, mox_device_here *out)
{
    const mox_dev_module *module;
    const mox_dev_open_cfg open = {.log = &cfg->log};
    mox_dev *dev = NULL;
    mox_ops *ops = NULL;
    uint32_t id = 0;
    MOX_TRY(find(cfg, out, &module, &id));
    uint64_t room = out->free_bytes / SHARE;
    MOX_TRY(module ? module->open(id, &open, &dev, &ops) : mox_dev_cpu_create(&dev));
    mox_err err = measure(dev, room < COPY_BYTES ? (size_t)room : COPY_BYTES, out);
    if (ops) {
        mox_ops_destroy(&ops);
    }
    mox_dev_destroy(&dev);
    return err;
}
