/* Architecture "llama4": Llama 4 Scout and Maverick. Every fourth layer has no rope, sees all keys and turns up its
 * queries with the position; the others see the keys of their own block of 8192 and, except in Maverick (128 experts),
 * norm q and k after rope, without weights. A sigmoid of the best score multiplies the expert's input.
 *
 * Block, floor and scale stand in no key: they are the architecture's.
 */
#include "runtime/model/build.h"

enum { CHUNK = 8192, FLOOR = 8192, FULL_EVERY = 4, EXPERTS_WITHOUT_NORM = 128 };

static mox_err llama4_hparams(mox_model *m, const mox_keys *k)
{
    mox_hparams *h = &m->h;
    h->chunk = CHUNK;
    h->temperature_floor = FLOOR;
    h->temperature_scale = 0.1f;
    uint32_t window = CHUNK; /* 0: no blocks, and rope in every layer */
    MOX_TRY(mox_key_u32_opt(k, "attention.sliding_window", 0, INT32_MAX, &window));
    h->chunk = window == 0 ? 0 : h->chunk;
    return MOX_OK;
}

static mox_err llama4_attention(mox_builder *b, uint32_t layer, mox_attention_op *a)
{
    const mox_hparams *h = &b->m->h;
    if (h->chunk != 0 && (layer + 1) % FULL_EVERY == 0) {
        a->no_rope = a->temperature = true;
        return MOX_OK;
    }
    a->chunk = h->chunk;
    a->qk_norm = h->n_experts != EXPERTS_WITHOUT_NORM ? MOX_QK_NORM_HEAD : MOX_QK_NORM_NONE;
    a->norm_after_rope = true;
    return MOX_OK;
}

const mox_family mox_family_llama4 = {
    .arch = "llama4",
    .help = "Llama 4 Scout, Maverick",
    .traits = {.router = {.gating = MOX_GATING_SIGMOID_TOP, .not_normalised = true}},
    .hparams = llama4_hparams,
    .attention = llama4_attention,
};
