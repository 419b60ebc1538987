/* Tensors of compressed attention (DeepSeek V2, V3). Files since April 2025 have the two halves of kv_b apart, each a
 * small matrix for every head: attn_k_b turns a head's query into the space of the cache, attn_v_b turns what attention
 * gathers there into a head's value.
 */
#include "runtime/model/build.h"

#include <stdio.h>

/* Older files have the halves in one piece: of every head its keys' rows, then its values'. The keys' are the transpose of
 * what is multiplied with. */
static mox_err bind_whole(mox_builder *b, mox_mla_op *c, uint32_t nope, const char *name)
{
    const mox_hparams *h = &b->m->h;
    mox_strided k = {.stride = nope + h->v_dim, .of = h->n_heads * (nope + h->v_dim), .turned = true};
    mox_strided v = {.row0 = nope, .stride = k.stride, .of = k.of};
    MOX_TRY(mox_bind_strided(b, &c->k_b, h->n_heads, h->kv_lora, nope, k, name));
    return mox_bind_strided(b, &c->v_b, h->n_heads, h->v_dim, h->kv_lora, v, name);
}

mox_err mox_bind_mla(mox_builder *b, uint32_t layer, mox_attention_op *a)
{
    const mox_hparams *h = &b->m->h;
    mox_mla_op *c = &a->mla;
    uint32_t d = h->d_model, q_rows = h->n_heads * h->head_dim, nope = h->head_dim - h->n_rot;
    char name[MOX_GGUF_MAX_NAME + 1];
    a->compressed = true;
    if (h->q_lora) {
        MOX_TRY(mox_bind_mat(b, &c->q_a, h->q_lora, d, false, "blk.%u.attn_q_a.weight", layer));
        MOX_TRY(mox_bind_f32(b, &c->q_a_norm, 1, h->q_lora, false, "blk.%u.attn_q_a_norm.weight", layer));
        MOX_TRY(mox_bind_mat(b, &c->q_b, q_rows, h->q_lora, false, "blk.%u.attn_q_b.weight", layer));
    } else {
        MOX_TRY(mox_bind_mat(b, &c->q_b, q_rows, d, false, "blk.%u.attn_q.weight", layer));
    }
    MOX_TRY(mox_bind_mat(b, &c->kv_a, h->kv_lora + h->n_rot, d, false, "blk.%u.attn_kv_a_mqa.weight", layer));
    MOX_TRY(mox_bind_f32(b, &c->kv_a_norm, 1, h->kv_lora, false, "blk.%u.attn_kv_a_norm.weight", layer));
    snprintf(name, sizeof name, "blk.%u.attn_k_b.weight", layer);
    if (!mox_gguf_find(b->g, name)) {
        snprintf(name, sizeof name, "blk.%u.attn_kv_b.weight", layer);
        return bind_whole(b, c, nope, name);
    }
    MOX_TRY(mox_bind_parts(b, &c->k_b, h->n_heads, h->kv_lora, nope, name));
    snprintf(name, sizeof name, "blk.%u.attn_v_b.weight", layer);
    return mox_bind_parts(b, &c->v_b, h->n_heads, h->v_dim, h->kv_lora, name);
}
