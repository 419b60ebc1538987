/* Device memory and modes for the tests of CUDA kernels: on the emulator a mode is an order of lanes, a poison and an
 * architecture. A test runs its sweep in every mode; what it takes is given back when the next mode begins. */
#ifndef MOX_TESTS_CUDA_DEVICE_H
#define MOX_TESTS_CUDA_DEVICE_H

#include "kernels/cuda/cuda_ops.h"

#include <stdbool.h>
#include <stddef.h>

/* device_mode: open mode i; false: there is none. device_mode_name: of the open one. */
bool device_mode(unsigned i);
const char *device_mode_name(void);

void *device_new(size_t bytes);                             /* undefined contents; 1 byte at least */
void *device_copy(const void *host, size_t bytes);          /* a copy there */
void device_get(void *host, const void *dev, size_t bytes); /* waits for all work */
const mox_cuda_call *device_call(void);                     /* its bad_row is clear when the mode opens */
uint32_t device_bad_row(void);                              /* and clears it */

#endif
