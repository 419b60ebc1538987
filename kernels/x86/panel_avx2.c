/* AVX2: the sizes of panel tiles and the table of their kernels. */
#include "kernels/panel.h"

const mox_panels mox_panels_avx2 = {.sizes = {6, 4}};
