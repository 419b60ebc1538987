/* Architecture "olmoe": OLMoE-1B-7B. Q and K are normed over their whole width before they are heads; the weights of
 * the chosen experts keep their sum.
 */
#include "runtime/model/build.h"

const mox_family mox_family_olmoe = {
    .arch = "olmoe",
    .help = "OLMoE",
    .traits = {.neox = true, .qk_norm = MOX_QK_NORM_WIDE, .router = {.not_normalised = true}},
};
