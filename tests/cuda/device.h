/* A device, its table of operations and modes, for the tests of CUDA kernels: on the emulator a mode is an order of lanes,
 * a poison and an architecture. A test runs its sweep in every mode; what it takes is given back when the next mode
 * begins. */
#ifndef MOX_TESTS_CUDA_DEVICE_H
#define MOX_TESTS_CUDA_DEVICE_H

#include "kernels/ops.h"

#include <stdbool.h>
#include <stddef.h>

/* device_mode: open mode i; false: there is none. device_mode_name: of the open one. */
bool device_mode(unsigned i);
const char *device_mode_name(void);
/* For device_mode: the module's device as it is set up now; what was taken of it, back. */
void device_open(void);
void device_close(void);

void *device_new(size_t bytes);                             /* undefined contents; 1 byte at least */
void *device_copy(const void *host, size_t bytes);          /* a copy there */
void device_get(void *host, const void *dev, size_t bytes); /* waits for all work */

mox_ops *device_ops(void);
mox_stream *device_stream(void);
/* An operation of the device's table. */
#define DEVICE(op, args) (device_ops()->op(device_ops(), device_stream(), (args)))

#define NO_BAD_ROW 0xffffffffU
uint32_t device_bad_row(void); /* of what ran since the last call; waits */

#endif
