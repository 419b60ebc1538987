/* What NVIDIA's management library says of the GPUs that are there: loaded by name if it is installed, which it is with every
 * driver, so nothing is linked and a machine without one is no error. For `doctor`. */
#ifndef MOX_CLI_NVML_H
#define MOX_CLI_NVML_H

#include <stdint.h>

typedef struct mox_nvml_gpu {
    char name[96], uuid[96];
    uint64_t total_bytes, free_bytes;
    uint32_t lanes, max_lanes, generation; /* of PCIe: now, possible, possible; 0: not told */
} mox_nvml_gpu;

#define MOX_NVML_LIBRARY "libnvidia-ml.so.1"

/* mox_nvml_list: how many GPUs there are, the first `max` of them in out, and the driver's version; -1 where the library is
 * absent or finds no driver. */
int mox_nvml_list(const char *library, mox_nvml_gpu *out, uint32_t max, char driver[96]);

#endif
