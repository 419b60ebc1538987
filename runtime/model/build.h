/* What a family file uses to describe its model.
 *
 * A family is one file with a table of traits and one row in families.c. keys.c and rope.c read the keys that all
 * families share, decoder.c binds the tensors and appends the ops by the traits; a family's own functions do what
 * traits cannot say. Errors name the tensor or key, so that a family file holds nothing but the architecture's own
 * facts.
 */
#ifndef MOX_RUNTIME_MODEL_BUILD_H
#define MOX_RUNTIME_MODEL_BUILD_H

#include "runtime/model/model.h"

enum {
    MOX_MAX_WIDTH = 1 << 17,
    MOX_MAX_HEADS = 4096,
    MOX_MAX_HEAD_DIM = 1024,
    MOX_MAX_VOCAB = 1 << 22,
    MOX_MAX_EXPERTS = 512,
};

typedef struct mox_family mox_family;

typedef struct mox_builder {
    mox_model *m;
    const mox_family *family;
    const mox_gguf *g;
    const mox_log *log;
    const mox_gguf_tensor **used; /* tensors bound so far, for the warning about the others */
    uint32_t n_used, max_used, max_weights, max_ops;
} mox_builder;

/* The keys of one architecture: "llama." and so on are put in front of every name. */
typedef struct mox_keys {
    const mox_gguf *g;
    const char *arch;
} mox_keys;

/* What distinguishes an architecture from Mixtral's, whose traits are all zero. Tensors that are optional in a GGUF
 * (biases, shared experts, sinks, a bias for the router's choice, fused q, k and v) need no trait: where the file has
 * them they are used. */
typedef struct mox_traits {
    bool neox;           /* rope turns pairs (i, i + n_rot / 2), not neighbours */
    bool whole_rope;     /* rope.dimension_count must be the head's length */
    bool layer_norm;     /* with the key layer_norm_epsilon or layer_norm_rms_epsilon */
    bool yarn_exact;     /* YaRN's ramp without rounding */
    bool compressed;     /* attention of DeepSeek V2 and V3 */
    bool shares_by_used; /* without expert_feed_forward_length, feed_forward_length / expert_used_count */
    mox_qk_norm qk_norm; /* attn_q_norm, attn_k_norm: required, unless qk_norm_optional */
    bool qk_norm_optional, qk_norm_after_rope;
    bool gated_attention;   /* attn_q holds a gate beside every head's query */
    bool delta;             /* layers with ssm_conv1d are gated delta nets, with the keys ssm.* */
    mox_router_rule router; /* keys of the file go over it */
    mox_glu glu;
    const char *ffn_norm;                            /* NULL: "ffn_norm" */
    const char *attention_post_norm, *ffn_post_norm; /* NULL: none */
} mox_traits;

struct mox_family {
    const char *arch;
    const char *help;
    mox_traits traits;
    /* after the common keys, before tables are sized: own keys and defaults. May be NULL. */
    mox_err (*hparams)(mox_model *m, const mox_keys *k);
    /* after a layer's attention is bound: what differs between layers. May be NULL. */
    mox_err (*attention)(mox_builder *b, uint32_t layer, mox_attention_op *a);
};

/* mox_family_find. Errors MOX_E_ARCH naming the architecture and those that exist. */
MOX_NODISCARD mox_err mox_family_find(const mox_family **out, const mox_gguf *g);

/* Every family, for families.c and the tests: X(name of the row). */
/* clang-format off */
#define MOX_FAMILIES(X) \
    X(llama) \
    X(olmoe) \
    X(qwen2moe) \
    X(qwen2) \
    X(qwen3moe) \
    X(qwen3) \
    X(qwen3next) \
    X(granitemoe) \
    X(dbrx) \
    X(phimoe) \
    X(ernie45moe) \
    X(hunyuanmoe) \
    X(glm4moe) \
    X(minimaxm2) \
    X(grok) \
    X(gptoss) \
    X(llama4) \
    X(deepseek2)
/* clang-format on */
#define MOX_FAMILY_ROW(name) extern const mox_family mox_family_##name;
MOX_FAMILIES(MOX_FAMILY_ROW)
#undef MOX_FAMILY_ROW

/* keys.c, rope.c. Keys that are absent leave *out alone, except mox_key_u32's. */
MOX_NODISCARD mox_err mox_key_u32(const mox_keys *k, const char *name, uint32_t lo, uint32_t hi,
                                  uint32_t *out);
MOX_NODISCARD mox_err mox_key_u32_opt(const mox_keys *k, const char *name, uint32_t lo, uint32_t hi,
                                      uint32_t *out);
