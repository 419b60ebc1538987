/* See nvml.h. The few functions that are used are declared here as the library's documentation has them: its header belongs to
 * a package that users rarely have. A function that is missing leaves its figure at 0. */
#include "runtime/cli/nvml.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct nvml_memory {
    unsigned long long total, free, used;
} nvml_memory;

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    int (*driver)(char *text, unsigned n);
    int (*count)(unsigned *n);
    int (*handle)(unsigned i, void **device);
    int (*name)(void *device, char *text, unsigned n);
    int (*uuid)(void *device, char *text, unsigned n);
    int (*memory)(void *device, nvml_memory *out);
    int (*lanes)(void *device, unsigned *n);
    int (*max_lanes)(void *device, unsigned *n);
    int (*generation)(void *device, unsigned *n);
} nvml;

/* false: it lacks what nothing can be said without */
static bool load(nvml *n, void *library)
{
    const struct {
        const char *symbol;
        void *at;
    } all[] = {{"nvmlInit_v2", &n->init},
               {"nvmlShutdown", &n->shutdown},
               {"nvmlDeviceGetCount_v2", &n->count},
               {"nvmlDeviceGetHandleByIndex_v2", &n->handle},
               {"nvmlDeviceGetName", &n->name},
               {"nvmlDeviceGetUUID", &n->uuid},
               {"nvmlDeviceGetMemoryInfo", &n->memory},
               {"nvmlSystemGetDriverVersion", &n->driver},
               {"nvmlDeviceGetCurrPcieLinkWidth", &n->lanes},
               {"nvmlDeviceGetMaxPcieLinkWidth", &n->max_lanes},
               {"nvmlDeviceGetMaxPcieLinkGeneration", &n->generation}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        void *symbol = dlsym(library, all[i].symbol);
        memcpy(all[i].at, &symbol, sizeof symbol); /* C has no cast from an object to a function */
    }
    return n->init && n->shutdown && n->count && n->handle && n->name && n->uuid && n->memory;
}

static uint32_t ask(int (*function)(void *, unsigned *), void *device)
{
    unsigned n = 0;
    return function && function(device, &n) == 0 ? n : 0;
}

static void describe(const nvml *n, unsigned i, mox_nvml_gpu *out)
{
    void *device = NULL;
    nvml_memory memory = {0};
    *out = (mox_nvml_gpu){.name = "unknown", .uuid = "unknown"};
    if (n->handle(i, &device) != 0) {
        return;
    }
    n->name(device, out->name, sizeof out->name);
    n->uuid(device, out->uuid, sizeof out->uuid);
    if (n->memory(device, &memory) == 0) {
        out->total_bytes = memory.total;
        out->free_bytes = memory.free;
    }
    out->lanes = ask(n->lanes, device);
    out->max_lanes = ask(n->max_lanes, device);
    out->generation = ask(n->generation, device);
}

int mox_nvml_list(const char *library, mox_nvml_gpu *out, uint32_t max, char driver[96])
{
    nvml n = {0};
    unsigned count = 0;
    driver[0] = '\0';
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        return -1;
    }
    bool there = load(&n, handle) && n.init() == 0;
    if (there) {
        if (n.count(&count) != 0) {
            count = 0;
        }
        if (!n.driver || n.driver(driver, 96) != 0) {
            driver[0] = '\0';
        }
        for (unsigned i = 0; i < count && i < max; i++) {
            describe(&n, i, &out[i]);
        }
        n.shutdown();
    }
    dlclose(handle);
    return there ? (int)count : -1;
}
