/* Architecture "ernie4_5-moe": ERNIE 4.5 21B-A3B, 300B-A47B. Leading dense layers, shared experts, and a bias that takes
 * part in choosing experts only.
 */
#include "runtime/model/build.h"

const mox_family mox_family_ernie45moe = {
    .arch = "ernie4_5-moe",
    .help = "ERNIE 4.5 MoE",
};
