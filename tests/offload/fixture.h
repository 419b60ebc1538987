/* A generated expert file whose bytes say what they are, and a store over it.
 *
 * Every 8-byte word of a slab is a mix of (layer, expert, slab, row, word), so a slot that holds anything but
 * the expert it claims, or has one row in a wrong place, is found by looking at it. Sizes are awkward on
 * purpose: offsets and row lengths are not aligned, the last row group is short, two layers have another
 * size. The same experts also come as a packed file, in slices whose ends meet neither pages nor parts. Of a plain
 * file nothing is leased early while every load is compared: for that a test asks for another way to verify.
 */
#ifndef MOX_TESTS_OFFLOAD_FIXTURE_H
#define MOX_TESTS_OFFLOAD_FIXTURE_H

#include "offload/io.h"
#include "offload/store.h"

enum {
    FX_LAYERS = 4,
    FX_EXPERTS = 6,
    FX_SLABS = 3,
    FX_TOP_K = 2,
    FX_LOG = 4096,
    FX_SLICE = 5000,
    FX_MAX_SLICES = 64,
    FX_SLICE_ROWS = 32, /* plain: of gate and up; a slice needs all of down */
    FX_WHOLE_SLAB = 2,
};

typedef struct fixture {
    char path[128];
    uint64_t file_bytes;
    uint32_t rows_scale;
    bool packed;
    uint64_t sums[FX_LAYERS][FX_EXPERTS][FX_MAX_SLICES]; /* packed */
    mox_store_layer layers[FX_LAYERS];
    const char *files[1];
    mox_arena arena;
    mox_store *store;
    uint32_t n_arrived; /* times that some slices of an expert could be read before its load ended */
    mox_log log;
    char logged[FX_LOG];
} fixture;

/* fx_write: the file, under TMPDIR. scale multiplies the rows of each slab. */
void fx_write(fixture *fx, uint32_t scale);
void fx_write_packed(fixture *fx, uint32_t scale);
/* fx_cfg: defaults for this file: quota 3 per layer, 4 transit slots, small requests, verify always. */
mox_store_cfg fx_cfg(fixture *fx);
/* fx_open: plan, map, create. */
mox_err fx_open(fixture *fx, const mox_store_cfg *cfg);
void fx_close(fixture *fx); /* store and memory; the file stays */
void fx_remove(fixture *fx);

/* Number of wrong words in the slot, 0 when it is that expert to the last byte. */
size_t fx_wrong_words(uint32_t layer, uint32_t expert, const fixture *fx, const uint8_t *slot);
size_t fx_expert_bytes(const fixture *fx, uint32_t layer);
size_t fx_slot_bytes(const fixture *fx, uint32_t layer); /* of a packed file: the record's */
void fx_record(void *ctx, uint32_t layer, uint32_t expert, mox_record_src *out);
void fx_source(void *ctx, uint32_t layer, uint32_t expert, uint32_t slab, mox_slab_src *out);
void fx_repack(void *ctx, uint32_t layer, uint32_t slab, uint32_t row0, uint32_t n_rows, const uint8_t *src,
               uint8_t *slot);

/* One layer step over distinct experts: begin, next, check, release, end. Returns the first error of next;
 * *wrong counts wrong words over all leases, and wrong slices of those that were still arriving. */
mox_err fx_step(fixture *fx, uint32_t layer, const uint32_t *experts, uint32_t n, size_t *wrong);
/* fx_assert_at_rest: waits for what is still landing; then every slot is free or ready, nothing is needed or
 * in flight, and the slots that say they are kept are those that the layers list. */
void fx_assert_at_rest(fixture *fx);
/* fx_counters: a copy, after checking every sum that must hold. */
mox_counters fx_counters(fixture *fx);
/* Deterministic numbers for tests; n distinct experts. */
uint32_t fx_random_set(uint64_t *seed, uint32_t n, uint32_t *set);
uint32_t fx_random(uint64_t *state, uint32_t below);

#endif
