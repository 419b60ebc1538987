/* A device module: moxie-dev-cuda.so or moxie-dev-emu.so, the same sources compiled twice, loaded by name.
 *
 * The program links neither, so it starts without a driver. A module shares no symbol with the program: it is asked
 * through one table and has its own copy of runtime/core, whose errors it writes to the program's record. Both sides are
 * built from one tree; the loader refuses a module whose tables have another shape than the program's.
 */
#ifndef MOX_RUNTIME_DEV_MODULE_H
#define MOX_RUNTIME_DEV_MODULE_H

#include "kernels/ops.h"
#include "runtime/core/dev.h"
#include "runtime/core/log.h"
#include "runtime/dev/spec.h"

/* Raised with every change of what stands in these tables. */
#define MOX_DEV_ABI 3u
/* What a forgotten rise would change all the same. */
#define MOX_DEV_SHAPE                                                                                        \
    ((uint32_t)(sizeof(mox_dev_ops) * 31 + sizeof(mox_ops) * 37 + sizeof(mox_experts_args) * 41 +            \
                sizeof(mox_attention_args) * 43 + sizeof(mox_mat) * 47 + sizeof(mox_kv_view) * 53 +          \
                sizeof(mox_dev_spec) * 59 + sizeof(mox_err_info) * 61 + sizeof(mox_dev_info) * 67 +          \
                sizeof(mox_dev_module)))

typedef struct mox_dev_info {
    char name[128];
    char uuid[48]; /* "GPU-5e1f0c2b-...", as nvidia-smi writes it */
    uint32_t sm;   /* compute capability, 75 for 7.5 */
    uint64_t vram_bytes, vram_free_bytes;
} mox_dev_info;

typedef struct mox_dev_open_cfg {
    uint64_t vram_limit; /* never more than so many bytes of device memory; 0: what the device has */
    const mox_log *log;  /* borrowed until the device is destroyed; may be NULL */
} mox_dev_open_cfg;

typedef struct mox_dev_module {
    uint32_t abi, shape;
    const char *name;   /* "cuda" "emu" */
    uint64_t own_bytes; /* of a device's memory that open takes */
    /* Once before all else; again only while no device is open. */
    mox_err (*start)(const mox_dev_spec *spec, mox_err_info *(*err_record)(void));
    mox_err (*count)(uint32_t *n);
    mox_err (*info)(uint32_t i, mox_dev_info *out);
    /* Device i and its table of operations. Owns: both, until mox_ops_destroy and mox_dev_destroy, in this order. */
    mox_err (*open)(uint32_t i, const mox_dev_open_cfg *cfg, mox_dev **dev, mox_ops **ops);
} mox_dev_module;

/* The one symbol of a module. */
#define MOX_DEV_MODULE_SYMBOL "mox_dev_module_table"
const mox_dev_module *mox_dev_module_table(void);
/* The same within the module, and for tests that have its parts in themselves. */
const mox_dev_module *mox_dev_module_make(void);

#endif
