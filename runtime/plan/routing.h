/* Recorded routing as the policies take it: records grouped into layer steps, an expert's uses joined. */
#ifndef MOX_RUNTIME_ROUTING_H
#define MOX_RUNTIME_ROUTING_H

#include "offload/policy/replay.h"
#include "profiler/counters.h"
#include "profiler/trace.h"

typedef struct mox_routing {
    mox_trace trace;
    mox_trace_header h;
    const mox_trace_record *records; /* of the trace */
    size_t n_records;
    mox_replay_step *steps[MOX_PHASES]; /* of each phase, in order */
    size_t n_steps[MOX_PHASES];
    uint32_t *experts, *uses; /* the steps' entries */
    uint64_t n_uses[MOX_PHASES], n_entries[MOX_PHASES], n_tokens[MOX_PHASES];
    uint64_t served[MOX_PHASES][4]; /* uses by mox_served */
} mox_routing;

/* mox_routing_read: Errors MOX_E_OPEN, MOX_E_FORMAT (no trace, or one without a record), MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_routing_read(const char *path, mox_routing *out);
void mox_routing_free(mox_routing *r);
/* The phase worth looking at: answers, or the prompt where nothing else was recorded. */
mox_phase mox_routing_phase(const mox_routing *r);
/* Everything but quota and prior. */
mox_replay_cfg mox_routing_replay(const mox_routing *r, mox_phase phase, const mox_policy_ops *policy,
                                  float margin);

#endif
