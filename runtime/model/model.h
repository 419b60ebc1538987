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

/* What a layer keeps of a position. */
typedef struct mox_kv_shape {
    uint32_t n_heads, k_dim, v_dim;
} mox_kv_shape;

/* Gated delta nets: heads and lengths of keys and values, taps of the convolution in front. taps 0: none. */
typedef struct mox_delta_shape {
    uint32_t k_heads, v_heads, k_dim, v_dim, taps;
} mox_delta_shape;

/* angle = position * scale * base^(-2i/n_rot) / factor[i]; YaRN goes over to scale 1 where the wave is short. */
typedef struct mox_rope {
    float base, scale;
    bool neox, yarn;
    bool yarn_exact; /* the ends of its ramp are not rounded to whole pairs */
    float beta_fast, beta_slow, extrapolation;
    double magnitude; /* of cos and sin */
    float attn_factor;
    uint32_t original_ctx; /* longer contexts take the long factors */
} mox_rope;

typedef struct mox_hparams {
    uint32_t n_layers, d_model, n_heads, n_kv_heads, head_dim, n_rot, n_vocab, n_ctx_train;
    uint32_t d_ff;             /* of an expert; of every layer in a model without experts */
    uint32_t d_ff_dense;       /* of layers without experts */
    uint32_t d_ff_shared;      /* the widest shared expert; 0: there is none */
    uint32_t n_experts, top_k; /* 0, 0: every layer is dense */
    uint32_t leading_dense,
        moe_step; /* layer l has experts if l >= leading_dense and (l + 1) % moe_step == 0 */
    mox_kv_shape kv;
    mox_delta_shape delta;
    uint32_t v_dim, q_lora, kv_lora; /* compressed attention; kv_lora 0: plain, q_lora 0: q from x */
    float norm_eps;
    mox_rope rope;
    /* What not every model has. Factors of 1 and caps of 0 are left out. */
    bool layer_norm; /* in place of RMS norm */
    mox_router_rule router;
    mox_glu glu; /* of experts */
    float attention_scale;
    float attention_softcap, clamp_qkv;
    float embedding_scale, residual_scale, logit_scale, final_softcap;
    uint32_t window, chunk;     /* of those attention layers that have one */
    uint32_t temperature_floor; /* llama4: of positions, in layers without rope; 0: none */
    float temperature_scale;
} mox_hparams;

/* A dense weight: a matrix in the compute layout, or f32 values in row-major order (norms, biases, router).
 */
typedef struct mox_weight {
    char name[MOX_GGUF_MAX_NAME + 1];
    bool as_f32;
    mox_type type; /* in the file */
    uint32_t rows, cols;
    uint32_t parts;  /* as many matrices of rows / parts rows, one after the other; 0: one */
    uint32_t stride; /* in the file, rows from one part to the next; 0: rows / parts */
    bool turned;     /* in the file a part has cols rows of rows / parts, in the type `from` */
    mox_type from;
    uint32_t file;
    uint64_t off, file_bytes;
    mox_mat mat;      /* as_f32 false, after loading */
    mox_mat *part;    /* [parts] */
    const float *f32; /* as_f32 true, after loading */
} mox_weight;

typedef enum mox_layer_op_kind {
    MOX_LAYER_ATTENTION,
    MOX_LAYER_DELTA,
    MOX_LAYER_FFN,
    MOX_LAYER_MOE
} mox_layer_op_kind;

/* A norm by h.layer_norm's rule; bias NULL: none. */
typedef struct mox_norm {
    const mox_weight *w, *bias;
} mox_norm;

typedef enum mox_qk_norm { MOX_QK_NORM_NONE, MOX_QK_NORM_HEAD, MOX_QK_NORM_WIDE } mox_qk_norm;

/* Compressed attention (MLA): q = q_b norm(q_a x), or q x; the cache holds c = norm(kv_a x) and one rotated key. */
typedef struct mox_mla_op {
    const mox_weight *q_a, *q_a_norm, *q_b; /* q_a NULL: q_b is applied to x */
    const mox_weight *kv_a, *kv_a_norm;
    const mox_weight *k_b, *v_b; /* a matrix for each head (parts) */
} mox_mla_op;

