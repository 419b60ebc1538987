/* plan_headers DIR: files that end after their header, with the shapes of real models, for plans and dry runs. Written
 * with the tests' own builder of GGUF; matrices in Q4_K and what real mixes keep finer in Q6_K and Q8_0.
 */
#include "gguf/builder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { Q4_K = 12, Q6_K = 14, F32 = 0 };

typedef struct shape {
    const char *file, *arch;
    uint32_t layers, d, ff, heads, kv_heads, head_dim, experts, top_k, expert_ff, vocab, ctx;
    uint32_t dense, dense_ff, q_lora, kv_lora, rope; /* DeepSeek */
} shape;

static const shape shapes[] = {
    {"mixtral-8x7b", "llama", 32, 4096, 14336, 32, 8, 128, 8, 2, 14336, 32000, 32768, 0, 0, 0, 0, 128},
    {"mixtral-8x22b", "llama", 56, 6144, 16384, 48, 8, 128, 8, 2, 16384, 32768, 65536, 0, 0, 0, 0, 128},
    {"qwen3-30b-a3b", "qwen3moe", 48, 2048, 6144, 32, 4, 128, 128, 8, 768, 151936, 40960, 0, 0, 0, 0, 128},
    {"deepseek-v3", "deepseek2", 61, 7168, 18432, 128, 1, 192, 256, 8, 2048, 129280, 163840, 3, 18432, 1536,
     512, 64},
};

typedef struct writer {
    gb b;
    const shape *s;
    uint64_t off;
} writer;

static void key(writer *w, const char *name, uint32_t v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", w->s->arch, name);
    gb_kv_u32(&w->b, full, v);
}

static void real(writer *w, const char *name, float v)
{
    char full[96];
    snprintf(full, sizeof full, "%s.%s", w->s->arch, name);
    gb_kv_f32(&w->b, full, v);
}

static void tensor(writer *w, int layer, const char *name, uint32_t type, uint64_t a, uint64_t b, uint64_t c)
{
    static const uint64_t block[] = {[F32] = 4, [Q4_K] = 144, [Q6_K] = 210};
    char full[96];
    const uint64_t ne[3] = {a, b, c};
    if (layer < 0) {
        snprintf(full, sizeof full, "%s.weight", name);
    } else {
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
        strcat(full, strcmp(name, "exp_probs_b") == 0 ? ".bias" : ".weight");
    }
    gb_tensor(&w->b, full, c > 1 ? 3 : b > 1 ? 2 : 1, ne, type, w->off);
    w->off += (a * b * c * block[type] / (type == F32 ? 1 : 256) + 31) / 32 * 32;
}

static void attention(writer *w, int l)
{
    const shape *s = w->s;
    uint64_t q = (uint64_t)s->heads * s->head_dim, kv = (uint64_t)s->kv_heads * s->head_dim, v = 128;
    tensor(w, l, "attn_norm", F32, s->d, 1, 1);
    if (s->kv_lora) {
        tensor(w, l, "attn_q_a", Q4_K, s->d, s->q_lora, 1);
        tensor(w, l, "attn_q_a_norm", F32, s->q_lora, 1, 1);
        tensor(w, l, "attn_q_b", Q4_K, s->q_lora, q, 1);
        tensor(w, l, "attn_kv_a_mqa", Q4_K, s->d, s->kv_lora + s->rope, 1);
        tensor(w, l, "attn_kv_a_norm", F32, s->kv_lora, 1, 1);
        tensor(w, l, "attn_k_b", F32, s->head_dim - s->rope, s->kv_lora, s->heads);
        tensor(w, l, "attn_v_b", Q4_K, s->kv_lora, v, s->heads);
        tensor(w, l, "attn_output", Q4_K, v * s->heads, s->d, 1);
        return;
    }
    tensor(w, l, "attn_q", Q4_K, s->d, q, 1);
    tensor(w, l, "attn_k", Q4_K, s->d, kv, 1);
    tensor(w, l, "attn_v", Q6_K, s->d, kv, 1);
    tensor(w, l, "attn_output", Q4_K, q, s->d, 1);
    if (strcmp(s->arch, "qwen3moe") == 0) {
        tensor(w, l, "attn_q_norm", F32, s->head_dim, 1, 1);
        tensor(w, l, "attn_k_norm", F32, s->head_dim, 1, 1);
    }
}

