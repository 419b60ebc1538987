/* Modules that the loader must refuse (CMakeLists.txt): of another version, and without the symbol. */
#include "runtime/dev/module.h"

#ifdef ODD_other
__attribute__((visibility("default"))) const mox_dev_module *mox_dev_module_table(void)
{
    static const mox_dev_module table = {.abi = MOX_DEV_ABI + 1, .shape = MOX_DEV_SHAPE, .name = "cuda"};
    return &table;
}
#else
__attribute__((visibility("default"))) int mox_dev_nothing(void)
{
    return 0;
}
#endif
