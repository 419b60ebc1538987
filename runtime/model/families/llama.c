/* Architecture "llama": Mixtral 8x7B and 8x22B, and the dense models of the same graph.
 *
 * Pre-norm attention (GQA, NORM rope: pairs of neighbours; Q and K rows were permuted by the converter, so
 * nothing is permuted here), pre-norm SwiGLU, dense or as experts behind a softmax router with renormalised
 * top k. The experts' width is feed_forward_length. Old and new files differ in how experts are stored; that
 * difference ends in mox_bind_experts.
 */
#include "runtime/model/build.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 17, MAX_HEADS = 4096, MAX_HEAD_DIM = 1024, MAX_VOCAB = 1 << 22, MAX_EXPERTS = 512 };

/* A key that may be an array per layer: this family needs one value. */
static mox_err equal_per_layer(const mox_gguf *g, const char *key, uint32_t hi, uint32_t n_layers,
                               uint32_t *out)
{
    uint32_t v[MOX_PLAN_MAX_LAYERS];
    MOX_TRY(mox_gguf_u32_per_layer(g, key, 1, hi, n_layers, v));
    for (uint32_t i = 1; i < n_layers; i++) {
        if (v[i] != v[0]) {
            return MOX_FAIL(MOX_E_KEY, "model: '%s' differs between layers (%u in layer 0, %u in layer %u)",
                            key, v[0], v[i], i);
        }
    }
    *out = v[0];
    return MOX_OK;
}

static mox_err attention_keys(mox_hparams *h, const mox_gguf *g)
{
    MOX_TRY(equal_per_layer(g, "llama.attention.head_count", MAX_HEADS, h->n_layers, &h->n_heads));
    h->n_kv_heads = h->n_heads;
    if (mox_gguf_has(g, "llama.attention.head_count_kv")) {
        MOX_TRY(equal_per_layer(g, "llama.attention.head_count_kv", MAX_HEADS, h->n_layers, &h->n_kv_heads));
    }
    if (h->n_heads % h->n_kv_heads != 0) {
        return MOX_FAIL(MOX_E_KEY, "model: %u heads do not divide into %u key/value heads", h->n_heads,
                        h->n_kv_heads);
    }
    if (!mox_gguf_has(g, "llama.attention.key_length") && h->d_model % h->n_heads != 0) {
        return MOX_FAIL(MOX_E_KEY, "model: width %u does not divide into %u heads", h->d_model, h->n_heads);
    }
    h->head_dim = h->d_model / h->n_heads;
    MOX_TRY(mox_gguf_u32_opt(g, "llama.attention.key_length", 2, MAX_HEAD_DIM, &h->head_dim));
    uint32_t v_dim = h->head_dim;
    MOX_TRY(mox_gguf_u32_opt(g, "llama.attention.value_length", 2, MAX_HEAD_DIM, &v_dim));
    if (v_dim != h->head_dim || h->head_dim % 2 != 0 || h->head_dim > MAX_HEAD_DIM || h->head_dim < 2) {
        return MOX_FAIL(MOX_E_KEY, "model: key length %u and value length %u: must be equal, even and <= %u",
                        h->head_dim, v_dim, (unsigned)MAX_HEAD_DIM);
    }
    if ((uint64_t)h->head_dim * h->n_heads > MAX_WIDTH) {
        return MOX_FAIL(MOX_E_LIMIT, "model: %u heads of %u are wider than %u", h->n_heads, h->head_dim,
                        (unsigned)MAX_WIDTH);
    }
    h->norm_eps = 1e-5f;
    return mox_gguf_f32_opt(g, "llama.attention.layer_norm_rms_epsilon", 0.0f, 1.0f, &h->norm_eps);
}

