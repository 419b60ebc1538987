/* Architecture "llama": Mixtral 8x7B and 8x22B, and the dense models of the same graph.
 *
 * Pre-norm attention (GQA, NORM rope: pairs of neighbours; Q and K rows were permuted by the converter, so
 * nothing is permuted here), pre-norm SwiGLU, dense or as experts behind a softmax router with renormalised
 * top k. The experts' width is feed_forward_length. Old and new files differ in how experts are stored; that
 * difference ends in mox_bind_experts.
 */
#include "runtime/model/build.h"

const mox_family mox_family_llama = {
    .arch = "llama",
    .help = "Mixtral, Llama, Mistral",
    .traits = {.whole_rope = true},
};
