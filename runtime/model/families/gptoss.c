/* Architecture "gpt-oss": gpt-oss-20b and -120b. Biases everywhere, experts included; attention with sinks, and a window
 * in every other layer, from the first; softmax over the chosen scores; a limited SwiGLU. YaRN's ramp is not rounded
 * (the model's configuration says so, no key does; llama.cpp rounds it).
 */
#include "runtime/model/build.h"

static mox_err gptoss_hparams(mox_model *m, const mox_keys *k)
{
    m->h.window = 128;
    return mox_key_u32_opt(k, "attention.sliding_window", 0, INT32_MAX, &m->h.window);
}

static mox_err gptoss_attention(mox_builder *b, uint32_t layer, mox_attention_op *a)
{
    a->window = layer % 2 == 0 ? b->m->h.window : 0;
    return MOX_OK;
}

const mox_family mox_family_gptoss = {
    .arch = "gpt-oss",
    .help = "gpt-oss-20b, gpt-oss-120b",
    .traits = {.neox = true,
               .yarn_exact = true,
               .router = {.gating = MOX_GATING_SOFTMAX_TOP},
               .glu = MOX_GLU_CLAMPED,
               .ffn_norm = "post_attention_norm"},
    .hparams = gptoss_hparams,
    .attention = gptoss_attention,
};
