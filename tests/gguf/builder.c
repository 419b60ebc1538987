#include "gguf/builder.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gb_free(gb *b)
{
    free(b->p);
    free(b->fields);
    *b = (gb){0};
}

void gb_bytes(gb *b, const void *p, size_t n)
{
    if (b->cap - b->n < n) {
        b->cap = 2 * b->cap + n + 1024;
        b->p = realloc(b->p, b->cap);
        assert(b->p);
    }
    if (n) {
        memcpy(b->p + b->n, p, n);
    }
    b->n += n;
}

void gb_mark(gb *b, const char *name, const char *of)
{
    gb_field_put(b, name, of, 0, 0);
}

void gb_field_put(gb *b, const char *name, const char *of, uint64_t v, uint32_t bytes)
{
    if (b->n_fields == b->cap_fields) {
        b->cap_fields = 2 * b->cap_fields + 64;
        b->fields = realloc(b->fields, b->cap_fields * sizeof *b->fields);
        assert(b->fields);
    }
    gb_field *f = &b->fields[b->n_fields++];
    snprintf(f->name, sizeof f->name, "%s%s%.40s", name, of ? " " : "", of ? of : "");
    f->off = b->n;
    f->bytes = bytes;
    gb_bytes(b, &v, bytes);
}

void gb_begin(gb *b, uint32_t version)
{
    gb_bytes(b, "GGUF", 4);
    gb_field_put(b, "version", NULL, version, 4);
    gb_field_put(b, "n_tensors", NULL, 0, 8);
    gb_field_put(b, "n_kv", NULL, 0, 8);
}

void gb_finish(gb *b)
{
    gb_set(b, "n_tensors", b->n_tensors);
    gb_set(b, "n_kv", b->n_kv);
}

static void key_of(gb *b, const char *key, size_t n, uint32_t kind)
{
    gb_field_put(b, "len key", key, n, 8);
    gb_bytes(b, key, n);
    gb_field_put(b, "kind", key, kind, 4);
    b->n_kv++;
}

static uint32_t int_bytes(uint32_t kind)
{
    return kind == K_U8 || kind == K_I8     ? 1
           : kind == K_U16 || kind == K_I16 ? 2
           : kind == K_U32 || kind == K_I32 ? 4
                                            : 8;
}

void gb_kv_int(gb *b, const char *key, uint32_t kind, uint64_t v)
{
    key_of(b, key, strlen(key), kind);
    gb_field_put(b, "value", key, v, int_bytes(kind));
}

void gb_kv_u32(gb *b, const char *key, uint32_t v)
{
    gb_kv_int(b, key, K_U32, v);
}

void gb_kv_f32(gb *b, const char *key, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    key_of(b, key, strlen(key), K_F32);
    gb_field_put(b, "value", key, bits, 4);
}

void gb_kv_f64(gb *b, const char *key, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    key_of(b, key, strlen(key), K_F64);
    gb_field_put(b, "value", key, bits, 8);
}

void gb_kv_bool(gb *b, const char *key, uint8_t v)
{
    key_of(b, key, strlen(key), K_BOOL);
    gb_field_put(b, "value", key, v, 1);
}

void gb_kv_strn(gb *b, const char *key, size_t n_key, const void *v, size_t n)
{
    key_of(b, key, n_key, K_STRING);
    gb_field_put(b, "len", key, n, 8);
    gb_bytes(b, v, n);
}

void gb_kv_str(gb *b, const char *key, const char *v)
{
    gb_kv_strn(b, key, strlen(key), v, strlen(v));
}

void gb_kv_strings(gb *b, const char *key, const char *const *v, size_t n)
{
    key_of(b, key, strlen(key), K_ARRAY);
    gb_field_put(b, "elem", key, K_STRING, 4);
    gb_field_put(b, "count", key, n, 8);
    for (size_t i = 0; i < n; i++) {
        gb_field_put(b, i == 0 ? "len first" : i == n - 1 ? "len last" : "len of", key, strlen(v[i]), 8);
        gb_bytes(b, v[i], strlen(v[i]));
    }
}

void gb_kv_array(gb *b, const char *key, uint32_t kind, const void *v, size_t n, size_t elem_bytes)
{
    key_of(b, key, strlen(key), K_ARRAY);
    gb_field_put(b, "elem", key, kind, 4);
    gb_field_put(b, "count", key, n, 8);
    gb_bytes(b, v, n * elem_bytes);
}

void gb_tensor(gb *b, const char *name, uint32_t n_dims, const uint64_t *ne, uint32_t type, uint64_t off)
{
    static const char *const labels[] = {"ne0", "ne1", "ne2", "ne3"};
    gb_field_put(b, "len name", name, strlen(name), 8);
    gb_bytes(b, name, strlen(name));
    gb_field_put(b, "n_dims", name, n_dims, 4);
    for (uint32_t i = 0; i < n_dims; i++) {
        gb_field_put(b, i < 4 ? labels[i] : "ne", name, ne[i], 8);
    }
    gb_field_put(b, "type", name, type, 4);
    gb_field_put(b, "off", name, off, 8);
    b->n_tensors++;
}

