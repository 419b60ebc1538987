/* Thread-pool backend: the same interface over pread, for kernels and containers that refuse io_uring.
 *
 * Each thread takes the oldest queued read, so at most n_threads are in the kernel at once. A pread cannot be
 * cancelled; a read still queued can. All state is in the caller's memory.
 */
#include "offload/io.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 16 };

struct mox_io {
    mox_io_cfg cfg;
    pthread_t thread[MAX_THREADS];
    uint32_t n_threads;
    pthread_mutex_t lock; /* guards everything below */
    pthread_cond_t work, ended;
    bool stop, woken;
    mox_io_req queue[MOX_IO_MAX_DEPTH]; /* ring */
    uint32_t queue_head, queue_n;
    mox_io_done done[MOX_IO_MAX_DEPTH]; /* ring */
    uint32_t done_head, done_n;
};

static void finish(mox_io *io, uint64_t id, int32_t res)
{
    io->done[(io->done_head + io->done_n++) % MOX_IO_MAX_DEPTH] = (mox_io_done){id, res};
    pthread_cond_signal(&io->ended);
}

static void *worker(void *arg)
{
    mox_io *io = arg;
    pthread_mutex_lock(&io->lock);
    for (;;) {
        while (io->queue_n == 0 && !io->stop) {
            pthread_cond_wait(&io->work, &io->lock);
        }
        if (io->queue_n == 0) {
            break;
        }
        mox_io_req req = io->queue[io->queue_head];
        io->queue_head = (io->queue_head + 1) % MOX_IO_MAX_DEPTH;
        io->queue_n--;
        pthread_mutex_unlock(&io->lock);
        ssize_t got = pread(io->cfg.fds[req.file], req.buf, req.bytes, (off_t)req.off);
        int32_t res = got < 0 ? -errno : (int32_t)got;
        pthread_mutex_lock(&io->lock);
        finish(io, req.id, res);
    }
    pthread_mutex_unlock(&io->lock);
    return NULL;
}

static void pool_close(mox_io **out)
{
    mox_io *io = *out;
    if (!io) {
        return;
    }
    pthread_mutex_lock(&io->lock);
    io->stop = true;
    pthread_cond_broadcast(&io->work);
    pthread_mutex_unlock(&io->lock);
    for (uint32_t i = 0; i < io->n_threads; i++) {
        pthread_join(io->thread[i], NULL);
    }
    pthread_cond_destroy(&io->ended);
    pthread_cond_destroy(&io->work);
    pthread_mutex_destroy(&io->lock);
    *out = NULL;
}

static mox_err pool_open(void *ctx, const mox_io_cfg *cfg, mox_io **out)
{
    (void)ctx;
    mox_io *io = cfg->state;
    memset(io, 0, sizeof *io);
    io->cfg = *cfg;
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&io->lock, NULL);
    pthread_cond_init(&io->work, NULL);
    pthread_cond_init(&io->ended, &attr);
    pthread_condattr_destroy(&attr);
    uint32_t want = cfg->depth < MAX_THREADS ? cfg->depth : MAX_THREADS;
    for (; io->n_threads < want; io->n_threads++) {
        int err = pthread_create(&io->thread[io->n_threads], NULL, worker, io);
        if (err != 0 && io->n_threads == 0) {
            pool_close(&io);
            return MOX_FAIL_SYS(MOX_E_THREAD, err, "io: no read thread could be started: %s", strerror(err));
        }
        if (err != 0) {
            break; /* fewer threads read slower, nothing else */
        }
    }
    *out = io;
    return MOX_OK;
}

static void pool_submit(mox_io *io, const mox_io_req *req)
{
    pthread_mutex_lock(&io->lock);
    io->queue[(io->queue_head + io->queue_n++) % MOX_IO_MAX_DEPTH] = *req;
    pthread_cond_signal(&io->work);
    pthread_mutex_unlock(&io->lock);
}

static struct timespec deadline_in(uint64_t ns)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t nsec = (uint64_t)t.tv_nsec + ns % 1000000000u;
    t.tv_sec += (time_t)(ns / 1000000000u + nsec / 1000000000u);
    t.tv_nsec = (long)(nsec % 1000000000u);
    return t;
}

static uint32_t pool_reap(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns)
{
    struct timespec deadline = deadline_in(timeout_ns == UINT64_MAX ? 0 : timeout_ns);
    pthread_mutex_lock(&io->lock);
    int rc = 0;
    while (io->done_n == 0 && !io->woken && rc != ETIMEDOUT && timeout_ns != 0) {
        rc = timeout_ns == UINT64_MAX ? pthread_cond_wait(&io->ended, &io->lock)
                                      : pthread_cond_timedwait(&io->ended, &io->lock, &deadline);
    }
    io->woken = false;
    uint32_t n = 0;
    for (; n < max && io->done_n > 0; io->done_n--) {
        done[n++] = io->done[io->done_head];
        io->done_head = (io->done_head + 1) % MOX_IO_MAX_DEPTH;
    }
    pthread_mutex_unlock(&io->lock);
    return n;
}

static void pool_cancel(mox_io *io, uint64_t id)
{
    pthread_mutex_lock(&io->lock);
    for (uint32_t i = 0; i < io->queue_n; i++) {
        uint32_t at = (io->queue_head + i) % MOX_IO_MAX_DEPTH;
        if (io->queue[at].id != id) {
            continue;
        }
        for (; i + 1 < io->queue_n; i++) {
            uint32_t next = (at + 1) % MOX_IO_MAX_DEPTH;
            io->queue[at] = io->queue[next];
            at = next;
        }
        io->queue_n--;
        finish(io, id, -ECANCELED);
        break;
    }
    pthread_mutex_unlock(&io->lock);
}

static void pool_wake(mox_io *io)
{
    pthread_mutex_lock(&io->lock);
    io->woken = true;
    pthread_cond_signal(&io->ended);
    pthread_mutex_unlock(&io->lock);
}

const mox_io_ops mox_io_preads = {
    .name = "pread",
    .state_bytes = sizeof(struct mox_io),
    .open = pool_open,
    .submit = pool_submit,
    .reap = pool_reap,
    .cancel = pool_cancel,
    .wake = pool_wake,
    .close = pool_close,
};
