/* Architectures "qwen2moe" (Qwen1.5-MoE-A2.7B, Qwen2-57B-A14B) and "qwen2", its dense form: biases on q, k and v. The
 * experts' weights keep their sum; a shared expert counts by a sigmoid of its own.
 */
#include "runtime/model/build.h"

const mox_family mox_family_qwen2moe = {
    .arch = "qwen2moe",
    .help = "Qwen1.5-MoE, Qwen2-57B-A14B",
    .traits = {.neox = true, .shares_by_used = true, .router = {.not_normalised = true}},
};

const mox_family mox_family_qwen2 = {
    .arch = "qwen2",
    .help = "Qwen2, Qwen2.5",
    .traits = {.neox = true},
};
