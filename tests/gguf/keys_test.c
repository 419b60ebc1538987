/* Typed getters: what they take, what they refuse, and text made fit to print. */
#include "gguf/builder.h"
#include "runtime/gguf/gguf.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <string.h>

static gb toy;
static mox_gguf *g;

static void hostile_name(gb *b)
{
    gb_kv_strn(b, "toy.hostile", 11,
               "a\x1B[31m\r\nb\0\xE2\x80\xAE"
               "c\xFF",
               14);
    gb_kv_f32(b, "toy.nan", NAN);
    gb_kv_f32(b, "toy.inf", INFINITY);
    gb_kv_f32(b, "toy.tiny", 1e-40f);
    gb_kv_f32(b, "toy.zero", 0.0f);
    gb_kv_f32(b, "toy.minus", -1.0f);
    gb_kv_int(b, "toy.huge", K_U64, 1ull << 40);
    gb_kv_int(b, "toy.minus_one", K_I32, 0xFFFFFFFF);
}

static void open_toy(void)
{
    toy_build(&toy, &(toy_extra){.keys = hostile_name});
    cr_assert_eq(mox_gguf_parse(&g, toy.p, toy.n, toy.n, NULL), MOX_OK, "%s", mox_err_last()->msg);
}

static void close_toy(void)
{
    mox_gguf_close(&g);
    gb_free(&toy);
}

TestSuite(gguf_keys, .init = open_toy, .fini = close_toy);

Test(gguf_keys, integers_of_any_width)
{
    static const struct {
        const char *key;
        uint32_t want;
    } k[] = {{"llama.block_count", 2},
             {"llama.context_length", 512},
             {"llama.embedding_length", 32},
             {"llama.expert_count", 4},
             {"llama.expert_used_count", 2}};
    for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
        uint32_t v = 77;
        cr_assert_eq(mox_gguf_u32(g, k[i].key, 1, 512, &v), MOX_OK);
        cr_expect_eq(v, k[i].want, "%s", k[i].key);
    }
}

/* G38, G39: never a count, and the out-parameter keeps its value. */
Test(gguf_keys, what_is_no_count)
{
    static const char *const keys[] = {"general.name",
                                       "llama.rope.freq_base",
                                       "toy.f64",
                                       "toy.i8",
                                       "toy.huge",
                                       "toy.minus_one",
                                       "toy.bools",
                                       "tokenizer.ggml.tokens",
                                       "toy.i64",
                                       "toy.i16",
                                       "tokenizer.ggml.add_bos_token"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        uint32_t v = 77;
        cr_expect_eq(mox_gguf_u32(g, keys[i], 0, UINT32_MAX, &v), MOX_E_KEY, "%s", keys[i]);
        cr_expect_eq(mox_gguf_u32_opt(g, keys[i], 0, UINT32_MAX, &v), MOX_E_KEY, "%s", keys[i]);
        cr_expect_eq(v, 77);
        cr_expect(strstr(mox_err_last()->msg, keys[i]));
    }
}

