/* What the cases of bench/kernels compute with. */
#ifndef MOX_BENCH_INPUTS_H
#define MOX_BENCH_INPUTS_H

#include "kernels/ops.h"

#include <stdbool.h>

enum { BENCH_MAX_N = 64 };

/* Random blocks in file order whose values stay ordinary. */
void bench_fill_rows(mox_type type, uint8_t *dst, size_t bytes);
/* n rows of activations; free(.data). */
mox_acts bench_make_acts(mox_act_kind kind, uint32_t n, uint32_t cols);
/* A matrix whose bytes are still in file order becomes one in the compute layout. */
bool bench_repack_in_place(const mox_mat *m, uint8_t *data);
/* Sampled groups of y [n][rows] have the bits of the twin. */
bool bench_same_as_twin(const mox_mat *m, mox_acts x, uint32_t n, const float *y);

#endif
