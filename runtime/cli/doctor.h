/* The state of this machine as far as it matters to moxie: facts, and warnings with what to do about them.
 *
 * What is read from /proc, /sys and /dev is read below `root`, so that tests can show other machines.
 */
#ifndef MOX_CLI_DOCTOR_H
#define MOX_CLI_DOCTOR_H

#include "runtime/core/err.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct mox_finding {
    const char *name;
    bool warning;
    char text[320];
    char fix[320]; /* for a warning */
    /* what the text says, in base units; key == NULL: nothing more */
    struct {
        const char *key;
        double value;
    } numbers[4];
} mox_finding;

enum { MOX_MAX_FINDINGS = 24, MOX_DOCTOR_GPUS = 8 };

typedef struct mox_doctor {
    const char *root; /* "" */
    const char *nvml; /* the library's name; NULL: none is asked */
    const char *path; /* the file that the disk is judged by */
    uint64_t path_bytes;
    mox_finding findings[MOX_MAX_FINDINGS];
    uint32_t n, warnings;
} mox_doctor;

void mox_doctor_cpu(mox_doctor *d);
void mox_doctor_memory(mox_doctor *d);
void mox_doctor_swap(mox_doctor *d);
void mox_doctor_memlock(mox_doctor *d);
void mox_doctor_huge_pages(mox_doctor *d);
void mox_doctor_gpu(mox_doctor *d);
/* One finding for each GPU that the driver lists: memory, link, UUID. */
void mox_doctor_gpu_list(mox_doctor *d);
/* io_uring, the file system, and the rates of memory and disk, which are measured (a second or two). */
MOX_NODISCARD mox_err mox_doctor_io(mox_doctor *d);
MOX_NODISCARD mox_err mox_doctor_rates(mox_doctor *d);

#endif
