/* Keys and tensors of a llama-architecture model: what shape, which type, how wide its values spread.
 *
 * Spreads are 1/sqrt(inputs), so a normalised vector comes out of every matrix with about unit size and the
 * residual stream grows like the square root of the depth: finite through any number of layers. A width that
 * is no multiple of a type's block takes the fallback that llama.cpp takes, tensor by tensor.
 */
#include "synth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TENSORS_PER_LAYER = 9, TENSORS_OUTSIDE = 3 };
enum { KIND_U32 = 4, KIND_F32 = 6, KIND_STRING = 8 };
enum { FILE_TYPE_Q4_K_M = 15 };

/* Types of 256 elements -> what to use when the row is only a multiple of 32. */
static uint32_t fallback_32(uint32_t type)
{
    switch (type) {
    case MOX_TYPE_Q2_K:
    case MOX_TYPE_Q3_K:
    case MOX_TYPE_IQ4_XS:
    case MOX_TYPE_IQ1_S:
    case MOX_TYPE_IQ1_M:
    case MOX_TYPE_IQ2_XXS:
    case MOX_TYPE_IQ2_XS:
    case MOX_TYPE_IQ2_S:
    case MOX_TYPE_IQ3_XXS:
    case MOX_TYPE_IQ3_S:
        return MOX_TYPE_IQ4_NL;
    case MOX_TYPE_TQ1_0:
    case MOX_TYPE_TQ2_0:
        return MOX_TYPE_Q4_0;
    case MOX_TYPE_Q4_K:
        return MOX_TYPE_Q5_0;
    case MOX_TYPE_Q5_K:
        return MOX_TYPE_Q5_1;
    default:
        return MOX_TYPE_Q8_0;
    }
}

static uint32_t type_for_width(uint32_t type, uint64_t n_in)
{
    if (n_in % mox_type_info(type)->block_elems == 0) {
        return type;
    }
    return n_in % 32 == 0 ? fallback_32(type) : MOX_TYPE_F16;
}

typedef struct list {
    const synth_cfg *cfg;
    synth_tensor *at;
    uint32_t n;
    bool too_big;
} list;

static void add(list *l, const char *name, uint32_t type, float center, float spread, const uint64_t ne[3])
{
    synth_tensor *t = &l->at[l->n++];
    snprintf(t->name, sizeof t->name, "%s.weight", name);
    t->type = type;
    t->center = center;
    t->spread = spread;
    t->n_dims = ne[2] > 1 ? 3 : ne[1] > 1 ? 2 : 1;
    memcpy(t->ne, ne, sizeof t->ne);
    t->bytes = mox_type_row_bytes(type, ne[0]);
    for (int i = 1; i < 3; i++) {
        l->too_big |= __builtin_mul_overflow(t->bytes, ne[i], &t->bytes);
    }
}

static void add_norm(list *l, const char *name)
{
    add(l, name, MOX_TYPE_F32, 1.0f, 0.1f, (uint64_t[3]){l->cfg->d_model, 1, 1});
}

static void add_matrix(list *l, const char *name, uint32_t type, float gain, uint64_t n_in, uint64_t n_out,
                       uint64_t experts)
{
    add(l, name, type_for_width(type, n_in), 0.0f, gain / sqrtf((float)n_in),
        (uint64_t[3]){n_in, n_out, experts});
}

/* The layers that llama.cpp's _M mixes give more bits: the first and last eighth, and every third between. */
static bool more_bits(const synth_cfg *c, uint32_t layer)
{
    uint32_t eighth = c->layers / 8;
    return layer < eighth || layer >= 7 * c->layers / 8 || (layer - eighth) % 3 == 2;
}

