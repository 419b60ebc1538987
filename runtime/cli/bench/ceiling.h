/* What this machine can do, measured in the process that is judged by it, before and after: drives and neighbours
 * drift. Percentages are of the better of the two. */
#ifndef MOX_CLI_BENCH_CEILING_H
#define MOX_CLI_BENCH_CEILING_H

#include "offload/topo.h"
#include "profiler/report/json.h"
#include "runtime/core/arena.h"
#include "runtime/core/err.h"
#include "runtime/core/pool.h"
#include "runtime/gguf/gguf.h"

#include <stdint.h>

typedef struct mox_ceilings_cfg {
    const char *path; /* the file that the disk is measured with */
    uint64_t file_bytes, model_bytes;
    uint64_t run_bytes; /* to be taken next: touched, so that the system has given it */
    uint32_t n_threads;
    int isa; /* mox_isa, -1 = best present */
} mox_ceilings_cfg;

typedef struct mox_ceilings {
    double ram_bytes_per_s; /* 0: too little memory was free to measure it */
    uint64_t ram_bytes;     /* of the buffer that was read */
    uint64_t ram_huge;      /* of these, in 2 MiB pages */
    uint32_t threads;
    double int_ops_per_s; /* two per product of 8-bit codes, in the instruction set of the run */
    const char *isa;
    double disk_bytes_per_s; /* best of {512 KiB, 1 MiB} x {16, 32} in flight */
    uint64_t request_bytes;
    uint32_t depth;
} mox_ceilings;

/* mox_ceilings_of: cfg's file and bytes: the biggest part of a split model, which lives as long as g. */
void mox_ceilings_of(const mox_gguf *g, mox_ceilings_cfg *cfg);
/* mox_ceilings_measure: the threads are as many, and bound, as those of the run; nothing is kept afterwards. */
MOX_NODISCARD mox_err mox_ceilings_measure(const mox_ceilings_cfg *cfg, mox_ceilings *out);
/* The better of two measurements, value by value. */
mox_ceilings mox_ceilings_best(const mox_ceilings *before, const mox_ceilings *after);

/* The threads of a measurement. */
typedef struct mox_ceiling_crew {
    mox_topo *topo;
    mox_pool *pool;
} mox_ceiling_crew;
MOX_NODISCARD mox_err mox_ceiling_crew_create(mox_ceiling_crew *out, uint32_t n_threads);
void mox_ceiling_crew_destroy(mox_ceiling_crew *c);
/* All of the arena is written by all threads: untouched memory is one page of zeros, which is in every cache. */
void mox_ceiling_write(const mox_ceiling_crew *c, mox_arena *a);

void mox_ceilings_json(mox_json *j, const char *key, const mox_ceilings *c);
/* One line each, to stdout. */
void mox_ceilings_print(const mox_ceilings *before, const mox_ceilings *after);

#endif
