/* Where the experts are computed that a layer step needs and VRAM lacks: on the CPU, on the device after a copy over the
 * link, or some here and some there. Pure: measured times in, a decision out; no clock, no memory.
 *
 * `auto` goes by whole steps, since what a part costs says little about what it delays (three published engines choose by
 * parts and lose by it). It plays each way for a few steps, keeps the fastest if it beats the CPU by a margin, and tries
 * again now and then, the CPU first among the others; so it is never below the CPU for longer than such a trial.
 */
#ifndef MOX_RUNTIME_MISS_H
#define MOX_RUNTIME_MISS_H

#include <stdbool.h>
#include <stdint.h>

typedef enum mox_miss { MOX_MISS_AUTO, MOX_MISS_CPU, MOX_MISS_COPY, MOX_MISS_SPLIT, MOX_MISSES } mox_miss;

const char *mox_miss_name(mox_miss way); /* "auto" "cpu" "copy" "split" */

enum { MOX_MISS_TRIAL = 6, MOX_MISS_HOLD = 200 /* steps */ };

typedef struct mox_miss_auto {
    mox_miss chosen;              /* between trials */
    mox_miss trying;              /* MOX_MISS_AUTO: none */
    uint32_t n_steps;             /* of the trial or of the hold */
    uint64_t best_ns[MOX_MISSES]; /* of the last trial: its median; 0: not tried yet */
    uint64_t seen[MOX_MISS_TRIAL];
    uint32_t n_switches;
} mox_miss_auto;

void mox_miss_init(mox_miss_auto *m);
/* mox_miss_way: how the coming step is to treat its misses. */
mox_miss mox_miss_way(const mox_miss_auto *m);
/* mox_miss_step: a step of this kind took ns (decode only: prompts are of all sizes). */
void mox_miss_step(mox_miss_auto *m, uint64_t ns);

/* mox_miss_share: of experts with `rows` [n] rows each, most first, how many go over the link, so that both sides end as
 * near to each other as they can: the link takes link_ns an expert, the CPU cpu_ns and more with each row_ns. */
typedef struct mox_miss_rates {
    double link_ns, cpu_ns, row_ns;
} mox_miss_rates;
uint32_t mox_miss_share(const mox_miss_rates *r, const uint32_t *rows, uint32_t n);

#endif
