/* The functions of glu_body.h by compiler flags. Private to kernels/: use mox_glu_row (vec.h). */
#ifndef MOX_KERNELS_GLU_H
#define MOX_KERNELS_GLU_H

#include "kernels/ops.h"

#include <stddef.h>

typedef struct mox_glu_table {
    void (*of[MOX_GLU_KINDS])(const float *gate, const float *up, float *h,
                              size_t n); /* SILU: the table of vec.h */
} mox_glu_table;

extern const mox_glu_table mox_glu_plain, mox_glu_avx2;

#endif
