/* Counters of one run. Plain numbers that their owner increments; readers take a copy. docs/glossary.md has
 * the words: a *use* is one (token, layer, rank); a *hit* was resident in its tier when its layer's step
 * began; *late* a prefetch still arriving then; a *miss* neither. vram + hit + late + miss = uses, always, where a hit
 * is one in RAM.
 */
#ifndef MOX_PROFILER_COUNTERS_H
#define MOX_PROFILER_COUNTERS_H

#include <stdint.h>

typedef enum mox_phase { MOX_PHASE_PREFILL, MOX_PHASE_DECODE, MOX_PHASES } mox_phase;

typedef struct mox_use_counters {
    uint64_t uses, hits, late, misses;          /* counted per (token, layer, rank) */
    uint64_t hit_bytes, late_bytes, miss_bytes; /* the same, weighted by the expert's slot bytes */
    uint64_t loads;                             /* experts read per (step, layer, expert) */
    uint64_t vram, vram_bytes;                  /* uses that a device served from its own memory */
} mox_use_counters;

typedef struct mox_io_counters {
    uint64_t read_bytes, read_requests; /* completed, widened edges included */
    uint64_t fill_bytes;                /* of these, the sequential fill at open */
    uint64_t demand_bytes, prefetch_bytes;
    uint64_t retries, short_reads, rereads; /* rereads: slabs read again after a mismatch */
    uint64_t verified, verify_failed;       /* slabs compared with their first hash */
    uint64_t busy_ns;                       /* time with at least one read in flight */
} mox_io_counters;

typedef struct mox_prefetch_counters {
    uint64_t issued, used, late, wasted, cancelled; /* experts; used + late + wasted + cancelled <= issued */
    uint64_t wasted_bytes;
    uint64_t switched_off; /* times the regret rule stopped look-ahead, failed probes included */
} mox_prefetch_counters;

typedef struct mox_vram_counters {
    uint64_t fill_bytes;   /* copied up at open */
    uint64_t promotions;   /* experts that moved in */
    uint64_t demotions;    /* those that made room and went down into RAM, */
    uint64_t still_in_ram; /* were in RAM anyway, */
    uint64_t dropped;      /* or are in the file alone */
    uint64_t up_bytes, down_bytes;
    uint64_t crossed, crossed_bytes; /* experts that a step sent over the link for itself alone */
    uint64_t cpu, cpu_bytes;         /* experts of a step that the CPU computed */
} mox_vram_counters;

typedef struct mox_counters {
    mox_use_counters use[MOX_PHASES];
    mox_io_counters io;
    mox_prefetch_counters prefetch;
    mox_vram_counters vram;
    uint64_t admissions, evictions;
    uint64_t wait_ns[MOX_PHASES];    /* step thread waiting for experts */
    uint64_t compute_ns[MOX_PHASES]; /* the rest of the step */
    uint64_t steps[MOX_PHASES], tokens[MOX_PHASES];
} mox_counters;

#endif
