/* moxie info: what is in a model file, from its header alone. */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"

#include "profiler/report/json.h"

#include <stdio.h>

static void info_text(const mox_model_info *m, const mox_gguf *g)
{
    char a[24], b[24], c[24];
    printf("%s · %s · %.1f M parameters (%.1f M used per token)\n", m->name, m->arch,
           (double)m->params_total * 1e-6, (double)m->params_active * 1e-6);
    printf("  layers      %u (%u with experts), width %u, heads %u, KV heads %u of %u\n", m->n_layers,
           m->n_moe_layers, m->d_model, m->n_heads, m->n_kv_heads, m->head_dim);
    printf("  experts     %u per layer, %u used, width %u, at most %s each\n", m->n_experts, m->top_k,
           m->d_ff, mox_human(m->expert_max_bytes, a));
    printf("  context     %u trained, KV per token: f16 %s, q8_0 %s, f32 %s\n", m->n_ctx_train,
           mox_human(m->kv_bytes_per_token[MOX_KV_F16], a), mox_human(m->kv_bytes_per_token[MOX_KV_Q8_0], b),
           mox_human(m->kv_bytes_per_token[MOX_KV_F32], c));
    printf("  vocabulary  %u\n", m->n_vocab);
    printf("  file        GGUF v%u, %u file%s, %s; in memory: experts %s + the rest %s\n",
           mox_gguf_version(g), mox_gguf_n_files(g), mox_gguf_n_files(g) == 1 ? "" : "s",
           mox_human(m->file_bytes, a), mox_human(m->expert_bytes, b), mox_human(m->dense_bytes, c));
    if (mox_gguf_packed(g)) {
        printf("  packed      form %u: experts in the compute layout, a checksum for each slice\n",
               mox_gguf_packed(g));
    }
    printf("  quants      %s\n", m->quants);
    printf("supported: yes\n");
}

static void info_json(const mox_opts *o, const mox_model_info *m, const mox_gguf *g)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.info/1");
    mox_json_string(&j, "model", o->cfg.model);
    mox_json_string(&j, "name", m->name);
    mox_json_string(&j, "arch", m->arch);
    mox_json_bool(&j, "supported", true);
    mox_json_u64(&j, "gguf_version", mox_gguf_version(g));
    mox_json_u64(&j, "files", mox_gguf_n_files(g));
    mox_json_u64(&j, "packed", mox_gguf_packed(g));
    mox_json_u64(&j, "tensors", mox_gguf_n_tensors(g));
    mox_json_u64(&j, "layers", m->n_layers);
    mox_json_u64(&j, "moe_layers", m->n_moe_layers);
    mox_json_u64(&j, "d_model", m->d_model);
    mox_json_u64(&j, "d_ff", m->d_ff);
    mox_json_u64(&j, "heads", m->n_heads);
    mox_json_u64(&j, "kv_heads", m->n_kv_heads);
    mox_json_u64(&j, "head_dim", m->head_dim);
    mox_json_u64(&j, "vocabulary", m->n_vocab);
    mox_json_u64(&j, "ctx_trained", m->n_ctx_train);
    mox_json_u64(&j, "experts_per_layer", m->n_experts);
    mox_json_u64(&j, "top_k", m->top_k);
    mox_json_u64(&j, "params_total", m->params_total);
    mox_json_u64(&j, "params_active", m->params_active);
    mox_json_u64(&j, "file_bytes", m->file_bytes);
    mox_json_u64(&j, "dense_bytes", m->dense_bytes);
    mox_json_u64(&j, "expert_bytes", m->expert_bytes);
    mox_json_u64(&j, "expert_max_bytes", m->expert_max_bytes);
    mox_json_string(&j, "quants", m->quants);
    mox_json_object(&j, "kv_bytes_per_token");
    for (int k = 0; k < MOX_KV_TYPES; k++) {
        mox_json_u64(&j, mox_kv_type_name((mox_kv_type)k), m->kv_bytes_per_token[k]);
    }
    mox_json_object_end(&j);
    mox_json_object(&j, "metadata");
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        char key[256], text[512];
        mox_str k = mox_gguf_kv_key(g, i);
        snprintf(key, sizeof key, "%.*s", (int)(k.n < 255 ? k.n : 255), k.p);
        mox_json_string(&j, key, mox_gguf_kv_text(g, i, text, sizeof text));
    }
    mox_json_object_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

mox_err mox_cmd_info(mox_opts *o)
{
    mox_cli_model(o);
    mox_gguf *g = NULL;
    MOX_TRY(mox_gguf_open(&g, o->cfg.model));
    static mox_model_info info;
    mox_err err = mox_model_describe(&info, g);
    if (err == MOX_OK) {
        if (o->json) {
            info_json(o, &info, g);
        } else {
            info_text(&info, g);
        }
    }
    mox_gguf_close(&g);
    return err;
}
