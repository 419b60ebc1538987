/* Routing trace, written and read; the format is in trace.h. Written by the step thread while tokens are
 * computed, so the buffer is taken at creation and a full buffer goes out by one write(2); stdio was rejected
 * because it allocates on first use. Read by plan and profile, where a trace is an input like any other: its
 * counts are bounded by its size and every record is checked against the header before anyone indexes with
 * it.
 */
#include "profiler/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TRACE_VERSION = 1 };

static const char trace_magic[4] = {'M', 'O', 'X', 'T'};

_Static_assert(sizeof(mox_trace_header) == 32, "trace format v1");

struct mox_trace_writer {
    int fd;
    size_t used, capacity; /* records */
    bool failed;
    mox_err_info failure; /* the first one */
    mox_trace_record records[];
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

/* Half a record at the end, of a write that failed, would make the whole trace unreadable. */
static void cut_to_records(int fd)
{
    struct stat st;
    off_t head = sizeof(mox_trace_header), record = sizeof(mox_trace_record);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > head) {
        (void)!ftruncate(fd, head + (st.st_size - head) / record * record);
    }
}

static void keep_failure(mox_trace_writer *w, int sys, const char *what)
{
    if (!w->failed) {
        (void)MOX_FAIL_SYS(MOX_E_WRITE, sys, "trace: %s failed: %s", what, strerror(sys));
        w->failure = *mox_err_last();
        w->failed = true;
    }
}

static void flush(mox_trace_writer *w)
{
    if (!w->failed) {
        int err = write_all(w->fd, w->records, w->used * sizeof w->records[0]);
        if (err) {
            keep_failure(w, err, "writing records");
            cut_to_records(w->fd);
        }
    }
    w->used = 0;
}

mox_err mox_trace_create(mox_trace_writer **out, const char *path, const mox_trace_header *header,
                         size_t buffer_bytes)
{
    size_t capacity = buffer_bytes / sizeof(mox_trace_record);
    capacity = capacity ? capacity : 1;
    mox_trace_writer *w = malloc(sizeof *w + capacity * sizeof w->records[0]);
    if (!w) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "trace: a buffer of %zu bytes refused", buffer_bytes);
    }
    /* Touched now: while tokens are computed the buffer must not grow the process. */
    memset(w, 0, sizeof *w + capacity * sizeof w->records[0]);
    w->capacity = capacity;
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        int err = errno;
        free(w);
        return MOX_FAIL_SYS(MOX_E_WRITE, err, "trace: %s cannot be created: %s", path, strerror(err));
    }
    mox_trace_header h = *header;
    memcpy(h.magic, trace_magic, sizeof h.magic);
    h.version = TRACE_VERSION;
    h.reserved = 0;
    int err = write_all(w->fd, &h, sizeof h);
    if (err) {
        drop_file(w->fd, path);
        free(w);
        return MOX_FAIL_SYS(MOX_E_WRITE, err, "trace: %s cannot be written: %s", path, strerror(err));
    }
    *out = w;
    return MOX_OK;
}

void mox_trace_put(mox_trace_writer *w, const mox_trace_record *r)
{
    w->records[w->used++] = *r;
    if (w->used == w->capacity) {
        flush(w);
    }
}

mox_err mox_trace_close(mox_trace_writer **writer)
{
    mox_trace_writer *w = *writer;
    if (!w) {
        return MOX_OK;
    }
    flush(w);
    if (close(w->fd) != 0) {
        keep_failure(w, errno, "closing the file");
    }
    mox_err err = w->failed ? mox_err_restore(&w->failure) : MOX_OK;
    free(w);
    *writer = NULL;
    return err;
}

/* Read exactly `bytes`; false with errno, or errno 0 when the file ended. */
static bool read_all(int fd, void *data, size_t bytes)
{
    char *p = data;
    while (bytes) {
        ssize_t n = read(fd, p, bytes);
        if (n == 0) {
            errno = 0;
            return false;
        }
        if (n < 0 && errno != EINTR) {
            return false;
        }
        if (n > 0) {
            p += n;
            bytes -= (size_t)n;
        }
    }
    return true;
}

static mox_err check_header(const char *path, const mox_trace_header *h)
{
    if (memcmp(h->magic, trace_magic, sizeof h->magic) != 0) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is not a moxie trace", path);
    }
    if (h->version != TRACE_VERSION) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s has version %u, this program reads %d", path, h->version,
                        TRACE_VERSION);
    }
    /* Zeros are a dense model's: such a trace has no records. */
    if (h->n_layers > UINT16_MAX || h->n_experts > UINT16_MAX || h->top_k > h->n_experts ||
        h->top_k > UINT8_MAX) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s says %u layers, %u experts, top %u", path, h->n_layers,
                        h->n_experts, h->top_k);
    }
    return MOX_OK;
}

static mox_err check_records(const char *path, const mox_trace_header *h, const mox_trace_record *r, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (r[i].layer >= h->n_layers || r[i].expert >= h->n_experts || r[i].rank >= h->top_k) {
            return MOX_FAIL(MOX_E_FORMAT,
                            "trace: %s record %zu: layer %u, expert %u, rank %u beyond the header", path, i,
                            r[i].layer, r[i].expert, r[i].rank);
        }
    }
    return MOX_OK;
}

static mox_err read_records(int fd, const char *path, uint64_t bytes, const mox_trace_header *h,
                            mox_trace_record **records, size_t *n_records)
{
    size_t n = bytes / sizeof(mox_trace_record);
    mox_trace_record *r = malloc(n ? n * sizeof *r : 1);
    if (!r) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "trace: %zu records of %s need more memory than there is", n, path);
    }
    if (!read_all(fd, r, n * sizeof *r)) {
        int err = errno;
        free(r);
        return MOX_FAIL_SYS(MOX_E_FORMAT, err, "trace: %s: reading %zu records failed", path, n);
    }
    mox_err err = check_records(path, h, r, n);
    if (err != MOX_OK) {
        free(r);
        return err;
    }
    *records = r;
    *n_records = n;
    return MOX_OK;
}

static mox_err read_fd(int fd, const char *path, mox_trace_header *header, mox_trace_record **records,
                       size_t *n_records)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is not a regular file", path);
    }
    mox_trace_header h;
    uint64_t size = (uint64_t)st.st_size;
    if (size < sizeof h || !read_all(fd, &h, sizeof h)) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s is shorter than a header (%llu bytes)", path,
                        (unsigned long long)size);
    }
    MOX_TRY(check_header(path, &h));
    if ((size - sizeof h) % sizeof(mox_trace_record) != 0) {
        return MOX_FAIL(MOX_E_FORMAT, "trace: %s ends inside a record (%llu bytes)", path,
                        (unsigned long long)size);
    }
    MOX_TRY(read_records(fd, path, size - sizeof h, &h, records, n_records));
    *header = h;
    return MOX_OK;
}

mox_err mox_trace_read(const char *path, mox_trace_header *header, mox_trace_record **records,
                       size_t *n_records)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO is refused and not waited for */
    if (fd < 0) {
        int err = errno;
        return MOX_FAIL_SYS(MOX_E_OPEN, err, "trace: %s cannot be opened: %s", path, strerror(err));
    }
    mox_err err = read_fd(fd, path, header, records, n_records);
    close(fd);
    return err;
}

void mox_trace_free(mox_trace_record *records)
{
    free(records);
}
