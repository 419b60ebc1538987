/* Architecture "granitemoe": Granite 3.x MoE, with or without a shared expert. Mixtral's graph with four factors: on the
 * embedding, on the attention scores (in place of 1 / sqrt(head)), on what is added to the residual, and a divisor of
 * the logits.
 */
#include "runtime/model/build.h"

static mox_err granite_hparams(mox_model *m, const mox_keys *k)
{
    mox_hparams *h = &m->h;
    float divisor = 1.0f;
    MOX_TRY(mox_key_f32_opt(k, "embedding_scale", 0.0f, 1e9f, &h->embedding_scale));
    MOX_TRY(mox_key_f32_opt(k, "residual_scale", 0.0f, 1e9f, &h->residual_scale));
    MOX_TRY(mox_key_f32_opt(k, "attention.scale", 0.0f, 1e9f, &h->attention_scale));
    MOX_TRY(mox_key_f32_opt(k, "logit_scale", 1e-9f, 1e9f, &divisor));
    h->logit_scale = 1.0f / divisor;
    return MOX_OK;
}

const mox_family mox_family_granitemoe = {
    .arch = "granitemoe",
    .help = "Granite 3 MoE",
    .traits = {.whole_rope = true},
    .hparams = granite_hparams,
};
