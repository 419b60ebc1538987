/* Cards: devices with memory of their own that a graph runs on, beside the CPU.
 *
 * A card holds whole layers: their dense weights, their part of the cache, buffers, the layers' VRAM slots, and a few staging
 * slots for experts that cross the link for one step. It has a graph of its own, whose kernels run there; graphs of one
 * context share what the host has. The host computes experts that VRAM lacks, as `--miss` says: their rounded inputs come
 * down with the router's choice, their outputs go up, and the card merges. Two streams: one computes, one copies; events
 * order them, and words in memory that both sides see tell the host how far each is. The host never waits for a card as a
 * whole while a layer is computed.
 *
 * Between two cards the rows go through the host's memory. Threads: the step thread.
 */
#ifndef MOX_RUNTIME_CARD_H
#define MOX_RUNTIME_CARD_H

#include "offload/store.h"
#include "runtime/graph/graph.h"
#include "runtime/graph/miss.h"

enum { MOX_STAGING_SLOTS = 4, MOX_CARD_ALIGN = 256 };

/* What a card's copies have reached, and that what the host waits for is there; written by its streams. */
typedef struct mox_card_words {
    volatile uint32_t copied, computed;
} mox_card_words;

typedef struct mox_card {
    mox_dev *dev;
    mox_ops *ops;
    bool own_ops;
    mox_stream *compute, *link;
    mox_event *computed;                /* everything the card was told so far */
    mox_event *copied;                  /* the newest copy into staging */
    mox_event *used[MOX_STAGING_SLOTS]; /* a staging slot was computed with */
    bool was_used[MOX_STAGING_SLOTS];
    mox_buf memory, words_buf;
    mox_card_words *words;
    uint32_t n_copies;            /* what its word will say when all are done */
    uint32_t n_staged;            /* copies into staging so far */
    mox_arena dense, kv, buffers; /* parts of its memory */
    uint8_t *staging;             /* [MOX_STAGING_SLOTS]; NULL: all experts of its layers are there */
    size_t staging_bytes;
} mox_card;

struct mox_cards {
    mox_card *card;
    uint32_t n;
    mox_graph *graph[MOX_PLAN_MAX_DEVICES]; /* [n]; the first one is the context's */
    const uint32_t *of_layer;               /* [n_layers] */
    const uint32_t *kept;                   /* [n_moe_layers] experts in VRAM */
    mox_miss miss;
    mox_miss_auto automatic;
    mox_miss_rates rates[MOX_PHASES];
    uint64_t took_at;                    /* when the CPU began with its part */
    uint32_t n_taken, n_own, n_own_rows; /* of the wave in progress */
    uint64_t n_missed;                   /* experts of all steps so far that VRAM lacked */
    /* the layer in progress */
    mox_lease *hits;      /* [n_experts] in VRAM */
    mox_expert_use *uses; /* [n_experts] */
    uint32_t n_hits;
    uint32_t *rows;        /* [n_experts] of leases, most first */
    uint8_t *ours;         /* [n * ranks] outputs of the wave that the CPU makes */
    mox_counters counters; /* .vram alone: what crossed, what the CPU took */
};

static inline mox_card *mox_card_of(const mox_graph *g)
{
    return &g->cards->card[g->card];
}

/* The context's own, from the graph's buffers: every card's graph takes the same. */
void mox_cards_take(mox_cards *cs, mox_graph *g, mox_arena *a);

/* mox_card_start: memory as planned, laid out (layers: those of this card get their base); streams, events. dev and ops
 * are set, and are given back by stop, which takes half-started cards too. Errors: the device's. */
MOX_NODISCARD mox_err mox_card_start(mox_card *c, const mox_model *m, const mox_plan_device *plan,
                                     uint32_t index, mox_vram_layer *layers);
void mox_card_stop(mox_card *c);

/* mox_cards_of_weight: the card that has a dense weight: its layer's, and the first one what belongs to no layer. */
uint32_t mox_cards_of_weight(const mox_weight *w, const uint32_t *of_layer);

/* mox_cards_move_dense: dense weights [first, end), which lie in the host's memory, into the cards'. That memory may then be
 * used again. Errors: the devices'. */
MOX_NODISCARD mox_err mox_cards_move_dense(mox_cards *cs, mox_model *m, uint32_t first, uint32_t end);

/* mox_cards_drain: after a failure, waits until nothing is under way; the error's record stays as it is. */
void mox_cards_drain(mox_cards *cs);

/* The store's link over an array of cards; ctx is the mox_cards. */
mox_link_ops mox_cards_link(mox_cards *cs);

/* Rows idx[0..n) of the last step to g->gather, from the card that computed the last layer. */
MOX_NODISCARD mox_err mox_cards_gather(mox_graph *g, const uint32_t *idx, uint32_t n);

/* Until what was queued by then (a count of copies) is done. Errors: the device's. */
MOX_NODISCARD mox_err mox_card_wait_copies(mox_card *c, uint32_t n);
/* Until the card has come to a place in what it computes: expect, before this is queued; tell, queued there; wait. */
void mox_card_expect(mox_card *c);
MOX_NODISCARD mox_err mox_card_tell(mox_card *c);
MOX_NODISCARD mox_err mox_card_wait_computed(mox_card *c);

/* moe_card.c: the layer step. fetch: queued, the router's choice and the experts' inputs to the host, which is told. begin:
 * of the needs those in VRAM leave the list; returns how many are left. launch: the card computes them. take: of n leases [*own, n)
 * cross the link and are computed there. taken: the others' outputs, which the CPU has made, are on their way up, and the
 * slots of all leases may be given back. end: always, after mox_store_end. */
MOX_NODISCARD mox_err mox_moe_card_fetch(mox_graph *g, const mox_layer_op *op);
uint32_t mox_moe_card_begin(mox_graph *g, const mox_layer_op *op, uint32_t n_needs);
MOX_NODISCARD mox_err mox_moe_card_launch(mox_graph *g, const mox_layer_op *op);
MOX_NODISCARD mox_err mox_moe_card_take(mox_graph *g, const mox_layer_op *op, uint32_t n, uint32_t *own);
MOX_NODISCARD mox_err mox_moe_card_taken(mox_graph *g);
MOX_NODISCARD mox_err mox_moe_card_end(mox_graph *g, bool failed);
/* Of the MoE op i, to be captured: hits of one row, named by near_places when it is launched; how many there can be. */
MOX_NODISCARD mox_err mox_moe_card_queue_hits(mox_graph *g, uint32_t i);
uint32_t mox_moe_card_most_hits(const mox_graph *g, uint32_t i);
/* a whole step took ns */
void mox_moe_card_step(mox_graph *g, uint64_t ns);

#endif
