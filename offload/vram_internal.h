/* State of the VRAM tier, shared by tier_vram.c (what a step asks and what moves in), vram_moves.c (copies on their way)
 * and vram_fill.c (what is there at open). The step thread owns all of it; the RAM slots it touches are under the
 * store's lock.
 */
#ifndef MOX_OFFLOAD_VRAM_INTERNAL_H
#define MOX_OFFLOAD_VRAM_INTERNAL_H

#include "offload/store_internal.h"

/* A copy on its way. Upwards it fills far and pins near; downwards it fills near, and far has gone on to its next
 * expert, whose copy the link makes after this one. */
typedef struct mox_vram_move {
    bool down;
    uint32_t layer, device;
    uint64_t ticket;
    uint32_t far, far_generation;
    uint32_t near, near_generation;
} mox_vram_move;

typedef struct mox_vram_slots {
    mox_slots t; /* keys are experts: a layer has a table of its own */
    uint32_t device;
    uint8_t *base;
    size_t stride;
} mox_vram_slots;

typedef struct mox_vram_hit {
    uint32_t expert, slot, generation;
} mox_vram_hit;

struct mox_vram {
    mox_vram_cfg cfg;                   /* layers: NULL */
    mox_vram_slots *layer;              /* [n_layers] */
    mox_vram_move move[MOX_VRAM_MOVES]; /* oldest first */
    uint32_t n_moves;
    uint64_t budget; /* bytes that may go up now */
    /* the step in progress */
    uint32_t cur_layer, n_hits;
    uint64_t n_tokens;
    mox_vram_hit *hit; /* [n_experts] */
    uint32_t *open;    /* [n_experts]: view for the policy */
    uint32_t *list;    /* [n_experts] */
};

/* lock: the store's, not held in any of these unless it says so */
mox_slot_result mox_vram_apply(mox_vram *v, uint32_t layer, mox_slot_event_kind kind, uint32_t slot,
                               uint32_t generation);
/* A free slot for an expert, LOADING with its one copy under way; verdict NO_ROOM or ALLOCATED. */
mox_slot_result mox_vram_take(mox_vram *v, uint32_t layer, uint32_t expert);
uint8_t *mox_vram_at(const mox_vram *v, uint32_t layer, uint32_t slot);

/* vram_moves.c. up: from a READY RAM slot into a slot taken before; down: out of VRAM into a RAM slot that
 * mox_ram_receive gave. Room in v->move is the caller's business. Errors: the link's. */
MOX_NODISCARD mox_err mox_vram_up(mox_store *st, uint32_t layer, uint32_t near, uint32_t far);
MOX_NODISCARD mox_err mox_vram_down(mox_store *st, uint32_t layer, uint32_t far, uint32_t near);
/* What has landed is accounted for; wait: all that is on its way. */
MOX_NODISCARD mox_err mox_vram_land(mox_store *st, bool wait);

#endif
