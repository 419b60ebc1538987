/* The decoder that all families share, put together from what the file has and what the traits say: norm, attention,
 * residual; norm, FFN or router and experts, residual. A tensor that is optional in a GGUF is used where it is there,
 * so that a family without it and one with it need no two paths.
 */
#include "runtime/model/build.h"

#include <stdio.h>

static mox_err bind_norm(mox_builder *b, mox_norm *out, uint32_t layer, const char *name)
{
    uint32_t d = b->m->h.d_model;
    MOX_TRY(mox_bind_f32(b, &out->w, 1, d, false, "blk.%u.%s.weight", layer, name));
    return mox_bind_f32(b, &out->bias, 1, d, true, "blk.%u.%s.bias", layer, name);
}

static uint32_t q_rows(const mox_builder *b)
{
    const mox_hparams *h = &b->m->h;
    return h->n_heads * h->head_dim * (b->family->traits.gated_attention ? 2 : 1);
}

/* q, k and v as one tensor: rows of q, then of k, then of v. */
static mox_err bind_fused(mox_builder *b, uint32_t l, mox_attention_op *a)
{
    const mox_hparams *h = &b->m->h;
    char weight[MOX_GGUF_MAX_NAME + 1], bias[MOX_GGUF_MAX_NAME + 1];
    snprintf(weight, sizeof weight, "blk.%u.attn_qkv.weight", l);
    snprintf(bias, sizeof bias, "blk.%u.attn_qkv.bias", l);
    uint32_t q = q_rows(b), kv = h->n_kv_heads * h->head_dim, all = q + 2 * kv;
    const mox_rows rows[] = {{0, q, all}, {q, kv, all}, {q + kv, kv, all}};
    const mox_weight **mats[] = {&a->q, &a->k, &a->v}, **biases[] = {&a->q_bias, &a->k_bias, &a->v_bias};
    for (int i = 0; i < 3; i++) {
        MOX_TRY(mox_bind_rows(b, mats[i], false, rows[i], h->d_model, weight));
    }
    for (int i = 0; i < 3 && mox_gguf_find(b->g, bias); i++) {
        MOX_TRY(mox_bind_rows(b, biases[i], true, rows[i], 1, bias));
    }
    return MOX_OK;
}

static mox_err bind_separate(mox_builder *b, uint32_t l, mox_attention_op *a)
{
    const mox_hparams *h = &b->m->h;
    uint32_t d = h->d_model, q = q_rows(b), kv_rows = h->n_kv_heads * h->head_dim;
    MOX_TRY(mox_bind_mat(b, &a->q, q, d, false, "blk.%u.attn_q.weight", l));
    MOX_TRY(mox_bind_mat(b, &a->k, kv_rows, d, false, "blk.%u.attn_k.weight", l));
    MOX_TRY(mox_bind_mat(b, &a->v, kv_rows, d, false, "blk.%u.attn_v.weight", l));
    MOX_TRY(mox_bind_f32(b, &a->q_bias, 1, q, true, "blk.%u.attn_q.bias", l));
    MOX_TRY(mox_bind_f32(b, &a->k_bias, 1, kv_rows, true, "blk.%u.attn_k.bias", l));
    return mox_bind_f32(b, &a->v_bias, 1, kv_rows, true, "blk.%u.attn_v.bias", l);
}

static mox_err bind_qkv(mox_builder *b, uint32_t l, mox_attention_op *a)
{
    char fused[MOX_GGUF_MAX_NAME + 1];
    snprintf(fused, sizeof fused, "blk.%u.attn_qkv.weight", l);
    return mox_gguf_find(b->g, fused) ? bind_fused(b, l, a) : bind_separate(b, l, a);
}

