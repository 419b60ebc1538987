/* moxie: run Mixture-of-Experts models that are bigger than the memory they should fit in.
 *
 * The public API. Open a model under a byte budget, look at the plan, evaluate tokens, read the counters. The
 * command line is a client of this header. A context is one model with its memory, threads and KV cache; it
 * is owned by the thread that opened it (the step thread) and every call is made from there. After mox_open
 * returns ("ready") nothing is allocated: mox_step, mox_generate and the tokenizer work in memory taken at
 * open.
 *
 * Errors: functions return mox_err; mox_err_last() has the numbers and the reason.
 */
#ifndef MOXIE_H
#define MOXIE_H

#include "kernels/ops.h"
#include "offload/store.h"
#include "profiler/counters.h"
#include "runtime/core/err.h"
#include "runtime/core/hash.h"
#include "runtime/core/log.h"
#include "runtime/graph/miss.h"
#include "runtime/plan/plan.h"
#include "runtime/tokenizer/tokenizer.h"

typedef struct mox_ctx mox_ctx;

typedef struct mox_cfg {
    const char *model; /* file, any shard, or directory */
    mox_budget ram;    /* default AUTO */
    /* "cpu" (NULL), "cuda" or "emu", with what runtime/dev/spec.h allows behind; or "cpu:vram=SIZE[,n=N]": the CPU plays
     * devices that compute experts, with so much RAM as their memory (tests). */
    const char *device;
    /* Of "cuda" and "emu" those to use, in the order of layers: "1,0", "GPU-5e1f..."; NULL: the first ones
     * (runtime/dev/pick.h). */
    const char *gpu;
    mox_budget vram;    /* of each device's memory, or experts in all; default AUTO: what is free */
    mox_miss miss;      /* default AUTO */
    bool cuda_graph;    /* default true: steps of one row are captured at open, where the device has graphs */
    uint32_t n_ctx;     /* positions per sequence, reserved in full; 0 = min(trained, 4096) */
    uint32_t n_seq;     /* sequences, default 1 */
    uint32_t n_batch;   /* rows per micro-batch, default 512, clipped to n_ctx * n_seq */
    uint32_t n_threads; /* 0 = physical cores */
    mox_kv_type kv;     /* default F16 */
    mox_io_mode io;
    uint32_t io_depth; /* most reads in flight; 0 = as the plan finds best */
    mox_verify verify;
    const char *policy; /* "auto", "lru", "lfu", "dlfu", "static" */
    float
        margin; /* heat by which an expert must beat the one whose place it takes; default -1: none in RAM, 1 in VRAM */
    /* A digit for each layer with experts: how many of it stay in RAM, relative to the others. NULL, "even": equal shares. */
    const char *layer_shares;
    bool look_ahead;        /* default true */
    int isa;                /* mox_isa, -1 = best present */
    const char *device_dir; /* where its module lies; NULL: beside the program */
    bool act_f32;           /* audit: activations not rounded */
    bool huge_pages;        /* default true: ask for 2 MiB pages */
    uint64_t seed;
    uint64_t io_limit_bps;      /* bench only */
    bool shuffle_predictions;   /* bench only */
    const char *replay_routing; /* bench only: a trace, whose choices of experts are taken; or NULL */
    const char *record;         /* trace to write, or NULL */
    bool live;                  /* `moxie top` may watch */
    bool timings;               /* with when what was done */
    const char *heat; /* saved heat: a file, or a folder with one for each model ("/" at the end), or NULL */
    bool dry_run;     /* plan and reserve address space only: mox_step then fails */
    bool header_only; /* a file cut off after its header will do: for plans and dry runs */
    mox_log log;
    /* stage: "header", "dense", "experts"; called at most every 100 ms. May be NULL. */
    void (*progress)(void *ctx, const char *stage, uint64_t done, uint64_t total);
    void *progress_ctx;
    const struct mox_io_ops *io_override; /* tests */
    void *io_override_ctx;
} mox_cfg;

void mox_cfg_defaults(mox_cfg *cfg);

/* mox_open: header, plan, allocate, read the dense part, fill the RAM tier. On failure *out stays NULL.
 * Errors  file errors 3xxx/6xxx, MOX_E_NO_FIT (the floor and what would lower it), MOX_E_ARG. */
