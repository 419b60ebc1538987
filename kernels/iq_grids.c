/* The code books of the IQ formats on the host (iq_grids.inc has the numbers). */
#include "kernels/iq_grids.h"

#define IQ_GRID(name, entries) const uint16_t mox_##name##_grid[entries]
#include "iq_grids.inc" /* no header of the library: read here and by nvcc alone */
