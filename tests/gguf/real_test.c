/* Files of known content: names, shapes, types and keys against what the .json beside them says, and offsets
 * by the bytes found there: the same model in one file, in three, and with one tensor per expert has to hold
 * the same data. */
#include "runtime/gguf/gguf.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODELS MOX_TEST_DATA "/models/"

static mox_gguf *open_model(const char *path)
{
    mox_gguf *g = NULL;
    cr_assert_eq(mox_gguf_open(&g, path), MOX_OK, "%s", mox_err_last()->msg);
    return g;
}

static json_t *load_json(const char *path)
{
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e);
    cr_assert_not_null(j, "%s: %s", path, e.text);
    return j;
}

static uint32_t config(const json_t *j, const char *name)
{
    const json_t *v = json_object_get(json_object_get(j, "config"), name);
    cr_assert(json_is_integer(v), "%s", name);
    return (uint32_t)json_integer_value(v);
}

static uint32_t key(const mox_gguf *g, const char *name)
{
    uint32_t v = 0;
    cr_assert_eq(mox_gguf_u32(g, name, 0, UINT32_MAX, &v), MOX_OK, "%s", mox_err_last()->msg);
    return v;
}

/* The bytes of a tensor, part of them from `skip` on; the caller frees. */
static uint8_t *bytes_of(const mox_gguf *g, const mox_gguf_tensor *t, uint64_t skip, uint64_t n)
{
    uint8_t *p = malloc(n);
    FILE *f = fopen(mox_gguf_file(g, t->file), "rb");
    cr_assert(p && f && skip + n <= t->bytes);
    fseek(f, (long)(t->off + skip), SEEK_SET);
    cr_assert_eq(fread(p, 1, n, f), n);
    fclose(f);
    return p;
}

static void check_tensor(const mox_gguf *g, const char *name, uint32_t type, uint64_t a, uint64_t b,
                         uint64_t c)
{
    const mox_gguf_tensor *t = mox_gguf_find(g, name);
    cr_assert_not_null(t, "%s", name);
    cr_expect(t->ne[0] == a && t->ne[1] == b && t->ne[2] == c && t->ne[3] == 1, "%s: shape", name);
    cr_expect(type == UINT32_MAX || t->type == type, "%s: type %u", name, t->type);
    cr_expect_eq(t->bytes, mox_type_row_bytes(t->type, a) * b * c, "%s: bytes", name);
}

static void check_shapes(const mox_gguf *g, const json_t *j, uint32_t matrix_type)
{
    uint32_t d = config(j, "hidden_size"), ff = config(j, "intermediate_size"),
             e = config(j, "num_local_experts");
    uint32_t q = config(j, "num_attention_heads") * config(j, "head_dim"),
             kv = config(j, "num_key_value_heads") * config(j, "head_dim");
    uint32_t vocab = config(j, "vocab_size");
    char name[64];
    check_tensor(g, "token_embd.weight", matrix_type, d, vocab, 1);
    check_tensor(g, "output.weight", matrix_type, d, vocab, 1);
    check_tensor(g, "output_norm.weight", MOX_TYPE_F32, d, 1, 1);
    for (uint32_t l = 0; l < config(j, "num_hidden_layers"); l++) {
#define NAME(part) (snprintf(name, sizeof name, "blk.%u." part ".weight", l), name)
        check_tensor(g, NAME("attn_norm"), MOX_TYPE_F32, d, 1, 1);
        check_tensor(g, NAME("attn_q"), matrix_type, d, q, 1);
        check_tensor(g, NAME("attn_k"), matrix_type, d, kv, 1);
        check_tensor(g, NAME("attn_v"), matrix_type, d, kv, 1);
        check_tensor(g, NAME("attn_output"), matrix_type, q, d, 1);
        check_tensor(g, NAME("ffn_norm"), MOX_TYPE_F32, d, 1, 1);
        check_tensor(g, NAME("ffn_gate_inp"), MOX_TYPE_F32, d, e, 1);
        check_tensor(g, NAME("ffn_gate_exps"), matrix_type, d, ff, e);
        check_tensor(g, NAME("ffn_up_exps"), matrix_type, d, ff, e);
        check_tensor(g, NAME("ffn_down_exps"), matrix_type, ff, d, e);
#undef NAME
    }
    cr_expect_eq(mox_gguf_n_tensors(g), 3 + 10 * config(j, "num_hidden_layers"));
}

