/* Traces as they are written; the format is in trace.h.
 *
 * Three rings with one producer each: uses and spans of the step thread, spans of the I/O thread. A producer writes its
 * record, moves its head on, and wakes the writer thread every quarter of the ring; the thread moves the tails. So a
 * record costs its 24 or 32 bytes and now and then one futex call, and neither stdio (which allocates) nor a lock is in
 * the way. What a ring has no room for is dropped and counted. A trace that is written `direct` (an imported table) has no
 * thread: who finds the ring full empties it.
 */
#include "profiler/trace_file.h"
#include "runtime/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

_Static_assert(sizeof(mox_trace_header) == 32, "trace format");
_Static_assert(sizeof(mox_trace_block) == 8, "trace format");

enum { USES, STEP_SPANS, IO_SPANS, RINGS };
enum { QUARTERS = 4, CACHE_LINE = 64 };

/* Uses: a micro-batch of 512 tokens, top 8, is 4,096 for a layer. Reads are few beside the steps' spans. */
static const uint32_t usual[RINGS] = {65536, 16384, 8192};
static const uint32_t item_bytes[RINGS] = {sizeof(mox_trace_record), sizeof(mox_trace_span),
                                           sizeof(mox_trace_span)};

typedef struct ring {
    _Alignas(CACHE_LINE) _Atomic uint64_t head; /* this line is the producer's */
    uint64_t dropped;
    uint8_t *items;
    uint32_t capacity;
    uint32_t at;   /* head in the ring: a division would cost more than the rest of a record */
    uint32_t left; /* records until the thread is woken */
    _Alignas(CACHE_LINE) _Atomic uint64_t tail; /* who writes */
} ring;

struct mox_trace_writer {
    ring ring[RINGS];
    uint64_t begin_ns;
    bool direct, timings;
    int fd;
    off_t good; /* end of the last block that was written whole */
    bool failed;
    mox_err_info failure; /* the first one */
    pthread_t thread;
    sem_t wake;
    atomic_bool stop;
};

/* 0, or the errno of the write that failed. */
static int write_all(int fd, const void *data, size_t bytes)
{
    const char *p = data;
    while (bytes) {
        ssize_t n = write(fd, p, bytes);
        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        }
    }
    return 0;
}

/* A file without its header: no reader would know what it is. */
static void drop_file(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        unlink(path);
    }
    close(fd);
}

static void keep_failure(mox_trace_writer *w, int sys, const char *what)
{
    if (!w->failed) {
        (void)MOX_FAIL_SYS(MOX_E_WRITE, sys, "trace: %s failed: %s", what, strerror(sys));
        w->failure = *mox_err_last();
        w->failed = true;
    }
}

/* Half a block at the end, of a write that failed, would make the whole trace unreadable. */
static void cut_to_blocks(mox_trace_writer *w)
{
    struct stat st;
    if (fstat(w->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > w->good) {
        (void)!ftruncate(w->fd, w->good);
    }
}

static void put_block(mox_trace_writer *w, const char *tag, const void *payload, size_t bytes)
{
    mox_trace_block b = {.bytes = (uint32_t)bytes};
    memcpy(b.tag, tag, sizeof b.tag);
    if (w->failed) {
        return;
    }
    int err = write_all(w->fd, &b, sizeof b);
    err = err ? err : write_all(w->fd, payload, bytes);
    if (err) {
        keep_failure(w, err, "writing records");
        cut_to_blocks(w);
        return;
    }
    w->good += (off_t)(sizeof b + bytes);
}

/* What the producer has put so far goes out, in one block, or two where the ring begins again. */
static void drain(mox_trace_writer *w, int which)
{
    ring *r = &w->ring[which];
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    while (tail < head) {
        uint64_t at = tail % r->capacity, n = head - tail;
        n = n < r->capacity - at ? n : r->capacity - at;
        put_block(w, which == USES ? MOX_TRACE_USES : MOX_TRACE_SPAN, r->items + at * item_bytes[which],
                  n * item_bytes[which]);
        tail += n;
        atomic_store_explicit(&r->tail, tail, memory_order_release);
    }
}

static void drain_all(mox_trace_writer *w)
{
    for (int i = 0; i < RINGS; i++) {
        drain(w, i);
    }
}

static void *writer_main(void *arg)
{
    mox_trace_writer *w = arg;
    while (!atomic_load(&w->stop)) {
        if (sem_wait(&w->wake) == 0) {
            drain_all(w);
        }
    }
    return NULL;
}

/* Where the next record goes; NULL: dropped. */
static uint8_t *next_item(mox_trace_writer *w, int which)
{
    ring *r = &w->ring[which];
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    if (head - tail == r->capacity) {
        if (!w->direct) {
            r->dropped++;
            return NULL;
        }
        drain(w, which);
    }
    return r->items + (size_t)r->at * item_bytes[which];
}

static uint32_t quarter_of(const ring *r)
{
    return r->capacity / QUARTERS ? r->capacity / QUARTERS : 1;
}

static void item_is_there(mox_trace_writer *w, int which)
{
    ring *r = &w->ring[which];
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed) + 1;
    atomic_store_explicit(&r->head, head, memory_order_release);
    r->at = r->at + 1 < r->capacity ? r->at + 1 : 0;
    if (--r->left == 0) {
        r->left = quarter_of(r);
        if (!w->direct) {
            sem_post(&w->wake);
        }
    }
}

void mox_trace_put(mox_trace_writer *w, const mox_trace_record *r)
{
    uint8_t *to = w ? next_item(w, USES) : NULL;
    if (to) {
        memcpy(to, r, sizeof *r);
        item_is_there(w, USES);
    }
}

