/* Architecture "grok": Grok-1. Factors on embedding and logits, attention scores held by tanh, GELU in the experts, and
 * a norm behind attention and behind the experts, before they are added. The file's router cap is not used: neither the
 * model nor its peers do.
 */
#include "runtime/model/build.h"

static mox_err grok_hparams(mox_model *m, const mox_keys *k)
{
    mox_hparams *h = &m->h;
    h->embedding_scale = 78.38367176906169f;
    h->attention_scale = 0.08838834764831845f;
    h->attention_softcap = 30.0f;
    h->logit_scale = 0.5773502691896257f;
    MOX_TRY(mox_key_f32_opt(k, "embedding_scale", 0.0f, 1e9f, &h->embedding_scale));
    MOX_TRY(mox_key_f32_opt(k, "attention.output_scale", 0.0f, 1e9f, &h->attention_scale));
    MOX_TRY(mox_key_f32_opt(k, "attn_logit_softcapping", 0.0f, 1e9f, &h->attention_softcap));
    MOX_TRY(mox_key_f32_opt(k, "logit_scale", 0.0f, 1e9f, &h->logit_scale));
    return mox_key_f32_opt(k, "final_logit_softcapping", 0.0f, 1e9f, &h->final_softcap);
}

const mox_family mox_family_grok = {
    .arch = "grok",
    .help = "Grok-1",
    .traits = {.neox = true,
               .glu = MOX_GLU_GELU,
               .attention_post_norm = "attn_output_norm",
               .ffn_post_norm = "layer_output_norm"},
    .hparams = grok_hparams,
};
