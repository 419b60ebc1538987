/* The table of model families: architecture name -> file. Adding a family is one row here and one file under
 * families/.
 */
#include "runtime/model/build.h"

#include <stdio.h>
#include <string.h>

#define ROW(name) &mox_family_##name,
static const mox_family *const families[] = {MOX_FAMILIES(ROW)};
#undef ROW

enum { N_FAMILIES = sizeof families / sizeof families[0] };

mox_err mox_family_find(const mox_family **out, const mox_gguf *g)
{
    mox_str arch;
    MOX_TRY(mox_gguf_str(g, "general.architecture", &arch));
    char known[512] = "";
    for (size_t i = 0; i < N_FAMILIES; i++) {
        if (arch.n == strlen(families[i]->arch) && memcmp(arch.p, families[i]->arch, arch.n) == 0) {
            *out = families[i];
            return MOX_OK;
        }
        size_t at = strlen(known);
        snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", families[i]->arch);
    }
    char shown[64];
    MOX_FAIL(MOX_E_ARCH, "model: architecture '%s' is not supported", mox_escape(arch, shown, sizeof shown));
    return mox_err_fix("supported architectures: %s", known);
}
