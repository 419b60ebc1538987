/* mox_dev_ops over the CUDA runtime API. The same file serves a real GPU and the emulator.
 *
 * Device memory is taken at open and counted here against a limit, so that a plan of 8 GiB takes 8 GiB on a card of 24.
 * Pinned memory is the project's own mapping (huge pages and all) that CUDA is asked to register: where it refuses, the
 * same memory serves as ordinary memory, which copies more slowly, and that is said in one line. Mapped memory has no
 * such way out, since kernels write it. Streams do not wait for the legacy stream, events do not keep time. Every call
 * that CUDA refuses becomes a record that names it; a refusal while something is given back is a line in the log.
 */
#include "runtime/dev/cuda_dev.h"

#include "kernels/cuda/cuda_ops.h"
#include "runtime/core/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB (1024.0 * 1024.0)

struct mox_event {
    mox_dev *dev;
    cudaEvent_t event;
};

struct mox_dev_graph {
    cudaGraphExec_t exec;
};

/* The function's name, of a call as it is written. */
static int name_length(const char *call)
{
    return (int)strcspn(call, "(");
}

mox_err mox_cuda_refused(int device, cudaError_t e, const char *call, const char *fmt, ...)
{
    char what[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    (void)cudaGetLastError(); /* the next launch would report it again */
    const bool memory = e == cudaErrorMemoryAllocation;
    char which[16] = "";
    if (device >= 0) {
        snprintf(which, sizeof which, " %d", device);
    }
    (void)MOX_FAIL(memory ? MOX_E_NO_MEMORY : MOX_E_DEVICE, "GPU%s, %s: %.*s: %s (%d)", which, what,
                   name_length(call), call, cudaGetErrorString(e), (int)e);
    return memory ? mox_err_fix("a smaller --vram, or close what else uses the GPU")
                  : mox_err_fix("--device cpu; the driver's log (dmesg) may say more");
}

/* While something is given back nobody can be told but the log. */
static void given_back(const cuda_dev *d, cudaError_t e, const char *call)
{
    if (e != cudaSuccess) {
        (void)cudaGetLastError();
        mox_log_line(d->log, MOX_LOG_WARN, "GPU %d: %s: %s (%d)", d->id, call, cudaGetErrorString(e), (int)e);
    }
}

static cuda_dev *of(mox_dev *dev)
{
    return (cuda_dev *)dev;
}

/* ---- memory ---- */

static mox_err alloc_device(cuda_dev *d, size_t bytes, mox_buf *out)
{
    if (bytes > d->vram_limit - d->vram_used) {
        (void)MOX_FAIL(
            MOX_E_NO_FIT, "GPU %d: %zu bytes of device memory, %llu of %llu that may be used are left", d->id,
            bytes, (unsigned long long)(d->vram_limit - d->vram_used), (unsigned long long)d->vram_limit);
        return mox_err_fix("a larger --vram, or fewer experts on the GPU");
    }
    CUDA_TRY(d->id, cudaSetDevice(d->id), "to take memory");
    CUDA_TRY(d->id, cudaMalloc(&out->ptr, bytes), "%zu bytes of device memory, %llu are in use", bytes,
             (unsigned long long)d->vram_used);
    d->vram_used += bytes;
    out->kind = MOX_MEM_DEVICE;
    return MOX_OK;
}

static mox_err alloc_pinned(cuda_dev *d, size_t bytes, unsigned flags, mox_buf *out)
{
    mox_arena arena;
    MOX_TRY(mox_arena_map(&arena, bytes, flags));
    const cudaError_t e = cudaHostRegister(arena.base, bytes, cudaHostRegisterPortable);
    if (e != cudaSuccess) {
        mox_log_line(d->log, d->told_pageable ? MOX_LOG_DEBUG : MOX_LOG_INFO,
                     "GPU %d: %.1f MiB of host memory are not pinned (cudaHostRegister: %s): copies from it "
                     "are slower",
                     d->id, (double)bytes / MIB, cudaGetErrorString(e));
        d->told_pageable = true; /* the next piece for the same reason: once is enough */
        (void)cudaGetLastError();
    }
    out->ptr = arena.base;
    out->kind = e == cudaSuccess ? MOX_MEM_PINNED : MOX_MEM_ORDINARY;
    return MOX_OK;
}

static mox_err cuda_mem_alloc(mox_dev *dev, size_t bytes, mox_mem_kind kind, unsigned flags, mox_buf *out)
{
    cuda_dev *d = of(dev);
    mox_buf buf = {.bytes = bytes, .dev = dev};
    if (bytes == 0) {
        return MOX_FAIL(MOX_E_ARG, "GPU %d: no bytes are asked for", d->id);
    }
    if (kind == MOX_MEM_DEVICE) {
        MOX_TRY(alloc_device(d, bytes, &buf));
    } else if (kind == MOX_MEM_MAPPED) {
        CUDA_TRY(d->id, cudaHostAlloc(&buf.ptr, bytes, cudaHostAllocMapped | cudaHostAllocPortable),
                 "%zu bytes of mapped host memory", bytes);
        buf.kind = MOX_MEM_MAPPED;
    } else {
        MOX_TRY(alloc_pinned(d, bytes, flags, &buf));
    }
    *out = buf;
    return MOX_OK;
}

static void cuda_mem_free(mox_dev *dev, mox_buf *buf)
{
    cuda_dev *d = of(dev);
    if (!buf->ptr) {
        return;
    }
    assert(buf->dev == dev);
    if (buf->kind == MOX_MEM_DEVICE) {
        given_back(d, cudaSetDevice(d->id), "cudaSetDevice");
        given_back(d, cudaFree(buf->ptr), "cudaFree");
        d->vram_used -= buf->bytes;
    } else if (buf->kind == MOX_MEM_MAPPED) {
        given_back(d, cudaFreeHost(buf->ptr), "cudaFreeHost");
    } else {
        if (buf->kind == MOX_MEM_PINNED) {
            given_back(d, cudaHostUnregister(buf->ptr), "cudaHostUnregister");
        }
        mox_arena arena = {.base = buf->ptr, .bytes = buf->bytes};
        mox_arena_unmap(&arena);
    }
    *buf = (mox_buf){0};
}

/* What may still be taken: no more than the limit leaves. */
static mox_err cuda_mem_free_bytes(mox_dev *dev, size_t *free_bytes, size_t *total_bytes)
{
    cuda_dev *d = of(dev);
    size_t left = 0, total = 0;
    CUDA_TRY(d->id, cudaSetDevice(d->id), "to ask for its memory");
    CUDA_TRY(d->id, cudaMemGetInfo(&left, &total), "how much memory is free");
    const uint64_t allowed = d->vram_limit - d->vram_used;
    *free_bytes = left < allowed ? left : (size_t)allowed;
    *total_bytes = total < d->vram_limit ? total : (size_t)d->vram_limit;
    return MOX_OK;
}

/* ---- streams and events ---- */

static mox_err cuda_stream_create(mox_dev *dev, mox_stream **out)
{
    cuda_dev *d = of(dev);
    CUDA_TRY(d->id, cudaSetDevice(d->id), "to make a stream");
    mox_stream *s = malloc(sizeof *s);
    if (!s) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "GPU %d: no memory for a stream", d->id);
    }
    const cudaError_t e = cudaStreamCreateWithFlags(&s->stream, cudaStreamNonBlocking);
    if (e != cudaSuccess) {
        free(s);
        return mox_cuda_refused(d->id, e, "cudaStreamCreateWithFlags", "a stream");
    }
    s->dev = dev;
    *out = s;
    return MOX_OK;
}

