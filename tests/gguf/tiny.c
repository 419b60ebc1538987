#include "gguf/tiny.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define TOKENS "tokenizer.ggml.tokens"
#define MARK   "\xE2\x96\x81"

void tiny_tokens(const char *out[TINY_VOCAB])
{
    static const char *const pieces[] = {MARK, "a", "b", "ab", (MARK "a"), "the", (MARK "the"), "e"};
    static char bytes[256][8];
    out[0] = "<unk>";
    out[1] = "<s>";
    out[2] = "</s>";
    for (int i = 0; i < 256; i++) {
        snprintf(bytes[i], sizeof bytes[i], "<0x%02X>", (unsigned)i & 0xFF);
        out[3 + i] = bytes[i];
    }
    memcpy(out + 3 + 256, pieces, sizeof pieces);
}

static bool same(const char *a, const char *b)
{
    return b && strcmp(a, b) == 0;
}

static void vocabulary(gb *b, const tiny_edit *e)
{
    const char *tokens[TINY_VOCAB];
    float scores[TINY_VOCAB] = {0};
    int32_t types[TINY_VOCAB];
    tiny_tokens(tokens);
    for (int i = 0; i < TINY_VOCAB; i++) {
        scores[i] = i < 259 ? 0.0f : -(float)(i - 258);
        types[i] = i == 0 ? 2 : i < 3 ? 3 : i < 259 ? 6 : 1;
    }
    if (!same("tokenizer.ggml.model", e->without_key)) {
        gb_kv_str(b, "tokenizer.ggml.model", "llama");
    }
    if (!same(TOKENS, e->without_key)) {
        gb_kv_strings(b, TOKENS, e->tokens ? e->tokens : tokens, TINY_VOCAB);
    }
    if (!same("tokenizer.ggml.scores", e->without_key)) {
        gb_kv_array(b, "tokenizer.ggml.scores", K_F32, scores, TINY_VOCAB, 4);
    }
    if (!same("tokenizer.ggml.token_type", e->without_key)) {
        gb_kv_array(b, "tokenizer.ggml.token_type", K_I32, types, TINY_VOCAB, 4);
    }
    const struct {
        const char *key;
        uint32_t id;
    } ids[] = {{"tokenizer.ggml.bos_token_id", 1},
               {"tokenizer.ggml.eos_token_id", 2},
               {"tokenizer.ggml.unknown_token_id", 0}};
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (!same(ids[i].key, e->without_key)) {
            gb_kv_u32(b, ids[i].key, ids[i].id);
        }
    }
}

static void keys(gb *b, const tiny_edit *e)
{
    const struct {
        const char *key;
        uint32_t v;
    } counts[] = {{"llama.context_length", 64},         {"llama.embedding_length", TINY_WIDTH},
                  {"llama.block_count", TINY_LAYERS},   {"llama.feed_forward_length", TINY_FF},
                  {"llama.attention.head_count", 2},    {"llama.attention.head_count_kv", 1},
                  {"llama.expert_count", TINY_EXPERTS}, {"llama.expert_used_count", TINY_TOP_K},
                  {"llama.rope.dimension_count", 16}};
    const struct {
        const char *key;
        float v;
    } floats[] = {{"llama.rope.freq_base", 10000.0f}, {"llama.attention.layer_norm_rms_epsilon", 1e-5f}};
    if (!same("general.architecture", e->without_key)) {
        gb_kv_str(b, "general.architecture", "llama");
    }
    if (!same("general.name", e->without_key)) {
        gb_kv_str(b, "general.name", "tiny");
    }
    if (e->alignment) {
        gb_kv_u32(b, "general.alignment", e->alignment);
    }
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        if (!same(counts[i].key, e->without_key)) {
            gb_kv_u32(b, counts[i].key, counts[i].v);
        }
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        if (!same(floats[i].key, e->without_key)) {
            gb_kv_f32(b, floats[i].key, floats[i].v);
        }
    }
    vocabulary(b, e);
    if (e->keys) {
        e->keys(b);
    }
}

typedef struct part {
    char name[48];
    uint32_t n_dims, type;
    uint64_t ne[3], bytes, off;
} part;

typedef struct parts {
    part t[3 + 11 * TINY_LAYERS];
    uint32_t n;
    uint64_t off, align;
    const char *without;
} parts;

