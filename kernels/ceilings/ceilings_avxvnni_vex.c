/* The integer ceiling with 256-bit VNNI, VEX-encoded. */
#define MOX_CEILING_INT mox_ceiling_int_avxvnni_vex
#define MOX_DPBUSD      _mm256_dpbusd_avx_epi32
#include "ceilings_avxvnni_evex.c"
