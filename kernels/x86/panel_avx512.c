/* AVX-512: the sizes of panel tiles and the table of their kernels. */
#include "kernels/x86/panel_avx512.h"

const mox_panels mox_panels_avx512 = {.sizes = {LANES, 8, 6, 4},
                                      .of_type = {
                                          [MOX_TYPE_Q2_K] = mox_panel_avx512_q2_k,
                                          [MOX_TYPE_Q3_K] = mox_panel_avx512_q3_k,
                                          [MOX_TYPE_Q4_K] = mox_panel_avx512_q4_k,
                                          [MOX_TYPE_Q5_K] = mox_panel_avx512_q5_k,
                                          [MOX_TYPE_Q6_K] = mox_panel_avx512_q6_k,
                                      }};
