/* Worker pool: n threads that run one function together, as often as the token loop asks, without allocating.
 *
 * Worker 0 is the caller. Between jobs workers spin for a short while, then sleep on a futex, so an idle pool
 * costs nothing. The pool knows nothing of topology: which CPUs to use is computed by offload/topo and handed
 * in.
 */
#ifndef MOX_CORE_POOL_H
#define MOX_CORE_POOL_H

#include "runtime/core/err.h"

#include <stdint.h>

typedef struct mox_pool mox_pool;

typedef void (*mox_pool_fn)(void *arg, uint32_t worker, uint32_t n_workers);
typedef void (*mox_pool_range_fn)(void *arg, uint32_t begin, uint32_t end, uint32_t worker);

typedef struct mox_pool_cfg {
    uint32_t n_workers;                            /* threads including the caller, 1..256 */
    void (*bind)(void *bind_ctx, uint32_t worker); /* called once in each thread at start; may be NULL */
    void *bind_ctx;
    uint32_t spin_us; /* how long a worker spins before it sleeps; default 50 */
} mox_pool_cfg;

/* mox_pool_create: start the workers. Every thread asserts the float environment of the numerics contract
 * (round to nearest, no flush to zero). Threads: the creating thread owns the pool and is the only caller. */
MOX_NODISCARD mox_err mox_pool_create(mox_pool **out, const mox_pool_cfg *cfg);
void mox_pool_destroy(mox_pool **pool);
uint32_t mox_pool_workers(const mox_pool *pool);

/* mox_pool_run: fn(arg, w, n) once on each worker; returns when all have returned (this is the barrier). */
void mox_pool_run(mox_pool *pool, mox_pool_fn fn, void *arg);

/* mox_pool_for: fn over [0, n_items) in runs of at most `grain`, shorter towards the end, taken from one atomic
 * counter. n_items up to `grain` are one run of the caller.
 * Which worker gets which run is not determined: fn's result must not depend on it. */
void mox_pool_for(mox_pool *pool, uint32_t n_items, uint32_t grain, mox_pool_range_fn fn, void *arg);

#endif
