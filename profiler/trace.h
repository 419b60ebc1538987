/* Traces: which expert each token used and from where, and, with timings, what every thread did when.
 *
 * File, little-endian: a header of 32 bytes, then blocks {tag, bytes, payload} in any order but for the first, INFO:
 * lines "key value" about the run. USES: records of 24 bytes, one per (token, layer, rank). SPAN: records of 32 bytes.
 * DONE, the last: how many there are, and how many were dropped; a file without it is of a run that did not end in order.
 *
 * Writing: two threads put records into rings of their own (step thread: uses and spans; I/O thread: spans), and a third
 * writes them. All memory is taken at creation. A ring that is full drops the record and counts it: a disk that stands
 * still slows no token down.
 */
#ifndef MOX_PROFILER_TRACE_H
#define MOX_PROFILER_TRACE_H

#include "profiler/counters.h"
#include "runtime/core/err.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mox_served { MOX_SERVED_VRAM, MOX_SERVED_RAM, MOX_SERVED_LATE, MOX_SERVED_FILE } mox_served;

typedef struct mox_trace_record {
    uint32_t step;
    uint32_t position;
    uint16_t sequence;
    uint16_t layer; /* index among the MoE layers */
    uint16_t expert;
    uint8_t rank;
    uint8_t phase_and_tier; /* mox_phase << 4 | mox_served */
    float weight;
    uint32_t reserved;
} mox_trace_record;

static_assert(sizeof(mox_trace_record) == 24, "trace format");

/* X(NAME, name, group): a group is a bar of "where does a token's time go". */
#define MOX_SPANS(X)                                                                                         \
    X(STEP, "step", OTHER)                                                                                   \
    X(EMBED, "embedding", DENSE)                                                                             \
    X(ATTENTION, "attention", DENSE)                                                                         \
    X(FFN, "dense layer", DENSE)                                                                             \
    X(ROUTER, "router", DENSE)                                                                               \
    X(SHARED, "shared expert", DENSE)                                                                        \
    X(LOGITS, "logits", DENSE)                                                                               \
    X(INPUT, "round input", EXPERTS)                                                                         \
    X(EXPERTS, "experts", EXPERTS)                                                                           \
    X(MERGE, "merge", EXPERTS)                                                                               \
    X(WAIT, "wait for experts", WAIT)                                                                        \
    X(DEVICE, "wait for devices", DEVICE)                                                                    \
    X(AHEAD, "look-ahead", STORE)                                                                            \
    X(STORE, "find and keep", STORE)                                                                         \
    X(SAMPLE, "sampling", TEXT)                                                                              \
    X(TEXT, "text", TEXT)                                                                                    \
    X(READ, "read", OTHER)                                                                                   \
    X(PLACE, "place", OTHER)                                                                                 \
    X(CROSS, "over the link", OTHER)                                                                         \
    X(COMPUTE, "experts on a device", OTHER)

typedef enum mox_span_kind {
#define X(name, text, group) MOX_SPAN_##name,
    MOX_SPANS(X)
#undef X
        MOX_SPAN_KINDS
} mox_span_kind;

/* Lanes: threads and what has work in flight. */
enum {
    MOX_LANE_STEP,
    MOX_LANE_IO,
    MOX_LANE_READ,         /* and up: one for each request, at most 128 */
    MOX_LANE_DEVICE = 128, /* and up: of device i, 2 i computes and 2 i + 1 is its link */
    MOX_SPAN_NO_EXPERT = UINT16_MAX,
};

/* How a read was asked for. */
typedef enum mox_span_read { MOX_SPAN_READ_FILL, MOX_SPAN_READ_DEMAND, MOX_SPAN_READ_AHEAD } mox_span_read;

typedef struct mox_trace_span {
    uint64_t begin_ns, ns; /* from the trace's beginning */
    uint32_t amount;       /* bytes read or copied, rows of a step, experts computed */
    uint32_t step;
    uint16_t layer;  /* of attention and dense layers the model's, else the MoE layer's */
    uint16_t expert; /* or MOX_SPAN_NO_EXPERT */
    uint8_t kind, lane, phase;
    uint8_t detail; /* of a read: mox_span_read */
} mox_trace_span;

static_assert(sizeof(mox_trace_span) == 32, "trace format");

typedef struct mox_trace_header {
    char magic[4];
    uint32_t version, n_layers, n_experts, top_k, timings; /* timings: 1 if spans were recorded */
    uint64_t model_id;
} mox_trace_header;

typedef struct mox_trace_end {
    uint64_t uses, spans, dropped_uses, dropped_spans, ns;
} mox_trace_end;

typedef struct mox_trace_writer mox_trace_writer;

typedef struct mox_trace_cfg {
    mox_trace_header header; /* its shape, timings, model_id */
    const char *info;        /* lines of the INFO block, at most MOX_TRACE_INFO_MAX bytes; NULL: none */
    uint32_t ring;           /* records in the largest ring; 0: as many as a run needs */
    bool direct;             /* no thread and nothing dropped: a full ring is written by who fills it */
} mox_trace_cfg;

enum { MOX_TRACE_INFO_MAX = 1 << 16 };

/* mox_trace_create: opens path (truncates), writes header and INFO, takes all memory, starts the thread. Threads: the
 * step thread makes all calls but mox_trace_span of lanes that are the I/O thread's. Errors MOX_E_WRITE, MOX_E_NO_MEMORY,
 * MOX_E_THREAD. mox_trace_bytes: what it takes. */
MOX_NODISCARD mox_err mox_trace_create(mox_trace_writer **out, const char *path, const mox_trace_cfg *cfg);
size_t mox_trace_bytes(const mox_trace_cfg *cfg);
/* mox_trace_put: a use. mox_trace_span: begin_ns and end_ns by mox_now_ns; the lane says whose ring. w NULL, or one without
 * timings: nothing happens. */
void mox_trace_put(mox_trace_writer *w, const mox_trace_record *r);
void mox_trace_put_span(mox_trace_writer *w, uint64_t begin_ns, uint64_t end_ns, const mox_trace_span *span);
bool mox_trace_has_timings(const mox_trace_writer *w); /* false for NULL */
/* mox_trace_close: the I/O thread must have been told before. A write that failed is reported here. *end may be NULL. */
MOX_NODISCARD mox_err mox_trace_close(mox_trace_writer **w, mox_trace_end *end);

/* A trace as it was read. */
typedef struct mox_trace {
    mox_trace_header header;
    char *info; /* text, ends with 0 */
    mox_trace_record *uses;
    mox_trace_span *spans;
    size_t n_uses, n_spans;
    mox_trace_end end;
    bool whole; /* it has an end */
} mox_trace;

/* mox_trace_read: the whole file. Every count is bounded by the file's size, every record checked against the header.
 * Errors MOX_E_OPEN, MOX_E_FORMAT, MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_trace_read(const char *path, mox_trace *out);
void mox_trace_free(mox_trace *t);
/* mox_trace_info: the value of a key of the INFO block, cut to fit; false, and an empty string, where there is none. */
bool mox_trace_info(const mox_trace *t, const char *key, char *out, size_t n);

const char *mox_span_name(mox_span_kind kind);

#endif
