/* The plain-C vector operations compiled for AVX2 with FMA: the same bits as from the baseline object (every fma is
 * written out, every sum has its order), without a call of libm for each product. `--isa scalar` uses this table where
 * the machine can run it. */
#define MOX_REF_VEC mox_vec_ref_avx2
#include "../vec_ref.c"
