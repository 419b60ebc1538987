/* Architecture "minimax-m2": MiniMax-M2. q and k are normed over their whole width, rope turns a part of each head,
 * sigmoid scores with a bias for the choice.
 */
#include "runtime/model/build.h"

const mox_family mox_family_minimaxm2 = {
    .arch = "minimax-m2",
    .help = "MiniMax-M2",
    .traits = {.neox = true, .qk_norm = MOX_QK_NORM_WIDE, .router = {.gating = MOX_GATING_SIGMOID}},
};
