/* The AVX-VNNI tiles, EVEX-encoded: for processors with AVX-512 VNNI and VL. See mat_avxvnni.h. */
#define MOX_VNNI(op) _mm256_##op##_epi32
#include "kernels/x86/mat_b32_avxvnni.h"
#include "kernels/x86/mat_k_avxvnni.h"

#define ROW(TYPE, name) [MOX_TYPE_##TYPE] = tile_##name,
const mox_tiles mox_tiles_avxvnni_evex = {.of_type = {MOX_TILES_BY_HAND(ROW)}};
