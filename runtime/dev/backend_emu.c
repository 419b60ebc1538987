/* What only the emulator's module does: it sets up as many GPUs as the spec says. */
#include "emu/emu.h"
#include "runtime/dev/cuda_dev.h"

const char mox_backend_name[] = "emu";

mox_err mox_backend_start(const mox_dev_spec *spec)
{
    static const emu_policy policies[MOX_DEV_POLICIES] = {EMU_LAZY, EMU_EAGER, EMU_RANDOM};
    static const emu_order orders[MOX_DEV_ORDERS] = {EMU_ASCENDING, EMU_DESCENDING, EMU_SHUFFLED};
    emu_config c;
    emu_defaults(&c);
    c.devices = spec->n != 0 ? (int)spec->n : 1;
    c.vram = spec->vram != 0 ? spec->vram : c.vram;
    c.policy = policies[spec->policy];
    c.order = orders[spec->order];
    c.seed = spec->seed;
    c.sm = (int)spec->sm;
    emu_open(&c);
    if (spec->fail_call[0] != '\0') {
        emu_fail_at(spec->fail_call, spec->fail_at, cudaErrorUnknown);
    }
    return MOX_OK;
}
