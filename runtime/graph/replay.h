/* Recorded routing that a run takes instead of its own router's choice (bench only): so that a model with random weights
 * meets the hit rates of a real one. Tokens of the trace are used in the order in which they were recorded, one for each row
 * that is computed, and from the start again behind the last. Weights stay the router's.
 *
 * Threads: the step thread.
 */
#ifndef MOX_RUNTIME_GRAPH_REPLAY_H
#define MOX_RUNTIME_GRAPH_REPLAY_H

#include "runtime/core/err.h"

#include <stdint.h>

typedef struct mox_replay_shape {
    uint32_t n_layers, n_experts, top_k;
} mox_replay_shape;

typedef struct mox_replay_of_run {
    mox_replay_shape shape;
    uint16_t *experts; /* [n_tokens][n_layers][top_k] */
    uint32_t n_tokens; /* 0: nothing is replayed */
    uint32_t at;       /* the next step's first */
} mox_replay_of_run;

/* mox_replay_open: a trace whose tokens have all layers and ranks. Errors MOX_E_OPEN, MOX_E_FORMAT, MOX_E_CONFLICT (of a
 * model of another shape), MOX_E_NO_MEMORY. */
MOX_NODISCARD mox_err mox_replay_open(mox_replay_of_run *out, const char *path, mox_replay_shape shape);
void mox_replay_close(mox_replay_of_run *r);

/* mox_replay_route: ids [n][top_k] of a layer of the coming rows. The last layer moves on to the rows behind these. */
void mox_replay_route(mox_replay_of_run *r, uint32_t layer, uint32_t n, uint32_t *ids);

#endif
