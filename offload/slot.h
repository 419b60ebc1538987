/* The life-cycle of slots as one pure transition function: (table, event) -> (table, result).
 *
 * No I/O, no lock, no clock, no memory of its own: the store calls exactly this function under its mutex, and
 * tests/offload/explorer compiles the same file and walks every state that events can reach. What the store
 * decides (which expert, which victim, when) comes in as events; what must never happen (an expert loaded
 * twice, a slot reused while a read still writes into it, a victim that somebody uses) is refused here.
 *
 *   FREE --demand/prefetch--> LOADING --last read done--> PINNED (one pin per waiter) or READY (nobody waits)
 *   LOADING --failed--> FAILED --all told, no read in flight--> FREE
 *   LOADING --cancelled, nobody waits--> ZOMBIE --no read in flight--> FREE
 *   READY <--pin/unpin--> PINNED        READY --evict--> EVICTING --evicted--> FREE
 *
 * A waiter may use parts that have arrived before the last one has (arriving.c): while it waits, nothing but its own
 * LEAVE or TOLD can take the slot away. Not of a load that is compared as a whole when its last part is there, since
 * all of it may then be read again.
 *
 * A slot's generation grows with each reuse. Whoever remembers a slot remembers the generation with it; an
 * event that carries an old one is STALE and changes nothing. Reads in flight are a bit per request of the
 * I/O thread (at most 64), so a completion that was already counted is STALE too.
 */
#ifndef MOX_OFFLOAD_SLOT_H
#define MOX_OFFLOAD_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#define MOX_SLOT_NONE UINT32_MAX

typedef enum mox_slot_state {
    MOX_SLOT_FREE,
    MOX_SLOT_LOADING,
    MOX_SLOT_READY,
    MOX_SLOT_PINNED,
    MOX_SLOT_EVICTING,
    MOX_SLOT_ZOMBIE,
    MOX_SLOT_FAILED,
    MOX_SLOT_STATES
} mox_slot_state;

typedef struct mox_slot {
    uint8_t state;
    uint8_t size_class;
    bool compared; /* LOADING: what has arrived may all be read again */
    uint32_t key;  /* layer * n_experts + expert; meaningful unless FREE */
    uint32_t generation;
    uint32_t pins;    /* PINNED: users of the bytes; one per waiter is given by the last read itself */
    uint32_t waiters; /* LOADING: demands; FAILED: demands not yet told */
    uint32_t needed;  /* members of a current step's set that name this slot: never a victim */
    uint32_t parts;   /* LOADING: reads that have not delivered yet */
    uint64_t flying;  /* requests in flight, one bit each */
} mox_slot;

typedef struct mox_slots {
    mox_slot *slot; /* [n] */
    uint32_t n;
    uint32_t *map; /* [n_keys]: slot that is LOADING, READY or PINNED with the key, or MOX_SLOT_NONE */
    uint32_t n_keys;
} mox_slots;

typedef enum mox_slot_event_kind {
    MOX_SLOT_DEMAND,      /* key, size_class, parts, compared: a step needs the expert */
    MOX_SLOT_PREFETCH,    /* key, size_class, parts, compared: a step may need it */
    MOX_SLOT_SUBMIT,      /* slot, generation, request: a read was handed to the system */
    MOX_SLOT_READ_DONE,   /* slot, generation, request: and its bytes are in the slot */
    MOX_SLOT_READ_AGAIN,  /* slot, generation, request, parts: done, but `parts` more reads are needed */
    MOX_SLOT_READ_FAILED, /* slot, generation, request: given up after retries */
    MOX_SLOT_EARLY,       /* slot, generation: a waiter begins to use the parts that have arrived */
    MOX_SLOT_PIN,         /* slot, generation */
    MOX_SLOT_UNPIN,       /* slot, generation */
    MOX_SLOT_UNNEED,      /* slot, generation: a step no longer names it */
    MOX_SLOT_LEAVE,       /* slot, generation: a waiter gives up (and its need with it) */
    MOX_SLOT_CANCEL,      /* slot, generation: a prediction was refuted */
    MOX_SLOT_TOLD,        /* slot, generation: a waiter has seen the failure (its need goes with it) */
    MOX_SLOT_EVICT,       /* slot, generation */
    MOX_SLOT_EVICTED,     /* slot, generation: nobody reads the bytes any more */
    MOX_SLOT_EVENTS
} mox_slot_event_kind;

typedef struct mox_slot_event {
    mox_slot_event_kind kind;
    uint32_t key, size_class, parts; /* DEMAND, PREFETCH; parts also READ_AGAIN */
    bool compared;                   /* DEMAND, PREFETCH */
    uint32_t slot, generation;
    uint32_t request; /* 0..63 */
} mox_slot_event;

typedef enum mox_slot_verdict {
    MOX_SLOT_DID,       /* done */
    MOX_SLOT_HIT,       /* DEMAND: resident, now needed; PREFETCH: already here */
    MOX_SLOT_JOINED,    /* DEMAND: already loading, now waited for; PREFETCH: already loading */
    MOX_SLOT_ALLOCATED, /* DEMAND, PREFETCH: a free slot was taken: start `parts` reads */
    MOX_SLOT_NO_ROOM,   /* DEMAND, PREFETCH: no free slot of the class */
    MOX_SLOT_STALE,     /* the slot has moved on; nothing changed */
    MOX_SLOT_REFUSED,   /* not allowed in this state; nothing changed */
} mox_slot_verdict;

/* What the caller has to do. */
typedef enum mox_slot_action {
    MOX_SLOT_START = 1, /* queue the reads of result.slot */
    MOX_SLOT_STOP = 2,  /* submit no more reads for it; cancel those in flight */
    MOX_SLOT_WAKE = 4,  /* the load ended: wake whoever waits */
    MOX_SLOT_FREED = 8, /* the slot is FREE now */
} mox_slot_action;

typedef struct mox_slot_result {
    mox_slot_verdict verdict;
    uint32_t slot, generation;
    unsigned actions;
} mox_slot_result;

/* mox_slots_init: all FREE, generation 0; size_class of each slot may be set afterwards. */
void mox_slots_init(mox_slots *t, mox_slot *slot, uint32_t n, uint32_t *map, uint32_t n_keys);
mox_slot_result mox_slots_apply(mox_slots *t, const mox_slot_event *event);
/* mox_slots_check: NULL, or the sentence of the invariant that the table breaks. Linear in the table; for
 * tests. */
const char *mox_slots_check(const mox_slots *t);
const char *mox_slot_state_name(mox_slot_state state);

#endif
