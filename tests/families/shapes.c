/* Shapes that no fixture has: `family_shapes N` makes N random models of every family from its fixture's keys and tensor
 * names, with other heads, widths, experts, groups and ranks, and wants one logits hash from one micro-batch, from
 * micro-batches of 5 and from token by token with the fewest experts in memory.
 *
 * Weights are random and small; nothing is known of the right answer, but a wrong size reads or writes where it must not,
 * and a step that depends on its batch gives another hash.
 */
#include "gguf/builder.h"
#include "kernels/half.h"
#include "kernels/rand.h"
#include "runtime/moxie.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS = 14, T_BF16 = 30, T_MXFP4 = 39, MX_BLOCK = 32, MX_BYTES = 17 };

static const char *const templates[] = {
    "mixtral-a",
    "olmoe-a",
    "qwen2moe-a",
    "qwen3moe-a",
    "qwen3moe-a-qkv",
    "qwen3next-a",
    "qwen3next-a-fused",
    "granitemoeshared-a",
    "dbrx-a",
    "phimoe-a",
    "ernie45moe-a",
    "hunyuanmoe-a",
    "glm4moe-a",
    "minimaxm2-a",
    "grok-a",
    "gptoss-a",
    "llama4-a",
    "deepseek2-a",
    "deepseek2-lite-a",
    "deepseek3-a",
    "deepseek3-a-legacy-kv",
};

typedef struct shape {
    uint32_t d, heads, kv, hd, vd, rot, ff, dense, shared, experts, k, groups, groups_used, vocab, q_lora,
        kv_lora;
    uint32_t taps, dk, dv, kh, vh; /* of gated delta nets; all shapes have them, few templates read them */
    bool gated;                    /* attn_q has gates */
    uint32_t old_hd;               /* of the template: tells norms of heads from those of whole rows */
} shape;

static uint32_t between(rng *r, uint32_t lo, uint32_t hi)
{
    return lo + rng_below(r, hi - lo + 1);
}

static shape draw(rng *r, uint32_t old_hd, bool by_32, uint32_t nth)
{
    shape s = {
        .kv = between(r, 1, 3), .hd = 8 * between(r, 1, 7), .experts = between(r, 2, 24), .old_hd = old_hd};
    uint32_t step = by_32 ? 32 : 8;
    s.heads = s.kv * between(r, 1, 4);
    s.vd = 8 * between(r, 1, 7);
    s.rot = 2 * between(r, 1, s.hd / 2 - 1);
    s.d = step * between(r, by_32 ? 1 : 3, by_32 ? 10 : 40);
    s.ff = step * between(r, 1, by_32 ? 10 : 40);
    s.dense = 8 * between(r, 1, 40);
    s.shared = 8 * between(r, 1, 40);
    s.groups = between(r, 2, 4);
    s.experts = (s.experts + s.groups - 1) / s.groups * s.groups;
    s.groups_used = between(r, 1, s.groups);
    uint32_t most = s.experts / s.groups * s.groups_used;
    s.k = between(r, 1, most < 8 ? most : 8);
    s.vocab = between(r, 200, 400);
    s.q_lora = 8 * between(r, 1, 12);
    s.kv_lora = 8 * between(r, 1, 12);
    s.taps = between(r, 2, 5);
    s.dk = between(r, 1, 40);
    s.dv = between(r, 1, 80);
    s.kh = between(r, 1, 3);
    s.vh = s.kh * between(r, 1, 3);
    if (nth % 8 == 1) { /* widths of published models that are no multiple of 256, among narrow others */
        s.d = 2880;
        s.ff = step * between(r, 1, 4);
    } else if (nth % 8 == 2) {
        s.ff = 1408;
        s.d = 32 * between(r, 1, 3);
    }
    return s;
}

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), t = strlen(tail);
    return n >= t && strcmp(s + n - t, tail) == 0;
}

/* What keys of the template become. Returns whether the key is one of them. */
static bool shaped_key(const shape *s, const char *key, bool mla, uint32_t *v)
{
    const struct {
        const char *tail;
        uint32_t value;
    } keys[] = {{".embedding_length", s->d},
                {".attention.head_count", s->heads},
                {".attention.head_count_kv", mla ? 1 : s->kv},
                {".attention.key_length", s->hd},
                {".attention.key_length_mla", s->hd},
                {".attention.value_length", mla ? s->vd : s->hd},
                {".attention.value_length_mla", s->vd},
                {".rope.dimension_count", s->rot},
                {".expert_shared_feed_forward_length", s->shared},
                {".expert_feed_forward_length", s->ff},
                {".feed_forward_length", s->dense},
                {".expert_count", s->experts},
                {".expert_used_count", s->k},
                {".expert_group_count", s->groups},
                {".expert_group_used_count", s->groups_used},
                {".vocab_size", s->vocab},
                {".attention.q_lora_rank", s->q_lora},
                {".attention.kv_lora_rank", s->kv_lora},
                {".ssm.conv_kernel", s->taps},
                {".ssm.state_size", s->dk},
                {".ssm.group_count", s->kh},
                {".ssm.time_step_rank", s->vh},
                {".ssm.inner_size", s->vh * s->dv}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (ends(key, keys[i].tail)) {
            *v = keys[i].value;
            return true;
        }
    }
    return false;
}