static void cuda_stream_destroy(mox_dev *dev, mox_stream **s)
{
    if (*s) {
        given_back(of(dev), cudaStreamDestroy((*s)->stream), "cudaStreamDestroy");
        free(*s);
        *s = NULL;
    }
}

static mox_err cuda_stream_wait(mox_dev *dev, mox_stream *s)
{
    CUDA_TRY(of(dev)->id, cudaStreamSynchronize(s->stream), "waiting for a stream's work");
    return MOX_OK;
}

static mox_err cuda_event_create(mox_dev *dev, mox_event **out)
{
    cuda_dev *d = of(dev);
    CUDA_TRY(d->id, cudaSetDevice(d->id), "to make an event");
    mox_event *ev = malloc(sizeof *ev);
    if (!ev) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "GPU %d: no memory for an event", d->id);
    }
    const cudaError_t e = cudaEventCreateWithFlags(&ev->event, cudaEventDisableTiming);
    if (e != cudaSuccess) {
        free(ev);
        return mox_cuda_refused(d->id, e, "cudaEventCreateWithFlags", "an event");
    }
    ev->dev = dev;
    *out = ev;
    return MOX_OK;
}

static void cuda_event_destroy(mox_dev *dev, mox_event **e)
{
    if (*e) {
        given_back(of(dev), cudaEventDestroy((*e)->event), "cudaEventDestroy");
        free(*e);
        *e = NULL;
    }
}

