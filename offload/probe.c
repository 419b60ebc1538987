/* The ceiling: how fast this machine reads this file, front to back, with the store's own backends and
 * nothing else in the loop. Run before and after a measurement, since drives drift. */
#include "offload/io.h"

#include "runtime/core/arena.h"
#include "runtime/core/bits.h"
#include "runtime/core/clock.h"

#include <errno.h>
#include <string.h>

typedef struct probe {
    const mox_io_ops *ops;
    mox_io *io;
    mox_io_file file;
    uint64_t next, end;
    size_t request;
    uint8_t *staging;
} probe;

static void submit_next(probe *p, uint64_t id)
{
    uint64_t left = p->end - p->next;
    mox_io_req req = {
        .id = id,
        .bytes = (uint32_t)(left < p->request ? left : p->request),
        .off = p->next,
        .buf = p->staging + id * p->request,
    };
    p->next += req.bytes;
    p->ops->submit(p->io, &req);
}

static mox_err read_all(probe *p, uint32_t depth)
{
    mox_io_done done[MOX_IO_MAX_DEPTH];
    uint32_t flying = 0;
    int32_t failed = 0;
    for (; flying < depth && p->next < p->end; flying++) {
        submit_next(p, flying);
    }
    while (flying > 0) {
        uint32_t n = p->ops->reap(p->io, done, MOX_IO_MAX_DEPTH, UINT64_MAX);
        for (uint32_t i = 0; i < n; i++) {
            failed =
                done[i].res < 0 && done[i].res != -EINTR && done[i].res != -EAGAIN ? done[i].res : failed;
            if (failed == 0 && p->next < p->end) {
                submit_next(p, done[i].id);
            } else {
                flying--;
            }
        }
    }
    if (failed) {
        return MOX_FAIL_SYS(MOX_E_IO, -failed, "probe: reading failed: %s", strerror(-failed));
    }
    return MOX_OK;
}

mox_err mox_io_probe_rate(const char *path, uint64_t off, uint64_t bytes, size_t request_bytes,
                          uint32_t depth, mox_io_mode mode, double *bytes_per_s)
{
    probe p = {.file.fd = -1, .request = mox_round_up(request_bytes, 4096)};
    depth = depth < 1 ? 1 : depth > MOX_IO_MAX_DEPTH ? MOX_IO_MAX_DEPTH : depth;
    size_t state = mox_io_ring.state_bytes > mox_io_preads.state_bytes ? mox_io_ring.state_bytes
                                                                       : mox_io_preads.state_bytes;
    size_t staging = depth * p.request < 8192 ? 8192 : depth * p.request;
    /* In huge pages, as the store's buffers are: a request is then one piece of memory to the drive. Faulted in
     * before the clock starts. */
    mox_arena arena;
    MOX_TRY(mox_arena_map(&arena, mox_round_up(staging, 64) + state, MOX_ARENA_HUGE | MOX_ARENA_POPULATE));
    uint8_t *memory = arena.base;
    mox_err err;
    MOX_TRY_GOTO(err, mox_io_file_open(&p.file, path, memory), done);
    p.staging = memory;
    p.next = off & ~UINT64_C(4095);
    p.end = off + bytes < p.file.id.bytes ? off + bytes : p.file.id.bytes;
    p.end &= ~UINT64_C(4095);
    if (p.end <= p.next) {
        err = MOX_FAIL(MOX_E_ARG, "probe: %s has nothing to read at %llu", path, (unsigned long long)off);
        goto done;
    }
    mox_io_cfg cfg = {&p.file.fd, 1, memory, staging, depth, memory + mox_round_up(staging, 64), NULL};
    p.ops = mode == MOX_IO_PREAD ? &mox_io_preads : &mox_io_ring;
    err = p.ops->open(NULL, &cfg, &p.io);
    if (err != MOX_OK && mode == MOX_IO_AUTO) {
        p.ops = &mox_io_preads;
        err = p.ops->open(NULL, &cfg, &p.io);
    }
    if (err != MOX_OK) {
        goto done;
    }
    uint64_t begin = p.next;
    uint64_t t0 = mox_now_ns();
    err = read_all(&p, depth);
    if (err == MOX_OK) {
        *bytes_per_s = (double)(p.end - begin) * 1e9 / (double)(mox_now_ns() - t0);
    }
done:
    if (p.io) {
        p.ops->close(&p.io);
    }
    mox_io_file_close(&p.file);
    mox_arena_unmap(&arena);
    return err;
}
