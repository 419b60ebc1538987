/* What only the module for real GPUs does: a look whether there is one, by ids as other tools give them. */
#include "runtime/dev/cuda_dev.h"

#include <stdlib.h>

const char mox_backend_name[] = "cuda";

mox_err mox_backend_start(const mox_dev_spec *spec)
{
    int n = 0;
    /* CUDA would number them by speed, nvidia-smi does by place; who has said which is left alone */
    (void)setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID", 0);
    const cudaError_t e = cudaGetDeviceCount(&n);
    if (e != cudaSuccess || n == 0) {
        (void)MOX_FAIL(MOX_E_DEVICE, "no usable GPU: %s",
                       e != cudaSuccess ? cudaGetErrorString(e) : "the driver lists none");
        return mox_err_fix("--device cpu");
    }
    if (spec->n > (uint32_t)n) {
        (void)MOX_FAIL(MOX_E_DEVICE, "%u GPUs are asked for, the driver lists %d", spec->n, n);
        return mox_err_fix("--device cuda:n=%d", n);
    }
    return MOX_OK;
}
