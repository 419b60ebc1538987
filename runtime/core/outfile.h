/* A file that appears under its name only when it is whole.
 *
 * It is written as PATH.part-<process> in the same folder, then flushed, closed and renamed; whoever stops before that
 * leaves nothing behind. Several processes may write the same file: the last rename wins, and no reader sees half of
 * one. What is no ordinary file (a terminal, a pipe, /dev/null) is written in place. Used for results that a command
 * writes and for saved heat; traces grow while the program runs and packed files have a protocol of their own.
 */
#ifndef MOX_CORE_OUTFILE_H
#define MOX_CORE_OUTFILE_H

#include "runtime/core/err.h"

#include <stdio.h>

typedef struct mox_outfile {
    FILE *f;          /* to be written to */
    const char *path; /* borrowed until publish or drop */
    char *part;       /* NULL: written in place */
} mox_outfile;

/* mox_outfile_open: mode as for open(2). Errors MOX_E_WRITE, MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_outfile_open(mox_outfile *out, const char *path, unsigned mode);
/* mox_outfile_publish: what was written is now the file; after a failure, of this or of an earlier write to f, it is
 * what it was before. Errors MOX_E_WRITE. */
MOX_NODISCARD mox_err mox_outfile_publish(mox_outfile *out);
/* mox_outfile_drop: forget it. After publish, and on a zeroed struct, nothing happens. */
void mox_outfile_drop(mox_outfile *out);

#endif
