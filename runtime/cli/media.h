/* Where a model lies, as far as it makes answers slow: a disk under 200 MB/s, a network file system, swap in use.
 * Said before loading, with the speed to expect. */
#ifndef MOX_CLI_MEDIA_H
#define MOX_CLI_MEDIA_H

#include "runtime/cli/options.h"

#define MOX_SLOW_DISK 200e6         /* bytes per second below which a disk is named */
#define MOX_SWAPPED   (64ull << 20) /* bytes swapped out above which swap is named */

typedef struct mox_media {
    const char *network; /* "NFS": reads go over a network or through a program; NULL: local */
    double bytes_per_s;  /* 0: not measured */
    uint64_t swap_used;
} mox_media;

/* mox_media_network: the name of a slow kind of file system by statfs's f_type; NULL: another. */
const char *mox_media_network(unsigned long f_type);
/* mox_media_path: the same for the file system that a file is on. */
const char *mox_media_path(const char *path);
/* mox_media_swap_used: from /proc/meminfo below root ("" for this machine). */
uint64_t mox_media_swap_used(const char *root);
/* mox_media_rate: reads of the middle of a file, past the page cache, until 32 MiB or 50 ms have passed, whichever
 * is first (and then until the reads in flight are back). 0: it cannot be read, which opening it will say. */
double mox_media_rate(const char *path);

/* mox_media_token_bytes: what an answer's token is expected to read from the file: of the experts of each layer that
 * it uses, the share that is not kept. */
double mox_media_token_bytes(const mox_plan *plan);
/* mox_media_line: the line to print; false: there is nothing to say. */
bool mox_media_line(const mox_media *m, const mox_plan *plan, char *out, size_t n);
/* mox_media_warn: looks at cfg's model and machine and prints the line. Costs 50 ms at most where the disk is fast. */
void mox_media_warn(const mox_cfg *cfg);

#endif
