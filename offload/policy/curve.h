/* Hit rates of every size at once: one pass over recorded routing gives what a replay gives for each quota.
 *
 * Whom a policy evicts depends on an order of the experts that is the same for every size, so what a layer keeps
 * with a quota of n is part of what it keeps with n + 1, and the place in that order says from which quota on a use
 * is a hit: Mattson's stack distances, with the rules of the store (a step's own experts make room for nobody; a
 * policy may decline). It holds for every policy of the table, Belady's rule included.
 */
#ifndef MOX_OFFLOAD_CURVE_H
#define MOX_OFFLOAD_CURVE_H

#include "offload/policy/replay.h"

typedef struct mox_curve {
    uint32_t n_layers, n_experts;
    uint64_t *hits, *loads, *inserts; /* [n_layers][n_experts + 1]: by quota */
    uint64_t *uses;                   /* [n_layers] */
} mox_curve;

/* mox_curve_make: cfg->quota is not looked at. Errors and Threads: as mox_replay. */
MOX_NODISCARD mox_err mox_curve_make(const mox_replay_cfg *cfg, mox_curve *out);
void mox_curve_free(mox_curve *c);
/* mox_curve_at: what mox_replay gives for these quotas; quotas above n_experts count as n_experts. */
mox_replay_result mox_curve_at(const mox_curve *c, const uint32_t *quota);

#endif
