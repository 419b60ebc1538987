/* Architecture "dbrx": DBRX. Layer norm without bias, q, k and v in one tensor and held within a limit before rope; the
 * norm before the experts is called attn_output_norm.
 */
#include "runtime/model/build.h"

const mox_family mox_family_dbrx = {
    .arch = "dbrx",
    .help = "DBRX",
    .traits = {.neox = true, .layer_norm = true, .ffn_norm = "attn_output_norm"},
};
