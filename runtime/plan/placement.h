/* Private face of the planner: budget and model -> plan, and the store's configuration that carries it out.
 *
 * Counting and taking use the same functions (mox_graph_take_*, mox_model_take_dense, mox_store_create) on
 * planning arenas and on real ones.
 */
#ifndef MOX_RUNTIME_PLACEMENT_H
#define MOX_RUNTIME_PLACEMENT_H

#include "offload/store.h"
#include "runtime/graph/graph.h"
#include "runtime/model/model.h"
#include "runtime/plan/plan.h"

/* More than so much at a time makes loading through a window no faster. */
#define MOX_LOAD_WINDOW (256u << 20)

typedef struct mox_placement {
    mox_store_cfg store; /* without log, callbacks and the tests' seam */
    mox_store_layer layers[MOX_PLAN_MAX_LAYERS];
    size_t store_bytes;   /* of its arena */
    size_t load_bytes;    /* with devices: what the dense part passes through, at least its largest tensor */
    uint64_t dense_bytes; /* of all that passes */
    mox_vram_layer vram[MOX_PLAN_MAX_LAYERS];
} mox_placement;

typedef struct mox_plan_in {
    mox_model *m;
    const mox_dims *dims;
    const mox_cfg *cfg;
    const mox_policy_ops *policy;
    uint64_t metadata_bytes;
    uint32_t n_devices;
    const uint64_t *device_bytes; /* [n_devices] that are free */
    uint64_t module_bytes;        /* of each, what opening it takes */
    bool played;                  /* the CPU plays the devices */
} mox_plan_in;

/* mox_plan_make: fill *plan and *place. Errors  MOX_E_NO_FIT with the floor and what would lower it. */
MOX_NODISCARD mox_err mox_plan_make(const mox_plan_in *in, mox_plan *plan, mox_placement *place);

/* --margin in each tier: MOX_ADMIT_ALWAYS in RAM and MOX_VRAM_MARGIN in VRAM, unless it is said. */
float mox_ram_margin(const mox_cfg *cfg);
float mox_vram_margin(const mox_cfg *cfg);
/* mox_plan_limit: of free bytes those that `--vram` allows. */
uint64_t mox_plan_limit(const mox_budget *b, uint64_t free_bytes);
/* mox_plan_vram: layers to devices and experts to VRAM, before RAM is placed. Errors  MOX_E_NO_FIT. */
MOX_NODISCARD mox_err mox_plan_vram(const mox_plan_in *in, mox_plan *plan, mox_placement *place);

/* What the machine has, with cgroups (v1 and v2) taken into account; UINT64_MAX where it cannot be told. */
uint64_t mox_host_available_bytes(void); /* min(MemAvailable, headroom of every cgroup above us) */
uint64_t mox_host_total_bytes(void);     /* min(MemTotal, limit of every cgroup above us) */
/* mox_host_cpu_name: "unknown processor" where the system does not say. root: "", or a folder that plays the machine. */
void mox_host_cpu_name(const char *root, char *out, size_t n);

#endif