static mox_err cuda_event_record(mox_dev *dev, mox_event *e, mox_stream *s)
{
    CUDA_TRY(of(dev)->id, cudaEventRecord(e->event, s->stream), "marking a place in a stream");
    return MOX_OK;
}

static mox_err cuda_event_wait(mox_dev *dev, mox_event *e)
{
    CUDA_TRY(of(dev)->id, cudaEventSynchronize(e->event), "waiting for a place in a stream");
    return MOX_OK;
}

static mox_err cuda_event_done(mox_dev *dev, mox_event *e, bool *done)
{
    const cudaError_t answer = cudaEventQuery(e->event);
    if (answer != cudaSuccess && answer != cudaErrorNotReady) {
        return mox_cuda_refused(of(dev)->id, answer, "cudaEventQuery", "whether a place has been reached");
    }
    *done = answer == cudaSuccess;
    return MOX_OK;
}

static mox_err cuda_stream_after(mox_dev *dev, mox_stream *s, mox_event *e)
{
    CUDA_TRY(of(dev)->id, cudaStreamWaitEvent(s->stream, e->event, 0), "a stream that waits for another");
    return MOX_OK;
}

/* ---- copies and flags ---- */

static mox_err cuda_copy(mox_dev *dev, mox_stream *s, void *dst, const void *src, size_t bytes)
{
    CUDA_TRY(of(dev)->id, cudaMemcpyAsync(dst, src, bytes, cudaMemcpyDefault, s->stream),
             "a copy of %zu bytes", bytes);
    return MOX_OK;
}

static mox_err cuda_flag_write(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value)
{
    CUDA_TRY(of(dev)->id, cudaSetDevice(of(dev)->id), "to write a flag");
    return mox_cuda_flag_write(s->stream, flag, value);
}

static mox_err cuda_flag_wait(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value)
{
    CUDA_TRY(of(dev)->id, cudaSetDevice(of(dev)->id), "to wait for a flag");
    return mox_cuda_flag_wait(s->stream, flag, value);
}

static uint32_t cuda_flag_poll(mox_dev *dev, volatile uint32_t *flag)
{
    (void)dev;
    return mox_cuda_flag_poll(flag);
}

/* ---- graphs ---- */

static mox_err cuda_graph_begin(mox_dev *dev, mox_stream *s)
{
    CUDA_TRY(of(dev)->id, cudaStreamBeginCapture(s->stream, cudaStreamCaptureModeThreadLocal),
             "recording a graph");
    return MOX_OK;
}