/* Sizes of a tensor by its name, "blk.N." and ".weight" or ".bias" taken off. */
static bool shaped_tensor(const shape *s, const mox_gguf *g, const mox_gguf_tensor *t, bool mla,
                          uint64_t ne[3])
{
    char name[80], *p = name;
    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
    bool bias = ends(name, ".bias");
    if (strncmp(name, "blk.", 4) == 0) {
        p = strchr(name + 4, '.') + 1;
    }
    char *tail = strrchr(p, '.');
    if (tail != NULL) {
        *tail = '\0';
    }
    uint32_t values = s->vh * s->dv, mixed = 2 * s->kh * s->dk + values;
    char recurrent[40];
    snprintf(recurrent, sizeof recurrent, "blk.%.*s.ssm_a", (int)strcspn(name + 4, "."), name + 4);
    uint32_t q = s->heads * s->hd, kv = s->kv * s->hd, o = s->heads * (mla ? s->vd : s->hd);
    bool wide = t->ne[0] != s->old_hd;
    uint32_t q_rows = s->gated ? 2 * q : q;
    uint32_t fused = mox_gguf_find(g, recurrent) ? mixed : q_rows + 2 * kv;
    const struct {
        const char *name;
        uint32_t in, out, depth;
    } tensors[] = {{"token_embd", s->d, s->vocab, 1},
                   {"output", s->d, s->vocab, 1},
                   {"output_norm", s->d, 0, 1},
                   {"attn_norm", s->d, 0, 1},
                   {"ffn_norm", s->d, 0, 1},
                   {"post_attention_norm", s->d, 0, 1},
                   {"attn_output_norm", s->d, 0, 1},
                   {"layer_output_norm", s->d, 0, 1},
                   {"attn_q", s->d, q_rows, 1},
                   {"attn_k", s->d, kv, 1},
                   {"attn_v", s->d, kv, 1},
                   {"attn_qkv", s->d, fused, 1},
                   {"attn_output", o, s->d, 1},
                   {"attn_q_norm", wide ? q : s->hd, 0, 1},
                   {"attn_k_norm", wide ? kv : s->hd, 0, 1},
                   {"attn_sinks", s->heads, 0, 1},
                   {"rope_factors_long", s->rot / 2, 0, 1},
                   {"rope_factors_short", s->rot / 2, 0, 1},
                   {"ffn_gate_inp", s->d, s->experts, 1},
                   {"exp_probs_b", s->experts, 0, 1},
                   {"ffn_gate_exps", s->d, s->ff, s->experts},
                   {"ffn_gate_up_exps", s->d, 2 * s->ff, s->experts},
                   {"ffn_up_exps", s->d, s->ff, s->experts},
                   {"ffn_down_exps", s->ff, s->d, s->experts},
                   {"ffn_gate_shexp", s->d, s->shared, 1},
                   {"ffn_up_shexp", s->d, s->shared, 1},
                   {"ffn_down_shexp", s->shared, s->d, 1},
                   {"ffn_gate_inp_shexp", s->d, 0, 1},
                   {"ffn_gate", s->d, s->dense, 1},
                   {"ffn_up", s->d, s->dense, 1},
                   {"ffn_down", s->dense, s->d, 1},
                   {"attn_q_a", s->d, s->q_lora, 1},
                   {"attn_q_a_norm", s->q_lora, 0, 1},
                   {"attn_q_b", s->q_lora, q, 1},
                   {"attn_kv_a_mqa", s->d, s->kv_lora + s->rot, 1},
                   {"attn_kv_a_norm", s->kv_lora, 0, 1},
                   {"attn_k_b", s->hd - s->rot, s->kv_lora, s->heads},
                   {"attn_v_b", s->kv_lora, s->vd, s->heads},
                   {"attn_kv_b", s->kv_lora, s->heads * (s->hd - s->rot + s->vd), 1},
                   {"attn_gate", s->d, values, 1},
                   {"ssm_conv1d", s->taps, mixed, 1},
                   {"ssm_ba", s->d, 2 * s->vh, 1},
                   {"ssm_a", s->vh, 0, 1},
                   {"ssm_dt", s->vh, 0, 1},
                   {"ssm_norm", s->dv, 0, 1},
                   {"ssm_out", values, s->d, 1}};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        if (strcmp(p, tensors[i].name) == 0) {
            bool vector = tensors[i].out == 0 || (bias && tensors[i].depth == 1);
            ne[0] = bias && tensors[i].out ? tensors[i].out : tensors[i].in;
            ne[1] = vector ? 1 : bias ? tensors[i].depth : tensors[i].out;
            ne[2] = bias ? 1 : tensors[i].depth;
            return true;
        }
    }
    return false;
}