static void check_keys(const mox_gguf *g, const json_t *j)
{
    uint32_t n = 0;
    float f = 0;
    mox_str arch;
    cr_assert_eq(mox_gguf_str(g, "general.architecture", &arch), MOX_OK);
    cr_expect(arch.n == 5 && memcmp(arch.p, "llama", 5) == 0);
    cr_expect_eq(key(g, "llama.embedding_length"), config(j, "hidden_size"));
    cr_expect_eq(key(g, "llama.block_count"), config(j, "num_hidden_layers"));
    cr_expect_eq(key(g, "llama.feed_forward_length"), config(j, "intermediate_size"));
    cr_expect_eq(key(g, "llama.attention.head_count"), config(j, "num_attention_heads"));
    cr_expect_eq(key(g, "llama.attention.head_count_kv"), config(j, "num_key_value_heads"));
    cr_expect_eq(key(g, "llama.expert_count"), config(j, "num_local_experts"));
    cr_expect_eq(key(g, "llama.expert_used_count"), config(j, "num_experts_per_tok"));
    cr_expect_eq(key(g, "llama.context_length"), config(j, "max_position_embeddings"));
    cr_assert_eq(mox_gguf_f32_opt(g, "llama.attention.layer_norm_rms_epsilon", 0, 1, &f), MOX_OK);
    cr_expect_eq(f, 1e-5f);
    cr_assert_eq(mox_gguf_string_array(g, "tokenizer.ggml.tokens", &n), MOX_OK);
    cr_expect_eq(n, config(j, "vocab_size"));
}

/* Unlike the constant next to it, this is what the file system says. */
static uint64_t size_on_disk(const mox_gguf *g)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < mox_gguf_n_files(g); i++) {
        struct stat st;
        cr_assert_eq(stat(mox_gguf_file(g, i), &st), 0);
        cr_expect_eq(mox_gguf_file_bytes(g, i), (uint64_t)st.st_size);
        sum += (uint64_t)st.st_size;
    }
    return sum;
}

static void check_model(const char *path, const char *json, uint32_t files, uint32_t matrix_type)
{
    mox_gguf *g = open_model(path);
    json_t *j = load_json(json);
    cr_expect_eq(mox_gguf_n_files(g), files);
    cr_expect_eq(size_on_disk(g), (uint64_t)json_integer_value(json_object_get(j, "gguf_bytes")));
    cr_expect_eq(mox_gguf_unused_bytes(g), 0);
    check_keys(g, j);
    check_shapes(g, j, matrix_type);
    json_decref(j);
    mox_gguf_close(&g);
}

Test(gguf_real, mixtral_in_one_file)
{
    check_model(MODELS "mixtral-a.gguf", MODELS "mixtral-a.json", 1, MOX_TYPE_F16);
    check_model(MODELS "mixtral-a-q8_0.gguf", MODELS "mixtral-a-q8_0.json", 1, MOX_TYPE_Q8_0);
}

Test(gguf_real, mixtral_in_three_parts)
{
    check_model(MODELS "mixtral-a-split-00001-of-00003.gguf", MODELS "mixtral-a-split.json", 3, MOX_TYPE_F16);
    check_model(MODELS "mixtral-a-split-00002-of-00003.gguf", MODELS "mixtral-a-split.json", 3, MOX_TYPE_F16);
    check_model(MODELS "mixtral-a-split-00003-of-00003.gguf", MODELS "mixtral-a-split.json", 3, MOX_TYPE_F16);
}

Test(gguf_real, a_directory_of_links_to_the_parts)
{
    char dir[256], from[512], to[512];
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/moxie-test-XXXXXX", base ? base : P_tmpdir);
    cr_assert_not_null(mkdtemp(dir));
    for (int i = 1; i <= 3; i++) {
        snprintf(from, sizeof from, MODELS "mixtral-a-split-%05d-of-00003.gguf", i);
        snprintf(to, sizeof to, "%s/mixtral-a-split-%05d-of-00003.gguf", dir, i);
        cr_assert_eq(symlink(from, to), 0);
    }
    check_model(dir, MODELS "mixtral-a-split.json", 3, MOX_TYPE_F16);
    for (int i = 1; i <= 3; i++) {
        snprintf(to, sizeof to, "%s/mixtral-a-split-%05d-of-00003.gguf", dir, i);
        unlink(to);
    }
    rmdir(dir);
}

