/* Finding and starting device modules (module.h). */
#ifndef MOX_RUNTIME_DEV_LOADER_H
#define MOX_RUNTIME_DEV_LOADER_H

#include "runtime/dev/module.h"

/* mox_dev_load: the module for the spec's kind (not cpu), started. Looked for in `dir`, or if that is NULL beside the
 * program and in ../lib/moxie from there. A module stays loaded until the program ends.
 * Errors  MOX_E_DEVICE: there is none (the record says how to build it), it is of another version, or it found no device.
 * Threads: one at a time. */
MOX_NODISCARD mox_err mox_dev_load(const mox_dev_module **out, const mox_dev_spec *spec, const char *dir);

#endif
