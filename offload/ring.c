/* io_uring backend; the one file that uses liburing.
 *
 * One thread submits and reaps, so the ring is set up for a single issuer with deferred task work where the
 * kernel knows it, and plain otherwise. The staging area is registered in pieces of at most 512 MiB (the
 * kernel takes 1 GiB per buffer) and the files too; either refusal (RLIMIT_MEMLOCK) only costs speed. No
 * submission thread and no polled I/O: at 1 MiB per read the system calls are not the cost.
 *
 * Another thread wakes the reaper through an eventfd that the ring polls.
 *
 * A kernel may refuse to be entered: at open that is a refusal of the backend. Later it is waited out, and when it lasts
 * the ring is given up: what is in flight is reported as failed, and so is everything that is submitted from then on,
 * because the kernel may still write to the buffers of the former.
 */
#include "offload/io.h"

#ifndef MOXIE_MINIMAL

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { WAKE_ID_BITS = 63, MAX_PIECES = 64, MAX_REFUSALS = 64 /* with pauses: about 2 s */ };
#define WAKE_ID     (UINT64_C(1) << WAKE_ID_BITS)
#define CANCEL_ID   (WAKE_ID | 1)
#define PIECE_BYTES ((size_t)512 << 20)

struct mox_io {
    struct io_uring ring;
    mox_io_cfg cfg;
    int wake_fd;
    bool fixed_buffers, fixed_files;
    uint64_t flying[MOX_IO_MAX_DEPTH]; /* ids */
    uint32_t n_flying;
    uint32_t refusals; /* in a row */
    bool given_up;
};

static int setup(struct io_uring *ring, uint32_t depth)
{
    const unsigned try_flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int rc = -EINVAL;
    for (size_t i = 0; i < sizeof try_flags / sizeof *try_flags && rc == -EINVAL; i++) {
        /* reads, their cancels, the poll and its renewal */
        rc = io_uring_queue_init(2 * depth + 4, ring, try_flags[i]);
    }
    return rc;
}

static void register_all(mox_io *io)
{
    struct iovec pieces[MAX_PIECES];
    uint32_t n = 0;
    io->fixed_files = io_uring_register_files(&io->ring, io->cfg.fds, io->cfg.n_files) == 0;
    if (io->cfg.staging_bytes == 0) {
        return;
    }
    for (size_t at = 0; at < io->cfg.staging_bytes && n < MAX_PIECES; at += PIECE_BYTES) {
        size_t left = io->cfg.staging_bytes - at;
        pieces[n++] = (struct iovec){io->cfg.staging + at, left < PIECE_BYTES ? left : PIECE_BYTES};
    }
    int rc = io_uring_register_buffers(&io->ring, pieces, n);
    io->fixed_buffers = rc == 0;
    if (rc != 0) {
        mox_log_line(io->cfg.log, MOX_LOG_INFO,
                     "io: %zu bytes of buffers not registered (%s; ulimit -l), reads cost a little more",
                     io->cfg.staging_bytes, strerror(-rc));
    }
}

static struct io_uring_sqe *next_sqe(mox_io *io)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&io->ring);
    while (!sqe) { /* full: hand over what is queued; EAGAIN and EINTR pass */
        io_uring_submit(&io->ring);
        sqe = io_uring_get_sqe(&io->ring);
    }
    return sqe;
}

/* What entering the kernel answered; 0 where nothing was to be handed over says nothing. A refusal is followed by a
 * pause, so that it can pass. */
static void entered(mox_io *io, int rc)
{
    if (rc >= 0 || rc == -ETIME || rc == -EINTR) {
        io->refusals = rc == 0 || rc == -EINTR ? io->refusals : 0;
        return;
    }
    bool passing = rc == -EAGAIN || rc == -EBUSY || rc == -ENOMEM;
    if (!passing || ++io->refusals > MAX_REFUSALS) {
        io->given_up = true;
        mox_log_line(io->cfg.log, MOX_LOG_ERROR, "io: the kernel takes no more reads by io_uring: %s",
                     strerror(-rc));
        return;
    }
    long pause = 20000L << (io->refusals < 11 ? io->refusals : 11);
    nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
}

static void arm_wake(mox_io *io)
{
    struct io_uring_sqe *sqe = next_sqe(io);
    io_uring_prep_poll_add(sqe, io->wake_fd, POLLIN);
    io_uring_sqe_set_data64(sqe, WAKE_ID);
}

static mox_err ring_open(void *ctx, const mox_io_cfg *cfg, mox_io **out)
{
    (void)ctx;
    mox_io *io = cfg->state;
    *io = (mox_io){.cfg = *cfg, .wake_fd = -1};
    int rc = setup(&io->ring, cfg->depth);
    if (rc != 0) {
        return MOX_FAIL_SYS(MOX_E_OPEN, -rc, "io_uring refused: %s", strerror(-rc));
    }
    if (!(io->ring.features & IORING_FEAT_EXT_ARG)) {
        io_uring_queue_exit(&io->ring);
        return MOX_FAIL(MOX_E_OPEN, "io_uring too old (before Linux 5.11)");
    }
    io->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (io->wake_fd < 0) {
        int err = errno;
        io_uring_queue_exit(&io->ring);
        return MOX_FAIL_SYS(MOX_E_OPEN, err, "eventfd refused: %s", strerror(err));
    }
    register_all(io);
    arm_wake(io);
    rc = io_uring_submit(&io->ring);
    if (rc < 0) {
        io_uring_queue_exit(&io->ring);
        close(io->wake_fd);
        return MOX_FAIL_SYS(MOX_E_OPEN, -rc, "io_uring refused: %s", strerror(-rc));
    }
    *out = io;
    return MOX_OK;
}

