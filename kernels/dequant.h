/* Dequantisers, one per tensor type: n elements (a multiple of the block) of GGUF bytes to f32, in ggml's
 * order of multiplication, so that the values are those of every other reader of the file. Used by formats.c
 * alone. */
#ifndef MOX_KERNELS_DEQUANT_H
#define MOX_KERNELS_DEQUANT_H

#include <stdint.h>

typedef void mox_dequant_fn(const uint8_t *src, float *dst, uint64_t n);

mox_dequant_fn mox_dequant_f32, mox_dequant_f16, mox_dequant_bf16; /* plain */
mox_dequant_fn mox_dequant_q4_0, mox_dequant_q4_1, mox_dequant_q5_0, mox_dequant_q5_1, mox_dequant_q8_0;
mox_dequant_fn mox_dequant_iq4_nl, mox_dequant_mxfp4, mox_dequant_nvfp4;
mox_dequant_fn mox_dequant_q2_k, mox_dequant_q3_k, mox_dequant_q4_k, mox_dequant_q5_k, mox_dequant_q6_k;
mox_dequant_fn mox_dequant_iq4_xs, mox_dequant_tq1_0, mox_dequant_tq2_0;
mox_dequant_fn mox_dequant_iq1_s, mox_dequant_iq1_m, mox_dequant_iq2_xxs, mox_dequant_iq2_xs,
    mox_dequant_iq2_s;
mox_dequant_fn mox_dequant_iq3_xxs, mox_dequant_iq3_s;

/* The 16 values of IQ4_NL and IQ4_XS, and those of MXFP4 and NVFP4 (e2m1, doubled). */
extern const int8_t mox_iq4_values[16];
extern const int8_t mox_fp4_values[16];

/* Scales of a block. Q4_K and Q5_K keep eight 6-bit scales and minimums in 12 bytes; Q3_K sixteen 6-bit
 * scales in 12 bytes, minus 32; MXFP4 an exponent (the result is halved, since mox_fp4_values are doubled);
 * NVFP4 an unsigned e4m3 (halved likewise). */
void mox_q4_k_scales(const uint8_t s[12], uint8_t sc[8], uint8_t mn[8]);
void mox_q3_k_scales(const uint8_t s[12], int8_t sc[16]);
float mox_e8m0_half(uint8_t e);
float mox_ue4m3_half(uint8_t x);

#endif
