/* The expert store: answers for each expert of a layer step where it is now, and starts what is missing.
 *
 * Tiers: RAM slots (here) over the file, which always has everything; vram.h has those of a device. Every slot
 * belongs to a size class (layers whose experts have the same bytes). A layer may keep `quota` experts;
 * beside these each class has transit slots for experts that are read, used and given back. When a use ends,
 * the policy decides whether the expert takes the place of a kept one: the two slots swap roles, no bytes are
 * copied.
 *
 * Threads: the step thread owns the store and makes all calls; one I/O thread inside reads, hashes and
 * repacks. They share the slot table under one mutex. All memory comes from the arena given at creation.
 */
#ifndef MOX_OFFLOAD_STORE_H
#define MOX_OFFLOAD_STORE_H

#include "offload/policy/policy.h"
#include "offload/vram.h"
#include "profiler/counters.h"
#include "profiler/trace.h"
#include "runtime/core/arena.h"
#include "runtime/core/err.h"
#include "runtime/core/file_id.h"
#include "runtime/core/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOX_STORE_MAX_SLICES = 512 };

/* One matrix of one expert as it lies in a file: n_rows consecutive rows of row_bytes. */
typedef struct mox_slab_src {
    uint32_t file; /* index into mox_store_cfg.files */
    uint64_t off;
    uint64_t row_bytes;
    uint32_t n_rows;
} mox_slab_src;

/* One expert of a packed file: `bytes` (a multiple of 4,096, as is off) that are the slot's own bytes, cut into
 * slices; the last slice goes to the end. sums: an XXH3-64 for each slice. */
typedef struct mox_record_src {
    uint32_t file;
    uint32_t n_slices; /* 1..MOX_STORE_MAX_SLICES */
    uint64_t off, bytes, slice_bytes;
    const uint64_t *sums;
} mox_record_src;

/* How runtime tells the store about the model, without the store knowing kernels. Rows come in groups of
 * row_group (16); repack is called from the I/O thread for disjoint row ranges of a slab, in any order. A slice of an
 * expert is slice_rows rows of each slab and a piece of all rows of whole_slab. Of a packed file `record` says where an
 * expert lies; source then gives its place alone and repack is not used. */
typedef struct mox_layout_ops {
    void *ctx;
    uint32_t n_slabs;    /* slabs per expert (3) */
    uint32_t row_group;  /* rows that must be repacked together (16) */
    uint32_t slice_rows; /* 0: nothing of an expert can be used before all of it is there */
    uint32_t whole_slab; /* with slice_rows: down (2) */
    void (*source)(void *ctx, uint32_t layer, uint32_t expert, uint32_t slab, mox_slab_src *out);
    void (*repack)(void *ctx, uint32_t layer, uint32_t slab, uint32_t row0, uint32_t n_rows,
                   const uint8_t *src, uint8_t *slot);
    void (*record)(void *ctx, uint32_t layer, uint32_t expert, mox_record_src *out); /* NULL: not packed */
} mox_layout_ops;

typedef enum mox_io_mode { MOX_IO_AUTO, MOX_IO_URING, MOX_IO_PREAD } mox_io_mode;
typedef enum mox_verify { MOX_VERIFY_SAMPLE, MOX_VERIFY_ALWAYS, MOX_VERIFY_OFF } mox_verify;

typedef struct mox_store_layer {
    size_t slot_bytes; /* bytes of one expert of this layer in the compute layout */
    uint32_t quota;    /* experts this layer may keep, 0..n_experts */
} mox_store_layer;

typedef struct mox_store_cfg {
    uint32_t n_layers; /* MoE layers */
    uint32_t n_experts;
    uint32_t top_k;
    const mox_store_layer *layers; /* [n_layers], copied */
    uint32_t transit_slots;        /* per size class, >= top_k */
    const char *const *files;      /* paths, opened by the store */
    const mox_file_id *file_ids;   /* [n_files], of when the headers were read; NULL: not compared */
    uint32_t n_files;
    mox_layout_ops layout;
    mox_vram_cfg vram; /* layers NULL: none */
    const mox_policy_ops *policy;
    float margin; /* of the RAM tier, as in mox_policy_view; default MOX_ADMIT_ALWAYS */
    bool look_ahead;
    bool lease_arriving; /* next() also leases experts that are still arriving, where their slices allow it */
    mox_io_mode io;
    mox_verify verify;
    uint32_t io_depth;        /* reads in flight, 1..64; default 32. As many again may have landed */
    size_t io_request_bytes;  /* target size of one read, default 1 MiB, rounded so that a row group fits */
    uint64_t io_limit_bps;    /* bench only: throttle reads to this many bytes per second, 0 = off */
    bool shuffle_predictions; /* bench only: random predictions, to test the regret rule */
    uint64_t seed;
    const mox_log *log;
    void (*bind_io)(void *ctx); /* called once in the I/O thread; may be NULL */
    void *bind_ctx;
    const struct mox_io_ops *io_override; /* tests: a fault seam around a real backend; NULL otherwise */
    void *io_override_ctx;
    struct mox_pool *pool; /* its workers fault memory in while the fill reads; may be NULL */
    bool reserve_only;     /* --dry-run: lay out, do not start threads or open files */
} mox_store_cfg;

typedef struct mox_store mox_store;

/* Defaults for every field that has one. */
void mox_store_cfg_defaults(mox_store_cfg *cfg);