static void ring_submit(mox_io *io, const mox_io_req *req)
{
    io->flying[io->n_flying++] = req->id;
    if (io->given_up) {
        return;
    }
    struct io_uring_sqe *sqe = next_sqe(io);
    int fd = io->fixed_files ? (int)req->file : io->cfg.fds[req->file];
    /* A buffer outside, or one that straddles two registered pieces, is read unregistered. */
    uintptr_t at = (uintptr_t)req->buf - (uintptr_t)io->cfg.staging;
    bool inside = at < io->cfg.staging_bytes && req->bytes <= io->cfg.staging_bytes - at;
    bool fixed = io->fixed_buffers && inside && at / PIECE_BYTES == (at + req->bytes - 1) / PIECE_BYTES;
    if (fixed) {
        io_uring_prep_read_fixed(sqe, fd, req->buf, req->bytes, req->off, (int)(at / PIECE_BYTES));
    } else {
        io_uring_prep_read(sqe, fd, req->buf, req->bytes, req->off);
    }
    if (io->fixed_files) {
        io_uring_sqe_set_flags(sqe, IOSQE_FIXED_FILE);
    }
    io_uring_sqe_set_data64(sqe, req->id);
}

static void landed(mox_io *io, uint64_t id)
{
    for (uint32_t i = 0; i < io->n_flying; i++) {
        if (io->flying[i] == id) {
            io->flying[i] = io->flying[--io->n_flying];
            return;
        }
    }
}

/* After the ring was given up: everything fails, and a wake is all that can be waited for. */
static uint32_t reap_failed(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    uint32_t n = 0;
    while (n < max && io->n_flying > 0) {
        done[n++] = (mox_io_done){io->flying[--io->n_flying], -EIO};
    }
    if (n == 0 && timeout_ns > 0) {
        struct pollfd p = {.fd = io->wake_fd, .events = POLLIN};
        uint64_t count, ms = timeout_ns / 1000000u + 1;
        if (poll(&p, 1, timeout_ns == UINT64_MAX || ms > 1000 ? 1000 : (int)ms) > 0) {
            (void)!read(io->wake_fd, &count, sizeof count);
        }
    }
    return n;
}

static uint32_t collect(mox_io *io, mox_io_done *done, uint32_t max, bool *woken)
{
    struct io_uring_cqe *cqe;
    uint32_t n = 0;
    while (n < max && io_uring_peek_cqe(&io->ring, &cqe) == 0) {
        uint64_t id = io_uring_cqe_get_data64(cqe);
        if (id == WAKE_ID) {
            uint64_t count;
            ssize_t got = read(io->wake_fd, &count, sizeof count);
            (void)got; /* EAGAIN: another wake was read with this one */
            *woken = true;
        } else if (id != CANCEL_ID) {
            done[n++] = (mox_io_done){id, cqe->res};
            landed(io, id);
        }
        io_uring_cqe_seen(&io->ring, cqe);
    }
    if (*woken) {
        arm_wake(io);
    }
    return n;
}

static uint32_t ring_reap(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    if (io->given_up) {
        return reap_failed(io, done, max, timeout_ns);
    }
    bool woken = false;
    uint32_t n = collect(io, done, max, &woken);
    struct io_uring_cqe *cqe = NULL;
    if (n > 0 || woken || timeout_ns == 0) {
        /* Hand over what was queued and let the kernel post what is done. Not sent now (EAGAIN, EBUSY): the
         * queue keeps it for the next call. */
        entered(io, io_uring_submit_and_wait(&io->ring, 0));
        return n > 0 || woken ? n : collect(io, done, max, &woken);
    }
    struct __kernel_timespec ts = {
        .tv_sec = (long long)(timeout_ns / 1000000000u),
        .tv_nsec = (long long)(timeout_ns % 1000000000u),
    };
    entered(io, io_uring_submit_and_wait_timeout(&io->ring, &cqe, 1, timeout_ns == UINT64_MAX ? NULL : &ts,
                                                 NULL));
    return collect(io, done, max, &woken);
}

static void ring_cancel(mox_io *io, uint64_t id)
{
    if (io->given_up) {
        return;
    }
    struct io_uring_sqe *sqe = next_sqe(io);
    io_uring_prep_cancel64(sqe, id, 0);
    io_uring_sqe_set_data64(sqe, CANCEL_ID);
}

static void ring_wake(mox_io *io)
{
    uint64_t one = 1;
    ssize_t put = write(io->wake_fd, &one, sizeof one);
    (void)put; /* EAGAIN: the counter is full of wakes already */
}

static void ring_close(mox_io **io)
{
    if (*io) {
        io_uring_queue_exit(&(*io)->ring);
        close((*io)->wake_fd);
        *io = NULL;
    }
}

const mox_io_ops mox_io_ring = {
    .name = "io_uring",
    .state_bytes = sizeof(struct mox_io),
    .open = ring_open,
    .submit = ring_submit,
    .reap = ring_reap,
    .cancel = ring_cancel,
    .wake = ring_wake,
    .close = ring_close,
};

#else

static mox_err ring_absent(void *ctx, const mox_io_cfg *cfg, mox_io **out)
{
    (void)ctx;
    (void)cfg;
    (void)out;
    return MOX_FAIL(MOX_E_OPEN, "built without liburing");
}

const mox_io_ops mox_io_ring = {.name = "io_uring", .state_bytes = 64, .open = ring_absent};

#endif
