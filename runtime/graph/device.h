/* Devices that compute experts beside the CPU: their memory, their two streams, and copies over the link.
 *
 * A device has a layer's VRAM slots, a few staging slots for experts that cross the link for one step, the step's rounded
 * inputs and its outputs. All of it is taken at open, in an order that also counts for the plan. Two streams: one computes,
 * one copies; events order them, and words in memory that both sides see tell the host how far each is. The host
 * never waits for a device as a whole.
 *
 * The dense part runs on the CPU: inputs go up, outputs come down. Threads: the step thread.
 */
#ifndef MOX_RUNTIME_GRAPH_DEVICE_H
#define MOX_RUNTIME_GRAPH_DEVICE_H

#include "offload/store.h"
#include "runtime/graph/graph.h"
#include "runtime/graph/miss.h"

enum { MOX_STAGING_SLOTS = 4 };
#define MOX_DEVICE_WORDS_MEM MOX_MEM_MAPPED /* which kernels and the host write and read */

/* What a device's copies and computing have reached; written by its streams, read by the host. */
typedef struct mox_device_words {
    volatile uint32_t copied, computed;
} mox_device_words;

typedef struct mox_device {
    mox_dev *dev;
    mox_ops *ops;
    bool own_ops;
    mox_stream *compute, *link;
    mox_event *computed;                /* everything the device was told so far */
    mox_event *copied;                  /* the newest copy into staging */
    mox_event *used[MOX_STAGING_SLOTS]; /* a staging slot was computed with */
    bool was_used[MOX_STAGING_SLOTS];
    mox_buf far_buf, near_buf, words_buf;
    mox_device_words *words;
    uint32_t n_copies, n_computes; /* what the words will say when all is done */
    /* far */
    uint8_t *staging; /* [MOX_STAGING_SLOTS] */
    size_t staging_bytes;
    mox_acts x[MOX_ACT_KINDS];
    uint32_t *far_index; /* tok and out_row, [2][n * k] */
    float *far_e;        /* [n * k][d] */
    void *scratch;
    size_t scratch_bytes;
    /* near: what these are copied from and to */
    mox_acts near_x[MOX_ACT_KINDS];
    uint32_t *tok, *out_row; /* out_row: rows of far_e, in order */
    float *near_e;
    /* the step in progress */
    bool has_input;
    uint32_t n_rows;   /* of far_e that are spoken for */
    uint32_t n_down;   /* of these, on their way down */
    uint32_t n_staged; /* copies into staging so far, of all steps */
} mox_device;

struct mox_devices {
    mox_device *d;
    uint32_t n;
    const uint32_t *of_layer; /* [n_moe_layers] */
    mox_miss miss;
    mox_miss_auto automatic;
    mox_miss_rates rates[MOX_PHASES];
    uint64_t took_at;                             /* when the CPU began with its part */
    uint32_t n_taken, n_own, n_own_rows, n_tried; /* of the wave in progress; waves of this step */
    /* the layer in progress */
    mox_device *cur;
    mox_lease *hits;      /* [n_experts] in VRAM */
    mox_expert_use *uses; /* [n_experts] */
    uint32_t n_hits;
    uint32_t *host_row;    /* [n * k]: the row of moe.e for a row of far_e */
    uint32_t *rows;        /* [n_experts] of leases, most first */
    bool active;           /* something was computed there: the merge comes after it */
    mox_counters counters; /* .vram alone: what crossed, what the CPU took */
};

/* What sizes depend on. */
typedef struct mox_device_shape {
    const mox_model *m;
    const mox_dims *dims;
} mox_device_shape;

/* Memory of device `index`: its own, and the slots of its layers (base is set); with arenas that plan it only counts. */
void mox_device_take(mox_device *d, const mox_device_shape *s, uint32_t index, mox_vram_layer *layers,
                     mox_arena *far, mox_arena *near);
/* The context's own, from the graph's buffers. */
void mox_devices_take(mox_devices *ds, const mox_device_shape *s, mox_arena *a);

/* mox_device_start: memory as planned, laid out; streams, events. dev and ops are set, and are given back by stop, which
 * takes half-started devices too. Errors: the device's. */
MOX_NODISCARD mox_err mox_device_start(mox_device *d, const mox_device_shape *s, uint32_t index,
                                       mox_vram_layer *layers, size_t far_bytes, size_t near_bytes);
void mox_device_stop(mox_device *d);

/* The store's link over an array of devices; ctx is the mox_devices. */
mox_link_ops mox_devices_link(mox_devices *ds);

/* Until what was queued by then (a count of copies or computes) is done. Errors: the device's. */
MOX_NODISCARD mox_err mox_device_wait_copies(mox_device *d, uint32_t n);
MOX_NODISCARD mox_err mox_device_wait_computes(mox_device *d, uint32_t n);

/* moe_device.c: the layer step. begin: of the needs those in VRAM leave the list; returns how many are left. launch: the
 * device computes them. take: of n leases [*own, n) cross the link and are computed there. finish: outputs are in moe.e.
 * end: always, after mox_store_end. */
uint32_t mox_moe_device_begin(mox_graph *g, const mox_layer_op *op, uint32_t n_needs);
MOX_NODISCARD mox_err mox_moe_device_launch(mox_graph *g, const mox_layer_op *op);
MOX_NODISCARD mox_err mox_moe_device_take(mox_graph *g, const mox_layer_op *op, uint32_t n, uint32_t *own);
/* of leases that were taken: their slots may be given back */
MOX_NODISCARD mox_err mox_moe_device_taken(mox_graph *g);
MOX_NODISCARD mox_err mox_moe_device_finish(mox_graph *g);
MOX_NODISCARD mox_err mox_moe_device_end(mox_graph *g, bool failed);
/* a whole step took ns */
void mox_moe_device_step(mox_graph *g, uint64_t ns);

#endif
