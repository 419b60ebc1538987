/* Gated delta nets (Qwen3-Next): keys and tensors. Which layers are one is read from their tensors, as with everything
 * that is optional in a GGUF; the file's list of them says the same. */
#include "runtime/model/build.h"

#include <stdio.h>

enum { MAX_TAPS = 16 };

mox_err mox_delta_keys(mox_hparams *h, const mox_keys *k)
{
    mox_delta_shape *d = &h->delta;
    uint32_t width = 0;
    MOX_TRY(mox_key_u32(k, "ssm.conv_kernel", 2, MAX_TAPS, &d->taps));
    MOX_TRY(mox_key_u32(k, "ssm.state_size", 1, MOX_MAX_HEAD_DIM, &d->k_dim));
    MOX_TRY(mox_key_u32(k, "ssm.group_count", 1, MOX_MAX_HEADS, &d->k_heads));
    MOX_TRY(mox_key_u32(k, "ssm.time_step_rank", 1, MOX_MAX_HEADS, &d->v_heads));
    MOX_TRY(mox_key_u32(k, "ssm.inner_size", 1, MOX_MAX_WIDTH, &width));
    d->v_dim = width / d->v_heads;
    if (width % d->v_heads != 0 || d->v_heads % d->k_heads != 0 || d->v_dim > MOX_MAX_HEAD_DIM) {
        return MOX_FAIL(MOX_E_KEY, "model: %u value heads for %u key heads in a width of %u", d->v_heads,
                        d->k_heads, width);
    }
    if ((uint64_t)d->k_heads * d->k_dim > MOX_MAX_WIDTH) {
        return MOX_FAIL(MOX_E_LIMIT, "model: %u key heads of %u are wider than %u", d->k_heads, d->k_dim,
                        (unsigned)MOX_MAX_WIDTH);
    }
    return MOX_OK;
}

bool mox_layer_has_delta(const mox_builder *b, uint32_t layer)
{
    char name[MOX_GGUF_MAX_NAME + 1];
    snprintf(name, sizeof name, "blk.%u.ssm_conv1d.weight", layer);
    return b->m->h.delta.taps != 0 && mox_gguf_find(b->g, name) != NULL;
}

mox_err mox_bind_delta(mox_builder *b, uint32_t l, mox_delta_op *d)
{
    const mox_delta_shape *s = &b->m->h.delta;
    uint32_t n = b->m->h.d_model, values = s->v_heads * s->v_dim, all = 2 * s->k_heads * s->k_dim + values;
    MOX_TRY(mox_bind_mat(b, &d->qkv, all, n, false, "blk.%u.attn_qkv.weight", l));
    MOX_TRY(mox_bind_mat(b, &d->z, values, n, false, "blk.%u.attn_gate.weight", l));
    MOX_TRY(mox_bind_mat(b, &d->ba, 2 * s->v_heads, n, false, "blk.%u.ssm_ba.weight", l));
    MOX_TRY(mox_bind_f32(b, &d->conv, all, s->taps, false, "blk.%u.ssm_conv1d.weight", l));
    MOX_TRY(mox_bind_f32(b, &d->a, 1, s->v_heads, false, "blk.%u.ssm_a", l));
    MOX_TRY(mox_bind_f32(b, &d->dt_bias, 1, s->v_heads, false, "blk.%u.ssm_dt.bias", l));
    MOX_TRY(mox_bind_f32(b, &d->head_norm, 1, s->v_dim, false, "blk.%u.ssm_norm.weight", l));
    return mox_bind_mat(b, &d->o, n, values, false, "blk.%u.ssm_out.weight", l);
}