void gb_zeros(gb *b, size_t n)
{
    static const uint8_t zeros[256];
    for (; n > sizeof zeros; n -= sizeof zeros) {
        gb_bytes(b, zeros, sizeof zeros);
    }
    gb_bytes(b, zeros, n);
}

void gb_pad(gb *b, size_t align)
{
    gb_zeros(b, (align - b->n % align) % align);
}

static const gb_field *find(const gb *b, const char *field)
{
    for (size_t i = 0; i < b->n_fields; i++) {
        if (strcmp(b->fields[i].name, field) == 0) {
            return &b->fields[i];
        }
    }
    fprintf(stderr, "the builder has no field \"%s\"\n", field);
    abort();
}

size_t gb_at(const gb *b, const char *field)
{
    return find(b, field)->off;
}

void gb_set(gb *b, const char *field, uint64_t v)
{
    const gb_field *f = find(b, field);
    memcpy(b->p + f->off, &v, f->bytes);
}

uint64_t gb_get(const gb *b, const gb_field *f)
{
    uint64_t v = 0;
    memcpy(&v, b->p + f->off, f->bytes);
    return v;
}

static void toy_keys(gb *b)
{
    static const char *const tokens[TOY_VOCAB] = {"<unk>",
                                                  "<s>",
                                                  "</s>",
                                                  "<0x41>",
                                                  "\xE2\x96\x81",
                                                  "a",
                                                  ("\xE2\x96\x81"
                                                   "a")};
    static const float scores[TOY_VOCAB] = {0, 0, 0, 0, -1, -2, -3};
    static const int32_t types[TOY_VOCAB] = {2, 3, 3, 6, 1, 1, 1};
    static const int32_t per_layer[2] = {32, 48};
    static const uint8_t bools[3] = {1, 0, 1};
    gb_kv_str(b, "general.architecture", "llama");
    gb_kv_str(b, "general.name", "toy");
    gb_kv_u32(b, "general.alignment", 32);
    gb_kv_u32(b, "llama.block_count", 2);
    gb_kv_int(b, "llama.context_length", K_U64, 512);
    gb_kv_int(b, "llama.embedding_length", K_I32, 32);
    gb_kv_int(b, "llama.expert_count", K_U16, 4);
    gb_kv_int(b, "llama.expert_used_count", K_U8, 2);
    gb_kv_f32(b, "llama.rope.freq_base", 10000.0f);
    gb_kv_f64(b, "toy.f64", 0.5);
    gb_kv_int(b, "toy.i8", K_I8, (uint8_t)-3);
    gb_kv_int(b, "toy.i16", K_I16, (uint16_t)-300);
    gb_kv_int(b, "toy.i64", K_I64, (uint64_t)-3000);
    gb_kv_array(b, "llama.feed_forward_length", K_I32, per_layer, 2, 4);
    gb_kv_array(b, "toy.bools", K_BOOL, bools, 3, 1);
    gb_kv_str(b, "tokenizer.ggml.model", "llama");
    gb_kv_strings(b, "tokenizer.ggml.tokens", tokens, TOY_VOCAB);
    gb_kv_array(b, "tokenizer.ggml.scores", K_F32, scores, TOY_VOCAB, 4);
    gb_kv_array(b, "tokenizer.ggml.token_type", K_I32, types, TOY_VOCAB, 4);
    gb_kv_u32(b, "tokenizer.ggml.bos_token_id", 1);
    gb_kv_u32(b, "tokenizer.ggml.eos_token_id", 2);
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 1);
}

void toy_build(gb *b, const toy_extra *extra)
{
    static const struct {
        const char *name;
        uint32_t n_dims;
        uint64_t ne[4];
        uint32_t type;
        uint64_t bytes;
    } t[TOY_TENSORS] = {
        {"token_embd.weight", 2, {32, 7}, T_F32, 896},
        {"blk.0.attn_norm.weight", 1, {32}, T_F32, 128},
        {"blk.0.ffn_gate_exps.weight", 3, {32, 32, 4}, T_Q4_0, 32 * 4 * 18},
        {"blk.0.ffn_down_exps.weight", 3, {256, 2, 4}, T_Q4_K, 2 * 4 * 144},
        {"blk.0.four.weight", 4, {2, 3, 4, 5}, T_F16, 240},
        {"output.weight", 2, {32, 7}, T_Q8_0, 7 * 34},
    };
    uint64_t off = 0;
    gb_begin(b, extra && extra->version ? extra->version : 3);
    toy_keys(b);
    if (extra && extra->keys) {
        extra->keys(b);
    }
    for (int i = 0; i < TOY_TENSORS; i++) {
        gb_tensor(b, t[i].name, t[i].n_dims, t[i].ne, t[i].type, off);
        off += (t[i].bytes + 31) / 32 * 32;
    }
    if (extra && extra->tensors) {
        extra->tensors(b, off);
    }
    gb_finish(b);
    gb_pad(b, 32);
    gb_zeros(b, (size_t)off + (extra ? extra->data : 0));
}
