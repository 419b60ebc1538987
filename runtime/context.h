/* What a context holds. Private to runtime/: open.c builds it, session.c and generate.c use it.
 *
 * One arena per line of the plan that is not a fixed allowance: dense, KV, buffers, and the store's (I/O,
 * transit and kept slots).
 */
#ifndef MOX_RUNTIME_CONTEXT_H
#define MOX_RUNTIME_CONTEXT_H

#include "offload/topo.h"
#include "runtime/core/pool.h"
#include "runtime/dev/module.h"
#include "runtime/graph/capture.h"
#include "runtime/graph/card.h"
#include "runtime/moxie.h"
#include "runtime/plan/placement.h"

/* What a context holds of devices with memory of their own; n of `cards` 0: it has none. */
typedef struct mox_ctx_cards {
    const mox_dev_module *module; /* NULL: the CPU plays them, or there are none */
    mox_cards cards;
    mox_card card[MOX_PLAN_MAX_DEVICES];
    mox_graph graph[MOX_PLAN_MAX_DEVICES - 1]; /* of all but the first card, whose is the context's own */
    uint32_t id[MOX_PLAN_MAX_DEVICES];         /* of the module's devices */
    uint64_t free_bytes[MOX_PLAN_MAX_DEVICES]; /* of their memory */
    mox_buf buffers, slots;                    /* the host's buffers and the store's arena, pinned */
} mox_ctx_cards;

struct mox_ctx {
    mox_cfg cfg;
    mox_dims dims;
    mox_plan plan;
    mox_placement place;
    mox_model *model;
    mox_tokenizer *tokenizer; /* NULL: the file has none */
    mox_topo *topo;
    mox_pool *pool;
    mox_dev *dev;
    mox_ops *ops;
    mox_store *store;
    mox_graph graph;
    struct mox_live *live; /* NULL: nobody can watch */
    mox_ctx_cards on;
    mox_replay_of_run replay;
    mox_arena dense, kv, buffers, store_arena;
    size_t gone_bytes; /* what loading took beyond what lies in its place now */
    mox_hash128_state hash;
    char *text; /* one token's text */
    size_t text_bytes;
    char device[64];
    uint64_t last_progress_ns;
    mox_load_times load;
    float *heat;       /* [n_moe_layers][n_experts] of the saved heat, and behind it its path; NULL: none */
    char *heat_path;   /* in the same memory */
    bool heat_used;    /* it decided what the fill read */
    mox_counters base; /* counters at the last reset */
    mox_use_counters base_layers[MOX_PLAN_MAX_LAYERS];
};

/* memory.c. mox_ctx_map: the plan's arenas, in huge pages and locked where that is wanted and allowed (a line in the
 * log says where not). Errors MOX_E_NO_MEMORY. mox_ctx_map_experts: the experts', where they have to wait until the dense
 * part is in the cards' memory; else they are there. mox_ctx_check_huge: once they are filled, put together what is not in
 * huge pages, or say so. */
MOX_NODISCARD mox_err mox_ctx_map(mox_ctx *ctx);
MOX_NODISCARD mox_err mox_ctx_map_experts(mox_ctx *ctx);
void mox_ctx_check_huge(mox_ctx *ctx);

/* cards.c. find: what cfg.device names and how much memory is free there, before the plan. start: opened, with memory as
 * planned, before the host's is taken, since they pin it. take: the graphs' memory, on the host and there. load_dense: the
 * dense weights through a window of the host's memory, as many at a time as it holds. stop: all back, after the store. Errors: MOX_E_DEVICE, none that can be used;
 * MOX_E_OPTION; MOX_E_TYPE, a tensor without kernels there. */
MOX_NODISCARD mox_err mox_ctx_cards_find(mox_ctx *ctx);
MOX_NODISCARD mox_err mox_ctx_cards_start(mox_ctx *ctx);
void mox_ctx_cards_take(mox_ctx *ctx);
void mox_ctx_cards_set_ops(mox_ctx *ctx);
MOX_NODISCARD mox_err mox_ctx_cards_load_dense(mox_ctx *ctx, mox_dense_load *load, mox_arena *window);
void mox_ctx_cards_stop(mox_ctx *ctx);

/* heat.c. mox_ctx_heat_bytes: what take allocates, for the plan. take: Errors MOX_E_NO_MEMORY. load: what to fill by, or
 * NULL; save: at close, while the store is there. */
size_t mox_ctx_heat_bytes(const mox_ctx *ctx);
MOX_NODISCARD mox_err mox_ctx_heat_take(mox_ctx *ctx);
const float *mox_ctx_heat_load(mox_ctx *ctx);
void mox_ctx_heat_save(mox_ctx *ctx);

/* record.c: the trace of cfg.record, begun when everything else is there; its memory, for the plan. */
MOX_NODISCARD mox_err mox_ctx_record(mox_ctx *ctx);
size_t mox_ctx_record_bytes(const mox_ctx *ctx);

/* mox_ctx_logits: logits of rows idx[0..n) of the last step to out, hashed; n <= MOX_LOGITS_ROWS. */
MOX_NODISCARD mox_err mox_ctx_logits(mox_ctx *ctx, const uint32_t *idx, uint32_t n, float *out);
/* mox_ctx_eval: mox_eval with a phase and, per micro-batch, a progress callback. */
typedef void (*mox_eval_progress)(void *arg, uint32_t done, uint32_t total);
typedef struct mox_eval_cfg {
    uint32_t seq;
    const uint32_t *tokens;
    uint32_t n;
    bool all_logits;
    mox_phase phase;
    mox_logits_fn fn;
    mox_eval_progress progress;
    void *arg;
    uint32_t *n_last; /* NULL, or: rows of the last micro-batch */
} mox_eval_cfg;
MOX_NODISCARD mox_err mox_ctx_eval(mox_ctx *ctx, const mox_eval_cfg *e);

#endif
