/* What the machine can do at best, per instruction set: reading memory, and multiplying small integers. The
 * denominators of the percentages that bench/kernels and `moxie bench` print. */
#ifndef MOX_KERNELS_CEILINGS_H
#define MOX_KERNELS_CEILINGS_H

#include "kernels/ops.h"

#include <stddef.h>
#include <stdint.h>

/* Loads every line once; the result only keeps the loads alive. bytes is a multiple of 4,096. */
typedef uint64_t mox_ceiling_read_fn(const uint8_t *p, size_t bytes);
/* `rounds` times a set of independent multiply-adds of 8-bit codes; returns how many products were made. */
typedef uint64_t mox_ceiling_int_fn(uint64_t rounds);

mox_ceiling_read_fn mox_ceiling_read_plain, mox_ceiling_read_avx2, mox_ceiling_read_avx512;
mox_ceiling_int_fn mox_ceiling_int_plain, mox_ceiling_int_avx2, mox_ceiling_int_avx512;
mox_ceiling_int_fn mox_ceiling_int_avxvnni_vex, mox_ceiling_int_avxvnni_evex;

/* GB/s (1e9) of all the pool's threads over the buffer, best of several passes; the widest loads present. The
 * buffer should be in 2 MiB pages, be much bigger than the caches, and have been written (not the zero page). */
double mox_ceiling_read(mox_pool *pool, const uint8_t *p, size_t bytes);
/* 1e9 operations (two per product) per second of all the pool's threads together. */
double mox_ceiling_int(mox_pool *pool, mox_isa isa);

#endif
