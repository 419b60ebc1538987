/* A backend that breaks one completion on purpose and passes everything else to a real one.
 *
 * Set as mox_store_cfg.io_override (io_override_ctx: the seam). What it does is what a kernel may do: the
 * bytes that a broken read did not deliver are overwritten with poison, so using them shows.
 */
#ifndef MOX_TESTS_FAULT_SEAM_H
#define MOX_TESTS_FAULT_SEAM_H

#include "offload/io.h"

#include <stdatomic.h>

typedef enum seam_fault {
    SEAM_NONE,
    SEAM_SHORT,
    SEAM_ZERO,
    SEAM_EAGAIN,
    SEAM_EINTR,
    SEAM_EIO,
    SEAM_ECANCELED,
    SEAM_LATE,
    SEAM_TWICE,
    SEAM_CORRUPT, /* the n-th completion of something that was read before */
    SEAM_FAULTS
} seam_fault;

enum { SEAM_OFFSETS = 4096, SEAM_STATE = 1 << 16 };

typedef struct seam {
    const mox_io_ops *inner;
    seam_fault fault;
    uint32_t nth;   /* completion to break, from 1; SEAM_CORRUPT counts completions of re-reads alone */
    bool for_ever;  /* also every later read of the same place */
    bool first_too; /* SEAM_CORRUPT counts first reads as well: a packed file has checksums for them */
    /* out */
    atomic_uint fired; /* completions that were broken */
    atomic_uint completions;
    /* private to the I/O thread */
    mox_io *io;
    mox_io_req req[2 * MOX_IO_MAX_DEPTH]; /* by the low bits of the id */
    uint32_t counted, reads, held_for;
    bool holding, repeating;
    mox_io_done held;
    uint64_t bad_off;
    uint64_t offset[SEAM_OFFSETS]; /* places read successfully, + 1 */
    _Alignas(64) unsigned char state[SEAM_STATE];
} seam;

extern const mox_io_ops seam_ops;
const char *seam_fault_name(seam_fault fault);

#endif
