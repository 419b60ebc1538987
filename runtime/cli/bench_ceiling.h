/* What this machine can do, measured in the process that is judged by it. */
#ifndef MOX_CLI_BENCH_CEILING_H
#define MOX_CLI_BENCH_CEILING_H

#include "runtime/core/err.h"

#include <stdint.h>

typedef struct mox_ram_ceiling {
    uint64_t bytes; /* read per pass: 4 GiB, or what fits */
    uint32_t threads;
    double bytes_per_s; /* best of three passes */
} mox_ram_ceiling;

typedef struct mox_disk_ceiling {
    double bytes_per_s; /* best of the four */
    uint64_t request_bytes;
    uint32_t depth;
} mox_disk_ceiling;

/* mox_ceiling_ram: read a buffer of min(4 GiB, half of what is available) with n_threads; nothing is kept. */
MOX_NODISCARD mox_err mox_ceiling_ram(uint32_t n_threads, mox_ram_ceiling *out);
/* mox_ceiling_disk: O_DIRECT reads of the file that holds the model (its first GiB, or all of it), {512 KiB,
 * 1 MiB} x {16, 32} in flight. */
MOX_NODISCARD mox_err mox_ceiling_disk(const char *path, uint64_t file_bytes, mox_disk_ceiling *out);

#endif
