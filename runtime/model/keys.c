/* Keys -> hyperparameters, for every family: the architecture's name stands in front of each key, and the traits say
 * what its absence means. A family's own function adds what is left.
 */
#include "runtime/model/build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { KEY_BYTES = 160 };

typedef struct key_name {
    char text[KEY_BYTES];
} key_name;

static key_name full(const mox_keys *k, const char *name)
{
    key_name n;
    snprintf(n.text, sizeof n.text, "%s.%s", k->arch, name);
    return n;
}

mox_err mox_key_u32(const mox_keys *k, const char *name, uint32_t lo, uint32_t hi, uint32_t *out)
{
    return mox_gguf_u32(k->g, full(k, name).text, lo, hi, out);
}

mox_err mox_key_u32_opt(const mox_keys *k, const char *name, uint32_t lo, uint32_t hi, uint32_t *out)
{
    return mox_gguf_u32_opt(k->g, full(k, name).text, lo, hi, out);
}

mox_err mox_key_f32_opt(const mox_keys *k, const char *name, float lo, float hi, float *out)
{
    return mox_gguf_f32_opt(k->g, full(k, name).text, lo, hi, out);
}

mox_err mox_key_bool_opt(const mox_keys *k, const char *name, bool *out)
{
    return mox_gguf_bool_opt(k->g, full(k, name).text, out);
}

bool mox_key_has(const mox_keys *k, const char *name)
{
    return mox_gguf_has(k->g, full(k, name).text);
}

/* A key that may be an array per layer: one value is needed here. */
static mox_err equal_per_layer(const mox_keys *k, const char *name, uint32_t hi, uint32_t n_layers,
                               uint32_t *out)
{
    uint32_t v[MOX_PLAN_MAX_LAYERS];
    MOX_TRY(mox_gguf_u32_per_layer(k->g, full(k, name).text, 1, hi, n_layers, v));
    for (uint32_t i = 1; i < n_layers; i++) {
        if (v[i] != v[0]) {
            return MOX_FAIL(MOX_E_KEY,
                            "model: '%s.%s' differs between layers (%u in layer 0, %u in layer %u)", k->arch,
                            name, v[0], v[i], i);
        }
    }
    *out = v[0];
    return MOX_OK;
}

static mox_err head_count(mox_hparams *h, const mox_keys *k)
{
    MOX_TRY(equal_per_layer(k, "attention.head_count", MOX_MAX_HEADS, h->n_layers, &h->n_heads));
    h->n_kv_heads = h->n_heads;
    if (mox_key_has(k, "attention.head_count_kv")) {
        MOX_TRY(equal_per_layer(k, "attention.head_count_kv", MOX_MAX_HEADS, h->n_layers, &h->n_kv_heads));
    }
    if (h->n_heads % h->n_kv_heads != 0) {
        return MOX_FAIL(MOX_E_KEY, "model: %u heads do not divide into %u key/value heads", h->n_heads,
                        h->n_kv_heads);
    }
    return MOX_OK;
}

static mox_err head_length(mox_hparams *h, const mox_keys *k)
{
    if (!mox_key_has(k, "attention.key_length") && h->d_model % h->n_heads != 0) {
        return MOX_FAIL(MOX_E_KEY, "model: width %u does not divide into %u heads", h->d_model, h->n_heads);
    }
    h->head_dim = h->d_model / h->n_heads;
    MOX_TRY(mox_key_u32_opt(k, "attention.key_length", 2, MOX_MAX_HEAD_DIM, &h->head_dim));
    h->v_dim = h->head_dim;
    MOX_TRY(mox_key_u32_opt(k, "attention.value_length", 2, MOX_MAX_HEAD_DIM, &h->v_dim));
    if (h->v_dim != h->head_dim || h->head_dim % 2 != 0 || h->head_dim > MOX_MAX_HEAD_DIM ||
        h->head_dim < 2) {
        return MOX_FAIL(MOX_E_KEY, "model: key length %u and value length %u: must be equal, even and <= %u",
                        h->head_dim, h->v_dim, (unsigned)MOX_MAX_HEAD_DIM);
    }
    h->n_rot = h->head_dim;
    h->kv = (mox_kv_shape){.n_heads = h->n_kv_heads, .k_dim = h->head_dim, .v_dim = h->v_dim};
    return MOX_OK;
}

/* Lengths of the true heads stand under _mla in newer files; older ones have them under the plain names. The cache
 * holds one vector for all heads. */