void mox_trace_put_span(mox_trace_writer *w, uint64_t begin_ns, uint64_t end_ns, const mox_trace_span *span)
{
    if (!mox_trace_has_timings(w) || begin_ns < w->begin_ns) { /* begun before the trace */
        return;
    }
    bool io = span->lane >= MOX_LANE_IO && span->lane < MOX_LANE_DEVICE;
    int which = io ? IO_SPANS : STEP_SPANS;
    uint8_t *to = next_item(w, which);
    if (to) {
        mox_trace_span s = *span;
        s.begin_ns = begin_ns - w->begin_ns;
        s.ns = end_ns - begin_ns;
        memcpy(to, &s, sizeof s);
        item_is_there(w, which);
    }
}

bool mox_trace_has_timings(const mox_trace_writer *w)
{
    return w && w->timings;
}

static uint32_t capacity_of(const mox_trace_cfg *cfg, int which)
{
    if (which != USES && !cfg->header.timings) {
        return 0;
    }
    return !cfg->ring ? usual[which] : cfg->ring < usual[which] ? cfg->ring : usual[which];
}

size_t mox_trace_bytes(const mox_trace_cfg *cfg)
{
    size_t bytes = sizeof(mox_trace_writer) + CACHE_LINE;
    for (int i = 0; i < RINGS; i++) {
        bytes += (size_t)capacity_of(cfg, i) * item_bytes[i];
    }
    return bytes;
}

static mox_err take_memory(mox_trace_writer **out, const mox_trace_cfg *cfg)
{
    size_t bytes = (mox_trace_bytes(cfg) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    mox_trace_writer *w = aligned_alloc(CACHE_LINE, bytes);
    if (!w) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "trace: buffers of %zu bytes refused", bytes);
    }
    memset(w, 0, bytes); /* touched now: while tokens are computed it must not grow the process */
    uint8_t *at = (uint8_t *)(w + 1);
    for (int i = 0; i < RINGS; i++) {
        w->ring[i].items = at;
        w->ring[i].capacity = capacity_of(cfg, i);
        w->ring[i].left = quarter_of(&w->ring[i]);
        at += (size_t)w->ring[i].capacity * item_bytes[i];
    }
    w->direct = cfg->direct;
    w->timings = cfg->header.timings != 0;
    *out = w;
    return MOX_OK;
}

static int write_head(mox_trace_writer *w, const mox_trace_cfg *cfg)
{
    mox_trace_header h = cfg->header;
    memcpy(h.magic, MOX_TRACE_MAGIC, sizeof h.magic);
    h.version = MOX_TRACE_VERSION;
    int err = write_all(w->fd, &h, sizeof h);
    w->good = sizeof h;
    if (!err) {
        size_t n = cfg->info ? strlen(cfg->info) : 0;
        put_block(w, MOX_TRACE_INFO, cfg->info, n < MOX_TRACE_INFO_MAX ? n : MOX_TRACE_INFO_MAX);
        err = w->failed ? w->failure.sys : 0;
    }
    return err;
}

/* Signals are for the program's other threads. */
static mox_err start_thread(mox_trace_writer *w)
{
    sigset_t all, before;
    if (w->direct) {
        return MOX_OK;
    }
    if (sem_init(&w->wake, 0, 0) != 0) {
        return MOX_FAIL_SYS(MOX_E_THREAD, errno, "trace: a semaphore was refused");
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        sem_destroy(&w->wake);
        return MOX_FAIL_SYS(MOX_E_THREAD, err, "trace: its thread could not be started: %s", strerror(err));
    }
    return MOX_OK;
}

mox_err mox_trace_create(mox_trace_writer **out, const char *path, const mox_trace_cfg *cfg)
{
    mox_trace_writer *w = NULL;
    MOX_TRY(take_memory(&w, cfg));
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        int err = errno;
        free(w);
        return MOX_FAIL_SYS(MOX_E_WRITE, err, "trace: %s cannot be created: %s", path, strerror(err));
    }
    int failed = write_head(w, cfg);
    mox_err err =
        failed ? MOX_FAIL_SYS(MOX_E_WRITE, failed, "trace: %s cannot be written: %s", path, strerror(failed))
               : start_thread(w);
    if (err != MOX_OK) {
        drop_file(w->fd, path);
        free(w);
        return err;
    }
    w->begin_ns = mox_now_ns();
    *out = w;
    return MOX_OK;
}

static mox_trace_end end_of(const mox_trace_writer *w)
{
    mox_trace_end e = {.ns = w->direct ? 0 : mox_now_ns() - w->begin_ns}; /* a table has no time */
    for (int i = 0; i < RINGS; i++) {
        *(i == USES ? &e.uses : &e.spans) += w->ring[i].head;
        *(i == USES ? &e.dropped_uses : &e.dropped_spans) += w->ring[i].dropped;
    }
    return e;
}

mox_err mox_trace_close(mox_trace_writer **writer, mox_trace_end *end)
{
    mox_trace_writer *w = *writer;
    if (!w) {
        return MOX_OK;
    }
    mox_trace_end e = end_of(w);
    if (!w->direct) {
        atomic_store(&w->stop, true);
        sem_post(&w->wake);
        pthread_join(w->thread, NULL);
        sem_destroy(&w->wake);
    }
    drain_all(w);
    put_block(w, MOX_TRACE_DONE, &e, sizeof e);
    if (close(w->fd) != 0) {
        keep_failure(w, errno, "closing the file");
    }
    mox_err err = w->failed ? mox_err_restore(&w->failure) : MOX_OK;
    if (end) {
        *end = e;
    }
    free(w);
    *writer = NULL;
    return err;
}
