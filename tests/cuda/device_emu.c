/* The emulator as the tests' device (device.h): three orders of lanes, two poisons, and the tensor core's shapes of
 * sm_75 in every second mode. Work is done as late as possible. */
#include "cuda/device.h"

#include "emu/emu.h"

#include <stdio.h>
#include <stdlib.h>

enum { POISONS = 2, MODES = EMU_ORDERS * POISONS };

static mox_cuda_call call;
static char name[64];

static void must(cudaError_t e)
{
    if (e != cudaSuccess) {
        fprintf(stderr, "CUDA error %d\n", (int)e);
        abort();
    }
}

bool device_mode(unsigned i)
{
    static const char *const orders[EMU_ORDERS] = {"ascending", "descending", "shuffled"};
    if (i >= MODES) {
        return false;
    }
    emu_config c;
    emu_defaults(&c);
    const char *skip = getenv("MOX_EMU_SKIP_FILE"), *line = getenv("MOX_EMU_SKIP_LINE");
    c.skip_file = skip;
    c.skip_line = line != NULL ? atoi(line) : 0;
    c.order = (emu_order)(i / POISONS);
    c.poison = i % POISONS == 0 ? 0xff : 0x7f;
    c.sm = i % POISONS == 0 ? 80 : 75;
    emu_open(&c);
    snprintf(name, sizeof name, "%s lanes, poison %02x, sm_%d", orders[c.order], (unsigned)c.poison, c.sm);
    must(cudaStreamCreateWithFlags(&call.stream, cudaStreamNonBlocking));
    call.bad_row = device_new(sizeof *call.bad_row);
    return mox_cuda_clear_bad_row(&call) == MOX_OK;
}

const char *device_mode_name(void)
{
    return name;
}

void *device_new(size_t bytes)
{
    void *p = NULL;
    must(cudaMalloc(&p, bytes != 0 ? bytes : 1));
    return p;
}

void *device_copy(const void *host, size_t bytes)
{
    void *p = device_new(bytes);
    must(cudaMemcpyAsync(p, host, bytes, cudaMemcpyHostToDevice, call.stream));
    return p;
}

void device_get(void *host, const void *dev, size_t bytes)
{
    must(cudaMemcpyAsync(host, dev, bytes, cudaMemcpyDeviceToHost, call.stream));
    must(cudaStreamSynchronize(call.stream));
}

const mox_cuda_call *device_call(void)
{
    return &call;
}

uint32_t device_bad_row(void)
{
    uint32_t row = 0;
    device_get(&row, call.bad_row, sizeof row);
    if (mox_cuda_clear_bad_row(&call) != MOX_OK) {
        abort();
    }
    return row;
}