static void add(parts *p, uint32_t type, const char *name, uint64_t ne0, uint64_t ne1, uint64_t ne2)
{
    if (same(name, p->without)) {
        return;
    }
    uint64_t elems = ne0 * (ne1 ? ne1 : 1) * (ne2 ? ne2 : 1);
    part *t = &p->t[p->n++];
    *t = (part){.type = type, .ne = {ne0, ne1, ne2}, .n_dims = ne2 ? 3 : ne1 ? 2 : 1, .off = p->off};
    snprintf(t->name, sizeof t->name, "%s", name);
    t->bytes = type == T_F32   ? elems * 4
               : type == T_F16 ? elems * 2
                               : elems / 32 * (type == T_Q8_0 ? 34 : 18);
    p->off += (t->bytes + p->align - 1) / p->align * p->align;
}

static void add_layer(parts *p, int layer)
{
    static const struct {
        const char *suffix;
        uint32_t type;
        uint64_t ne[3];
    } tensors[] = {{"attn_norm", T_F32, {TINY_WIDTH, 0, 0}},
                   {"attn_q", T_Q8_0, {TINY_WIDTH, TINY_WIDTH, 0}},
                   {"attn_k", T_F16, {TINY_WIDTH, TINY_WIDTH / 2, 0}},
                   {"attn_v", T_Q4_0, {TINY_WIDTH, TINY_WIDTH / 2, 0}},
                   {"attn_output", T_Q8_0, {TINY_WIDTH, TINY_WIDTH, 0}},
                   {"ffn_norm", T_F32, {TINY_WIDTH, 0, 0}},
                   {"ffn_gate_inp", T_F32, {TINY_WIDTH, TINY_EXPERTS, 0}},
                   {"ffn_gate_exps", T_Q4_0, {TINY_WIDTH, TINY_FF, TINY_EXPERTS}},
                   {"ffn_up_exps", T_Q8_0, {TINY_WIDTH, TINY_FF, TINY_EXPERTS}},
                   {"ffn_down_exps", T_Q8_0, {TINY_FF, TINY_WIDTH, TINY_EXPERTS}}};
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        char name[48];
        snprintf(name, sizeof name, "blk.%d.%s.weight", layer, tensors[i].suffix);
        add(p, tensors[i].type, name, tensors[i].ne[0], tensors[i].ne[1], tensors[i].ne[2]);
    }
}

static uint8_t next_byte(uint64_t *s)
{
    *s = *s * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint8_t)(*s >> 56);
}

/* Small pseudo-random values: F32 and F16 around +-1 (a norm's are positive), quants with a scale of 2^-7. */
static void data_of(gb *b, const part *t, uint64_t *s)
{
    size_t block = t->type == T_F32 ? 4 : t->type == T_F16 ? 2 : t->type == T_Q8_0 ? 34 : 18;
    gb_mark(b, "data", t->name);
    for (uint64_t at = 0; at < t->bytes; at += block) {
        uint8_t bytes[34];
        for (size_t i = 0; i < block; i++) {
            bytes[i] = next_byte(s);
        }
        if (t->type == T_F32) {
            float v = 0.5f + (float)bytes[0] / 256.0f;
            v = t->n_dims == 2 && bytes[1] & 1 ? -v : v;
            memcpy(bytes, &v, sizeof v);
        } else if (t->type == T_F16) {
            bytes[1] = (uint8_t)((bytes[1] & 0x83) | 0x30);
        } else {
            bytes[0] = 0;
            bytes[1] = 0x20;
        }
        gb_bytes(b, bytes, block);
    }
}

void tiny_build(gb *b, const tiny_edit *edit)
{
    static const tiny_edit none;
    const tiny_edit *e = edit ? edit : &none;
    parts p = {.align = e->alignment ? e->alignment : 32, .without = e->without_tensor};
    uint64_t seed = 5;
    add(&p, T_Q8_0, "token_embd.weight", TINY_WIDTH, TINY_VOCAB, 0);
    for (int l = 0; l < TINY_LAYERS; l++) {
        add_layer(&p, l);
    }
    add(&p, T_F32, "output_norm.weight", TINY_WIDTH, 0, 0);
    add(&p, T_Q8_0, "output.weight", TINY_WIDTH, TINY_VOCAB, 0);
    gb_begin(b, 3);
    keys(b, e);
    for (uint32_t i = 0; i < p.n; i++) {
        gb_tensor(b, p.t[i].name, p.t[i].n_dims, p.t[i].ne, p.t[i].type, p.t[i].off);
    }
    if (e->tensors) {
        e->tensors(b, p.off);
    }
    gb_finish(b);
    gb_mark(b, "header end", NULL);
    gb_pad(b, p.align);
    for (uint32_t i = 0; i < p.n; i++) {
        data_of(b, &p.t[i], &seed);
        gb_pad(b, p.align);
    }
    gb_zeros(b, e->data);
}
