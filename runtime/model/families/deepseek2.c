/* Architecture "deepseek2": DeepSeek V2, V2-Lite, V2.5, V3, R1, Kimi-K2. Attention over a compressed cache, leading dense
 * layers, shared experts; V2 has softmax scores and groups judged by their best expert, V3 sigmoid scores with a bias
 * for the choice and groups judged by their two best. Nothing in the file tells which: the scores do.
 *
 * YaRN's magnitude does not turn the cosines here; its square, by a factor of its own, is part of the score's scale.
 */
#include "runtime/model/build.h"

#include <math.h>

static mox_err deepseek_hparams(mox_model *m, const mox_keys *k)
{
    mox_hparams *h = &m->h;
    float log_multiplier = 0.0f;
    MOX_TRY(mox_key_f32_opt(k, "rope.scaling.yarn_log_multiplier", 0.0f, 1e3f, &log_multiplier));
    double stretch = log(1.0 / (double)h->rope.scale);
    double magnitude = (double)h->rope.attn_factor * (1.0 + (double)log_multiplier * stretch);
    h->attention_scale = (float)(magnitude * magnitude / sqrt((double)h->head_dim));
    h->rope.magnitude = 1.0;
    return MOX_OK;
}

const mox_family mox_family_deepseek2 = {
    .arch = "deepseek2",
    .help = "DeepSeek V2, V3, R1, Kimi-K2",
    .traits = {.compressed = true, .router = {.not_normalised = true}},
    .hparams = deepseek_hparams,
};
