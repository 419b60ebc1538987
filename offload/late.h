/* Reads that hang: a backend around a backend that says in the log which read has been under way for seconds.
 *
 * A dead disk or server answers neither with data nor with an error, and a thread that waits for it would look like a
 * program that does nothing. Nothing is given up here: the read's buffer belongs to the kernel until it ends, and whoever
 * does not want to wait stops the program. The store puts it around ring.c or preads.c when its I/O thread starts.
 */
#ifndef MOX_OFFLOAD_LATE_H
#define MOX_OFFLOAD_LATE_H

#include "offload/io.h"

typedef struct mox_late_read {
    uint64_t id, off, since_ns, say_ns; /* say_ns: when it is said next */
    uint32_t file;
} mox_late_read;

typedef struct mox_late {
    mox_io_ops ops; /* what the store calls, with the address of this struct as its mox_io */
    const mox_io_ops *inner;
    mox_io *io;
    const mox_log *log;
    const char *const *paths; /* of the files */
    uint64_t after_ns;
    uint32_t n;
    mox_late_read read[MOX_IO_MAX_DEPTH];
} mox_late;

/* mox_late_around: from now on *ops and *io are the watched ones. Borrows all it is given. */
void mox_late_around(mox_late *late, const mox_io_ops **ops, mox_io **io, const char *const *paths,
                     const mox_log *log);

#endif