MOX_NODISCARD mox_err mox_open(mox_ctx **out, const mox_cfg *cfg);
void mox_close(mox_ctx **ctx);
/* mox_end_record: the trace of cfg.record is complete; what could not be written since open is an error now, which
 * mox_close can only log. Later steps are not recorded. Errors MOX_E_WRITE. */
MOX_NODISCARD mox_err mox_end_record(mox_ctx *ctx);

/* mox_plan_model: the plan alone, from headers. */
MOX_NODISCARD mox_err mox_plan_model(mox_plan *out, const mox_cfg *cfg);
/* mox_plan_work: the same, and what a token asks for, to predict from. */
struct mox_work;
MOX_NODISCARD mox_err mox_plan_work(mox_plan *out, struct mox_work *work, const mox_cfg *cfg);

const mox_plan *mox_get_plan(const mox_ctx *ctx);
uint64_t mox_actual_bytes(const mox_ctx *ctx); /* taken from the system by the arenas, the most at a time */

/* What loading took; bytes are those read from the file. */
typedef struct mox_load_times {
    double dense_s, experts_s, total_s; /* total: all of mox_open */
    uint64_t dense_bytes, expert_bytes;
} mox_load_times;
const mox_load_times *mox_get_load(const mox_ctx *ctx);

const mox_tokenizer *mox_get_tokenizer(const mox_ctx *ctx);
const char *mox_get_device(const mox_ctx *ctx); /* "cpu avx512, 2 threads" */
const char *mox_get_io(const mox_ctx *ctx);
/* By what the experts in RAM were chosen at open: "saved heat", "in turn" (of each layer the first), "none". */
const char *mox_get_fill_order(const mox_ctx *ctx);
/* How experts that are not in VRAM are computed: "cpu", "copy", "split", or for auto what it chose and the steps' times
 * that say so. "none" without a device. */
const char *mox_get_miss(const mox_ctx *ctx, char *out, size_t n);
/* "on", "off", or "switched off": it did not pay, and is tried again now and then. */
const char *mox_get_look_ahead(const mox_ctx *ctx);

typedef struct mox_row {
    uint32_t seq, pos, token;
    bool want_logits;
} mox_row;

/* mox_step: evaluate n rows (n <= n_batch) of any number of sequences; rows of one sequence come in order of
 * position, each position extends what its sequence has. logits: [number of rows that want them][vocab], may
 * be NULL if none. A row's logits do not depend on what else is in the batch. phase tells the counters
 * prefill from decode. Errors  MOX_E_CONTEXT_FULL (with both numbers), MOX_E_TOKEN, MOX_E_NUMERIC, I/O
 * errors; the sequences' caches are then as before. */
MOX_NODISCARD mox_err mox_step(mox_ctx *ctx, const mox_row *rows, uint32_t n, mox_phase phase, float *logits);
/* mox_eval: a run of tokens of one sequence in micro-batches; logits of all of them (each) or of the last
 * alone. each is called with consecutive rows and may be NULL. */
typedef void (*mox_logits_fn)(void *arg, uint32_t first_pos, uint32_t n, const float *logits);
MOX_NODISCARD mox_err mox_eval(mox_ctx *ctx, uint32_t seq, const uint32_t *tokens, uint32_t n,
                               bool all_logits, mox_logits_fn fn, void *arg);
void mox_seq_clear(mox_ctx *ctx, uint32_t seq);
/* mox_seq_keep: forget what comes after the first n tokens; a sequence that is no longer stays as it is. What is kept
 * is what a fresh evaluation of these tokens would have made, to the bit. A model with recurrent layers holds states of
 * a few lengths only: its sequence goes back to the longest of them that is no longer than n, perhaps to nothing, and
 * mox_seq_len says how much is left. */
void mox_seq_keep(mox_ctx *ctx, uint32_t seq, uint32_t n);
uint32_t mox_seq_len(const mox_ctx *ctx, uint32_t seq);

/* Sampling. temp 0 = greedy (lowest id among equals). Order: bias, penalties, top-k, softmax with temperature,
 * top-p, typical, min-p, draw. */
