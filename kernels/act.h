/* Quantised activations: how a row of f32 becomes int8 (numerics contract, "Activations").
 * One struct per block of 256 columns; codes past the row's end are zero, so kernels may always read whole
 * blocks. */
#ifndef MOX_KERNELS_ACT_H
#define MOX_KERNELS_ACT_H

#include <stdint.h>

typedef struct mox_act_k { /* MOX_ACT_K: one scale per 256 */
    _Alignas(64) int8_t q[256];
    int16_t sum[16]; /* of each run of 16 codes */
    float d;
    uint8_t pad[28];
} mox_act_k;

typedef struct mox_act_b { /* MOX_ACT_B32: one scale per 32 */
    _Alignas(64) int8_t q[256];
    int16_t sum[8]; /* of each run of 32 codes */
    float d[8];
    uint8_t pad[16];
} mox_act_b;

_Static_assert(sizeof(mox_act_k) == 320 && sizeof(mox_act_b) == 320, "five lines each");

#endif
