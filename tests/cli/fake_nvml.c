/* A management library that lists two GPUs, the second in a slot with 4 lanes (test_doctor.c). */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define API __attribute__((visibility("default")))

typedef struct memory {
    unsigned long long total, free, used;
} memory;

API int nvmlInit_v2(void)
{
    return 0;
}

API int nvmlShutdown(void)
{
    return 0;
}

API int nvmlSystemGetDriverVersion(char *text, unsigned n)
{
    snprintf(text, n, "1.2.3");
    return 0;
}

API int nvmlDeviceGetCount_v2(unsigned *n)
{
    *n = 2;
    return 0;
}

/* the first is 1: none is NULL */
API int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **device)
{
    *device = (void *)(uintptr_t)(i + 1);
    return 0;
}

static unsigned number(void *device)
{
    return (unsigned)((uintptr_t)device - 1);
}

API int nvmlDeviceGetName(void *device, char *text, unsigned n)
{
    snprintf(text, n, "Fake GPU %u", number(device));
    return 0;
}

API int nvmlDeviceGetUUID(void *device, char *text, unsigned n)
{
    snprintf(text, n, "GPU-%04u", number(device));
    return 0;
}

API int nvmlDeviceGetMemoryInfo(void *device, memory *out)
{
    (void)device;
    *out = (memory){24ULL << 30, 20ULL << 30, 4ULL << 30};
    return 0;
}

API int nvmlDeviceGetCurrPcieLinkWidth(void *device, unsigned *n)
{
    *n = number(device) == 0 ? 16 : 4;
    return 0;
}

API int nvmlDeviceGetMaxPcieLinkWidth(void *device, unsigned *n)
{
    (void)device;
    *n = 16;
    return 0;
}

API int nvmlDeviceGetMaxPcieLinkGeneration(void *device, unsigned *n)
{
    (void)device;
    *n = 4;
    return 0;
}