static void put_values(gb *b, rng *r, uint32_t type, uint64_t n, bool norm)
{
    for (uint64_t i = 0; type == T_MXFP4 && i < n; i += MX_BLOCK) {
        uint8_t block[MX_BYTES];
        for (int k = 0; k < MX_BYTES; k++) {
            block[k] = (uint8_t)rng_u32(r);
        }
        block[0] = (uint8_t)(120 + rng_below(r, 4));
        gb_bytes(b, block, MX_BYTES);
    }
    for (uint64_t i = 0; type != T_MXFP4 && i < n; i++) {
        float v = norm ? 1.0f + 0.1f * rng_unit(r) : 0.2f * rng_unit(r);
        uint16_t h = mox_f32_to_f16(v);
        gb_bytes(b, type == T_F32 ? (const void *)&v : &h, type == T_F32 ? 4 : 2);
    }
}

static uint64_t bytes_of(uint32_t type, uint64_t n)
{
    return type == T_F32 ? 4 * n : type == T_MXFP4 ? n / MX_BLOCK * MX_BYTES : 2 * n;
}

static void put_key(gb *b, const mox_gguf *g, uint32_t i, const shape *s, bool mla)
{
    char key[160];
    mox_gguf_value v = mox_gguf_kv_value(g, i);
    mox_str k = mox_gguf_kv_key(g, i);
    snprintf(key, sizeof key, "%.*s", (int)k.n, k.p);
    uint32_t value = 0;
    if (strncmp(key, "tokenizer.", 10) == 0 || v.kind == MOX_GGUF_ARRAY ||
        ends(key, "attention.key_length") || ends(key, "attention.value_length")) {
        return; /* made without a tokenizer; lengths of heads are written for all */
    }
    if (shaped_key(s, key, mla, &value)) {
        gb_kv_u32(b, key, value);
    } else if (v.kind == MOX_GGUF_STRING) {
        gb_kv_strn(b, key, strlen(key), v.data, v.n);
    } else {
        uint64_t bits = 0;
        memcpy(&bits, v.data, v.bytes);
        if (v.kind == MOX_GGUF_F32) {
            float f;
            memcpy(&f, v.data, sizeof f);
            gb_kv_f32(b, key, f);
        } else if (v.kind == MOX_GGUF_BOOL) {
            gb_kv_bool(b, key, (uint8_t)bits);
        } else {
            gb_kv_int(b, key, v.kind, bits);
        }
    }
}

static bool is_norm(const mox_gguf_tensor *t)
{
    char name[80];
    snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
    return strstr(name, "norm.weight") != NULL || strstr(name, "rope_factors") != NULL;
}

static void make_model(gb *b, const mox_gguf *g, const char *arch, const shape *s, bool mla, rng *r)
{
    char key[160];
    uint64_t off = 0, ne[3];
    gb_begin(b, 3);
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        put_key(b, g, i, s, mla);
    }
    snprintf(key, sizeof key, "%s.attention.key_length", arch);
    gb_kv_u32(b, key, s->hd);
    snprintf(key, sizeof key, "%s.attention.value_length", arch);
    gb_kv_u32(b, key, mla ? s->vd : s->hd);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < mox_gguf_n_tensors(g); i++) {
            const mox_gguf_tensor *t = mox_gguf_tensor_at(g, i);
            char name[80];
            snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
            if (!shaped_tensor(s, g, t, mla, ne)) {
                fprintf(stderr, "no shape for %s\n", name);
                exit(1);
            }
            uint64_t n = ne[0] * ne[1] * ne[2];
            if (pass == 0) {
                gb_tensor(b, name, ne[2] > 1 ? 3 : ne[1] > 1 ? 2 : 1, ne, t->type, off);
                off = (off + bytes_of(t->type, n) + 31) / 32 * 32;
            } else {
                put_values(b, r, t->type, n, is_norm(t));
                gb_pad(b, 32);
            }
        }
        if (pass == 0) {
            gb_finish(b);
            gb_pad(b, 32);
        }
    }
}

