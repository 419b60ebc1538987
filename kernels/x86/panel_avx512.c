/* AVX-512: the sizes of panel tiles and the table of their kernels. */
#include "kernels/panel.h"

const mox_panels mox_panels_avx512 = {.sizes = {12, 8, 6, 4}};
