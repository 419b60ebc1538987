/* The model in figures, for `info`. Dense and expert bytes are those of the compute layout, i.e. what memory
 * will hold.
 */
#include "runtime/core/bits.h"
#include "runtime/model/model.h"
#include "runtime/moxie.h"

#include <stdio.h>
#include <string.h>

static uint64_t tensor_elems(const mox_gguf_tensor *t)
{
    const mox_type_desc *d = mox_type_info(t->type);
    return d ? t->bytes / d->block_bytes * d->block_elems : 0;
}

static void format_bytes(char *out, size_t n, uint64_t bytes)
{
    double v = (double)bytes;
    const char *unit = "B";
    const char *const units[] = {"KiB", "MiB", "GiB"};
    for (size_t i = 0; i < 3 && v >= 1024.0; i++) {
        v /= 1024.0;
        unit = units[i];
    }
    snprintf(out, n, "%.1f %s", v, unit);
}

/* Types by bytes, most first: "Q4_K 24.1 GiB, Q6_K 1.9 GiB". */
static void list_quants(char *out, size_t n, uint64_t bytes[MOX_TYPE_COUNT])
{
    out[0] = '\0';
    for (;;) {
        uint32_t best = 0;
        for (uint32_t t = 1; t < MOX_TYPE_COUNT; t++) {
            best = bytes[t] > bytes[best] ? t : best;
        }
        size_t at = strlen(out);
        if (bytes[best] == 0 || at + 32 > n) {
            return;
        }
        char size[32];
        format_bytes(size, sizeof size, bytes[best]);
        snprintf(out + at, n - at, "%s%s %s", at ? ", " : "", mox_type_info(best)->name, size);
        bytes[best] = 0;
    }
}

static void sum_experts(const mox_model *m, mox_model_info *out)
{
    for (uint32_t l = 0; l < m->n_moe_layers; l++) {
        uint64_t slot = m->layouts[l].slot_bytes;
        out->expert_bytes += slot * m->h.n_experts;
        out->expert_max_bytes = slot > out->expert_max_bytes ? slot : out->expert_max_bytes;
    }
}

/* Of every matrix in the compute layout a row's step reads all and multiplies by all, except the embedding, of which
 * it copies a row, and the logits' matrix, which counts apart. */
static void sum_step(const mox_model *m, mox_model_info *out)
{
    const mox_hparams *h = &m->h;
    out->dense_read_bytes = out->dense_bytes;
    for (uint32_t i = 0; i < m->n_weights; i++) {
        const mox_weight *w = &m->weights[i];
        uint64_t n = (uint64_t)w->rows * w->cols;
        if (w == m->output) {
            out->macs_logits = n;
        } else if (w == m->token_embd) {
            out->dense_read_bytes -= mox_mat_bytes(w->type, w->rows, w->cols);
        } else if (!w->as_f32) {
            out->macs_token += n;
        }
    }
    out->macs_token += (uint64_t)MOX_SLABS * h->d_model * h->d_ff * h->top_k * m->n_moe_layers;
}

/* What one layer of gated delta nets holds of a sequence at one time. */
static uint64_t state_floats(const mox_delta_shape *s)
{
    uint64_t channels = 2 * (uint64_t)s->k_heads * s->k_dim + (uint64_t)s->v_heads * s->v_dim;
    return s->taps ? (s->taps - 1) * channels + (uint64_t)s->v_heads * s->k_dim * s->v_dim : 0;
}

mox_err mox_model_describe(mox_model_info *out, const mox_gguf *g)
{
    mox_model *m = NULL;
    MOX_TRY(mox_model_create(&m, g, NULL));
    const mox_hparams *h = &m->h;
    mox_model_info info = {.arch = m->arch,
                           .n_layers = h->n_layers,
                           .n_moe_layers = m->n_moe_layers,
                           .d_model = h->d_model,
                           .d_ff = h->d_ff,
                           .n_heads = h->n_heads,
                           .n_kv_heads = h->n_kv_heads,
                           .head_dim = h->head_dim,
                           .n_vocab = h->n_vocab,
                           .n_ctx_train = h->n_ctx_train,
                           .n_experts = h->n_experts,
                           .top_k = h->top_k};
    mox_str name = {.p = "", .n = 0};
    if (mox_gguf_has(g, "general.name") && mox_gguf_str(g, "general.name", &name) != MOX_OK) {
        name = (mox_str){.p = "", .n = 0};
    }
    mox_escape(name, info.name, sizeof info.name);
    uint64_t by_type[MOX_TYPE_COUNT] = {0};
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        info.params_total += tensor_elems(t);
        by_type[t->type] += t->bytes;
    }
    uint64_t expert_params = (uint64_t)MOX_SLABS * h->d_model * h->d_ff * m->n_moe_layers;
    info.params_active = info.params_total - expert_params * (h->n_experts - h->top_k);
    for (uint32_t i = 0; i < m->n_files; i++) {
        info.file_bytes += mox_gguf_file_bytes(g, i);
    }
    mox_arena dense = mox_arena_plan();
    mox_model_take_dense(m, &dense);
    info.dense_bytes = dense.used;
    sum_experts(m, &info);
    sum_step(m, &info);
    list_quants(info.quants, sizeof info.quants, by_type);
    uint32_t n_caches = 0;
    for (uint32_t i = 0; i < m->n_ops; i++) {
        n_caches += m->ops[i].kind == MOX_LAYER_ATTENTION;
    }
    info.state_bytes = (uint64_t)(h->n_layers - n_caches) * state_floats(&h->delta) * sizeof(float);
    for (uint32_t t = 0; t < MOX_KV_TYPES; t++) {
        size_t k = mox_kv_row_bytes((mox_kv_type)t, h->kv.k_dim),
               v = mox_kv_row_bytes((mox_kv_type)t, h->kv.v_dim);
        info.kv_bytes_per_token[t] = k && v ? (uint64_t)n_caches * h->kv.n_heads * (k + v) : 0;
    }
    mox_model_destroy(&m);
    *out = info;
    return MOX_OK;
}
