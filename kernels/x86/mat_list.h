/* The types with hand-written tiles, the same for AVX2 and AVX-512: X(TYPE, name of its tile). */
#ifndef MOX_KERNELS_X86_MAT_LIST_H
#define MOX_KERNELS_X86_MAT_LIST_H

#include "kernels/mat_tile.h"

#define MOX_TILES_BY_HAND(X)                                                                                 \
    X(F32, f32)                                                                                              \
    X(F16, f16)                                                                                              \
    X(BF16, bf16)                                                                                            \
    X(Q4_0, q4_0)                                                                                            \
    X(Q4_1, q4_1)                                                                                            \
    X(Q5_0, q5_0)                                                                                            \
    X(Q5_1, q5_1)                                                                                            \
    X(Q8_0, q8_0)                                                                                            \
    X(IQ4_NL, iq4_nl)                                                                                        \
    X(MXFP4, mxfp4)                                                                                          \
    X(Q2_K, q2_k)                                                                                            \
    X(Q3_K, q3_k)                                                                                            \
    X(Q4_K, q4_k)                                                                                            \
    X(Q5_K, q5_k)                                                                                            \
    X(Q6_K, q6_k)                                                                                            \
    X(IQ4_XS, iq4_xs)

#endif