MOX_NODISCARD mox_err mox_key_f32_opt(const mox_keys *k, const char *name, float lo, float hi, float *out);
MOX_NODISCARD mox_err mox_key_bool_opt(const mox_keys *k, const char *name, bool *out);
bool mox_key_has(const mox_keys *k, const char *name);
/* mox_hparams_read: everything that the families share, by the traits. */
MOX_NODISCARD mox_err mox_hparams_read(mox_model *m, const mox_keys *k, const mox_traits *t);
MOX_NODISCARD mox_err mox_rope_read(mox_hparams *h, const mox_keys *k, const mox_traits *t);
/* mox_rope_frequencies: m->inv_freq of h.rope. */
void mox_rope_frequencies(mox_model *m);
bool mox_layer_has_experts(const mox_hparams *h, uint32_t layer);
/* mox_shared_width: intermediate width of a layer's shared expert, 0 if it has none. */
uint32_t mox_shared_width(const mox_gguf *g, uint32_t layer);

/* mox_bind_decoder: all tensors and ops, by the family's traits. */
MOX_NODISCARD mox_err mox_bind_decoder(mox_builder *b);
/* delta.c: the keys of gated delta nets, whether a layer is one, and its op. */
MOX_NODISCARD mox_err mox_delta_keys(mox_hparams *h, const mox_keys *k);
bool mox_layer_has_delta(const mox_builder *b, uint32_t layer);
MOX_NODISCARD mox_err mox_bind_delta(mox_builder *b, uint32_t layer, mox_delta_op *d);
/* mla.c: the tensors of compressed attention. */
MOX_NODISCARD mox_err mox_bind_mla(mox_builder *b, uint32_t layer, mox_attention_op *a);

/* Bind a tensor as a matrix [rows][cols] in the compute layout, or as f32 values. With `optional`, an absent
 * tensor gives NULL. */
MOX_NODISCARD mox_err mox_bind_mat(mox_builder *b, const mox_weight **out, uint32_t rows, uint32_t cols,
                                   bool optional, const char *fmt, ...) MOX_PRINTF(6, 7);
MOX_NODISCARD mox_err mox_bind_f32(mox_builder *b, const mox_weight **out, uint32_t rows, uint32_t cols,
                                   bool optional, const char *fmt, ...) MOX_PRINTF(6, 7);

/* Rows [row0, row0 + rows) of a tensor of `of` rows, as a matrix or as f32 values (of a vector: elements): the parts of
 * a fused tensor. The tensor exists. */
typedef struct mox_rows {
    uint32_t row0, rows, of;
} mox_rows;
MOX_NODISCARD mox_err mox_bind_rows(mox_builder *b, const mox_weight **out, bool as_f32, mox_rows rows,
                                    uint32_t cols, const char *name);
/* mox_bind_parts: a tensor [cols, rows, parts] as so many matrices; rows that fill up groups of 16 are added to each. */
MOX_NODISCARD mox_err mox_bind_parts(mox_builder *b, const mox_weight **out, uint32_t parts, uint32_t rows,
                                     uint32_t cols, const char *name);

/* The same for parts that do not follow each other: each is `rows` rows of a tensor [cols, of], the next begins `stride`
 * rows later. turned: what is read are `cols` rows of `rows` each, to be transposed (F32 in memory, unless the file has
 * F16 or BF16). The tensor exists. */
typedef struct mox_strided {
    uint32_t row0, stride, of;
    bool turned;
} mox_strided;
MOX_NODISCARD mox_err mox_bind_strided(mox_builder *b, const mox_weight **out, uint32_t parts, uint32_t rows,
                                       uint32_t cols, mox_strided where, const char *name);

/* mox_bind_experts: the slabs of one MoE layer, whether merged (blk.N.ffn_gate_exps, or gate and up in one
 * blk.N.ffn_gate_up_exps) or one tensor per expert (blk.N.ffn_gate.E); fills layouts[moe_layer] and the slab table. */
MOX_NODISCARD mox_err mox_bind_experts(mox_builder *b, uint32_t layer, uint32_t moe_layer, uint32_t d_model,
                                       uint32_t d_ff);

/* mox_add_op: append to the op list. */
mox_layer_op *mox_add_op(mox_builder *b, mox_layer_op_kind kind, uint32_t layer);

/* mox_find_used: look a tensor up and mark it used; NULL if absent. */
const mox_gguf_tensor *mox_find_used(mox_builder *b, const char *name);
/* mox_shape_is: ne = {cols, rows, depth, 1}; otherwise MOX_E_TENSOR with both shapes. */
MOX_NODISCARD mox_err mox_shape_is(const mox_gguf_tensor *t, uint64_t cols, uint64_t rows, uint64_t depth);

#endif
