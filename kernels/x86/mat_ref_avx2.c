/* The plain-C tiles compiled for AVX2: the same bits (integers exact, every fma written out), the compiler's
 * vectors. They serve the formats that have no hand-written tile. */
#define MOX_REF_TILES mox_tiles_ref_avx2
#include "../mat_ref.c"
