/* A model as moxie runs it: hyperparameters, every dense weight, the list of layer ops, and where each expert
 * lies.
 *
 * Built from headers alone (mox_model_create): a family turns keys into hyperparameters and names tensors;
 * every shape is checked here before anything of the model's size is allocated. Plan and open both start from
 * it, so what the plan counts is what open takes. The dense weights get memory later, from an arena
 * (weights.c); expert slabs never do: the store reads them by the table below.
 *
 * A layer is a run of ops in one flat list. An op names what is done with which weights; how it is done is
 * runtime/graph.
 */
#ifndef MOX_RUNTIME_MODEL_H
#define MOX_RUNTIME_MODEL_H

#include "kernels/mat.h"
#include "kernels/ops.h"
#include "offload/store.h"
#include "runtime/core/arena.h"
#include "runtime/core/log.h"
#include "runtime/gguf/gguf.h"
#include "runtime/pack/pack.h"
#include "runtime/plan/plan.h"

typedef struct mox_hparams {
    uint32_t n_layers, d_model, d_ff, n_heads, n_kv_heads, head_dim, n_rot, n_vocab, n_ctx_train;
    uint32_t n_experts, top_k; /* 0, 0: every layer is dense */
    float norm_eps;
    float rope_base, rope_scale; /* angle = position * rope_scale * base^(-2i/n_rot) / factor[i] */
    bool rope_neox;
} mox_hparams;

/* A dense weight: a matrix in the compute layout, or f32 values in row-major order (norms, biases, router).
 */
typedef struct mox_weight {
    char name[MOX_GGUF_MAX_NAME + 1];
    bool as_f32;
    mox_type type; /* in the file */
    uint32_t rows, cols;
    uint32_t file;
    uint64_t off, file_bytes;
    mox_mat mat;      /* as_f32 false, after loading */
    const float *f32; /* as_f32 true, after loading */
} mox_weight;

typedef enum mox_layer_op_kind { MOX_LAYER_ATTENTION, MOX_LAYER_FFN, MOX_LAYER_MOE } mox_layer_op_kind;

/* x += O(attention(rope(Q norm(x)), rope(K norm(x)), V norm(x))) */
typedef struct mox_attention_op {
    const mox_weight *norm, *q, *k, *v, *o;
    const mox_weight *q_bias, *k_bias, *v_bias, *o_bias; /* NULL: none */
} mox_attention_op;

/* x += down(silu(gate norm(x)) * (up norm(x))) */
typedef struct mox_ffn_op {
    const mox_weight *norm, *gate, *up, *down;
} mox_ffn_op;

/* The same over the top k experts of the router, merged by rank. */
typedef struct mox_moe_op {
    const mox_weight *norm, *router;
    uint32_t moe_layer; /* index among the MoE layers */
} mox_moe_op;

typedef struct mox_layer_op {
    mox_layer_op_kind kind;
    uint32_t layer;
    union {
        mox_attention_op attention;
        mox_ffn_op ffn;
        mox_moe_op moe;
    };
} mox_layer_op;

typedef struct mox_slab_place {
    uint32_t file;
    uint64_t off;
} mox_slab_place;

typedef struct mox_model {
    const char *arch; /* static storage */
    mox_hparams h;
    uint32_t n_weights, n_ops, n_moe_layers, n_files;
    mox_weight *weights;
    mox_layer_op *ops;
    const mox_weight *token_embd, *output_norm, *output; /* output may be token_embd (tied) */
    const mox_weight *rope_freqs;                        /* NULL: none */
    double *inv_freq;                                    /* [n_rot / 2], rope_freqs not applied */
    mox_expert_layout *layouts;                          /* [n_moe_layers] */
    mox_slab_place *slabs;  /* [n_moe_layers][n_experts][MOX_SLABS]; NULL for a packed file */
    mox_pack_layer *packed; /* [n_moe_layers] of a packed file, else NULL */
    uint64_t *sums;         /* of a packed file: the layers' checksums, read with the dense weights */
    uint64_t *sums_xxh3;    /* [n_moe_layers]: what each layer's must hash to */
    char **files;           /* [n_files] paths */
    uint64_t *file_bytes;   /* [n_files] */
    uint64_t id;
    mox_arena arena; /* all of the above */
} mox_model;

/* mox_model_create: keys and tensor table -> model; g may be closed afterwards. Errors  MOX_E_ARCH,
 * MOX_E_KEY, MOX_E_TENSOR, MOX_E_TYPE, MOX_E_LIMIT, each naming the key or tensor. Warns of tensors that are
 * not used. */
MOX_NODISCARD mox_err mox_model_create(mox_model **out, const mox_gguf *g, const mox_log *log);
void mox_model_destroy(mox_model **m);
size_t mox_model_bytes(const mox_model *m);

/* mox_model_take_dense: give every dense weight its place in the arena (with a planning arena: count). */
void mox_model_take_dense(mox_model *m, mox_arena *a);
/* mox_model_staging_bytes: the least that mox_model_load_dense can work with. */
size_t mox_model_staging_bytes(const mox_model *m);
/* mox_model_load_dense: read every dense weight in pieces through `staging`. Errors MOX_E_OPEN, MOX_E_IO,
 * MOX_E_TRUNCATED. Threads: the step thread, with the pool. */
typedef struct mox_dense_load {
    mox_pool *pool;
    const mox_arena *arena; /* of the weights: faulted in while the reads are under way */
    void *staging;          /* lent; what it holds afterwards is not defined */
    size_t staging_bytes;
    mox_io_mode io;
    void (*progress)(void *ctx, uint64_t done, uint64_t total); /* may be NULL */
    void *progress_ctx;
} mox_dense_load;
MOX_NODISCARD mox_err mox_model_load_dense(mox_model *m, const mox_dense_load *cfg);

/* mox_model_slot_bytes: memory of one expert of a MoE layer; a record with its end where the file is packed. */
size_t mox_model_slot_bytes(const mox_model *m, uint32_t moe_layer);

/* mox_model_layout_ops: how the store sees this model's experts. Borrows m. */
mox_layout_ops mox_model_layout_ops(mox_model *m);

#endif
