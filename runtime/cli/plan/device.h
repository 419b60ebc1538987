/* A device that is here: what it is, how much of its memory is free, and how fast bytes come and go. `plan` takes what is
 * free and predicts with the rates; `tune` measures the rates of the device it tunes for. */
#ifndef MOX_CLI_PLAN_DEVICE_H
#define MOX_CLI_PLAN_DEVICE_H

#include "runtime/moxie.h"

typedef struct mox_device_here {
    char name[128];
    const char *kind; /* "cpu": the CPU plays it; "cuda"; "emu": an emulator, whose rates are of no card */
    uint64_t free_bytes;
    double up_bps, down_bps; /* copies from and to pinned memory; 0: not measured */
    double own_bps;          /* reads within its memory, by copies from it to itself */
} mox_device_here;

/* mox_device_kind: "cpu", "cuda", "emu" of what --device says; NULL: no device with memory of its own. */
const char *mox_device_kind(const char *device);
/* mox_device_find: the first device that cfg names. Errors MOX_E_DEVICE: no module or none there; MOX_E_OPTION. */
MOX_NODISCARD mox_err mox_device_find(const mox_cfg *cfg, mox_device_here *out);
/* mox_device_measure: and the rates, on a stream of its own; it is opened and closed for that. */
MOX_NODISCARD mox_err mox_device_measure(const mox_cfg *cfg, mox_device_here *out);

#endif