static void feed_forward(writer *w, int l)
{
    const shape *s = w->s;
    tensor(w, l, "ffn_norm", F32, s->d, 1, 1);
    if (l < (int)s->dense) {
        tensor(w, l, "ffn_gate", Q4_K, s->d, s->dense_ff, 1);
        tensor(w, l, "ffn_up", Q4_K, s->d, s->dense_ff, 1);
        tensor(w, l, "ffn_down", Q6_K, s->dense_ff, s->d, 1);
        return;
    }
    tensor(w, l, "ffn_gate_inp", F32, s->d, s->experts, 1);
    tensor(w, l, "ffn_gate_exps", Q4_K, s->d, s->expert_ff, s->experts);
    tensor(w, l, "ffn_up_exps", Q4_K, s->d, s->expert_ff, s->experts);
    tensor(w, l, "ffn_down_exps", l % 2 ? Q6_K : Q4_K, s->expert_ff, s->d, s->experts);
    if (s->kv_lora) {
        tensor(w, l, "exp_probs_b", F32, s->experts, 1, 1);
        tensor(w, l, "ffn_gate_shexp", Q4_K, s->d, s->expert_ff, 1);
        tensor(w, l, "ffn_up_shexp", Q4_K, s->d, s->expert_ff, 1);
        tensor(w, l, "ffn_down_shexp", Q6_K, s->expert_ff, s->d, 1);
    }
}

static void keys(writer *w)
{
    const shape *s = w->s;
    gb_kv_str(&w->b, "general.architecture", s->arch);
    gb_kv_str(&w->b, "general.name", s->file);
    key(w, "block_count", s->layers);
    key(w, "context_length", s->ctx);
    key(w, "embedding_length", s->d);
    key(w, "feed_forward_length", s->ff);
    key(w, "attention.head_count", s->heads);
    key(w, "attention.head_count_kv", s->kv_heads);
    real(w, "attention.layer_norm_rms_epsilon", 1e-5f);
    real(w, "rope.freq_base", 1e6f);
    key(w, "rope.dimension_count", s->rope);
    key(w, "expert_count", s->experts);
    key(w, "expert_used_count", s->top_k);
    key(w, "vocab_size", s->vocab);
    key(w, "expert_feed_forward_length", s->expert_ff);
    if (!s->kv_lora) {
        key(w, "attention.key_length", s->head_dim);
        key(w, "attention.value_length", s->head_dim);
        return;
    }
    key(w, "attention.key_length", s->kv_lora + s->rope);
    key(w, "attention.value_length", s->kv_lora);
    key(w, "attention.key_length_mla", s->head_dim);
    key(w, "attention.value_length_mla", 128);
    key(w, "attention.q_lora_rank", s->q_lora);
    key(w, "attention.kv_lora_rank", s->kv_lora);
    key(w, "leading_dense_block_count", s->dense);
    key(w, "expert_group_count", 8);
    key(w, "expert_group_used_count", 4);
    key(w, "expert_gating_func", 2);
    key(w, "expert_shared_count", 1);
    real(w, "expert_weights_scale", 2.5f);
    gb_kv_bool(&w->b, "deepseek2.expert_weights_norm", 1);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof shapes / sizeof *shapes; i++) {
        writer w = {.s = &shapes[i]};
        char path[512];
        gb_begin(&w.b, 3);
        keys(&w);
        tensor(&w, -1, "token_embd", Q4_K, w.s->d, w.s->vocab, 1);
        tensor(&w, -1, "output", Q6_K, w.s->d, w.s->vocab, 1);
        tensor(&w, -1, "output_norm", F32, w.s->d, 1, 1);
        for (int l = 0; l < (int)w.s->layers; l++) {
            attention(&w, l);
            feed_forward(&w, l);
        }
        gb_finish(&w.b);
        snprintf(path, sizeof path, "%s/%s.gguf", argv[1], w.s->file);
        FILE *f = fopen(path, "wb");
        if (!f || fwrite(w.b.p, 1, w.b.n, f) != w.b.n || fclose(f)) {
            perror(path);
            return 1;
        }
        gb_free(&w.b);
    }
    return argc == 2 ? 0 : 2;
}
