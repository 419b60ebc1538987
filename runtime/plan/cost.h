/* The cost model: how long a token takes on a machine, given where its experts are found.
 *
 * Pure functions over plain structs, in seconds and bytes per second: `plan` predicts with it, `profile` turns
 * hit rates into tokens per second with it. The CPU and the copies to a GPU pull on the same DRAM, so what they get
 * together is capped; each way of serving a miss has a handshake of its own. docs/cost-model.md derives the formulas
 * and says what they leave out.
 */
#ifndef MOX_RUNTIME_COST_H
#define MOX_RUNTIME_COST_H

#include <stdbool.h>
#include <stdint.h>

/* What a machine sustains, not what it says on the box. */
typedef struct mox_machine {
    double vram_bps;         /* reads of weights by the GPU; 0: no GPU, everything is computed by the CPU */
    double link_bps;         /* copies from pinned memory to the GPU */
    double cpu_bps;          /* weights multiplied by the CPU out of DRAM */
    double dram_bps;         /* all that pull on DRAM, together */
    double disk_bps;         /* reads of experts from the file */
    double gpu_ops, cpu_ops; /* per second, two per product: prompts */
    double layer_s;          /* fixed for every layer */
    double token_s;          /* fixed for every token: sampling, and what no tier explains */
    double cpu_handshake_s;  /* in a layer with a miss that the CPU computes for the GPU */
    double copy_handshake_s; /* in a layer with a miss that is copied */
    double disk_handshake_s; /* in a layer with a miss that is read from the file */
} mox_machine;

#define MOX_CPU_HANDSHAKE_S  60e-6
#define MOX_COPY_HANDSHAKE_S 15e-6
#define MOX_DISK_HANDSHAKE_S 100e-6
#define MOX_GPU_LAYER_S      15e-6
#define MOX_CPU_LAYER_S      100e-6 /* routers, norms, waits: docs/numbers.md */

/* What one token of a model asks for. */
typedef struct mox_work {
    uint32_t n_layers, n_moe_layers, n_experts, top_k;
    double expert_bytes;                  /* one expert, mean over layers */
    double dense_bytes;                   /* read for every token, apart from routed experts */
    double kv_bytes;                      /* read for every token at the context in question */
    double dense_weights, expert_weights; /* how many, for the operations of a prompt */
} mox_work;

/* Where the uses of a phase are found; the rest is read from the file. */
typedef struct mox_hits {
    double vram, ram; /* shares of all uses */
} mox_hits;

/* How an expert that is in RAM and not in VRAM is served. */
typedef enum mox_way { MOX_WAY_CPU, MOX_WAY_COPY, MOX_WAY_SPLIT, MOX_WAYS } mox_way;

typedef enum mox_part {                    /* of a token's time */
                        MOX_PART_DENSE,    /* attention, router, output, KV */
                        MOX_PART_RESIDENT, /* experts where they are computed: VRAM, or RAM without a GPU */
                        MOX_PART_MISS, /* experts computed on the CPU for a GPU, or copied to it, beyond what hits hide */
                        MOX_PART_DISK,  /* reads from the file */
                        MOX_PART_FIXED, /* layers, handshakes, sampling */
                        MOX_PARTS
} mox_part;

typedef struct mox_cost {
    double total_s;           /* = the sum of the parts */
    double part_s[MOX_PARTS]; /* of a token, or of a micro-batch */
    mox_part bottleneck;      /* the largest of them */
} mox_cost;

const char *mox_way_name(mox_way w); /* "cpu", "copy", "split" */
/* mox_part_name: "experts on the CPU": what a part is on this machine, served this way. */
const char *mox_part_name(mox_part p, const mox_machine *m, mox_way w);

/* mox_cost_token: one token of decoding. Without a GPU `way` is not looked at. */
mox_cost mox_cost_token(const mox_machine *m, const mox_work *w, mox_hits h, mox_way way);

/* The ways compared. tie: the CPU is within 5 % of the best, so it is taken: it leaves the link alone. */
typedef struct mox_choice_of_way {
    mox_way best;
    bool tie;
    double token_s[MOX_WAYS];
} mox_choice_of_way;
mox_choice_of_way mox_cost_choose(const mox_machine *m, const mox_work *w, mox_hits h);

/* mox_cost_union: experts of one layer that a micro-batch of n tokens uses, expected. share [n_experts]: of the
 * layer's uses; NULL: all alike. */
double mox_cost_union(const mox_work *w, uint32_t n, const double *share);
/* mox_cost_batch: one micro-batch of a prompt; `resident`: shares of the experts, not of the uses, in each tier. */
mox_cost mox_cost_batch(const mox_machine *m, const mox_work *w, mox_hits resident, uint32_t n,
                        const double *share);

#endif
