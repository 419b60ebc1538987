/* moxie info: what is in a model file, from its header alone. */
#include "runtime/cli/commands.h"
#include "runtime/cli/open.h"

#include "kernels/formats.h"
#include "profiler/report/json.h"

#include <stdio.h>
#include <string.h>

/* How each type of a file is computed with; by the header alone, so for models that are not supported too. */
typedef struct type_use {
    uint32_t tensors;
    uint64_t elements, bytes;
} type_use;

static void count_types(const mox_gguf *g, type_use use[MOX_TYPE_COUNT])
{
    memset(use, 0, MOX_TYPE_COUNT * sizeof *use);
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        use[t->type].tensors++;
        use[t->type].elements += t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
        use[t->type].bytes += t->bytes;
    }
}

/* NULL: it may stand in a file, but not in a matrix. */
static const char *computed_how(uint32_t type)
{
    static const char *const names[MOX_ACT_KINDS] = {
        [MOX_ACT_F32] = "f32 activations",
        [MOX_ACT_K] = "int8 activations, a scale per 256",
        [MOX_ACT_B32] = "int8 activations, a scale per 32",
    };
    const mox_format *f = mox_format_of(type);
    return f ? names[f->kind] : NULL;
}

static void types_text(const mox_gguf *g)
{
    type_use use[MOX_TYPE_COUNT];
    char a[24];
    count_types(g, use);
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        if (use[t].tensors) {
            const char *how = computed_how(t);
            printf("  %-11s %u tensors, %s: %s\n", mox_type_info(t)->name, use[t].tensors,
                   mox_human(use[t].bytes, a), how ? how : "cannot be computed with");
        }
    }
}

static void types_json(mox_json *j, const mox_gguf *g)
{
    type_use use[MOX_TYPE_COUNT];
    count_types(g, use);
    mox_json_array(j, "types");
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        if (use[t].tensors) {
            const char *how = computed_how(t);
            mox_json_object(j, NULL);
            mox_json_string(j, "type", mox_type_info(t)->name);
            mox_json_u64(j, "tensors", use[t].tensors);
            mox_json_u64(j, "elements", use[t].elements);
            mox_json_u64(j, "bytes", use[t].bytes);
            mox_json_bool(j, "supported", how != NULL);
            mox_json_string(j, "computed", how ? how : "");
            mox_json_object_end(j);
        }
    }
    mox_json_array_end(j);
}

/* What the header says of a model that cannot be run, and why it cannot: `why` is the failure's message. */
static void unsupported(const mox_opts *o, const mox_gguf *g, const char *why)
{
    type_use use[MOX_TYPE_COUNT];
    mox_str arch = {0}, name = {0};
    char a[64] = "", b[160] = "", size[24];
    uint64_t params = 0, bytes = 0;
    count_types(g, use);
    for (uint32_t t = 0; t < MOX_TYPE_COUNT; t++) {
        params += use[t].elements;
    }
    for (uint32_t i = 0; i < mox_gguf_n_files(g); i++) {
        bytes += mox_gguf_file_bytes(g, i);
    }
    if (mox_gguf_str(g, "general.architecture", &arch) == MOX_OK) {
        mox_escape(arch, a, sizeof a);
    }
    if (mox_gguf_has(g, "general.name") && mox_gguf_str(g, "general.name", &name) == MOX_OK) {
        mox_escape(name, b, sizeof b);
    }
    if (o->json) {
        mox_json j;
        mox_json_begin(&j, stdout);
        mox_json_object(&j, NULL);
        mox_json_string(&j, "schema", "moxie.info/1");
        mox_json_string(&j, "model", o->cfg.model);
        mox_json_string(&j, "name", b);
        mox_json_string(&j, "arch", a);
        mox_json_bool(&j, "supported", false);
        mox_json_string(&j, "why", why);
        mox_json_u64(&j, "params_total", params);
        mox_json_u64(&j, "file_bytes", bytes);
        types_json(&j, g);
        mox_json_object_end(&j);
        mox_json_end(&j);
        return;
    }
    printf("%s · %s · %.1f M parameters\n", b, a, (double)params * 1e-6);
    printf("  file        GGUF v%u, %u file%s, %s\n", mox_gguf_version(g), mox_gguf_n_files(g),
           mox_gguf_n_files(g) == 1 ? "" : "s", mox_human(bytes, size));
    types_text(g);
    printf("supported: no: %s\n", why);
}

/* Which tokenizer, or why none: without one a model takes ids alone. */
static void tokenizer_text(const mox_gguf *g)
{
    mox_str model = {0}, pre = {0};
    char a[64], b[64];
    if (!mox_tokenizer_is_known(g)) {
        printf("  tokenizer   not supported: %s\n", mox_err_last()->msg);
        return;
    }
    bool both = mox_gguf_str(g, "tokenizer.ggml.pre", &pre) == MOX_OK;
    if (mox_gguf_str(g, "tokenizer.ggml.model", &model) == MOX_OK) {
        printf("  tokenizer   %s%s%s\n", mox_escape(model, a, sizeof a), both ? ", " : "",
               mox_escape(pre, b, sizeof b));
    }
}