static mox_err rope_keys(mox_hparams *h, const mox_gguf *g)
{
    h->n_rot = h->head_dim;
    MOX_TRY(mox_gguf_u32_opt(g, "llama.rope.dimension_count", 2, MAX_HEAD_DIM, &h->n_rot));
    if (h->n_rot != h->head_dim) {
        return MOX_FAIL(MOX_E_KEY, "model: rope.dimension_count %u is not the head's length %u", h->n_rot,
                        h->head_dim);
    }
    h->rope_base = 10000.0f;
    MOX_TRY(mox_gguf_f32_opt(g, "llama.rope.freq_base", 1.0f, 1e12f, &h->rope_base));
    float factor = 0.0f;
    MOX_TRY(mox_gguf_f32_opt(g, "llama.rope.scale_linear", 0.0f, 1e6f, &factor));
    MOX_TRY(mox_gguf_f32_opt(g, "llama.rope.scaling.factor", 0.0f, 1e6f, &factor));
    if (mox_gguf_has(g, "llama.rope.scaling.type")) {
        mox_str type;
        MOX_TRY(mox_gguf_str(g, "llama.rope.scaling.type", &type));
        bool none = type.n == 4 && memcmp(type.p, "none", 4) == 0;
        bool linear = type.n == 6 && memcmp(type.p, "linear", 6) == 0;
        if (!none && !linear) {
            char shown[64];
            return MOX_FAIL(MOX_E_ARCH, "model: rope scaling '%s' is not supported (none and linear are)",
                            mox_escape(type, shown, sizeof shown));
        }
        if (none) {
            factor = 0.0f;
        }
    }
    h->rope_scale = factor == 0.0f ? 1.0f : 1.0f / factor;
    if (!isfinite(h->rope_scale)) {
        return MOX_FAIL(MOX_E_KEY, "model: rope scaling by 1/%g", (double)factor);
    }
    h->rope_neox = false;
    return MOX_OK;
}

/* Keys of other routers: refused where they would change the result. */
static mox_err router_keys(const mox_gguf *g)
{
    uint32_t gating = 1;
    MOX_TRY(mox_gguf_u32_opt(g, "llama.expert_gating_func", 0, UINT32_MAX, &gating));
    float scale = 1.0f;
    MOX_TRY(mox_gguf_f32_opt(g, "llama.expert_weights_scale", -1e9f, 1e9f, &scale));
    uint32_t shared = 0;
    MOX_TRY(mox_gguf_u32_opt(g, "llama.expert_shared_count", 0, UINT32_MAX, &shared));
    if (gating > 1 || (scale != 1.0f && scale != 0.0f) || shared != 0) {
        return MOX_FAIL(MOX_E_ARCH,
                        "model: router with gating function %u, weight scale %g and %u shared experts is not "
                        "supported for 'llama'",
                        gating, (double)scale, shared);
    }
    return MOX_OK;
}

static mox_err vocab_size(mox_hparams *h, const mox_gguf *g)
{
    const mox_gguf_tensor *embd = mox_gguf_find(g, "token_embd.weight");
    if (!embd) {
        return MOX_FAIL(MOX_E_TENSOR, "model: tensor 'token_embd.weight' is missing");
    }
    if (embd->ne[1] < 1 || embd->ne[1] > MAX_VOCAB) {
        return MOX_FAIL(MOX_E_LIMIT, "model: vocabulary of %llu tokens is beyond %u",
                        (unsigned long long)embd->ne[1], (unsigned)MAX_VOCAB);
    }
    h->n_vocab = (uint32_t)embd->ne[1];
    uint32_t declared = h->n_vocab;
    MOX_TRY(mox_gguf_u32_opt(g, "llama.vocab_size", 1, MAX_VOCAB, &declared));
    if (mox_gguf_has(g, "tokenizer.ggml.tokens")) {
        MOX_TRY(mox_gguf_string_array(g, "tokenizer.ggml.tokens", &declared));
    }
    if (declared != h->n_vocab) {
        return MOX_FAIL(MOX_E_TENSOR, "model: vocabulary of %u tokens but an embedding of %u rows", declared,
                        h->n_vocab);
    }
    return MOX_OK;
}

static mox_err llama_hparams(mox_model *m, const mox_gguf *g)
{
    mox_hparams *h = &m->h;
    MOX_TRY(mox_gguf_u32(g, "llama.context_length", 1, INT32_MAX, &h->n_ctx_train));
    MOX_TRY(mox_gguf_u32(g, "llama.embedding_length", 1, MAX_WIDTH, &h->d_model));
    MOX_TRY(mox_gguf_u32(g, "llama.block_count", 1, MOX_PLAN_MAX_LAYERS, &h->n_layers));
    MOX_TRY(equal_per_layer(g, "llama.feed_forward_length", MAX_WIDTH, h->n_layers, &h->d_ff));
    MOX_TRY(attention_keys(h, g));
    MOX_TRY(rope_keys(h, g));
    MOX_TRY(mox_gguf_u32_opt(g, "llama.expert_count", 0, MAX_EXPERTS, &h->n_experts));
    MOX_TRY(mox_gguf_u32_opt(g, "llama.expert_used_count", 0, MAX_EXPERTS, &h->top_k));
    if (h->top_k > h->n_experts || (h->top_k == 0) != (h->n_experts == 0)) {
        return MOX_FAIL(MOX_E_KEY, "model: %u experts used of %u", h->top_k, h->n_experts);
    }
    if (h->n_experts) {
        MOX_TRY(router_keys(g));
        m->n_moe_layers = h->n_layers;
    }
    return vocab_size(h, g);
}

