/* One measured line of bench/kernels. */
#ifndef MOX_BENCH_CASES_H
#define MOX_BENCH_CASES_H

#include "kernels/mat.h"
#include "kernels/ops.h"

typedef enum bench_place { BENCH_L2, BENCH_DRAM } bench_place;

enum { BENCH_L2_BYTES = 480 << 10 }; /* of weights, a thread */

typedef struct bench_setup {
    uint8_t *buffer; /* weights, 64-byte aligned */
    size_t buffer_bytes;
    uint32_t cols;
    uint64_t min_ns; /* per case */
} bench_setup;

typedef struct bench_line {
    const char *type, *isa, *op; /* op: "mat_mul", "panel", "expert", "batch", "repack" */
    bench_place place;
    uint32_t threads, n; /* rows of activations */
    uint32_t rows, cols;
    double gb_s, gweights_s, gops; /* weights' bytes and weights per second; 2 x products per second */
    double ratio, one_gb_s;        /* batch: time of n tokens over that of one, and one's rate; else 0 */
    double bound_ratio;            /* batch: the same where reading was the limit; 0: it never was */
    double share;                  /* panel: of the integer ceiling just before and after, median; else 0 */
    bool equal;                    /* to the twin, or for repack: unpacking gives the source back */
} bench_line;

/* y = W x for `n` rows of activations; equality on sampled groups. False: the buffer is too small. */
bool bench_mat_mul(const bench_setup *s, mox_type type, mox_isa isa, bench_place place, mox_pool *pool,
                   uint32_t n, bench_line *out);
/* The same through a panel packed beforehand: the kernel alone, each thread with its own share of the groups. */
bool bench_panel(const bench_setup *s, mox_type type, mox_isa isa, bench_place place, mox_pool *pool,
                 uint32_t n, bench_line *out);
/* An expert of Mixtral's shape through its sliced slot, another slot each time. */
bool bench_expert(const bench_setup *s, mox_type type, mox_isa isa, mox_pool *pool, uint32_t n,
                  bench_line *out);
/* One token and n in turns, each through another slot; medians. The read ceiling is measured in between: reading is the
 * limit where it is below 80 % of the rate at which the weights of n tokens are multiplied from L2. */
bool bench_batch(const bench_setup *s, mox_type type, mox_isa isa, mox_pool *pool, uint32_t n,
                 bench_line *out);
/* File order to the compute layout, one thread, both sides in DRAM. */
bool bench_repack(const bench_setup *s, mox_type type, bench_line *out);

#endif
