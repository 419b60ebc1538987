/* What the machine can do at this moment: short measurements of memory, integer products and the disk, for between
 * the repetitions of `moxie bench`. On a virtual machine the rate of memory moves by a factor of three within
 * minutes, so that a share of what it did before and after the whole bench says little about one repetition. */
#ifndef MOX_CLI_BENCH_BETWEEN_H
#define MOX_CLI_BENCH_BETWEEN_H

#include "runtime/cli/bench/ceiling.h"

typedef struct mox_between_rates {
    double ram_bytes_per_s; /* 0: not measured, like the others */
    double int_ops_per_s;
    double disk_bytes_per_s;
} mox_between_rates;

typedef struct mox_between mox_between;

/* mox_between_create: takes the memory and threads it will need. full: what mox_ceilings_measure found, for the
 * sizes; cfg->run_bytes: what the run is going to take, which is left free. */
MOX_NODISCARD mox_err mox_between_create(mox_between **out, const mox_ceilings_cfg *cfg,
                                         const mox_ceilings *full);
void mox_between_destroy(mox_between **b);
/* mox_between_measure: about a third of a second. Errors as mox_ceilings_measure. */
MOX_NODISCARD mox_err mox_between_measure(mox_between *b, mox_between_rates *out);
mox_between_rates mox_between_mean(const mox_between_rates *a, const mox_between_rates *b);
/* Of the buffer; 0: too little memory is free for one. */
uint64_t mox_between_ram_bytes(const mox_between *b);

#endif