static mox_err bind_qk_norm(mox_builder *b, uint32_t l, mox_attention_op *a)
{
    const mox_hparams *h = &b->m->h;
    const mox_traits *t = &b->family->traits;
    if (t->qk_norm == MOX_QK_NORM_NONE) {
        return MOX_OK;
    }
    bool wide = t->qk_norm == MOX_QK_NORM_WIDE;
    uint32_t q = wide ? h->n_heads * h->head_dim : h->head_dim;
    uint32_t k = wide ? h->n_kv_heads * h->head_dim : h->head_dim;
    MOX_TRY(mox_bind_f32(b, &a->q_norm, 1, q, t->qk_norm_optional, "blk.%u.attn_q_norm.weight", l));
    MOX_TRY(mox_bind_f32(b, &a->k_norm, 1, k, a->q_norm == NULL, "blk.%u.attn_k_norm.weight", l));
    a->qk_norm = a->q_norm ? t->qk_norm : MOX_QK_NORM_NONE;
    a->norm_after_rope = t->qk_norm_after_rope;
    return MOX_OK;
}

static mox_err bind_attention(mox_builder *b, uint32_t l)
{
    const mox_hparams *h = &b->m->h;
    const mox_traits *t = &b->family->traits;
    uint32_t d = h->d_model;
    mox_attention_op *a = &mox_add_op(b, MOX_LAYER_ATTENTION, l)->attention;
    MOX_TRY(bind_norm(b, &a->norm, l, "attn_norm"));
    if (t->compressed) {
        MOX_TRY(mox_bind_mla(b, l, a));
    } else {
        a->gated = t->gated_attention;
        MOX_TRY(bind_qkv(b, l, a));
        MOX_TRY(bind_qk_norm(b, l, a));
    }
    MOX_TRY(mox_bind_mat(b, &a->o, d, h->n_heads * h->v_dim, false, "blk.%u.attn_output.weight", l));
    MOX_TRY(mox_bind_f32(b, &a->o_bias, 1, d, true, "blk.%u.attn_output.bias", l));
    MOX_TRY(mox_bind_f32(b, &a->sinks, 1, h->n_heads, true, "blk.%u.attn_sinks.weight", l));
    if (t->attention_post_norm) {
        MOX_TRY(mox_bind_f32(b, &a->post_norm, 1, d, false, "blk.%u.%s.weight", l, t->attention_post_norm));
    }
    return b->family->attention ? b->family->attention(b, l, a) : MOX_OK;
}

static mox_err bind_delta(mox_builder *b, uint32_t l)
{
    mox_delta_op *d = &mox_add_op(b, MOX_LAYER_DELTA, l)->delta;
    MOX_TRY(bind_norm(b, &d->norm, l, "attn_norm"));
    return mox_bind_delta(b, l, d);
}

/* ffn_gate, ffn_up and ffn_down, with something behind the name. */
static mox_err bind_ffn(mox_builder *b, const mox_weight *out[MOX_SLABS], uint32_t l, uint32_t width,
                        const char *suffix)
{
    static const char *const names[MOX_SLABS] = {"gate", "up", "down"};
    for (int s = 0; s < MOX_SLABS; s++) {
        bool down = s == MOX_SLAB_DOWN;
        uint32_t rows = down ? b->m->h.d_model : width, cols = down ? width : b->m->h.d_model;
        MOX_TRY(mox_bind_mat(b, &out[s], rows, cols, false, "blk.%u.ffn_%s%s.weight", l, names[s], suffix));
    }
    return MOX_OK;
}

static mox_err bind_dense(mox_builder *b, uint32_t l)
{
    const mox_traits *t = &b->family->traits;
    mox_ffn_op *f = &mox_add_op(b, MOX_LAYER_FFN, l)->ffn;
    const mox_weight *w[MOX_SLABS];
    MOX_TRY(bind_norm(b, &f->norm, l, t->ffn_norm ? t->ffn_norm : "ffn_norm"));
    MOX_TRY(bind_ffn(b, w, l, b->m->h.d_ff_dense, ""));
    f->gate = w[MOX_SLAB_GATE];
    f->up = w[MOX_SLAB_UP];
    f->down = w[MOX_SLAB_DOWN];
    return MOX_OK;
}

