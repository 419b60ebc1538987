/* Device vtable: memory, copies, streams, events, flags, graphs. Three devices implement it: cpu
 * (core/dev_cpu.c, every call is synchronous), cuda and cuda-on-the-emulator (modules loaded by name, runtime/dev).
 * Kernel launchers are a second table, kernels/ops.h. Callers pass streams and wait for events even where the
 * CPU device has nothing to wait for, so that a GPU fits in without changing them.
 */
#ifndef MOX_CORE_DEV_H
#define MOX_CORE_DEV_H

#include "runtime/core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct mox_dev mox_dev;
typedef struct mox_stream mox_stream;       /* a queue of work; NULL is not a stream */
typedef struct mox_event mox_event;         /* a point in a stream */
typedef struct mox_dev_graph mox_dev_graph; /* a captured sequence of launches */

typedef enum mox_mem_kind {
    MOX_MEM_DEVICE, /* VRAM; ordinary RAM on the CPU device */
    MOX_MEM_PINNED, /* host memory the device can reach by DMA; ordinary memory where the system refuses to pin it */
    MOX_MEM_ORDINARY, /* what a pinned buffer says where it could not be pinned; not asked for */
    MOX_MEM_MAPPED,   /* host memory that kernels read and write as well: flags, mailboxes */
} mox_mem_kind;

/* A buffer knows where it lives; a bare device pointer never crosses a folder. */
typedef struct mox_buf {
    void *ptr;
    size_t bytes;
    mox_mem_kind kind;
    mox_dev *dev;
} mox_buf;

typedef struct mox_dev_ops {
    const char *name;
    /* Memory. Taken at open only. `flags` are mox_arena_flags (advice). */
    mox_err (*mem_alloc)(mox_dev *dev, size_t bytes, mox_mem_kind kind, unsigned flags, mox_buf *out);
    void (*mem_free)(mox_dev *dev, mox_buf *buf);
    mox_err (*mem_free_bytes)(mox_dev *dev, size_t *free_bytes, size_t *total_bytes);
    /* Order. Work in one stream runs in order; between streams only events order it. */
    mox_err (*stream_create)(mox_dev *dev, mox_stream **out);
    void (*stream_destroy)(mox_dev *dev, mox_stream **s);
    mox_err (*stream_wait)(mox_dev *dev, mox_stream *s); /* host waits; run-time faults surface here */
    mox_err (*event_create)(mox_dev *dev, mox_event **out);
    void (*event_destroy)(mox_dev *dev, mox_event **e);
    mox_err (*event_record)(mox_dev *dev, mox_event *e, mox_stream *s);
    mox_err (*event_wait)(mox_dev *dev, mox_event *e);             /* host waits */
    mox_err (*event_done)(mox_dev *dev, mox_event *e, bool *done); /* host asks; drives emulated queues */
    mox_err (*stream_after)(mox_dev *dev, mox_stream *s, mox_event *e); /* s waits for e */
    /* Copies, asynchronous in s; both sides live until the copy's event. */
    mox_err (*copy)(mox_dev *dev, mox_stream *s, void *dst, const void *src, size_t bytes);
    /* Flags in mapped memory: a kernel or the host writes, the other side waits without a synchronise. */
    mox_err (*flag_write)(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value);
    mox_err (*flag_wait)(mox_dev *dev, mox_stream *s, volatile uint32_t *flag, uint32_t value);
    uint32_t (*flag_poll)(mox_dev *dev, volatile uint32_t *flag); /* host reads; drives emulated queues */
    /* Graphs; NULL where the device has none (callers then launch one by one). */
    mox_err (*graph_begin)(mox_dev *dev, mox_stream *s);
    mox_err (*graph_end)(mox_dev *dev, mox_stream *s, mox_dev_graph **out);
    mox_err (*graph_launch)(mox_dev *dev, mox_dev_graph *g, mox_stream *s);
    void (*graph_destroy)(mox_dev *dev, mox_dev_graph **g);
    void (*destroy)(mox_dev *dev);
    bool separate; /* MOX_MEM_DEVICE cannot be reached by the host: it copies */
} mox_dev_ops;

struct mox_dev {
    const mox_dev_ops *ops;
};

/* mox_dev_cpu_create: the CPU as a device. Owns: what it hands out until freed. Threads: step thread. */
MOX_NODISCARD mox_err mox_dev_cpu_create(mox_dev **out);
void mox_dev_destroy(mox_dev **dev);

#endif
