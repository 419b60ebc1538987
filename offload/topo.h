/* Topology: which CPUs the workers use and where memory is bound. hwloc is used in topo.c and nowhere else;
 * without it (MOXIE_MINIMAL) the process's affinity mask is used and memory is left where first touched. */
#ifndef MOX_OFFLOAD_TOPO_H
#define MOX_OFFLOAD_TOPO_H

#include "runtime/core/err.h"

#include <stddef.h>
#include <stdint.h>

typedef struct mox_topo mox_topo;

MOX_NODISCARD mox_err mox_topo_create(mox_topo **out);
void mox_topo_destroy(mox_topo **t);
uint32_t mox_topo_cores(const mox_topo *t); /* physical cores this process may use */
/* mox_topo_bind_worker: pin the calling thread to core `worker % cores`; signature fits mox_pool_cfg.bind.
 * With more workers than cores nothing is pinned. */
void mox_topo_bind_worker(void *topo, uint32_t worker);
void mox_topo_set_workers(mox_topo *t, uint32_t n_workers);
/* mox_topo_bind_memory: bind to the node of the workers before first touch; best effort. */
void mox_topo_bind_memory(mox_topo *t, void *p, size_t bytes);
const char *mox_topo_describe(const mox_topo *t); /* "2 cores, 1 node (hwloc 2.9)" */

#endif
