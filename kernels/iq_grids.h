/* The code books of the IQ formats (iq_grids.c): one packed entry per index. Eight-value grids hold 2 bits
 * per element, four-value grids 3 bits, the first element in the lowest bits. */
#ifndef MOX_KERNELS_IQ_GRIDS_H
#define MOX_KERNELS_IQ_GRIDS_H

#include <stdint.h>

extern const uint16_t mox_iq2xxs_grid[256];
extern const uint16_t mox_iq2xs_grid[512];
extern const uint16_t mox_iq2s_grid[1024];
extern const uint16_t mox_iq1s_grid[2048];
extern const uint16_t mox_iq3xxs_grid[256];
extern const uint16_t mox_iq3s_grid[512];

#endif
