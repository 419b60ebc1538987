/* The VRAM tier's face: experts that lie in a device's memory, beside the store's RAM slots and the file.
 *
 * The store knows no device. Slots are addresses that it hands out and never reads; the table of link functions given by
 * runtime copies between them and RAM. A layer step asks first what is in VRAM (mox_vram_begin), gives the rest to the
 * RAM tier (mox_store_begin), and when both are done lets the tier move experts (mox_vram_end): copies are started there
 * and land while later layers are computed. An expert that is still on its way is used where it lies already.
 *
 * Threads: the step thread.
 */
#ifndef MOX_OFFLOAD_VRAM_H
#define MOX_OFFLOAD_VRAM_H

#include "profiler/counters.h"
#include "runtime/core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mox_store;
struct mox_need;
struct mox_lease;

enum { MOX_VRAM_ALIGN = 256, MOX_VRAM_MOVES = 32 /* copies on their way at a time */ };

/* Copies over the link. Those of one device happen in the order of the calls, and after whatever the device was told to
 * compute before; each has a ticket, and tickets grow. near: RAM, far: the device's memory. */
typedef struct mox_link_ops {
    void *ctx;
    mox_err (*up)(void *ctx, uint32_t device, uint8_t *far, const uint8_t *near, size_t bytes,
                  uint64_t *ticket);
    mox_err (*down)(void *ctx, uint32_t device, uint8_t *near, const uint8_t *far, size_t bytes,
                    uint64_t *ticket);
    bool (*landed)(void *ctx, uint32_t device, uint64_t ticket); /* and everything before it */
    mox_err (*wait)(void *ctx, uint32_t device, uint64_t ticket);
} mox_link_ops;

typedef struct mox_vram_layer {
    uint32_t quota;  /* experts of this layer that VRAM holds, 0..n_experts */
    uint32_t device; /* whose memory */
    uint8_t *base;   /* quota slots, mox_vram_slot_bytes apart; NULL while planning */
} mox_vram_layer;

typedef struct mox_vram_cfg {
    const mox_vram_layer *layers; /* [n_layers], copied; NULL: no such tier */
    mox_link_ops link;
    float margin;             /* heat by which an expert must beat the one whose place it takes */
    uint64_t bytes_per_token; /* experts may cross the link upwards for so many bytes per token */
} mox_vram_cfg;

/* mox_vram_slot_bytes: what a slot takes of the device's memory. */
static inline size_t mox_vram_slot_bytes(size_t slot_bytes)
{
    return (slot_bytes + MOX_VRAM_ALIGN - 1) / MOX_VRAM_ALIGN * MOX_VRAM_ALIGN;
}

/* mox_vram_begin: of `needs` those in VRAM are taken out, counted, protected until mox_vram_end and listed in hits (their
 * slots are the device's addresses). Returns how many needs are left for mox_store_begin, in their order. Without
 * a VRAM tier: all. */
uint32_t mox_vram_begin(struct mox_store *st, uint32_t layer, mox_phase phase, struct mox_need *needs,
                        uint32_t n, struct mox_lease *hits, uint32_t *n_hits);
/* mox_vram_end: after mox_store_end, and after the device was told to compute all it computes of this step. Gives the
 * protected ones back; unless the step failed, experts that the step used from elsewhere may now move in.
 * Errors  those of the link; the device is then of no further use. */
MOX_NODISCARD mox_err mox_vram_end(struct mox_store *st, bool failed);
/* mox_vram_resident: experts of a layer in VRAM now; bitmap of n_experts bits, least significant first. */
uint32_t mox_vram_resident(struct mox_store *st, uint32_t layer, uint64_t *bitmap);
/* mox_vram_settle: waits for all copies on their way, and accounts for them. */
MOX_NODISCARD mox_err mox_vram_settle(struct mox_store *st);

#endif
