/* Architecture "phimoe": Phi-3.5-MoE. Layer norm with bias, biases on every projection and on the output, long and
 * short rope factors, and the sparse mixer: each expert's weight is its softmax among the scores near it.
 *
 * llama.cpp computes something else for this architecture (RMS norm and a plain softmax over the two best); this follows
 * the model.
 */
#include "runtime/model/build.h"

const mox_family mox_family_phimoe = {
    .arch = "phimoe",
    .help = "Phi-3.5-MoE",
    .traits = {.neox = true, .layer_norm = true, .router = {.gating = MOX_GATING_SPARSE_MIXER}},
};