Test(gguf_keys, ranges_and_absence)
{
    uint32_t v = 77;
    cr_expect_eq(mox_gguf_u32(g, "llama.block_count", 3, 9, &v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_u32(g, "llama.block_count", 0, 1, &v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_u32(g, "nowhere", 0, 1, &v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_u32_opt(g, "nowhere", 0, 1, &v), MOX_OK);
    cr_expect_eq(v, 77);
    cr_expect_not(mox_gguf_has(g, "nowhere"));
    cr_expect_not(mox_gguf_has(g, "llama.block_coun"));
    cr_expect(mox_gguf_has(g, "toy.i8"));
}

/* G35 */
Test(gguf_keys, floats)
{
    static const char *const bad[] = {"toy.nan",   "toy.inf",           "toy.tiny",    "toy.zero",
                                      "toy.minus", "llama.block_count", "general.name"};
    float v = 7;
    cr_expect_eq(mox_gguf_f32_opt(g, "llama.rope.freq_base", FLT_MIN, 1e10f, &v), MOX_OK);
    cr_expect_eq(v, 10000.0f);
    cr_expect_eq(mox_gguf_f32_opt(g, "toy.f64", 0, 1, &v), MOX_OK);
    cr_expect_eq(v, 0.5f);
    cr_expect_eq(mox_gguf_f32_opt(g, "nowhere", 0, 1, &v), MOX_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        cr_expect_eq(mox_gguf_f32_opt(g, bad[i], FLT_MIN, 1e10f, &v), MOX_E_KEY, "%s", bad[i]);
    }
    cr_expect_eq(v, 0.5f);
}

Test(gguf_keys, booleans_and_strings)
{
    bool v = false;
    mox_str s = {0};
    cr_expect_eq(mox_gguf_bool_opt(g, "tokenizer.ggml.add_bos_token", &v), MOX_OK);
    cr_expect(v);
    cr_expect_eq(mox_gguf_bool_opt(g, "nowhere", &v), MOX_OK);
    cr_expect_eq(mox_gguf_bool_opt(g, "llama.block_count", &v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_str(g, "general.architecture", &s), MOX_OK);
    cr_expect(s.n == 5 && memcmp(s.p, "llama", 5) == 0);
    cr_expect_eq(mox_gguf_str(g, "llama.block_count", &s), MOX_E_KEY);
    cr_expect_eq(mox_gguf_str(g, "nowhere", &s), MOX_E_KEY);
}

/* G79 */
Test(gguf_keys, values_per_layer)
{
    uint32_t v[3] = {7, 7, 7};
    cr_expect_eq(mox_gguf_u32_per_layer(g, "llama.feed_forward_length", 1, 64, 2, v), MOX_OK);
    cr_expect(v[0] == 32 && v[1] == 48 && v[2] == 7);
    cr_expect_eq(mox_gguf_u32_per_layer(g, "llama.block_count", 1, 64, 3, v), MOX_OK);
    cr_expect(v[0] == 2 && v[1] == 2 && v[2] == 2);
    cr_expect_eq(mox_gguf_u32_per_layer(g, "llama.feed_forward_length", 1, 64, 3, v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_u32_per_layer(g, "llama.feed_forward_length", 1, 40, 2, v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_u32_per_layer(g, "toy.bools", 0, 1, 3, v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_u32_per_layer(g, "tokenizer.ggml.tokens", 0, 1, TOY_VOCAB, v), MOX_E_KEY);
    cr_expect_eq(mox_gguf_u32_per_layer(g, "nowhere", 0, 1, 3, v), MOX_E_KEY);
}

Test(gguf_keys, arrays)
{
    const void *data = NULL, *cursor = NULL;
    uint32_t n = 0, seen = 0;
    float scores[TOY_VOCAB];
    mox_str s = {0};
    cr_assert_eq(mox_gguf_array(g, "tokenizer.ggml.scores", MOX_GGUF_F32, &data, &n), MOX_OK);
    cr_assert_eq(n, TOY_VOCAB);
    memcpy(scores, data, sizeof scores);
    cr_expect_eq(scores[6], -3.0f);
    cr_expect_eq(mox_gguf_array(g, "tokenizer.ggml.scores", MOX_GGUF_I32, &data, &n), MOX_E_KEY);
    cr_expect_eq(mox_gguf_array(g, "llama.block_count", MOX_GGUF_U32, &data, &n), MOX_E_KEY);
    cr_expect_eq(mox_gguf_string_array(g, "toy.bools", &n), MOX_E_KEY);
    cr_assert_eq(mox_gguf_string_array(g, "tokenizer.ggml.tokens", &n), MOX_OK);
    while (mox_gguf_next_string(g, "tokenizer.ggml.tokens", &cursor, &s)) {
        seen++;
    }
    cr_expect(n == TOY_VOCAB && seen == n && s.n == 4 &&
              memcmp(s.p,
                     "\xE2\x96\x81"
                     "a",
                     4) == 0);
    cursor = NULL;
    cr_expect_not(mox_gguf_next_string(g, "toy.bools", &cursor, &s));
}

/* G27: the bytes stay as they are; what is printed obeys nobody. */
Test(gguf_keys, text_is_printed_escaped)
{
    char text[128];
    mox_str s = {0};
    bool found = false;
    cr_assert_eq(mox_gguf_str(g, "toy.hostile", &s), MOX_OK);
    cr_expect_eq(s.n, 14);
    cr_expect_str_eq(mox_escape(s, text, sizeof text), "a\\x1B[31m\\r\\nb\\x00\\u202Ec");
    for (uint32_t i = 0; i < mox_gguf_n_kv(g); i++) {
        mox_str key = mox_gguf_kv_key(g, i);
        if (key.n == 11 && memcmp(key.p, "toy.hostile", 11) == 0) {
            found = true;
            cr_expect_eq(mox_gguf_kv_kind(g, i), MOX_GGUF_STRING);
            cr_expect_str_eq(mox_gguf_kv_text(g, i, text, sizeof text), "a\\x1B[31m\\r\\nb\\x00\\u202Ec");
        }
    }
    cr_expect(found);
    cr_expect_str_eq(mox_escape((mox_str){"na\xC3\xAFve \xF0\x9F\x9A\x80\\", 12}, text, sizeof text),
                     "na\xC3\xAFve \xF0\x9F\x9A\x80\\\\");
    cr_expect_str_eq(mox_escape((mox_str){"\xC0\xAF\xED\xA0\x80\xFF", 6}, text, sizeof text),
                     "\\xC0\\xAF\\xED\\xA0\\x80\\xFF");
    cr_expect_str_eq(mox_escape((mox_str){"\xC2\x9B\xEF\xBB\xBF\xE2\x81\xA6", 8}, text, sizeof text),
                     "\\u009B\\uFEFF\\u2066");
}

Test(gguf_keys, escaping_into_every_size)
{
    static const char from[] = "ab\x1B"
                               "c\xC3\xA9"
                               "def\n";
    const mox_str s = {from, sizeof from - 1};
    char whole[64], text[64];
    mox_escape(s, whole, sizeof whole);
    cr_assert_str_eq(whole, "ab\\x1Bc\xC3\xA9"
                            "def\\n");
    for (size_t n = 1; n <= strlen(whole) + 1; n++) {
        memset(text, '#', sizeof text);
        mox_escape(s, text, n);
        cr_assert(strlen(text) < n, "size %zu", n);
        cr_assert_eq(text[n], '#');
        if (n <= strlen(whole)) {
            size_t kept = strlen(text) >= 3 ? strlen(text) - 3 : 0;
            cr_assert(strncmp(text, whole, kept) == 0 &&
                          strncmp(text + kept, "...", strlen(text) - kept) == 0,
                      "size %zu: \"%s\"", n, text);
        } else {
            cr_assert_str_eq(text, whole);
        }
    }
}

Test(gguf_keys, values_as_text)
{
    static const struct {
        const char *key, *want;
    } k[] = {
        {"llama.block_count", "2"},
        {"llama.context_length", "512"},
        {"toy.i8", "-3"},
        {"toy.i16", "-300"},
        {"toy.i64", "-3000"},
        {"toy.f64", "0.5"},
        {"llama.rope.freq_base", "10000"},
        {"tokenizer.ggml.add_bos_token", "true"},
        {"toy.bools", "[3 x bool: true, false, true]"},
        {"llama.feed_forward_length", "[2 x i32: 32, 48]"},
        {"tokenizer.ggml.token_type", "[7 x i32: 2, 3, 3, 6, 1, 1, ...]"},
    };
    for (size_t i = 0; i < sizeof k / sizeof k[0]; i++) {
        char text[256] = "";
        for (uint32_t j = 0; j < mox_gguf_n_kv(g); j++) {
            mox_str key = mox_gguf_kv_key(g, j);
            if (key.n == strlen(k[i].key) && memcmp(key.p, k[i].key, key.n) == 0) {
                mox_gguf_kv_text(g, j, text, sizeof text);
            }
        }
        cr_expect_str_eq(text, k[i].want, "%s", k[i].key);
    }
}

Test(gguf_keys, tensors_of_the_toy)
{
    const mox_gguf_tensor *t = mox_gguf_find(g, "blk.0.ffn_down_exps.weight");
    cr_assert_not_null(t);
    cr_expect(t->type == MOX_TYPE_Q4_K && t->n_dims == 3 && t->ne[0] == 256 && t->ne[1] == 2 &&
              t->ne[2] == 4 && t->ne[3] == 1);
    cr_expect_eq(t->bytes, 2 * 4 * 144);
    cr_expect_eq(t->off % 32, 0);
    cr_expect_eq(t->off - mox_gguf_find(g, "token_embd.weight")->off, 896 + 128 + 2304);
    cr_expect_null(mox_gguf_find(g, "blk.0.ffn_down_exps"));
    cr_expect_eq(mox_gguf_version(g), 3);
    cr_expect_null(mox_gguf_file(g, 0));
    cr_expect_eq(mox_gguf_file_bytes(g, 0), toy.n);
}
