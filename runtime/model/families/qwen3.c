/* Architectures "qwen3moe" (Qwen3-30B-A3B, 235B-A22B) and "qwen3", its dense form: q and k are normed head by head
 * before rope; weights of the chosen experts are made to sum to 1, which no key says.
 */
#include "runtime/model/build.h"

const mox_family mox_family_qwen3moe = {
    .arch = "qwen3moe",
    .help = "Qwen3-30B-A3B, Qwen3-235B-A22B",
    .traits = {.neox = true, .qk_norm = MOX_QK_NORM_HEAD},
};

const mox_family mox_family_qwen3 = {
    .arch = "qwen3",
    .help = "Qwen3",
    .traits = {.neox = true, .qk_norm = MOX_QK_NORM_HEAD},
};