Test(gguf_real, types_of_quantmix)
{
    mox_gguf *g = open_model(MODELS "quantmix-a.gguf");
    json_t *j = load_json(MODELS "quantmix-a.json");
    json_t *types = json_object_get(j, "tensor_types"), *type = NULL;
    const char *name = NULL;
    check_keys(g, j);
    check_shapes(g, j, UINT32_MAX);
    cr_expect_eq(mox_gguf_n_tensors(g), json_object_size(types));
    json_object_foreach(types, name, type)
    {
        const mox_gguf_tensor *t = mox_gguf_find(g, name);
        cr_assert_not_null(t, "%s", name);
        cr_expect_str_eq(mox_type_info(t->type)->name, json_string_value(type), "%s", name);
    }
    json_decref(j);
    mox_gguf_close(&g);
}

Test(gguf_real, parts_hold_the_bytes_of_the_whole)
{
    mox_gguf *whole = open_model(MODELS "mixtral-a.gguf"),
             *parts = open_model(MODELS "mixtral-a-split-00002-of-00003.gguf");
    uint32_t used[3] = {0};
    for (uint32_t i = 0; i < mox_gguf_n_tensors(parts); i++) {
        const mox_gguf_tensor *p = mox_gguf_tensor_at(parts, i);
        char name[MOX_GGUF_MAX_NAME + 1] = "";
        memcpy(name, p->name.p, p->name.n);
        const mox_gguf_tensor *w = mox_gguf_find(whole, name);
        cr_assert(w && w->bytes == p->bytes && w->type == p->type, "%s", name);
        uint8_t *a = bytes_of(parts, p, 0, p->bytes), *b = bytes_of(whole, w, 0, w->bytes);
        cr_expect_arr_eq(a, b, p->bytes, "%s", name);
        used[p->file]++;
        free(a);
        free(b);
    }
    cr_expect(used[0] && used[1] && used[2]);
    mox_gguf_close(&whole);
    mox_gguf_close(&parts);
}

Test(gguf_real, one_tensor_per_expert_holds_the_bytes_of_the_merged_one)
{
    mox_gguf *whole = open_model(MODELS "mixtral-a.gguf"),
             *old = open_model(MODELS "mixtral-a-legacy-experts.gguf");
    static const char *const parts[] = {"gate", "up", "down"};
    for (int l = 0; l < 2; l++) {
        for (int k = 0; k < 3; k++) {
            char name[64];
            snprintf(name, sizeof name, "blk.%d.ffn_%s_exps.weight", l, parts[k]);
            const mox_gguf_tensor *all = mox_gguf_find(whole, name);
            cr_expect_null(mox_gguf_find(old, name));
            for (uint64_t e = 0; e < 4; e++) {
                snprintf(name, sizeof name, "blk.%d.ffn_%s.%d.weight", l, parts[k], (int)e);
                const mox_gguf_tensor *one = mox_gguf_find(old, name);
                cr_assert(one && one->bytes * 4 == all->bytes, "%s", name);
                uint8_t *a = bytes_of(old, one, 0, one->bytes),
                        *b = bytes_of(whole, all, e * one->bytes, one->bytes);
                cr_expect_arr_eq(a, b, one->bytes, "%s", name);
                free(a);
                free(b);
            }
        }
    }
    mox_gguf_close(&whole);
    mox_gguf_close(&old);
}

Test(gguf_real, the_demo_model)
{
    mox_gguf *g = open_model(MOX_TEST_DATA "/demo/moxie-demo-Q4_K_M.gguf");
    uint32_t layers = key(g, "llama.block_count"), experts = key(g, "llama.expert_count"),
             d = key(g, "llama.embedding_length");
    uint32_t ff = key(g, "llama.feed_forward_length"), mixed = 0;
    cr_expect(layers == 6 && experts == 8 && key(g, "llama.expert_used_count") == 2);
    for (uint32_t l = 0; l < layers; l++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%u.ffn_gate_exps.weight", l);
        check_tensor(g, name, UINT32_MAX, d, ff, experts);
        snprintf(name, sizeof name, "blk.%u.ffn_down_exps.weight", l);
        check_tensor(g, name, UINT32_MAX, ff, d, experts);
        mixed |= 1u << mox_gguf_find(g, name)->type;
    }
    cr_expect(mixed & (1u << MOX_TYPE_Q4_K) && mixed & (1u << MOX_TYPE_Q6_K), "types of down: %x", mixed);
    size_on_disk(g);
    mox_gguf_close(&g);
}
