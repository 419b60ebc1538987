/* The one symbol that a module offers (module.h). */
#include "runtime/dev/module.h"

__attribute__((visibility("default"))) const mox_dev_module *mox_dev_module_table(void)
{
    return mox_dev_module_make();
}