static mox_err cuda_graph_end(mox_dev *dev, mox_stream *s, mox_dev_graph **out)
{
    cuda_dev *d = of(dev);
    cudaGraph_t graph = NULL;
    const cudaError_t ended = cudaStreamEndCapture(s->stream, &graph);
    if (ended != cudaSuccess) { /* a stream that still records would refuse everything from now on */
        if (cudaStreamEndCapture(s->stream, &graph) == cudaSuccess) {
            given_back(d, cudaGraphDestroy(graph), "cudaGraphDestroy");
        }
        return mox_cuda_refused(d->id, ended, "cudaStreamEndCapture", "the end of a graph");
    }
    mox_dev_graph *g = malloc(sizeof *g);
    const cudaError_t e = g ? cudaGraphInstantiate(&g->exec, graph, 0) : cudaSuccess;
    given_back(d, cudaGraphDestroy(graph), "cudaGraphDestroy");
    if (!g) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "GPU %d: no memory for a graph", d->id);
    }
    if (e != cudaSuccess) {
        free(g);
        return mox_cuda_refused(d->id, e, "cudaGraphInstantiate", "a graph");
    }
    const cudaError_t up = cudaGraphUpload(g->exec, s->stream); /* else the first launch takes memory */
    if (up != cudaSuccess) {
        given_back(d, cudaGraphExecDestroy(g->exec), "cudaGraphExecDestroy");
        free(g);
        return mox_cuda_refused(d->id, up, "cudaGraphUpload", "a graph's memory");
    }
    *out = g;
    return MOX_OK;
}

static mox_err cuda_graph_launch(mox_dev *dev, mox_dev_graph *g, mox_stream *s)
{
    CUDA_TRY(of(dev)->id, cudaGraphLaunch(g->exec, s->stream), "launching a graph");
    return MOX_OK;
}

static void cuda_graph_destroy(mox_dev *dev, mox_dev_graph **g)
{
    if (*g) {
        given_back(of(dev), cudaGraphExecDestroy((*g)->exec), "cudaGraphExecDestroy");
        free(*g);
        *g = NULL;
    }
}

static void cuda_destroy(mox_dev *dev)
{
    free(dev);
}

static const mox_dev_ops cuda_ops = {
    .mem_alloc = cuda_mem_alloc,
    .mem_free = cuda_mem_free,
    .mem_free_bytes = cuda_mem_free_bytes,
    .stream_create = cuda_stream_create,
    .stream_destroy = cuda_stream_destroy,
    .stream_wait = cuda_stream_wait,
    .event_create = cuda_event_create,
    .event_destroy = cuda_event_destroy,
    .event_record = cuda_event_record,
    .event_wait = cuda_event_wait,
    .event_done = cuda_event_done,
    .stream_after = cuda_stream_after,
    .copy = cuda_copy,
    .flag_write = cuda_flag_write,
    .flag_wait = cuda_flag_wait,
    .flag_poll = cuda_flag_poll,
    .graph_begin = cuda_graph_begin,
    .graph_end = cuda_graph_end,
    .graph_launch = cuda_graph_launch,
    .graph_destroy = cuda_graph_destroy,
    .destroy = cuda_destroy,
    .name = mox_backend_name,
    .separate = true,
};

mox_err mox_cuda_dev_create(mox_dev **out, uint32_t id, const mox_dev_open_cfg *cfg)
{
    int n = 0;
    size_t left = 0, total = 0;
    CUDA_TRY(-1, cudaGetDeviceCount(&n), "how many there are");
    if (id >= (uint32_t)n) {
        return MOX_FAIL(MOX_E_DEVICE, "GPU %u: there are %d", id, n);
    }
    CUDA_TRY((int)id, cudaSetDevice((int)id), "to use it");
    CUDA_TRY((int)id, cudaMemGetInfo(&left, &total), "how much memory it has");
    cuda_dev *d = malloc(sizeof *d);
    if (!d) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "GPU %u: no memory for the device", id);
    }
    *d = (cuda_dev){.base.ops = &cuda_ops, .id = (int)id, .vram_limit = total, .log = cfg->log};
    if (cfg->vram_limit != 0 && cfg->vram_limit < d->vram_limit) {
        d->vram_limit = cfg->vram_limit;
    }
    *out = &d->base;
    return MOX_OK;
}
