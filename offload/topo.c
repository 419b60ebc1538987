/* hwloc is used here and nowhere else. Workers get one physical core each, all on one memory node when that
 * node has enough of them, so that expert bytes are read by the cores that are near them.
 */
#include "offload/topo.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef MOXIE_MINIMAL
#include <hwloc.h>
#endif

enum { MAX_CORES = 1024, HWLOC_BYTES = 2 << 20 };

struct mox_topo {
    uint32_t n_cores, n_nodes, n_workers;
    uint32_t cpu[MAX_CORES]; /* first hardware thread of each core */
    char text[96];
#ifndef MOXIE_MINIMAL
    hwloc_topology_t hw;
    hwloc_bitmap_t node; /* memory node of the cores */
#endif
};

#ifndef MOXIE_MINIMAL

/* hwloc does not survive a refused allocation (it takes about 200 KiB in hundreds of pieces): see first. */
static bool room_for_hwloc(void)
{
    void *trial = malloc(HWLOC_BYTES);
    free(trial);
    return trial != NULL;
}

/* Processors that this process may use; NULL: no memory. */
static hwloc_bitmap_t my_processors(const mox_topo *t)
{
    hwloc_bitmap_t mine = hwloc_bitmap_alloc();
    if (mine && hwloc_get_cpubind(t->hw, mine, HWLOC_CPUBIND_PROCESS) != 0 &&
        hwloc_bitmap_copy(mine, hwloc_topology_get_allowed_cpuset(t->hw)) != 0) {
        hwloc_bitmap_free(mine);
        return NULL;
    }
    return mine;
}

/* Cores that this process may use, nearest node first (hwloc lists objects in that order). */
static mox_err find_cores(mox_topo *t)
{
    if (!room_for_hwloc() || hwloc_topology_init(&t->hw) != 0) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "topology: no memory for hwloc");
    }
    if (hwloc_topology_load(t->hw) != 0) {
        return MOX_FAIL(MOX_E_INTERNAL, "topology: hwloc could not read this machine");
    }
    hwloc_bitmap_t mine = my_processors(t), both = hwloc_bitmap_alloc();
    t->node = hwloc_bitmap_alloc();
    bool room = mine && both && t->node;
    int n = hwloc_get_nbobjs_by_type(t->hw, HWLOC_OBJ_CORE);
    for (int i = 0; room && i < n && t->n_cores < MAX_CORES; i++) {
        hwloc_obj_t core = hwloc_get_obj_by_type(t->hw, HWLOC_OBJ_CORE, (unsigned)i);
        if (hwloc_bitmap_intersects(core->cpuset, mine)) {
            room = hwloc_bitmap_and(both, core->cpuset, mine) == 0 &&
                   hwloc_bitmap_or(t->node, t->node, core->nodeset) == 0;
            t->cpu[t->n_cores++] = (uint32_t)hwloc_bitmap_first(both);
        }
    }
    hwloc_bitmap_free(both);
    hwloc_bitmap_free(mine);
    if (!room) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "topology: no memory for sets of processors");
    }
    t->n_nodes = (uint32_t)hwloc_bitmap_weight(t->node);
    unsigned v = hwloc_get_api_version();
    snprintf(t->text, sizeof t->text, "%u cores, %u node%s (hwloc %u.%u)", t->n_cores, t->n_nodes,
             t->n_nodes == 1 ? "" : "s", v >> 16, v >> 8 & 255);
    return MOX_OK;
}

static void forget(mox_topo *t)
{
    hwloc_bitmap_free(t->node);
    if (t->hw) {
        hwloc_topology_destroy(t->hw);
    }
}

void mox_topo_bind_memory(mox_topo *t, void *p, size_t bytes)
{
    if (t->n_nodes == 1) {
        /* Best effort: unbound memory is slower on machines with several nodes and the same elsewhere. */
        hwloc_set_area_membind(t->hw, p, bytes, t->node, HWLOC_MEMBIND_BIND, HWLOC_MEMBIND_BYNODESET);
    }
}

#else

static mox_err find_cores(mox_topo *t)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        for (uint32_t i = 0; i < CPU_SETSIZE && t->n_cores < MAX_CORES; i++) {
            if (CPU_ISSET(i, &set)) {
                t->cpu[t->n_cores++] = i;
            }
        }
    }
    snprintf(t->text, sizeof t->text, "%u processors (affinity mask)", t->n_cores);
    return MOX_OK;
}

static void forget(mox_topo *t)
{
    (void)t;
}

void mox_topo_bind_memory(mox_topo *t, void *p, size_t bytes)
{
    (void)t;
    (void)p;
    (void)bytes;
}

#endif

mox_err mox_topo_create(mox_topo **out)
{
    mox_topo *t = calloc(1, sizeof *t);
    if (!t) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "topology: no memory");
    }
    mox_err err = find_cores(t);
    if (err != MOX_OK) {
        mox_topo_destroy(&t);
        return err;
    }
    if (t->n_cores == 0) { /* a container may hide everything; one worker always runs */
        t->n_cores = 1;
        t->cpu[0] = 0;
    }
    t->n_workers = t->n_cores;
    *out = t;
    return MOX_OK;
}

void mox_topo_destroy(mox_topo **t)
{
    if (*t) {
        forget(*t);
        free(*t);
        *t = NULL;
    }
}

uint32_t mox_topo_cores(const mox_topo *t)
{
    return t->n_cores;
}

void mox_topo_set_workers(mox_topo *t, uint32_t n_workers)
{
    t->n_workers = n_workers;
}

void mox_topo_bind_worker(void *topo, uint32_t worker)
{
    mox_topo *t = topo;
    if (t->n_workers > t->n_cores || t->cpu[worker % t->n_cores] >= CPU_SETSIZE) {
        return;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(t->cpu[worker % t->n_cores], &set);
    sched_setaffinity(0, sizeof set, &set); /* refused: the scheduler decides */
}

const char *mox_topo_describe(const mox_topo *t)
{
    return t->text;
}
