/* What a family file uses to describe its model: binding tensors by name with their shapes checked.
 *
 * A family is one file with two functions and one row in families.c. `hparams` reads keys; the tables are
 * then sized; `layers` binds tensors and appends ops. Errors name the tensor or key, so that a family file
 * holds nothing but the architecture's own facts.
 */
#ifndef MOX_RUNTIME_MODEL_BUILD_H
#define MOX_RUNTIME_MODEL_BUILD_H

#include "runtime/model/model.h"

typedef struct mox_builder {
    mox_model *m;
    const mox_gguf *g;
    const mox_log *log;
    const mox_gguf_tensor **used; /* tensors bound so far, for the warning about the others */
    uint32_t n_used, max_used, max_weights, max_ops;
} mox_builder;

typedef struct mox_family {
    const char *arch;
    const char *help;
    /* keys -> m->h, plus m->n_moe_layers */
    mox_err (*hparams)(mox_model *m, const mox_gguf *g);
    mox_err (*layers)(mox_builder *b);
    uint32_t weights_per_layer, ops_per_layer; /* upper bounds */
} mox_family;

/* mox_family_find. Errors MOX_E_ARCH naming the architecture and those that exist. */
MOX_NODISCARD mox_err mox_family_find(const mox_family **out, const mox_gguf *g);

extern const mox_family mox_family_llama;

/* Bind a tensor as a matrix [rows][cols] in the compute layout, or as f32 values. With `optional`, an absent
 * tensor gives NULL. */
MOX_NODISCARD mox_err mox_bind_mat(mox_builder *b, const mox_weight **out, uint32_t rows, uint32_t cols,
                                   bool optional, const char *fmt, ...) MOX_PRINTF(6, 7);
MOX_NODISCARD mox_err mox_bind_f32(mox_builder *b, const mox_weight **out, uint32_t rows, uint32_t cols,
                                   bool optional, const char *fmt, ...) MOX_PRINTF(6, 7);

/* mox_bind_experts: the slabs of one MoE layer, whether merged (blk.N.ffn_gate_exps) or one tensor per expert
 * (blk.N.ffn_gate.E); fills layouts[moe_layer] and the slab table. */
MOX_NODISCARD mox_err mox_bind_experts(mox_builder *b, uint32_t layer, uint32_t moe_layer, uint32_t d_model,
                                       uint32_t d_ff);

/* mox_add_op: append to the op list. */
mox_layer_op *mox_add_op(mox_builder *b, mox_layer_op_kind kind, uint32_t layer);

/* mox_find_used: look a tensor up and mark it used; NULL if absent. */
const mox_gguf_tensor *mox_find_used(mox_builder *b, const char *name);
/* mox_shape_is: ne = {cols, rows, depth, 1}; otherwise MOX_E_TENSOR with both shapes. */
MOX_NODISCARD mox_err mox_shape_is(const mox_gguf_tensor *t, uint64_t cols, uint64_t rows, uint64_t depth);

#endif