enum { MOX_BIAS_MAX = 64, MOX_RECENT_MAX = 256 };
typedef struct mox_bias {
    uint32_t id;
    float add; /* to its logit, -1e4..1e4 */
} mox_bias;

typedef struct mox_sampling {
    float temp;     /* default 0 */
    uint32_t top_k; /* 0 = off */
    float top_p;    /* 1 = off */
    float min_p;    /* 0 = off */
    uint64_t seed;
    float typical;   /* 0 and 1 = off: the share of the mass, of tokens about as surprising as the average */
    float repeat;    /* 0 and 1 = off: logits of recent tokens are divided by it (multiplied if negative) */
    float frequency; /* 0 = off, -2..2: subtracted once per recent use */
    float presence;  /* 0 = off, -2..2: subtracted once if used recently */
    uint32_t n_recent; /* how many last tokens are recent, at most MOX_RECENT_MAX; 0 = 64 */
    uint32_t n_bias;
    mox_bias bias[MOX_BIAS_MAX];
} mox_sampling;

typedef struct mox_gen_cfg {
    const uint32_t *prompt;
    uint32_t n_prompt, max_new; /* max_new 0: until end or context full */
    uint32_t n_have; /* of the prompt, what the sequence holds already: less than n_prompt, its length */
    mox_sampling sampling;
    bool ignore_end; /* bench: do not stop at end-of-generation tokens */
    bool all_logits; /* hash every prompt row's logits too (run does, so that its hash equals that of
                        `logits`) */
    /* called with each new token; text is whole UTF-8. Return false to stop. Last calls with MOX_TOKEN_NONE
     * bring what the detokeniser still held back, where the answer ended in the middle of a character. */
    bool (*on_token)(void *arg, uint32_t id, const char *text, size_t n_text);
    void (*on_prefill)(void *arg, uint32_t done, uint32_t total);
    /* Asked between two layers; true ends it there. In the prompt: MOX_E_CANCELLED, and the sequence keeps the
     * micro-batches that were done. In the answer: stop "user". May be NULL. */
    bool (*cancelled)(void *arg);
    void *arg;
    const char *const
        *stop; /* strings that end the answer and are not part of it: at most 8 of 1..128 bytes */
    uint32_t n_stop;
} mox_gen_cfg;

typedef struct mox_gen_result {
    uint32_t n_new;
    const char *stop; /* "end", "length", "context", "stop" (a string), "user" */
    double prefill_s, decode_s;
} mox_gen_result;

MOX_NODISCARD mox_err mox_generate(mox_ctx *ctx, uint32_t seq, const mox_gen_cfg *cfg, mox_gen_result *out);

/* mox_get_counters: totals since open (or reset); per MoE layer rows may be NULL. mox_logits_hash: XXH3-128
 * over every logits row computed so far, in order of computation. */
void mox_get_counters(mox_ctx *ctx, mox_counters *c, mox_use_counters *per_layer);
void mox_reset_counters(mox_ctx *ctx);
mox_hash128 mox_logits_hash(const mox_ctx *ctx);

/* The model as `info` shows it. */
typedef struct mox_model_info {
    const char *arch;
    char name[128];
    uint32_t n_layers, n_moe_layers, d_model, d_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_ctx_train,
        n_experts, top_k;
    uint64_t params_total, params_active, file_bytes, dense_bytes, expert_bytes, expert_max_bytes;
    char quants[256]; /* "Q4_K 24.1 GiB, Q6_K 1.9 GiB, F32 2.1 MiB" */
    uint64_t kv_bytes_per_token[MOX_KV_TYPES];
    uint64_t state_bytes; /* of a sequence, whatever its length: recurrent layers */
    uint64_t
        dense_read_bytes; /* of the dense part, what one token's step reads: of the embedding only a row */
    uint64_t macs_token; /* integer products of one row: attention projections, dense layers, top-k experts */
    uint64_t macs_logits; /* and of its logits, where they are wanted */
} mox_model_info;
MOX_NODISCARD mox_err mox_model_describe(mox_model_info *out, const mox_gguf *g);

#endif
