/* Asynchronous reads, as the store sees them: a vtable with two implementations (ring.c: io_uring, preads.c:
 * a pool of threads) and a third in the tests that wraps either and breaks it on purpose.
 *
 * A backend moves bytes and nothing else: results come back exactly as the system gave them (short, 0,
 * -EAGAIN, -EIO ...); what they mean is decided in one place, tier_file.c. One thread calls open, submit,
 * reap, cancel and close; only `wake` may be called from another.
 */
#ifndef MOX_OFFLOAD_IO_H
#define MOX_OFFLOAD_IO_H

#include "offload/store.h"
#include "runtime/core/err.h"
#include "runtime/core/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOX_IO_MAX_DEPTH = 64, MOX_IO_MAX_FILES = 4096, MOX_IO_ALIGN = 4096 /* the largest */ };

typedef struct mox_io mox_io;

typedef struct mox_io_cfg {
    const int *fds; /* kept open by the caller */
    uint32_t n_files;
    uint8_t *staging;     /* most reads go into this area: may be registered with the kernel */
    size_t staging_bytes; /* 0: none */
    uint32_t depth;       /* reads in flight at most */
    void *state;          /* ops->state_bytes, aligned to 64: no backend allocates */
    const mox_log *log;
} mox_io_cfg;

typedef struct mox_io_req {
    uint64_t id; /* comes back in mox_io_done; unique among reads in flight */
    uint32_t file;
    uint32_t bytes;
    uint64_t off;
    uint8_t *buf;
} mox_io_req;

typedef struct mox_io_done {
    uint64_t id;
    int32_t res; /* bytes read, or -errno */
} mox_io_done;

typedef struct mox_io_ops {
    const char *name; /* "io_uring", "pread" */
    size_t state_bytes;
    /* Errors MOX_E_OPEN: the system refuses this backend (the record says why); MOX_E_THREAD. */
    mox_err (*open)(void *ctx, const mox_io_cfg *cfg, mox_io **out);
    void (*submit)(mox_io *io, const mox_io_req *req); /* at most depth in flight */
    /* Completions, at most max; waits for the first up to timeout_ns (UINT64_MAX: no limit) or a wake. */
    uint32_t (*reap)(mox_io *io, mox_io_done *done, uint32_t max, uint64_t timeout_ns);
    void (*cancel)(mox_io *io, uint64_t id); /* best effort: its completion still comes, -ECANCELED or not */
    void (*wake)(mox_io *io);                /* any thread: the running or next reap returns */
    void (*close)(mox_io **io);              /* nothing in flight */
} mox_io_ops;

extern const mox_io_ops mox_io_ring; /* MOX_E_OPEN always where built without liburing */
extern const mox_io_ops mox_io_preads;

/* Files opened for reads that bypass the page cache where the filesystem allows it. */
typedef struct mox_io_file {
    int fd;
    bool direct;
    uint32_t align; /* of offset, length and buffer; 1 when buffered */
    mox_file_id id; /* as of open */
} mox_io_file;

/* mox_io_file_open: Errors MOX_E_OPEN. scratch: 8 KiB aligned to 4,096, for a trial read. */
MOX_NODISCARD mox_err mox_io_file_open(mox_io_file *out, const char *path, uint8_t *scratch);
void mox_io_file_close(mox_io_file *f);
/* mox_io_file_is: it is the file whose header was read; NULL: nobody knows. MOX_E_CHANGED otherwise. */
MOX_NODISCARD mox_err mox_io_file_is(const mox_io_file *f, const mox_file_id *header, const char *path);
/* mox_io_file_same: size, inode and modification time are those of open. MOX_E_CHANGED otherwise. */
MOX_NODISCARD mox_err mox_io_file_same(const mox_io_file *f, const char *path);

/* mox_io_probe_rate: read [off, off + bytes) of a file front to back with the given request size and depth;
 * bytes per second. For `moxie bench`: the ceiling that the store is judged against. Allocates.
 * Errors MOX_E_OPEN, MOX_E_IO, MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_io_probe_rate(const char *path, uint64_t off, uint64_t bytes, size_t request_bytes,
                                        uint32_t depth, mox_io_mode mode, double *bytes_per_s);

#endif
