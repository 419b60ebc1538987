/* dlopen by name, a look at the version, start (loader.h). Nothing is unloaded: records of errors point into a module's
 * text, and CUDA's own library does not like to go. */
#include "runtime/dev/loader.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef const mox_dev_module *table_fn(void);

/* Where the program lies, without its name; empty if the system does not say. */
static void program_dir(char out[PATH_MAX])
{
    const ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(out, '/');
    if (slash) {
        *slash = '\0';
    }
}

/* NULL: not there. A module that is there and cannot be loaded is told from one that is absent. */
static void *open_in(const char *dir, const char *below, const char *name, char why[256])
{
    char path[PATH_MAX];
    const int n = snprintf(path, sizeof path, "%s%s/moxie-dev-%s.so", dir, below, name);
    if (n < 0 || (size_t)n >= sizeof path || access(path, F_OK) != 0) {
        return NULL;
    }
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const char *error = handle ? NULL : dlerror();
    if (error) {
        snprintf(why, 256, "%s", error);
    }
    return handle;
}

static mox_err absent(mox_dev_kind kind, const char *dir, const char *why)
{
    const char *name = mox_dev_kind_name(kind);
    if (why[0] != '\0') {
        (void)MOX_FAIL(MOX_E_DEVICE, "device %s: its module cannot be loaded: %s", name, why);
        return mox_err_fix("build it again with this program, or --device cpu");
    }
    (void)MOX_FAIL(MOX_E_DEVICE, "device %s: there is no moxie-dev-%s.so in %s", name, name, dir);
    return kind == MOX_DEV_EMU
               ? mox_err_fix("build it: cmake --build build --target moxie-dev-emu (needs a C++ compiler and "
                             "CUDA's headers)")
               : mox_err_fix(
                     "build it: cmake --build build --target moxie-dev-cuda (needs nvcc), or --device "
                     "cpu");
}

static mox_err check(const mox_dev_module *m, const char *name)
{
    if (m->abi == MOX_DEV_ABI && m->shape == MOX_DEV_SHAPE) {
        return MOX_OK;
    }
    (void)MOX_FAIL(MOX_E_DEVICE, "device %s: its module is of version %u (shape %u), the program of %u (%u)",
                   name, m->abi, m->shape, MOX_DEV_ABI, MOX_DEV_SHAPE);
    return mox_err_fix("build program and module from one tree");
}

mox_err mox_dev_load(const mox_dev_module **out, const mox_dev_spec *spec, const char *dir)
{
    const char *name = mox_dev_kind_name(spec->kind);
    char own[PATH_MAX], why[256] = "";
    program_dir(own);
    void *handle = open_in(dir ? dir : own, "", name, why);
    if (!handle && !dir && why[0] == '\0') {
        handle = open_in(own, "/../lib/moxie", name, why);
    }
    if (!handle) {
        return absent(spec->kind, dir ? dir : own, why);
    }
    table_fn *table;
    void *symbol = dlsym(handle, MOX_DEV_MODULE_SYMBOL);
    if (!symbol) {
        return MOX_FAIL(MOX_E_DEVICE, "device %s: its module has no %s", name, MOX_DEV_MODULE_SYMBOL);
    }
    memcpy(&table, &symbol, sizeof table); /* C has no cast from an object to a function */
    const mox_dev_module *m = table();
    MOX_TRY(check(m, name));
    MOX_TRY(m->start(spec, mox_err_record));
    *out = m;
    return MOX_OK;
}