static void add_layer(list *l, uint32_t layer)
{
    const synth_cfg *c = l->cfg;
    char name[48];
    bool more = c->mix_k_m && more_bits(c, layer);
    bool eight = c->mix_k_m && c->experts == 8; /* its attention is a small part: kept in finer types */
    uint32_t down = more ? MOX_TYPE_Q6_K : c->type;
    uint32_t type_v = eight ? MOX_TYPE_Q8_0 : down;
    uint64_t q = (uint64_t)c->heads * c->head_dim, kv = (uint64_t)c->kv_heads * c->head_dim;
#define NAME(part) (snprintf(name, sizeof name, "blk.%u.%s", layer, part), name)
    add_norm(l, NAME("attn_norm"));
    add_matrix(l, NAME("attn_q"), c->type, 1.0f, c->d_model, q, 1);
    add_matrix(l, NAME("attn_k"), eight ? MOX_TYPE_Q8_0 : c->type, 1.0f, c->d_model, kv, 1);
    add_matrix(l, NAME("attn_v"), type_v, 1.0f, c->d_model, kv, 1);
    add_matrix(l, NAME("attn_output"), eight ? MOX_TYPE_Q5_K : c->type, 1.0f, q, c->d_model, 1);
    add_norm(l, NAME("ffn_norm"));
    if (c->experts > 0) {
        /* Always F32, as in real files: its rows are distinct values, so probabilities have no ties. */
        add_matrix(l, NAME("ffn_gate_inp"), MOX_TYPE_F32, 1.0f, c->d_model, c->experts, 1);
        add_matrix(l, NAME("ffn_gate_exps"), c->type, 1.0f, c->d_model, c->d_ff, c->experts);
        add_matrix(l, NAME("ffn_up_exps"), c->type, 1.0f, c->d_model, c->d_ff, c->experts);
        add_matrix(l, NAME("ffn_down_exps"), down, 1.0f, c->d_ff, c->d_model, c->experts);
    } else {
        add_matrix(l, NAME("ffn_gate"), c->type, 1.0f, c->d_model, c->d_ff, 1);
        add_matrix(l, NAME("ffn_up"), c->type, 1.0f, c->d_model, c->d_ff, 1);
        add_matrix(l, NAME("ffn_down"), down, 1.0f, c->d_ff, c->d_model, 1);
    }
#undef NAME
}

mox_err synth_tensors(const synth_cfg *cfg, synth_tensor **out, uint32_t *n)
{
    size_t max = TENSORS_OUTSIDE + (size_t)cfg->layers * (TENSORS_PER_LAYER + 1);
    list l = {.cfg = cfg, .at = calloc(max, sizeof *l.at)};
    if (!l.at) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a list of %zu tensors", max);
    }
    /* The embedding spreads by 1 in total, the output by 2/sqrt(d): logits far enough apart to sample from.
     */
    add_matrix(&l, "token_embd", cfg->type, sqrtf((float)cfg->d_model), cfg->d_model, cfg->vocab, 1);
    for (uint32_t i = 0; i < cfg->layers; i++) {
        add_layer(&l, i);
    }
    add_norm(&l, "output_norm");
    add_matrix(&l, "output", cfg->mix_k_m ? MOX_TYPE_Q6_K : cfg->type, 2.0f, cfg->d_model, cfg->vocab, 1);
    if (l.too_big) {
        free(l.at);
        return MOX_FAIL(MOX_E_ARG, "a tensor of this shape passes 2^64 bytes");
    }
    *out = l.at;
    *n = l.n;
    return MOX_OK;
}

static void key_u32(mox_bytes *b, const char *key, uint32_t v)
{
    synth_put_str(b, key);
    mox_bytes_u32(b, KIND_U32);
    mox_bytes_u32(b, v);
}

static void key_f32(mox_bytes *b, const char *key, float v)
{
    synth_put_str(b, key);
    mox_bytes_u32(b, KIND_F32);
    mox_bytes_put(b, &v, sizeof v);
}

static void key_str(mox_bytes *b, const char *key, const char *v)
{
    synth_put_str(b, key);
    mox_bytes_u32(b, KIND_STRING);
    synth_put_str(b, v);
}

uint32_t synth_keys(const synth_cfg *c, mox_bytes *b)
{
    char name[96];
    snprintf(name, sizeof name, "synthetic %ux%u, %u layers, %u experts", c->d_model, c->d_ff, c->layers,
             c->experts);
    key_str(b, "general.architecture", "llama");
    key_str(b, "general.name", name);
    key_u32(b, "general.quantization_version", 2);
    key_u32(b, "llama.context_length", c->ctx);
    key_u32(b, "llama.embedding_length", c->d_model);
    key_u32(b, "llama.block_count", c->layers);
    key_u32(b, "llama.feed_forward_length", c->d_ff);
    key_u32(b, "llama.attention.head_count", c->heads);
    key_u32(b, "llama.attention.head_count_kv", c->kv_heads);
    key_u32(b, "llama.attention.key_length", c->head_dim);
    key_u32(b, "llama.attention.value_length", c->head_dim);
    key_u32(b, "llama.rope.dimension_count", c->head_dim);
    key_f32(b, "llama.rope.freq_base", 1000000.0f);
    key_f32(b, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    key_u32(b, "llama.vocab_size", c->vocab);
    uint32_t n = 15;
    if (c->experts > 0) {
        key_u32(b, "llama.expert_count", c->experts);
        key_u32(b, "llama.expert_used_count", c->top_k);
        n += 2;
    }
    if (c->mix_k_m) {
        key_u32(b, "general.file_type", FILE_TYPE_Q4_K_M);
        n++;
    }
    return n + synth_vocab_keys(c, b);
}