static void info_text(const mox_model_info *m, const mox_gguf *g)
{
    char a[24], b[24], c[24];
    printf("%s · %s · %.1f M parameters (%.1f M used per token)\n", m->name, m->arch,
           (double)m->params_total * 1e-6, (double)m->params_active * 1e-6);
    printf("  layers      %u (%u with experts), width %u, heads %u, KV heads %u of %u\n", m->n_layers,
           m->n_moe_layers, m->d_model, m->n_heads, m->n_kv_heads, m->head_dim);
    printf("  experts     %u per layer, %u used, width %u, at most %s each\n", m->n_experts, m->top_k,
           m->d_ff, mox_human(m->expert_max_bytes, a));
    uint64_t q8_0 = m->kv_bytes_per_token[MOX_KV_Q8_0]; /* none where a head is no multiple of its block */
    printf("  context     %u trained, KV per token: f16 %s, q8_0 %s, f32 %s\n", m->n_ctx_train,
           mox_human(m->kv_bytes_per_token[MOX_KV_F16], a), q8_0 ? mox_human(q8_0, b) : "impossible",
           mox_human(m->kv_bytes_per_token[MOX_KV_F32], c));
    if (m->state_bytes != 0) {
        printf("  states      %s per sequence, of any length\n", mox_human(m->state_bytes, a));
    }
    printf("  vocabulary  %u\n", m->n_vocab);
    printf("  file        GGUF v%u, %u file%s, %s; in memory: experts %s + the rest %s\n",
           mox_gguf_version(g), mox_gguf_n_files(g), mox_gguf_n_files(g) == 1 ? "" : "s",
           mox_human(m->file_bytes, a), mox_human(m->expert_bytes, b), mox_human(m->dense_bytes, c));
    if (mox_gguf_packed(g)) {
        printf("  packed      form %u: experts in the compute layout, a checksum for each slice\n",
               mox_gguf_packed(g));
    }
    printf("  quants      %s\n", m->quants);
    types_text(g);
    tokenizer_text(g);
    printf("supported: yes\n");
}

/* Text of a file, line by line: whatever else it holds, it cannot move a terminal's cursor. */
static void put_text(mox_str s)
{
    static char line[1 << 16];
    while (s.n > 0) {
        const char *end = memchr(s.p, '\n', s.n);
        size_t n = end != NULL ? (size_t)(end - s.p) : s.n;
        printf("%s\n", mox_escape((mox_str){s.p, n}, line, sizeof line));
        n += end != NULL;
        s.p += n;
        s.n -= n;
    }
}

static void list_keys(const mox_gguf *g)
{
    char key[512], text[1024];
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        printf("%s = %s\n", mox_escape(mox_gguf_kv_key(g, i), key, sizeof key),
               mox_gguf_kv_text(g, i, text, sizeof text));
    }
}

static void list_tensors(const mox_gguf *g)
{
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        char name[512], shape[96];
        int n = 0;
        for (uint32_t d = 0; d < t->n_dims; d++) {
            n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%llu", d > 0 ? " x " : "",
                          (unsigned long long)t->ne[d]);
        }
        char place[64] = "in records"; /* of a packed file: not in one piece */
        if (!t->packed) {
            snprintf(place, sizeof place, "file %u at %llu", t->file, (unsigned long long)t->off);
        }
        printf("%-40s %-8s %-24s %12llu bytes, %s\n", mox_escape(t->name, name, sizeof name),
               mox_type_info(t->type)->name, shape, (unsigned long long)t->bytes, place);
    }
}

/* Parts of a file, whether or not the model is supported. */
static mox_err info_parts(const mox_opts *o, const mox_gguf *g)
{
    if (o->list_keys) {
        list_keys(g);
    }
    if (o->list_tensors) {
        list_tensors(g);
    }
    if (o->show_template) {
        mox_str template = {0};
        if (!mox_gguf_has(g, "tokenizer.chat_template")) {
            return MOX_FAIL(MOX_E_KEY, "the model has no chat template");
        }
        MOX_TRY(mox_gguf_str(g, "tokenizer.chat_template", &template));
        put_text(template);
    }
    return MOX_OK;
}

static void tensors_json(mox_json *j, const mox_gguf *g)
{
    mox_json_array(j, "tensor_table");
    for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
        const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
        mox_json_object(j, NULL);
        mox_json_string_n(j, "name", t->name.p, t->name.n);
        mox_json_string(j, "type", mox_type_info(t->type)->name);
        mox_json_array(j, "shape");
        for (uint32_t d = 0; d < t->n_dims; d++) {
            mox_json_u64(j, NULL, t->ne[d]);
        }
        mox_json_array_end(j);
        mox_json_u64(j, "bytes", t->bytes);
        if (!t->packed) {
            mox_json_u64(j, "file", t->file);
            mox_json_u64(j, "offset", t->off);
        }
        mox_json_object_end(j);
    }
    mox_json_array_end(j);
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
    types_json(&j, g);
    mox_json_bool(&j, "tokenizer_supported", mox_tokenizer_is_known(g));
    mox_json_u64(&j, "state_bytes_per_sequence", m->state_bytes);
    mox_json_object(&j, "kv_bytes_per_token");
    for (int k = 0; k < MOX_KV_TYPES; k++) {
        mox_json_u64(&j, mox_kv_type_name((mox_kv_type)k), m->kv_bytes_per_token[k]);
    }
    mox_json_object_end(&j);
    if (o->list_tensors) {
        tensors_json(&j, g);
    }
    mox_str template = {0};
    if (o->show_template && mox_gguf_str(g, "tokenizer.chat_template", &template) == MOX_OK) {
        mox_json_string_n(&j, "chat_template", template.p, template.n);
    }
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
    bool parts = !o->json && (o->list_keys || o->list_tensors || o->show_template);
    mox_err err = parts ? info_parts(o, g) : mox_model_describe(&info, g);
    if (err == MOX_OK && !parts) {
        if (o->json) {
            info_json(o, &info, g);
        } else {
            info_text(&info, g);
        }
    }
    if (err != MOX_OK && !parts) {
        const mox_err_info failed = *mox_err_last();
        unsupported(o, g, failed.msg);
        err = mox_err_restore(&failed);
    }
    mox_gguf_close(&g);
    return err;
}
