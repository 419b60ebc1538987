/* What the machine can do at best, per instruction set: reading memory, and multiplying small integers. The
 * denominators of every percentage that bench/kernels prints. */
#ifndef MOX_BENCH_CEILINGS_H
#define MOX_BENCH_CEILINGS_H

#include "kernels/ops.h"

#include <stddef.h>
#include <stdint.h>

/* Loads every line once; the result only keeps the loads alive. bytes is a multiple of 4,096. */
typedef uint64_t bench_read_fn(const uint8_t *p, size_t bytes);
/* `rounds` times a set of independent multiply-adds of 8-bit codes; returns how many products were made. */
typedef uint64_t bench_int_fn(uint64_t rounds);

bench_read_fn bench_read_plain, bench_read_avx2, bench_read_avx512;
bench_int_fn bench_int_plain, bench_int_avx2, bench_int_avx512;

/* GB/s (1e9) of all the pool's threads over the buffer, best of several passes; widest loads present. */
double bench_read_ceiling(mox_pool *pool, const uint8_t *p, size_t bytes);
/* 1e9 operations (two per product) per second of all the pool's threads together. */
double bench_int_ceiling(mox_pool *pool, mox_isa isa);

#endif
