/* `--gpu`: which of a module's GPUs are used. */
#ifndef MOX_RUNTIME_DEV_PICK_H
#define MOX_RUNTIME_DEV_PICK_H

#include "runtime/dev/module.h"

/* mox_dev_pick: ids and UUIDs with commas between ("0", "1,0", "GPU-5e1f0c2b"), in the order of the text. Of a UUID as much
 * will do as only one has; capitals do not count. Ids are the driver's in the order of the PCI bus, as nvidia-smi and `moxie doctor`
 * list them, unless CUDA_VISIBLE_DEVICES says otherwise.
 * Errors  MOX_E_OPTION: no list, one twice, more than max; MOX_E_DEVICE: none is called so, with those that are there;
 * the module's. */
MOX_NODISCARD mox_err mox_dev_pick(const mox_dev_module *m, const char *text, uint32_t *id, uint32_t max,
                                   uint32_t *n);

#endif