static mox_err bind_shared(mox_builder *b, uint32_t l, mox_moe_op *e)
{
    uint32_t width = mox_shared_width(b->g, l);
    if (b->m->h.d_ff_shared == 0) {
        return MOX_OK; /* of a model that has them, every layer with experts does */
    }
    MOX_TRY(bind_ffn(b, e->shared, l, width, "_shexp"));
    return mox_bind_f32(b, &e->shared_gate, 1, b->m->h.d_model, true, "blk.%u.ffn_gate_inp_shexp.weight", l);
}

static mox_err bind_moe(mox_builder *b, uint32_t l, uint32_t moe_layer)
{
    static const char *const names[MOX_SLABS] = {"gate", "up", "down"};
    const mox_hparams *h = &b->m->h;
    const mox_traits *t = &b->family->traits;
    uint32_t d = h->d_model, n = h->n_experts;
    mox_moe_op *e = &mox_add_op(b, MOX_LAYER_MOE, l)->moe;
    e->moe_layer = moe_layer;
    MOX_TRY(bind_norm(b, &e->norm, l, t->ffn_norm ? t->ffn_norm : "ffn_norm"));
    MOX_TRY(mox_bind_f32(b, &e->router, n, d, false, "blk.%u.ffn_gate_inp.weight", l));
    MOX_TRY(mox_bind_f32(b, &e->router_bias, 1, n, true, "blk.%u.ffn_gate_inp.bias", l));
    MOX_TRY(mox_bind_f32(b, &e->select_bias, 1, n, true, "blk.%u.exp_probs_b.bias", l));
    for (int s = 0; s < MOX_SLABS; s++) {
        uint32_t width = s == MOX_SLAB_DOWN ? d : h->d_ff;
        MOX_TRY(mox_bind_f32(b, &e->bias[s], n, width, true, "blk.%u.ffn_%s_exps.bias", l, names[s]));
    }
    MOX_TRY(bind_shared(b, l, e));
    if (t->ffn_post_norm) {
        MOX_TRY(mox_bind_f32(b, &e->post_norm, 1, d, false, "blk.%u.%s.weight", l, t->ffn_post_norm));
    }
    return mox_bind_experts(b, l, moe_layer, d, h->d_ff);
}

static mox_err bind_global(mox_builder *b)
{
    mox_model *m = b->m;
    const mox_hparams *h = &m->h;
    MOX_TRY(mox_bind_mat(b, &m->token_embd, h->n_vocab, h->d_model, false, "token_embd.weight"));
    MOX_TRY(mox_bind_f32(b, &m->output_norm.w, 1, h->d_model, false, "output_norm.weight"));
    MOX_TRY(mox_bind_f32(b, &m->output_norm.bias, 1, h->d_model, true, "output_norm.bias"));
    MOX_TRY(mox_bind_mat(b, &m->output, h->n_vocab, h->d_model, true, "output.weight"));
    if (!m->output) {
        m->output = m->token_embd;
    }
    MOX_TRY(mox_bind_f32(b, &m->output_bias, 1, h->n_vocab, true, "output.bias"));
    MOX_TRY(mox_bind_f32(b, &m->rope_freqs, 1, h->n_rot / 2, true, "rope_freqs.weight"));
    MOX_TRY(mox_bind_f32(b, &m->rope_freqs_long, 1, h->n_rot / 2, true, "rope_factors_long.weight"));
    if (m->rope_freqs_long) {
        return mox_bind_f32(b, &m->rope_freqs, 1, h->n_rot / 2, false, "rope_factors_short.weight");
    }
    return MOX_OK;
}

mox_err mox_bind_decoder(mox_builder *b)
{
    const mox_hparams *h = &b->m->h;
    MOX_TRY(bind_global(b));
    for (uint32_t l = 0, moe_layer = 0; l < h->n_layers; l++) {
        MOX_TRY(mox_layer_has_delta(b, l) ? bind_delta(b, l) : bind_attention(b, l));
        if (mox_layer_has_experts(h, l)) {
            MOX_TRY(bind_moe(b, l, moe_layer++));
        } else {
            MOX_TRY(bind_dense(b, l));
        }
    }
    return MOX_OK;
}
