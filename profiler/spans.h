/* Spans of a trace put in order: what nests in what, how long each was busy itself, and where the time of a token went. */
#ifndef MOX_PROFILER_SPANS_H
#define MOX_PROFILER_SPANS_H

#include "profiler/trace.h"

/* Bars of "where does a token's time go". */
typedef enum mox_span_group {
    MOX_GROUP_DENSE,
    MOX_GROUP_EXPERTS,
    MOX_GROUP_WAIT,
    MOX_GROUP_DEVICE,
    MOX_GROUP_STORE,
    MOX_GROUP_TEXT,
    MOX_GROUP_OTHER,
    MOX_GROUPS
} mox_span_group;

const char *mox_group_name(mox_span_group g);
mox_span_group mox_span_group_of(mox_span_kind kind);

/* What became of a read that was made ahead of its use. */
typedef enum mox_fate { MOX_FATE_NONE, MOX_FATE_USED, MOX_FATE_LATE, MOX_FATE_WASTED, MOX_FATES } mox_fate;
const char *mox_fate_name(mox_fate f); /* NULL for none: it was no read ahead, or nothing tells */

typedef struct mox_span_node {
    const mox_trace_span *s;
    uint64_t begin_ns, end_ns; /* cut to the parent's where they overlapped its end */
    uint64_t self_ns;          /* without its children */
    uint32_t depth;
    mox_fate fate;
} mox_span_node;

typedef struct mox_span_times {
    double group_s[MOX_PHASES][MOX_GROUPS];
    double total_s[MOX_PHASES]; /* the sum of the groups */
    uint64_t steps[MOX_PHASES], rows[MOX_PHASES];
} mox_span_times;

typedef struct mox_spans {
    mox_span_node *node; /* [n] by lane, beginning, the longer first: parents before children */
    size_t n;
    size_t n_cut; /* spans that ended after their parent: none in a trace that was written by a run */
    mox_span_times times;
    uint64_t fates[MOX_FATES]; /* reads ahead */
} mox_spans;

/* mox_spans_make: borrows t. Errors MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_spans_make(const mox_trace *t, mox_spans *out);
void mox_spans_free(mox_spans *s);

/* mox_spans_lane: what a lane is called; returns out. */
const char *mox_spans_lane(uint8_t lane, char out[32]);

#endif
