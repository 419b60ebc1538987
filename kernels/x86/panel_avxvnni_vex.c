/* The AVX-VNNI panel kernels, VEX-encoded: for processors with AVX-VNNI. See panel_avxvnni.h. */
#define MOX_VNNI(op) _mm256_##op##_avx_epi32
#include "kernels/x86/panel_avxvnni.h"

#define ROW(TYPE, name) [MOX_TYPE_##TYPE] = panel_##name,
const mox_panels mox_panels_avxvnni_vex = {.sizes = {LANES, 4}, .of_type = {MOX_TILES_BY_HAND(ROW)}};
