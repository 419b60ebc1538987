/* The module's own device as the tests' (tests/cuda/device.h): a real GPU as it is, in one mode; linked with the
 * emulator's module, the emulated one, which is how this is tried without a GPU. */
#include "cuda/device.h"

#include "runtime/dev/module.h"

#include <stdio.h>
#include <stdlib.h>

static mox_dev_info info;

bool device_mode(unsigned i)
{
    device_close();
    if (i > 0) {
        return false;
    }
    const mox_dev_module *m = mox_dev_module_make();
    mox_dev_spec spec;
    char text[32];
    snprintf(text, sizeof text, "%s:n=1", m->name);
    if (mox_dev_spec_parse(&spec, text) != MOX_OK || m->start(&spec, mox_err_record) != MOX_OK ||
        m->info(0, &info) != MOX_OK) {
        fprintf(stderr, "gpu_twins: %s\n", mox_err_last()->msg);
        exit(2);
    }
    device_open();
    return true;
}

const char *device_mode_name(void)
{
    return info.name;
}
