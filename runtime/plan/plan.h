/* The plan: budget -> placement, before anything is allocated. `open` allocates exactly what it says.
 *
 * It is computed from headers alone. Every byte the process will hold is in one of its lines; the same code
 * path (arenas in planning mode) counts and later takes them.
 */
#ifndef MOX_RUNTIME_PLAN_H
#define MOX_RUNTIME_PLAN_H

#include "runtime/core/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum mox_budget_kind {
    MOX_BUDGET_AUTO,    /* min(MemAvailable, cgroup headroom) - 2 GiB, at most what the model can use */
    MOX_BUDGET_BYTES,   /* --ram SIZE: the whole process */
    MOX_BUDGET_PCT,     /* --ram PCT of min(MemTotal, cgroup limit) */
    MOX_BUDGET_MIN,     /* the floor */
    MOX_BUDGET_EXPERTS, /* --ram-experts N: that many experts kept, dealt to layers by largest remainder */
    MOX_BUDGET_EXPERTS_PCT, /* --ram-experts PCT of all experts */
} mox_budget_kind;

typedef struct mox_budget {
    mox_budget_kind kind;
    uint64_t bytes;   /* MOX_BUDGET_BYTES */
    double pct;       /* 0..100 */
    uint32_t experts; /* MOX_BUDGET_EXPERTS */
} mox_budget;

enum { MOX_PLAN_MAX_LAYERS = 512, MOX_PLAN_MAX_DEVICES = 8 };

/* What one device's memory is for. */
typedef struct mox_plan_device {
    uint64_t limit_bytes;   /* what was allowed or free */
    uint64_t dense_bytes;   /* of its layers, and on the first device what belongs to no layer */
    uint64_t kv_bytes;      /* of its layers */
    uint64_t buffer_bytes;  /* activations, scratch, logits */
    uint64_t staging_bytes; /* slots that experts pass through; 0 where all experts of its layers stay */
    uint64_t expert_bytes;  /* slots of experts that stay */
    uint64_t total_bytes; /* of the lines; the device's table of operations takes module_bytes beside them */
    uint64_t module_bytes;
    uint32_t n_layers, n_experts; /* layers, experts that stay */
} mox_plan_device;

typedef struct mox_plan {
    /* bytes, process total = sum of the lines */
    uint64_t process_bytes;  /* program, libraries, stacks, stdio: a fixed allowance */
    uint64_t metadata_bytes; /* tensor table, tokenizer */
    uint64_t dense_bytes;    /* every tensor that is not an expert, in the compute layout */
    uint64_t kv_bytes;
    uint64_t buffer_bytes;  /* activations, scratch, logits */
    uint64_t io_bytes;      /* staging buffers, slot table, hashes */
    uint64_t transit_bytes; /* transit slots */
    uint64_t expert_bytes;  /* kept slots */
    uint64_t
        load_bytes; /* with devices: what the dense part passes through beyond the slots' memory; given back */
    uint64_t total_bytes;
    uint64_t budget_bytes; /* what total may not pass; 0 when the budget was given in experts */
    uint64_t floor_bytes;  /* smallest budget that works with these options */
    /* experts */
    uint32_t n_layers, n_moe_layers, n_experts, top_k;
    uint32_t kept[MOX_PLAN_MAX_LAYERS]; /* per MoE layer */
    uint64_t slot_bytes[MOX_PLAN_MAX_LAYERS];
    uint32_t kept_total, experts_total, transit_slots, n_size_classes;
    /* devices with memory of their own, which hold the dense part and the cache; none: the rest is 0 */
    uint32_t n_devices, vram_experts;
    mox_plan_device device[MOX_PLAN_MAX_DEVICES];
    uint32_t layer_device[MOX_PLAN_MAX_LAYERS]; /* per layer of the model */
    uint32_t vram_kept[MOX_PLAN_MAX_LAYERS];    /* per MoE layer */
    /* what was decided */
    uint32_t n_ctx, n_seq, n_batch, n_threads;
    const char *kv_type;
} mox_plan;

#endif
