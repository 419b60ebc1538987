/* Architecture "glm4moe": GLM-4.5, GLM-4.5-Air, GLM-4.6. Rope on a part of each head, norms of q and k in the larger
 * model only, sigmoid scores with a bias for the choice, a shared expert, leading dense layers. The last blocks guess
 * further tokens and are not run.
 */
#include "runtime/model/build.h"

const mox_family mox_family_glm4moe = {
    .arch = "glm4moe",
    .help = "GLM-4.5, GLM-4.6",
    .traits = {.neox = true,
               .qk_norm = MOX_QK_NORM_HEAD,
               .qk_norm_optional = true,
               .router = {.gating = MOX_GATING_SIGMOID, .not_normalised = true},
               .ffn_norm = "post_attention_norm"},
};