static mox_err compressed_length(mox_hparams *h, const mox_keys *k)
{
    MOX_TRY(mox_key_u32(k, "attention.kv_lora_rank", 1, MOX_MAX_HEAD_DIM, &h->kv_lora));
    MOX_TRY(mox_key_u32_opt(k, "attention.q_lora_rank", 0, MOX_MAX_WIDTH, &h->q_lora));
    bool mla = mox_key_has(k, "attention.key_length_mla");
    MOX_TRY(mox_key_u32(k, mla ? "attention.key_length_mla" : "attention.key_length", 4, MOX_MAX_HEAD_DIM,
                        &h->head_dim));
    MOX_TRY(mox_key_u32(k, mla ? "attention.value_length_mla" : "attention.value_length", 1, MOX_MAX_HEAD_DIM,
                        &h->v_dim));
    MOX_TRY(mox_key_u32(k, "rope.dimension_count", 2, MOX_MAX_HEAD_DIM, &h->n_rot));
    if (h->n_rot % 2 != 0 || h->n_rot >= h->head_dim) {
        return MOX_FAIL(MOX_E_KEY, "model: %u rotated elements in heads of %u", h->n_rot, h->head_dim);
    }
    h->n_kv_heads = 1;
    h->kv = (mox_kv_shape){.n_heads = 1, .k_dim = h->n_rot, .v_dim = h->kv_lora};
    return MOX_OK;
}

static mox_err attention_keys(mox_hparams *h, const mox_keys *k, const mox_traits *t)
{
    MOX_TRY(head_count(h, k));
    MOX_TRY(t->compressed ? compressed_length(h, k) : head_length(h, k));
    if ((uint64_t)h->head_dim * h->n_heads > MOX_MAX_WIDTH) {
        return MOX_FAIL(MOX_E_LIMIT, "model: %u heads of %u are wider than %u", h->n_heads, h->head_dim,
                        (unsigned)MOX_MAX_WIDTH);
    }
    h->norm_eps = 1e-5f;
    MOX_TRY(mox_key_f32_opt(k, "attention.layer_norm_rms_epsilon", 0.0f, 1.0f, &h->norm_eps));
    h->layer_norm = t->layer_norm;
    if (t->layer_norm) {
        MOX_TRY(mox_key_f32_opt(k, "attention.layer_norm_epsilon", 0.0f, 1.0f, &h->norm_eps));
    }
    h->attention_scale = (float)(1.0 / sqrt((double)h->head_dim));
    return mox_key_f32_opt(k, "attention.clamp_kqv", 0.0f, 1e9f, &h->clamp_qkv);
}

static mox_err group_keys(mox_hparams *h, const mox_keys *k)
{
    mox_router_rule *r = &h->router;
    MOX_TRY(mox_key_u32_opt(k, "expert_group_count", 0, MOX_MAX_EXPERTS, &r->n_groups));
    MOX_TRY(mox_key_u32_opt(k, "expert_group_used_count", 0, MOX_MAX_EXPERTS, &r->n_groups_used));
    if (r->n_groups <= 1) {
        r->n_groups = r->n_groups_used = 0;
        return MOX_OK;
    }
    if (h->n_experts % r->n_groups != 0 || r->n_groups_used == 0 || r->n_groups_used > r->n_groups ||
        r->n_groups_used * (h->n_experts / r->n_groups) < h->top_k) {
        return MOX_FAIL(MOX_E_KEY, "model: %u of %u experts from %u of %u groups", h->top_k, h->n_experts,
                        r->n_groups_used, r->n_groups);
    }
    return MOX_OK;
}

/* Traits first, then what the file says. */
static mox_err router_keys(mox_hparams *h, const mox_keys *k, const mox_traits *t)
{
    static const mox_gating by_key[] = {MOX_GATING_SOFTMAX, MOX_GATING_SOFTMAX, MOX_GATING_SIGMOID,
                                        MOX_GATING_SOFTMAX_TOP};
    mox_router_rule *r = &h->router;
    *r = t->router;
    uint32_t gating = 0;
    MOX_TRY(mox_key_u32_opt(k, "expert_gating_func", 0, UINT32_MAX, &gating));
    if (gating >= sizeof by_key / sizeof by_key[0]) {
        return MOX_FAIL(MOX_E_ARCH, "model: router with gating function %u is not supported", gating);
    }
    r->gating = gating != 0 ? by_key[gating] : r->gating;
    bool normalised = !r->not_normalised;
    MOX_TRY(mox_key_bool_opt(k, "expert_weights_norm", &normalised));
    r->not_normalised = !normalised;
    MOX_TRY(mox_key_f32_opt(k, "expert_weights_scale", -1e9f, 1e9f, &r->scale));
    r->scale = r->scale == 1.0f ? 0.0f : r->scale;
    return group_keys(h, k);
}

uint32_t mox_shared_width(const mox_gguf *g, uint32_t layer)
{
    char name[MOX_GGUF_MAX_NAME + 1];
    snprintf(name, sizeof name, "blk.%u.ffn_gate_shexp.weight", layer);
    const mox_gguf_tensor *t = mox_gguf_find(g, name);
    return t && t->ne[1] <= MOX_MAX_WIDTH ? (uint32_t)t->ne[1] : 0;
}

bool mox_layer_has_experts(const mox_hparams *h, uint32_t layer)
{
    return h->n_experts != 0 && layer >= h->leading_dense && (layer + 1) % h->moe_step == 0;
}

