/* What a test's device is made of whatever it is (device.h): the module's first device, a stream, buffers. The modes are in
 * device_emu.c, and in bench/gpu for a real GPU. */
#include "cuda/device.h"

#include "runtime/dev/module.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_BUFS = 4096 };

static mox_dev *dev;
static mox_ops *ops;
static mox_stream *stream;
static mox_buf bufs[MAX_BUFS];
static size_t n_bufs;

static void must(mox_err e)
{
    if (e != MOX_OK) {
        fprintf(stderr, "%s\n", mox_err_last()->msg);
        abort();
    }
}

void device_close(void)
{
    if (dev == NULL) {
        return;
    }
    while (n_bufs > 0) {
        dev->ops->mem_free(dev, &bufs[--n_bufs]);
    }
    dev->ops->stream_destroy(dev, &stream);
    ops->destroy(ops);
    dev->ops->destroy(dev);
    dev = NULL;
}

void device_open(void)
{
    must(mox_dev_module_make()->open(0, &(mox_dev_open_cfg){0}, &dev, &ops));
    must(dev->ops->stream_create(dev, &stream));
}

void *device_new(size_t bytes)
{
    if (n_bufs == MAX_BUFS) {
        abort();
    }
    must(dev->ops->mem_alloc(dev, bytes != 0 ? bytes : 1, MOX_MEM_DEVICE, 0, &bufs[n_bufs]));
    return bufs[n_bufs++].ptr;
}

void *device_copy(const void *host, size_t bytes)
{
    void *p = device_new(bytes);
    must(dev->ops->copy(dev, stream, p, host, bytes));
    return p;
}

void device_get(void *host, const void *from, size_t bytes)
{
    must(dev->ops->copy(dev, stream, host, from, bytes));
    must(dev->ops->stream_wait(dev, stream));
}

mox_ops *device_ops(void)
{
    return ops;
}

mox_stream *device_stream(void)
{
    return stream;
}

uint32_t device_bad_row(void)
{
    unsigned row = NO_BAD_ROW;
    const mox_err e = ops->check(ops, stream);
    if (e != MOX_OK && (e != MOX_E_NUMERIC || sscanf(mox_err_last()->msg, "row %u", &row) != 1)) {
        must(e);
    }
    return row;
}
