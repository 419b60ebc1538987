/* What a token asks for, from the model's tables. An embedding row is one of many, so the table counts only where it is
 * the output matrix too. */
#include "runtime/plan/predict.h"

void mox_work_of(const mox_model *m, uint64_t kv_bytes, mox_work *out)
{
    mox_work w = {.n_layers = m->h.n_layers,
                  .n_moe_layers = m->n_moe_layers,
                  .n_experts = m->h.n_experts,
                  .top_k = m->h.top_k,
                  .kv_bytes = (double)kv_bytes / 2};
    for (uint32_t i = 0; i < m->n_weights; i++) {
        const mox_weight *x = &m->weights[i];
        if (x != m->token_embd || x == m->output) {
            w.dense_bytes += (double)x->file_bytes;
            w.dense_weights += (double)x->rows * x->cols;
        }
    }
    for (uint32_t l = 0; l < m->n_moe_layers; l++) {
        w.expert_bytes += (double)mox_model_slot_bytes(m, l) / m->n_moe_layers;
    }
    w.expert_weights = 3.0 * m->h.d_model * m->h.d_ff;
    *out = w;
}
