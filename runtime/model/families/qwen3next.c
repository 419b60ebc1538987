/* Architecture "qwen3next": Qwen3-Next-80B-A3B. Three of four layers are gated delta nets, which hold a matrix for each
 * head instead of a cache; in the others a gate that comes with the query multiplies what attention gathers. Norms are
 * stored as they multiply. The experts are Qwen3's with the shared expert of Qwen2.
 */
#include "runtime/model/build.h"

const mox_family mox_family_qwen3next = {
    .arch = "qwen3next",
    .help = "Qwen3-Next-80B-A3B",
    .traits = {.neox = true,
               .qk_norm = MOX_QK_NORM_HEAD,
               .gated_attention = true,
               .delta = true,
               .ffn_norm = "post_attention_norm"},
};
