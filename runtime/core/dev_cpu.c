/* The CPU as a device. Every call does its work before it returns, so streams and events are tokens: waiting
 * for them is always over already. They still exist as objects, because callers are written for devices where
 * they matter, and destroying one twice or using a missing one should fail here too. Graphs are NULL:
 * launching one by one is what a graph would do.
 */
#include "runtime/core/arena.h"
#include "runtime/core/dev.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mox_stream {
    mox_dev *dev;
};

struct mox_event {
    mox_dev *dev;
};

static mox_err cpu_mem_alloc(mox_dev *dev, size_t bytes, mox_mem_kind kind, unsigned flags, mox_buf *out)
{
    mox_arena arena;
    MOX_TRY(mox_arena_map(&arena, bytes, flags));
    *out = (mox_buf){.ptr = arena.base, .bytes = bytes, .kind = kind, .dev = dev};
    return MOX_OK;
}

static void cpu_mem_free(mox_dev *dev, mox_buf *buf)
{
    if (!buf->ptr) {
        return;
    }
    assert(buf->dev == dev);
    mox_arena arena = {.base = buf->ptr, .bytes = buf->bytes};
    mox_arena_unmap(&arena);
    *buf = (mox_buf){0};
}

static mox_err cpu_mem_free_bytes(mox_dev *dev, size_t *free_bytes, size_t *total_bytes)
{
    (void)dev;
    long page = sysconf(_SC_PAGESIZE), free_pages = sysconf(_SC_AVPHYS_PAGES),
         pages = sysconf(_SC_PHYS_PAGES);
    if (page <= 0 || free_pages < 0 || pages <= 0) {
        return MOX_FAIL_SYS(MOX_E_DEVICE, errno, "cpu: the system does not tell its memory size");
    }
    *free_bytes = (size_t)free_pages * (size_t)page;
    *total_bytes = (size_t)pages * (size_t)page;
    return MOX_OK;
}

static mox_err cpu_stream_create(mox_dev *dev, mox_stream **out)
{
    mox_stream *s = malloc(sizeof *s);
    if (!s) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "cpu: no memory for a stream");
    }
    s->dev = dev;
    *out = s;
    return MOX_OK;
}

static void cpu_stream_destroy(mox_dev *dev, mox_stream **s)
{
    (void)dev;
    free(*s);
    *s = NULL;
}

static mox_err cpu_stream_wait(mox_dev *dev, mox_stream *s)
{
    assert(s && s->dev == dev);
    return MOX_OK;
}

static mox_err cpu_event_create(mox_dev *dev, mox_event **out)
{
    mox_event *e = malloc(sizeof *e);
    if (!e) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "cpu: no memory for an event");
    }
    e->dev = dev;
    *out = e;
    return MOX_OK;
}

static void cpu_event_destroy(mox_dev *dev, mox_event **e)
{
    (void)dev;
    free(*e);
    *e = NULL;
}

static mox_err cpu_event_record(mox_dev *dev, mox_event *e, mox_stream *s)
{
    assert(e && e->dev == dev && s && s->dev == dev);
    return MOX_OK;
}

static mox_err cpu_event_wait(mox_dev *dev, mox_event *e)
{
    assert(e && e->dev == dev);
    return MOX_OK;
}

static mox_err cpu_event_done(mox_dev *dev, mox_event *e, bool *done)
{
    assert(e && e->dev == dev);
    *done = true;
    return MOX_OK;
}

static mox_err cpu_stream_after(mox_dev *dev, mox_stream *s, mox_event *e)
{
    assert(e && e->dev == dev && s && s->dev == dev);
    return MOX_OK;
}

static mox_err cpu_copy(mox_dev *dev, mox_stream *s, void *dst, const void *src, size_t bytes)
{
    assert(s && s->dev == dev);
    memcpy(dst, src, bytes);
    return MOX_OK;
}

/* Flags are shared with other threads: accesses are atomic, a write publishes what came before it. */
static mox_err cpu_flag_write(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value)
{
    assert(s && s->dev == dev);
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
    return MOX_OK;
}

static uint32_t cpu_flag_poll(mox_dev *dev, volatile uint32_t *flag)
{
    (void)dev;
    return __atomic_load_n(flag, __ATOMIC_ACQUIRE);
}

static mox_err cpu_flag_wait(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value)
{
    assert(s && s->dev == dev);
    while (cpu_flag_poll(dev, flag) != value) {
        sched_yield(); /* the writer may need this very CPU */
    }
    return MOX_OK;
}

static void cpu_destroy(mox_dev *dev)
{
    free(dev);
}

static const mox_dev_ops cpu_ops = {
    .name = "cpu",
    .mem_alloc = cpu_mem_alloc,
    .mem_free = cpu_mem_free,
    .mem_free_bytes = cpu_mem_free_bytes,
    .stream_create = cpu_stream_create,
    .stream_destroy = cpu_stream_destroy,
    .stream_wait = cpu_stream_wait,
    .event_create = cpu_event_create,
    .event_destroy = cpu_event_destroy,
    .event_record = cpu_event_record,
    .event_wait = cpu_event_wait,
    .event_done = cpu_event_done,
    .stream_after = cpu_stream_after,
    .copy = cpu_copy,
    .flag_write = cpu_flag_write,
    .flag_wait = cpu_flag_wait,
    .flag_poll = cpu_flag_poll,
    .destroy = cpu_destroy,
};

mox_err mox_dev_cpu_create(mox_dev **out)
{
    mox_dev *dev = malloc(sizeof *dev);
    if (!dev) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "cpu: no memory for the device");
    }
    dev->ops = &cpu_ops;
    *out = dev;
    return MOX_OK;
}

void mox_dev_destroy(mox_dev **dev)
{
    if (*dev) {
        (*dev)->ops->destroy(*dev);
        *dev = NULL;
    }
}