/* mox_store_create: takes all memory from `arena` (with a planning arena: only counts, *out stays NULL),
 * opens the files, chooses the backend (one log line names it and why), starts the I/O thread. The table of
 * slab hashes is part of the memory. Errors MOX_E_ARG, MOX_E_OPEN, MOX_E_NO_MEMORY, MOX_E_THREAD. */
MOX_NODISCARD mox_err mox_store_create(mox_store **out, const mox_store_cfg *cfg, mox_arena *arena);
void mox_store_destroy(mox_store **store);

/* mox_store_fill: read kept experts until quotas are full, in one sequential sweep over the file; heat
 * [n_layers][n_experts] (may be NULL: round-robin over layers) says which. progress(done, total) is called
 * from the step thread. */
MOX_NODISCARD mox_err mox_store_fill(mox_store *store, const float *heat,
                                     void (*progress)(void *ctx, uint64_t done, uint64_t total), void *ctx);

/* One expert needed by the layer step: how many (token, rank) uses it has and their summed router weight. */
typedef struct mox_need {
    uint32_t expert;
    uint32_t n_uses;
    float weight;
} mox_need;

typedef struct mox_lease {
    uint32_t expert;
    mox_served served; /* RAM, LATE or FILE */
    const uint8_t *slot;
    uint32_t slot_idx, generation; /* checked at release */
    bool arriving;                 /* not all there yet: read what mox_store_arrived says */
} mox_lease;

/* A layer step: begin, then next/release until all needs were leased, then end. `needs` are distinct. begin
 * counts hits, protects the whole set from eviction, and queues reads of what is missing (demand before
 * prefetch). next blocks until an expert is READY, then leases up to max of those that are: residents first,
 * then in order of arrival; *n is 0 when all needs have been leased. With fewer transit slots than misses it is
 * the release that lets the next wave start. end applies admission. Errors of next: the read's error
 * (MOX_E_IO, MOX_E_CHANGED, MOX_E_CORRUPT) naming layer, expert, file and offset; the step is then over (end
 * must still be called). With lease_arriving next gives, rather than wait, an expert alone that is still arriving. */
void mox_store_begin(mox_store *store, uint32_t layer, mox_phase phase, const mox_need *needs, uint32_t n);
MOX_NODISCARD mox_err mox_store_next(mox_store *store, mox_lease *out, uint32_t max, uint32_t *n);
void mox_store_release(mox_store *store, const mox_lease *lease);

/* mox_store_arrived: of an arriving lease, how many of its first slices may be read; waits for more than *slices of
 * them (0 at first). UINT32_MAX: the expert is whole and the lease like any other; only then does what was computed
 * count. Errors: those of next. */
MOX_NODISCARD mox_err mox_store_arrived(mox_store *store, const mox_lease *lease, uint32_t *slices);
void mox_store_end(mox_store *store);

/* mox_store_predict: experts the next layers may want, best first, with scores in 0..1. Reads start only into
 * free transit slots and behind every demand read; predictions of a layer that begin() refutes are cancelled.
 * Ignored while the regret rule has look-ahead switched off. */
void mox_store_predict(mox_store *store, uint32_t layer, const uint32_t *experts, const float *scores,
                       uint32_t n);

/* Which state of which layer a guess was made from. */
typedef enum mox_guess_kind {
    MOX_GUESS_NEXT,        /* of the next layer, before this one's experts are computed */
    MOX_GUESS_NEXT_LATE,   /* and after that */
    MOX_GUESS_SECOND,      /* of the layer behind it, likewise */
    MOX_GUESS_SECOND_LATE, /* */
    MOX_GUESS_KINDS
} mox_guess_kind;

/* mox_store_guess: mox_store_predict for a router's weights on such a state: ids and weights are
 * [n_rows][mox_store_guess_ranks], best first. What they are worth is learned from what layers then choose. */
void mox_store_guess(mox_store *store, mox_guess_kind kind, uint32_t layer, const uint32_t *ids,
                     const float *weights, uint32_t n_rows);
uint32_t mox_store_guess_ranks(uint32_t top_k, uint32_t n_experts);

/* mox_store_predict_all: the same for every expert of a layer, where a big micro-batch will need nearly all. */
void mox_store_predict_all(mox_store *store, uint32_t layer);

/* mox_store_served: how an expert of the current layer step was served (after its lease), for the trace. */
mox_served mox_store_served(const mox_store *store, uint32_t expert);

/* mox_store_uses: of every expert so far, [n_layers][n_experts]. */
void mox_store_uses(const mox_store *store, uint32_t *uses);

/* mox_store_record: from now on reads and what is done with them go into this trace's spans; NULL: no more, and the trace
 * may be closed. */
void mox_store_record(mox_store *store, mox_trace_writer *trace);

/* mox_store_counters: add this store's counters to *c. per-layer rows: [n_layers] or NULL. */
void mox_store_counters(mox_store *store, mox_counters *c, mox_use_counters *per_layer);

/* mox_store_resident: experts of a layer in RAM now; bitmap of n_experts bits, least significant first. */
uint32_t mox_store_resident(mox_store *store, uint32_t layer, uint64_t *bitmap);

/* mox_store_ahead_off: look-ahead is switched off now, by the configuration or because it did not pay. */
bool mox_store_ahead_off(mox_store *store);

const char *mox_store_io_name(const mox_store *store); /* "io_uring O_DIRECT", "pread buffered", ... */

#endif
