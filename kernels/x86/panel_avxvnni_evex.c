/* The AVX-VNNI panel kernels, EVEX-encoded: for processors with AVX-512 VNNI and VL. See panel_avxvnni.h. */
#define MOX_VNNI(op) _mm256_##op##_epi32
#include "kernels/x86/panel_avxvnni.h"

#define ROW(TYPE, name) [MOX_TYPE_##TYPE] = panel_##name,
const mox_panels mox_panels_avxvnni_evex = {.sizes = {LANES, 4}, .of_type = {MOX_TILES_BY_HAND(ROW)}};
