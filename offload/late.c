/* See late.h. One table of the reads in flight, touched by the I/O thread alone. */
#include "offload/late.h"

#include "runtime/core/clock.h"

enum { LATE_S = 5, AGAIN = 3 /* said at 5, 15, 45 ... seconds */ };
#define SECOND_NS UINT64_C(1000000000)

struct mox_io {
    mox_late late;
};

static void late_submit(mox_io *io, const mox_io_req *req)
{
    mox_late *l = &io->late;
    uint64_t now = mox_now_ns();
    if (l->n < MOX_IO_MAX_DEPTH) {
        l->read[l->n++] = (mox_late_read){
            .id = req->id, .off = req->off, .since_ns = now, .say_ns = now + l->after_ns, .file = req->file};
    }
    l->inner->submit(l->io, req);
}

static void ended(mox_late *l, uint64_t id)
{
    for (uint32_t i = 0; i < l->n; i++) {
        if (l->read[i].id == id) {
            l->read[i] = l->read[--l->n];
            return;
        }
    }
}

static void say(mox_late *l)
{
    uint64_t now = mox_now_ns();
    for (uint32_t i = 0; i < l->n; i++) {
        mox_late_read *r = &l->read[i];
        if (now >= r->say_ns) {
            mox_log_line(l->log, MOX_LOG_WARN, "io: a read of %s at offset %llu has not come back for %.0f s",
                         l->paths[r->file], (unsigned long long)r->off,
                         (double)(now - r->since_ns) / (double)SECOND_NS);
            r->say_ns = r->since_ns + (now - r->since_ns) * AGAIN;
        }
    }
}

static uint32_t late_reap(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    mox_late *l = &io->late;
    uint64_t look = l->after_ns < SECOND_NS ? l->after_ns : SECOND_NS;
    uint32_t n = l->inner->reap(l->io, done, max, l->n > 0 && timeout_ns > look ? look : timeout_ns);
    for (uint32_t i = 0; i < n; i++) {
        ended(l, done[i].id);
    }
    if (n == 0 && l->n > 0) { /* while reads come back there is nothing to say */
        say(l);
    }
    return n;
}

static void late_cancel(mox_io *io, uint64_t id)
{
    io->late.inner->cancel(io->late.io, id);
}

static void late_wake(mox_io *io)
{
    io->late.inner->wake(io->late.io);
}

static void late_close(mox_io **io)
{
    mox_late *l = &(*io)->late;
    l->inner->close(&l->io);
    *io = NULL;
}

void mox_late_around(mox_late *late, const mox_io_ops **ops, mox_io **io, const char *const *paths,
                     const mox_log *log)
{
    *late = (mox_late){.ops = {.name = (*ops)->name,
                               .submit = late_submit,
                               .reap = late_reap,
                               .cancel = late_cancel,
                               .wake = late_wake,
                               .close = late_close},
                       .inner = *ops,
                       .io = *io,
                       .log = log,
                       .paths = paths,
                       .after_ns = LATE_S * SECOND_NS};
    *ops = &late->ops;
    *io = (mox_io *)(void *)late;
}