static mox_err run(const char *path, uint32_t batch, double pct, const uint32_t *ids, mox_hash128 *hash)
{
    mox_cfg cfg;
    mox_ctx *ctx = NULL;
    mox_cfg_defaults(&cfg);
    cfg.model = path;
    cfg.log.level = MOX_LOG_ERROR;
    cfg.n_threads = 2;
    cfg.n_ctx = TOKENS;
    cfg.n_batch = batch;
    cfg.kv = MOX_KV_F32;
    cfg.ram = pct == 0 ? (mox_budget){.kind = MOX_BUDGET_MIN}
                       : (mox_budget){.kind = MOX_BUDGET_EXPERTS_PCT, .pct = pct};
    MOX_TRY(mox_open(&ctx, &cfg));
    mox_err err = mox_eval(ctx, 0, ids, TOKENS, true, NULL, NULL);
    *hash = mox_logits_hash(ctx);
    mox_close(&ctx);
    return err;
}

static bool check_shape(const char *path, const char *what, const shape *s, rng *r)
{
    static const struct {
        uint32_t batch;
        double pct;
    } ways[] = {{64, 100}, {5, 50}, {1, 0}};
    uint32_t ids[TOKENS];
    mox_hash128 hash[3];
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = rng_below(r, s->vocab);
    }
    for (int i = 0; i < 3; i++) {
        if (run(path, ways[i].batch, ways[i].pct, ids, &hash[i]) != MOX_OK) {
            printf("FAILED %s: %s\n", what, mox_err_last()->msg);
            return false;
        }
        if (hash[i].lo != hash[0].lo || hash[i].hi != hash[0].hi) {
            printf("DIFFER %s: micro-batches of %u\n", what, ways[i].batch);
            return false;
        }
    }
    return true;
}

static uint32_t check_family(const char *file, uint32_t n, const char *path)
{
    static mox_model_info info;
    char from[1024];
    mox_gguf *g = NULL;
    uint32_t failed = 0;
    snprintf(from, sizeof from, MOX_TEST_DATA "/models/%s.gguf", file);
    if (mox_gguf_open(&g, from) != MOX_OK || mox_model_describe(&info, g) != MOX_OK) {
        printf("FAILED %s: %s\n", file, mox_err_last()->msg);
        return 1;
    }
    bool mla = mox_gguf_find(g, "blk.0.attn_kv_a_mqa.weight") != NULL;
    for (uint32_t i = 0; i < n; i++) {
        rng r = {1000 * i + strlen(file)};
        shape s = draw(&r, info.head_dim, strncmp(file, "gptoss", 6) == 0, i);
        bool whole = strcmp(info.arch, "llama") == 0 || strcmp(info.arch, "granitemoe") == 0;
        const char *partial = "glm4moe minimax-m2 deepseek2 qwen3next";
        s.gated = strcmp(info.arch, "qwen3next") == 0;
        s.rot = whole || !strstr(partial, info.arch) ? s.hd : s.rot;
        bool one_width = !mox_gguf_find(g, "blk.0.ffn_gate.weight");
        char key[160];
        snprintf(key, sizeof key, "%s.expert_feed_forward_length", info.arch);
        s.dense = one_width && !mox_gguf_has(g, key) ? s.ff : s.dense;
        gb b = {0};
        char what[300];
        snprintf(
            what, sizeof what,
            "%s shape %u: d %u, heads %u/%u of %u (%u), rot %u, ff %u/%u/%u, %u of %u, delta %u/%u of %u "
            "(%u)",
            file, i, s.d, s.heads, s.kv, s.hd, s.vd, s.rot, s.ff, s.dense, s.shared, s.k, s.experts, s.vh,
            s.kh, s.dk, s.dv);
        make_model(&b, g, info.arch, &s, mla, &r);
        FILE *f = fopen(path, "wb");
        bool good = f != NULL && fwrite(b.p, 1, b.n, f) == b.n && fclose(f) == 0;
        gb_free(&b);
        failed += !good || !check_shape(path, what, &s, &r);
    }
    printf("%s: %u of %u shapes\n", file, n - failed, n);
    mox_gguf_close(&g);
    return failed;
}

int main(int argc, char **argv)
{
    uint32_t n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 50, failed = 0;
    char path[] = "/tmp/moxie-shape-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        return 1;
    }
    close(fd);
    for (size_t i = 0; i < sizeof templates / sizeof templates[0]; i++) {
        if (argc < 3 || strcmp(argv[2], templates[i]) == 0) {
            failed += check_family(templates[i], n, path);
        }
    }
    unlink(path);
    return failed != 0;
}
