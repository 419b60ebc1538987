/* The table of a device module (module.h). */
#include "runtime/dev/cuda_dev.h"

#include <stdio.h>

static mox_err start(const mox_dev_spec *spec, mox_err_info *(*err_record)(void))
{
    mox_err_share(err_record);
    return mox_backend_start(spec);
}

static mox_err count(uint32_t *n)
{
    int found = 0;
    CUDA_TRY(-1, cudaGetDeviceCount(&found), "how many there are");
    *n = (uint32_t)found;
    return MOX_OK;
}

/* "GPU-", and the bytes in hexadecimal with dashes behind the 4th, 6th, 8th and 10th */
static void write_uuid(const struct cudaDeviceProp *p, char out[48])
{
    int at = snprintf(out, 48, "GPU-");
    for (int i = 0; i < 16; i++) {
        at += snprintf(out + at, 48 - (size_t)at, "%s%02x", i >= 4 && i <= 10 && i % 2 == 0 ? "-" : "",
                       (unsigned)(unsigned char)p->uuid.bytes[i]);
    }
}

static mox_err info(uint32_t i, mox_dev_info *out)
{
    const int id = (int)i;
    struct cudaDeviceProp p;
    size_t free_bytes = 0, total = 0;
    CUDA_TRY(id, cudaGetDeviceProperties(&p, id), "what it is");
    CUDA_TRY(id, cudaSetDevice(id), "to ask for its memory");
    CUDA_TRY(id, cudaMemGetInfo(&free_bytes, &total), "how much memory it has");
    *out = (mox_dev_info){
        .sm = (uint32_t)(10 * p.major + p.minor), .vram_bytes = total, .vram_free_bytes = free_bytes};
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p.name);
    write_uuid(&p, out->uuid);
    return MOX_OK;
}

static mox_err open_device(uint32_t i, const mox_dev_open_cfg *cfg, mox_dev **dev, mox_ops **ops)
{
    mox_dev *d = NULL;
    MOX_TRY(mox_cuda_dev_create(&d, i, cfg));
    const mox_err err = mox_cuda_ops_create(ops, d);
    if (err != MOX_OK) {
        const mox_err_info first = *mox_err_last();
        d->ops->destroy(d);
        return mox_err_restore(&first);
    }
    *dev = d;
    return MOX_OK;
}

const mox_dev_module *mox_dev_module_make(void)
{
    static const mox_dev_module table = {.abi = MOX_DEV_ABI,
                                         .shape = MOX_DEV_SHAPE,
                                         .name = mox_backend_name,
                                         .own_bytes = sizeof(uint32_t),
                                         .start = start,
                                         .count = count,
                                         .info = info,
                                         .open = open_device};
    return &table;
}