static mox_err attention_layer(mox_builder *b, uint32_t l)
{
    const mox_hparams *h = &b->m->h;
    uint32_t d = h->d_model, q_rows = h->n_heads * h->head_dim, kv_rows = h->n_kv_heads * h->head_dim;
    mox_attention_op *a = &mox_add_op(b, MOX_LAYER_ATTENTION, l)->attention;
    MOX_TRY(mox_bind_f32(b, &a->norm, 1, d, false, "blk.%u.attn_norm.weight", l));
    MOX_TRY(mox_bind_mat(b, &a->q, q_rows, d, false, "blk.%u.attn_q.weight", l));
    MOX_TRY(mox_bind_mat(b, &a->k, kv_rows, d, false, "blk.%u.attn_k.weight", l));
    MOX_TRY(mox_bind_mat(b, &a->v, kv_rows, d, false, "blk.%u.attn_v.weight", l));
    MOX_TRY(mox_bind_mat(b, &a->o, d, q_rows, false, "blk.%u.attn_output.weight", l));
    MOX_TRY(mox_bind_f32(b, &a->q_bias, 1, q_rows, true, "blk.%u.attn_q.bias", l));
    MOX_TRY(mox_bind_f32(b, &a->k_bias, 1, kv_rows, true, "blk.%u.attn_k.bias", l));
    MOX_TRY(mox_bind_f32(b, &a->v_bias, 1, kv_rows, true, "blk.%u.attn_v.bias", l));
    return mox_bind_f32(b, &a->o_bias, 1, d, true, "blk.%u.attn_output.bias", l);
}

static mox_err ffn_layer(mox_builder *b, uint32_t l)
{
    const mox_hparams *h = &b->m->h;
    if (h->n_experts) {
        mox_moe_op *e = &mox_add_op(b, MOX_LAYER_MOE, l)->moe;
        e->moe_layer = l;
        MOX_TRY(mox_bind_f32(b, &e->norm, 1, h->d_model, false, "blk.%u.ffn_norm.weight", l));
        MOX_TRY(
            mox_bind_f32(b, &e->router, h->n_experts, h->d_model, false, "blk.%u.ffn_gate_inp.weight", l));
        return mox_bind_experts(b, l, l, h->d_model, h->d_ff);
    }
    mox_ffn_op *f = &mox_add_op(b, MOX_LAYER_FFN, l)->ffn;
    MOX_TRY(mox_bind_f32(b, &f->norm, 1, h->d_model, false, "blk.%u.ffn_norm.weight", l));
    MOX_TRY(mox_bind_mat(b, &f->gate, h->d_ff, h->d_model, false, "blk.%u.ffn_gate.weight", l));
    MOX_TRY(mox_bind_mat(b, &f->up, h->d_ff, h->d_model, false, "blk.%u.ffn_up.weight", l));
    return mox_bind_mat(b, &f->down, h->d_model, h->d_ff, false, "blk.%u.ffn_down.weight", l);
}

static mox_err llama_layers(mox_builder *b)
{
    mox_model *m = b->m;
    const mox_hparams *h = &m->h;
    MOX_TRY(mox_bind_mat(b, &m->token_embd, h->n_vocab, h->d_model, false, "token_embd.weight"));
    MOX_TRY(mox_bind_f32(b, &m->output_norm, 1, h->d_model, false, "output_norm.weight"));
    MOX_TRY(mox_bind_mat(b, &m->output, h->n_vocab, h->d_model, true, "output.weight"));
    if (!m->output) {
        m->output = m->token_embd;
    }
    MOX_TRY(mox_bind_f32(b, &m->rope_freqs, 1, h->n_rot / 2, true, "rope_freqs.weight"));
    for (uint32_t i = 0; i < h->n_rot / 2; i++) {
        m->inv_freq[i] = (double)h->rope_scale * pow((double)h->rope_base, -2.0 * i / h->n_rot);
    }
    for (uint32_t l = 0; l < h->n_layers; l++) {
        MOX_TRY(attention_layer(b, l));
        MOX_TRY(ffn_layer(b, l));
    }
    return MOX_OK;
}

const mox_family mox_family_llama = {
    .arch = "llama",
    .help = "Mixtral, Llama, Mistral",
    .hparams = llama_hparams,
    .layers = llama_layers,
    .weights_per_layer = 13,
    .ops_per_layer = 2,
};
