/* Architecture "hunyuan-moe": Hunyuan-A13B. q and k are normed head by head after rope; a shared expert counts in full.
 */
#include "runtime/model/build.h"

const mox_family mox_family_hunyuanmoe = {
    .arch = "hunyuan-moe",
    .help = "Hunyuan-A13B",
    .traits = {.neox = true, .qk_norm = MOX_QK_NORM_HEAD, .qk_norm_after_rope = true},
};