static mox_err expert_keys(mox_model *m, const mox_keys *k, const mox_traits *t)
{
    mox_hparams *h = &m->h;
    h->d_ff_dense = h->d_ff;
    MOX_TRY(mox_key_u32_opt(k, "expert_count", 0, MOX_MAX_EXPERTS, &h->n_experts));
    MOX_TRY(mox_key_u32_opt(k, "expert_used_count", 0, MOX_MAX_EXPERTS, &h->top_k));
    if (h->top_k > h->n_experts || (h->top_k == 0) != (h->n_experts == 0)) {
        return MOX_FAIL(MOX_E_KEY, "model: %u experts used of %u", h->top_k, h->n_experts);
    }
    if (h->n_experts == 0) {
        return MOX_OK;
    }
    h->d_ff = t->shares_by_used && h->d_ff >= h->top_k ? h->d_ff / h->top_k : h->d_ff;
    MOX_TRY(mox_key_u32_opt(k, "expert_feed_forward_length", 1, MOX_MAX_WIDTH, &h->d_ff));
    MOX_TRY(mox_key_u32_opt(k, "leading_dense_block_count", 0, h->n_layers, &h->leading_dense));
    MOX_TRY(mox_key_u32_opt(k, "interleave_moe_layer_step", 1, h->n_layers, &h->moe_step));
    MOX_TRY(router_keys(h, k, t));
    for (uint32_t l = 0; l < h->n_layers; l++) {
        bool moe = mox_layer_has_experts(h, l);
        uint32_t width = moe ? mox_shared_width(k->g, l) : 0;
        h->d_ff_shared = width > h->d_ff_shared ? width : h->d_ff_shared;
        m->n_moe_layers += moe;
    }
    uint32_t n_shared = 0;
    MOX_TRY(mox_key_u32_opt(k, "expert_shared_count", 0, UINT32_MAX, &n_shared));
    if (n_shared != 0 && m->n_moe_layers != 0 && h->d_ff_shared == 0) {
        return MOX_FAIL(MOX_E_TENSOR, "model: %u shared experts are announced and none is there", n_shared);
    }
    if (m->n_moe_layers == 0) { /* so the figures of experts mean nothing */
        h->n_experts = h->top_k = 0;
        h->d_ff = h->d_ff_dense;
    }
    return MOX_OK;
}

static mox_err vocab_size(mox_hparams *h, const mox_keys *k)
{
    const mox_gguf_tensor *embd = mox_gguf_find(k->g, "token_embd.weight");
    if (!embd) {
        return MOX_FAIL(MOX_E_TENSOR, "model: tensor 'token_embd.weight' is missing");
    }
    if (embd->ne[1] < 1 || embd->ne[1] > MOX_MAX_VOCAB) {
        return MOX_FAIL(MOX_E_LIMIT, "model: vocabulary of %llu tokens is beyond %u",
                        (unsigned long long)embd->ne[1], (unsigned)MOX_MAX_VOCAB);
    }
    h->n_vocab = (uint32_t)embd->ne[1];
    uint32_t declared = h->n_vocab;
    MOX_TRY(mox_key_u32_opt(k, "vocab_size", 1, MOX_MAX_VOCAB, &declared));
    if (mox_gguf_has(k->g, "tokenizer.ggml.tokens")) {
        MOX_TRY(mox_gguf_string_array(k->g, "tokenizer.ggml.tokens", &declared));
    }
    if (declared != h->n_vocab) {
        return MOX_FAIL(MOX_E_TENSOR, "model: vocabulary of %u tokens but an embedding of %u rows", declared,
                        h->n_vocab);
    }
    return MOX_OK;
}

mox_err mox_hparams_read(mox_model *m, const mox_keys *k, const mox_traits *t)
{
    mox_hparams *h = &m->h;
    *h = (mox_hparams){
        .moe_step = 1, .glu = t->glu, .embedding_scale = 1.0f, .residual_scale = 1.0f, .logit_scale = 1.0f};
    MOX_TRY(mox_key_u32(k, "context_length", 1, INT32_MAX, &h->n_ctx_train));
    MOX_TRY(mox_key_u32(k, "embedding_length", 1, MOX_MAX_WIDTH, &h->d_model));
    MOX_TRY(mox_key_u32(k, "block_count", 1, MOX_PLAN_MAX_LAYERS, &h->n_layers));
    uint32_t nextn = 0; /* layers that guess further tokens: counted among the blocks, not run */
    MOX_TRY(mox_key_u32_opt(k, "nextn_predict_layers", 0, h->n_layers - 1, &nextn));
    h->n_layers -= nextn;
    MOX_TRY(equal_per_layer(k, "feed_forward_length", MOX_MAX_WIDTH, h->n_layers, &h->d_ff));
    MOX_TRY(attention_keys(h, k, t));
    MOX_TRY(mox_rope_read(h, k, t));
    if (t->delta) {
        MOX_TRY(mox_delta_keys(h, k));
    }
    MOX_TRY(expert_keys(m, k, t));
    return vocab_size(h, k);
}