/* x += post(O(attention(rope(Q norm(x)), rope(K norm(x)), V norm(x)))) */
typedef struct mox_attention_op {
    mox_norm norm;
    const mox_weight *q, *k, *v, *o;
    const mox_weight *q_bias, *k_bias, *v_bias, *o_bias; /* NULL: none */
    const mox_weight *q_norm, *k_norm;                   /* by qk_norm; NULL: without weights */
    const mox_weight *sinks, *post_norm;                 /* NULL: none */
    mox_qk_norm qk_norm;
    bool norm_after_rope, no_rope, temperature;
    bool gated; /* q has, of every head, the query's rows and then those of a gate on what it gathers */
    uint32_t window, chunk; /* keys that a row sees; 0: all up to its own */
    bool compressed;
    mox_mla_op mla; /* compressed: in place of q, k, v */
} mox_attention_op;

/* x += O(gate(z norm(x)) * head_norm(delta rule(conv(qkv norm(x))))), decay and strength from ba norm(x) */
typedef struct mox_delta_op {
    mox_norm norm;
    const mox_weight *qkv, *z, *ba, *o;
    const mox_weight *conv;        /* [channels][taps] */
    const mox_weight *a, *dt_bias; /* [v_heads] */
    const mox_weight *head_norm;   /* [v_dim] */
} mox_delta_op;

/* x += down(silu(gate norm(x)) * (up norm(x))) */
typedef struct mox_ffn_op {
    mox_norm norm;
    const mox_weight *gate, *up, *down;
} mox_ffn_op;

/* The same over the top k experts of the router, merged by rank, then a shared expert. */
typedef struct mox_moe_op {
    mox_norm norm;
    const mox_weight *router, *router_bias, *select_bias; /* biases NULL: none */
    const mox_weight *bias[MOX_SLABS];                    /* [n_experts][rows], NULL: none */
    const mox_weight *shared[MOX_SLABS];                  /* NULL: none */
    const mox_weight *shared_gate;                        /* NULL: it counts in full */
    const mox_weight *post_norm;
    uint32_t moe_layer; /* index among the MoE layers */
} mox_moe_op;

typedef struct mox_layer_op {
    mox_layer_op_kind kind;
    uint32_t layer;
    union {
        mox_attention_op attention;
        mox_delta_op delta;
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
    const mox_weight *token_embd, *output,
        *output_bias; /* output may be token_embd (tied); bias NULL: none */
    mox_norm output_norm;
    const mox_weight *rope_freqs, *rope_freqs_long; /* NULL: none; long: beyond the original context */
    double *inv_freq;                               /* [n_rot / 2], rope_freqs not applied */
    mox_mat *part_mats;                             /* of all weights in parts */
    uint32_t n_part_mats;
    mox_expert_layout *layouts; /* [n_moe_layers] */
    mox_slab_place *slabs;      /* [n_moe_layers][n_experts][MOX_SLABS]; NULL for a packed file */
    mox_pack_layer *packed;     /* [n_moe_layers] of a packed file, else NULL */
    uint64_t *sums;             /* of a packed file: the layers' checksums, read with the dense weights */
    uint64_t *sums_xxh3;        /* [n_moe_layers]: what each layer's must hash to */
    char **files;               /* [n_files] paths */
    mox_file_id *file_ids;      /* [n_files], of when the headers were read */
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
void mox_model_take_weight(mox_weight *w, mox_arena *a); /* one of them */
/* mox_model_weight_bytes: what one takes, its alignment included; it has no place afterwards. */
size_t mox_model_weight_bytes(mox_weight *w);
/* mox_weight_layer: the layer that a dense weight belongs to, by its name; UINT32_MAX: to none. */
uint32_t mox_weight_layer(const mox_weight *w);
/* mox_model_staging_bytes: the least that mox_model_load_dense can work with. */
size_t mox_model_staging_bytes(const mox_model *m);
/* mox_model_load_dense: read dense weights in pieces through `staging`, all of them or so many from one on. Errors
 * MOX_E_OPEN, MOX_E_IO, MOX_E_CHANGED. Threads: the step thread, with the pool. */
typedef struct mox_dense_load {
    mox_pool *pool;
    uint32_t first, n;      /* n 0: to the last one */
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
