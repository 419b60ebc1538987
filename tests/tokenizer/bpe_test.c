/* Byte-level BPE: merging against its definition, round trips, special tokens, what files say and do not say, and
 * vocabularies that are damaged or mean harm. */
#include "runtime/tokenizer/pretok.h"
#include "sanitized.h"
#include "tokenizer/bpe_vocab.h"
#include "tokenizer/original.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODELS MOX_TEST_DATA "/models/"

/* Our own words, in several scripts. */
static const char prose[] =
    "The router reads the hidden state and names the experts; the experts that are resident answer at once, "
    "and the "
    "others are read from the file while the residents compute. There is nothing in the answer that says "
    "where an "
    "expert was, and that is the point of it.\n\nEin Experte, der nicht im Speicher liegt, wird gelesen, "
    "w\xC3\xA4hrend "
    "die anderen rechnen; die \xC3\x9C"
    "bertragung und das Rechnen \xC3\xBC"
    "berlappen sich.\n"
    "\xD0\xAD\xD0\xBA\xD1\x81\xD0\xBF\xD0\xB5\xD1\x80\xD1\x82\xD1\x8B "
    "\xD1\x87\xD0\xB8\xD1\x82\xD0\xB0\xD1\x8E\xD1\x82\xD1\x81\xD1\x8F "
    "\xD0\xB8\xD0\xB7 \xD1\x84\xD0\xB0\xD0\xB9\xD0\xBB\xD0\xB0, "
    "\xD1\x8D\xD0\xBA\xD1\x81\xD0\xBF\xD0\xB5\xD1\x80\xD1\x82\xD1\x8B "
    "\xD0\xB2 \xD0\xBF\xD0\xB0\xD0\xBC\xD1\x8F\xD1\x82\xD0\xB8.\n"
    "\xE4\xB8\x93\xE5\xAE\xB6\xE5\x9C\xA8\xE5\x86\x85\xE5\xAD\x98\xE4\xB8\xAD\xEF\xBC\x8C\xE4\xB8\x93\xE5\xAE"
    "\xB6\xE5\x9C\xA8\xE6\x96\x87\xE4\xBB\xB6\xE4\xB8\xAD\xE3\x80\x82\n"
    "for (int i = 0; i < n; i++) {\n    sum += x[i];\n}\n    return sum;\n\nIt's 12 or 1234, isn't it? It's "
    "what they'd say: 12, 1234, 123456.\n";

static bpe_vocab vocab; /* each test runs in a process of its own */

static void expect_text(const mox_tokenizer *t, const char *text, size_t n, const char *where)
{
    size_t n_back = 0;
    id_list got = encode(t, text, n, false, false);
    char *back = detok_all(t, got.ids, got.n, false, &n_back);
    cr_assert(n_back == n && memcmp(back, text, n) == 0, "%s: \"%.*s\" comes back as \"%s\"", where, (int)n,
              text, back);
    free(back);
    free(got.ids);
}

/* By definition: of all neighbours, the ones whose merge stands first in the list, the leftmost of those; repeat. */
static id_list by_definition(const bpe_vocab *v, const char *word)
{
    id_list out = {calloc(strlen(word) + 1, sizeof(uint32_t)), (uint32_t)strlen(word)};
    for (uint32_t i = 0; i < out.n; i++) {
        out.ids[i] = (uint8_t)word[i];
    }
    for (;;) {
        uint32_t rank = UINT32_MAX, at = 0;
        for (uint32_t i = 0; i + 1 < out.n; i++) {
            for (uint32_t m = 0; m < v->n_merges && m < rank; m++) {
                if (v->left[m] == out.ids[i] && v->right[m] == out.ids[i + 1]) {
                    rank = m;
                    at = i;
                }
            }
        }
        if (rank == UINT32_MAX) {
            return out;
        }
        out.ids[at] = v->result[rank];
        memmove(out.ids + at + 1, out.ids + at + 2, (out.n - at - 2) * sizeof *out.ids);
        out.n--;
    }
}

Test(bpe, merging_equals_its_definition_on_random_words)
{
    /* Overlaps, the same result in two ways, results that join again, and a pair that stands in the list twice. */
    static const char *const merges[] = {"b c",     "a b",  "a a",     "ab c",  "a bc",  "aa a",
                                         "abc abc", "c a",  "b c",     "aa aa", "ca bc", "c c",
                                         "cc c",    "ba b", "b a",     "a ba",  "d d",   "dd dd",
                                         "dd d",    "aa b", "aab aab", "bc ab", "c ab",  "aaa aa"};
    bpe_init(&vocab, merges, sizeof merges / sizeof merges[0]);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "qwen2"});
    uint64_t seed = 4711;
    for (int round = 0; round < 4000; round++) {
        char word[64] = "";
        size_t n = 1 + next_random(&seed) % 40;
        for (size_t i = 0; i < n; i++) {
            word[i] = "abcd"[next_random(&seed) % (round % 3 + 2)];
        }
        id_list want = by_definition(&vocab, word);
        expect_ids(word, encode(t, word, n, false, false), want.ids, want.n);
        free(want.ids);
    }
    mox_tokenizer_destroy(&t);
}

Test(bpe, a_trained_vocabulary_compresses_and_gives_back_its_text)
{
    bpe_train(&vocab, "gpt-4o", prose, 300);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "gpt-4o"});
    expect_text(t, prose, strlen(prose), "prose");
    id_list got = encode(t, prose, strlen(prose), false, false);
    cr_expect(got.n < strlen(prose) * 2 / 3, "%u tokens for %zu bytes", got.n, strlen(prose));
    cr_expect_eq(mox_tokenizer_vocab(t), vocab.n);
    free(got.ids);
    mox_tokenizer_destroy(&t);
}

/* Any valid text comes back as it was, by every pre-tokenizer and from the vocabularies of the reference models. */
static void random_unicode(const mox_tokenizer *t, const char *name, int rounds)
{
    uint64_t seed = 7;
    for (int round = 0; round < rounds; round++) {
        char text[256];
        size_t n = 0;
        while (n < sizeof text - 8) {
            uint64_t r = next_random(&seed);
            static const uint32_t spans[] = {0x80, 0x80, 0x600, 0x3100, 0xD800, 0x110000};
            uint32_t c = (uint32_t)((r >> 8) % spans[r % 6]);
            n += put_char(text + n, c >= 0xD800 && c < 0xE000 ? ' ' : c);
        }
        expect_text(t, text, n, name);
    }
}

static void never_bos(gb *b)
{
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 0);
}

Test(bpe, random_unicode_goes_there_and_back)
{
    static const char *const models[] = {"qwen3moe-a", "deepseek2-a",  "deepseek3-a", "llama4-a",
                                         "gptoss-a",   "glm4moe-a",    "olmoe-a",     "granitemoe-a",
                                         "dbrx-a",     "hunyuanmoe-a", "minimaxm2-a"};
    char path[512], name[64];
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        snprintf(path, sizeof path, MODELS "%s.gguf", models[i]);
        mox_tokenizer *t = open_tokenizer(path);
        random_unicode(t, models[i], 100);
        mox_tokenizer_destroy(&t);
    }
    bpe_train(&vocab, "gpt-2", prose, 200);
    for (size_t i = 0; mox_pretok_at(i); i++) {
        const char *names = mox_pretok_at(i)->names;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(names, " "), names);
        mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){.pre = name, .keys = never_bos});
        random_unicode(t, name, 40);
        mox_tokenizer_destroy(&t);
    }
}

/* Bytes that are no UTF-8 are tokens too where the vocabulary has them; printed they can only be U+FFFD. */
Test(bpe, bytes_that_are_no_characters)
{
    bpe_init(&vocab, (const char *const[]){"\xC3 \xA9"}, 1);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "qwen2"});
    const uint32_t w1[] = {'a', 0xFF, 0xFE, 256, 0xC3, 'b'};
    expect_ids("bytes",
               encode(t,
                      "a\xFF\xFE\xC3\xA9\xC3"
                      "b",
                      7, false, false),
               w1, 6);
    size_t n = 0;
    char *back = detok_all(t, w1, 6, false, &n);
    cr_expect_str_eq(back, "a\xEF\xBF\xBD\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD"
                           "b");
    free(back);
    /* a character in several tokens comes out when it is whole */
    mox_detok d;
    char out[256];
    mox_detok_init(&d, t, false, true);
    cr_expect_eq(mox_detok_push(&d, 0xE4, out), 0);
    cr_expect_eq(mox_detok_push(&d, 0xB8, out), 0);
    cr_expect(mox_detok_push(&d, 0x93, out) == 3 && memcmp(out, "\xE4\xB8\x93", 3) == 0);
    mox_tokenizer_destroy(&t);
}

/* Merges that go all the way to the text of a control token, in words that are such a text as a whole. */
Test(bpe, typed_text_is_no_control_token)
{
    static const piece specials[] = {{"abc", 0, CONTROL}, {"<x>", 0, CONTROL}, {"cab", 0, UNKNOWN}};
    static const char *const raw[] = {"ab c", "<x >", "c ab"};
    static const char *const pres[] = {"qwen2", "kimi-k2"}; /* the second looks for whole words first */
    bpe_init(&vocab, (const char *const[]){"a b", "< x"}, 2);
    for (size_t i = 0; i < 2; i++) {
        mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){pres[i], specials, 3, raw, 3, NULL});
        const uint32_t w1[] = {256, 'c'}, w2[] = {257, '>'}, w3[] = {'c', 256}, w4[] = {258, 259, 260};
        expect_ids("abc", encode(t, "abc", 3, false, false), w1, 2);
        expect_ids("<x>", encode(t, "<x>", 3, false, false), w2, 2);
        expect_ids("cab", encode(t, "cab", 3, false, false), w3, 2);
        expect_ids("parsed", encode(t, "abc<x>cab", 9, false, true), w4, 3);
        mox_tokenizer_destroy(&t);
    }
}

Test(bpe, user_defined_tokens_are_cut_out_and_printed_as_they_are)
{
    static const piece pieces[] = {{"<think>", 0, USER},
                                   {"\xC3\xA9", 0, USER},
                                   {"  ", 0, USER},
                                   {"[PAD1]", 0, UNUSED},
                                   {"a b", 0, NORMAL}};
    bpe_init(&vocab, (const char *const[]){"\xC3 \xA9", "i n"}, 2);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){"kimi-k2", pieces, 5, NULL, 0, NULL});
    enum { E_ACUTE = 256, IN, THINK, USER_E, TWO_SPACES, PAD, A_B };
    const uint32_t w1[] = {'a', THINK, IN}, w2[] = {USER_E, TWO_SPACES, 'x'}, w3[] = {'a', ' ', 'b'};
    expect_ids("<think>", encode(t, "a<think>in", 10, false, false), w1, 3);
    expect_ids("the user's", encode(t, "\xC3\xA9  x", 5, false, false), w2, 3);
    expect_ids("no bytes", encode(t, "a b", 3, false, false), w3, 3);
    expect_text(t, "a<think>in \xC3\xA9  x[PAD1]", 22, "user-defined");
    id_list pad = encode(t, "[PAD1]", 6, false, false);
    cr_expect_gt(pad.n, 1);
    free(pad.ids);
    size_t n = 0;
    char *back = detok_all(t, (const uint32_t[]){A_B, E_ACUTE, PAD}, 3, false, &n);
    cr_expect_str_eq(back, "a b\xC3\xA9[PAD1]");
    free(back);
    mox_tokenizer_destroy(&t);
}

/* A word that is a token, though no merges lead to it. */
Test(bpe, ignore_merges_takes_whole_words)
{
    static const piece whole[] = {{"\xC4\xA0hello", 0, NORMAL}}; /* " hello" */
    bpe_init(&vocab, (const char *const[]){"h e"}, 1);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){"kimi-k2", whole, 1, NULL, 0, NULL});
    const uint32_t w1[] = {257}, w2[] = {' ', 256, 'l', 'l', 'o'};
    expect_ids("whole", encode(t, " hello", 6, false, false), w1, 1);
    expect_text(t, " hello hello", 12, "whole words");
    mox_tokenizer_destroy(&t);
    t = bpe_tokenizer(&vocab, &(bpe_file){"qwen2", whole, 1, NULL, 0, NULL});
    expect_ids("by merges", encode(t, " hello", 6, false, false), w2, 5);
    mox_tokenizer_destroy(&t);
}

static void bos_and_eos(gb *b)
{
    gb_kv_u32(b, "tokenizer.ggml.bos_token_id", 'B');
    gb_kv_u32(b, "tokenizer.ggml.eos_token_id", 'E');
}

static void no_bos(gb *b)
{
    bos_and_eos(b);
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 0);
}

static void both(gb *b)
{
    bos_and_eos(b);
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 1);
    gb_kv_bool(b, "tokenizer.ggml.add_eos_token", 1);
}

static void prefix(gb *b)
{
    gb_kv_bool(b, "tokenizer.ggml.add_space_prefix", 1);
}

Test(bpe, bos_eos_and_prefix_follow_the_keys_then_the_pre_tokenizer)
{
    static const struct {
        const char *pre;
        void (*keys)(gb *b);
        const char *want;
    } cases[] = {{"llama-bpe", bos_and_eos, "Bxy"}, {"tekken", bos_and_eos, "Bxy"},
                 {"qwen2", bos_and_eos, "xy"},      {"glm4", bos_and_eos, "xy"},
                 {"llama-bpe", no_bos, "xy"},       {"qwen2", both, "BxyE"},
                 {"qwen2", prefix, " xy"}};
    bpe_init(&vocab, NULL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){.pre = cases[i].pre, .keys = cases[i].keys});
        uint32_t want[8];
        size_t n = strlen(cases[i].want);
        for (size_t k = 0; k < n; k++) {
            want[k] = (uint8_t)cases[i].want[k];
        }
        expect_ids(cases[i].pre, encode(t, "xy", 2, true, false), want, n);
        mox_tokenizer_destroy(&t);
    }
    mox_tokenizer *t = NULL;
    cr_expect_eq(bpe_create(&t, &vocab, &(bpe_file){.pre = "llama3"}), MOX_E_TOKENIZER);
    cr_expect(strstr(mox_err_last()->msg, "beginning"));
    t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "qwen2"});
    const mox_token_ids *ids = mox_tokenizer_ids(t);
    cr_expect(ids->bos == MOX_TOKEN_NONE && ids->eos == MOX_TOKEN_NONE && ids->unk == MOX_TOKEN_NONE);
    mox_tokenizer_destroy(&t);
}

Test(bpe, the_added_space_goes_again)
{
    static const piece user[] = {{"[u]", 0, USER}};
    bpe_init(&vocab, NULL, 0);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){"gpt-2", user, 1, NULL, 0, prefix});
    const uint32_t w1[] = {' ', 'a', 256, ' ', 'b'}, w2[] = {' ', 'a'};
    expect_ids("before each text", encode(t, "a[u]b", 5, false, false), w1, 5);
    expect_ids("there is one", encode(t, " a", 2, false, false), w2, 2);
    expect_text(t, "a", 1, "prefix");
    mox_tokenizer_destroy(&t);
}

Test(bpe, pre_tokenizers_that_are_not_known_or_not_said)
{
    mox_tokenizer *t = NULL;
    bpe_init(&vocab, NULL, 0);
    cr_expect_eq(bpe_create(&t, &vocab, &(bpe_file){.pre = "rot13\x1B"}), MOX_E_TOKENIZER);
    cr_expect_null(t);
    cr_expect(strstr(mox_err_last()->msg, "\"rot13\\x1B\" is unknown"), "%s", mox_err_last()->msg);
    cr_expect(strstr(mox_err_last()->msg, " deepseek-v3 ") && strstr(mox_err_last()->msg, " default"), "%s",
              mox_err_last()->msg);
    static const char *const unsaid[] = {NULL, "default"};
    for (size_t i = 0; i < 2; i++) {
        t = bpe_tokenizer(&vocab, &(bpe_file){.pre = unsaid[i]});
        cr_assert_not_null(mox_tokenizer_note(t));
        cr_expect(strstr(mox_tokenizer_note(t), "tokenizer.ggml.pre"));
        mox_tokenizer_destroy(&t);
    }
    t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "gpt-2"});
    cr_expect_null(mox_tokenizer_note(t));
    mox_tokenizer_destroy(&t);
}

Test(bpe, merges_that_cannot_be)
{
    static const struct {
        const char *merge, *says;
    } cases[] = {{"ab", "no space"},           {"", "no space"},      {" ", "no space"},
                 {"a ", "stand for no bytes"}, {"a b c", "no bytes"}, {"a \xE2\x82\xAC", "no bytes"},
                 {"q zz", "no token"},         {"a b", "no token"}};
    bpe_init(&vocab, NULL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        mox_tokenizer *t = NULL;
        cr_expect_eq(
            bpe_create(&t, &vocab, &(bpe_file){.pre = "qwen2", .raw_merges = &cases[i].merge, .n_raw = 1}),
            MOX_E_TOKENIZER, "\"%s\"", cases[i].merge);
        cr_expect(strstr(mox_err_last()->msg, cases[i].says), "\"%s\": %s", cases[i].merge,
                  mox_err_last()->msg);
        mox_tokenizer_destroy(&t);
    }
}

static void unknown_id(gb *b)
{
    gb_kv_u32(b, "tokenizer.ggml.unknown_token_id", 'U');
}

Test(bpe, bytes_without_a_token)
{
    mox_tokenizer *t = NULL;
    uint32_t ids[8], n = 0;
    void *work = malloc(mox_tokenizer_work_bytes(4));
    bpe_init(&vocab, NULL, 0);
    vocab.text[0xFF][0] = vocab.text[0xFE][0]; /* twice 0xFE instead */
    t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "qwen2"});
    cr_expect_eq(mox_tokenizer_encode(t, "a\xFF", 2, false, false, ids, 8, &n, work), MOX_E_TOKENIZER);
    cr_expect(strstr(mox_err_last()->msg, "0xFF"), "%s", mox_err_last()->msg);
    mox_tokenizer_destroy(&t);
    t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "qwen2", .keys = unknown_id});
    const uint32_t want[] = {'a', 'U'};
    expect_ids("unknown", encode(t, "a\xFF", 2, false, false), want, 2);
    mox_tokenizer_destroy(&t);
    vocab.text['x'][0] = 'y';
    cr_expect_eq(bpe_create(&t, &vocab, &(bpe_file){.pre = "qwen2"}), MOX_E_TOKENIZER);
    cr_expect(strstr(mox_err_last()->msg, "0x78"), "%s", mox_err_last()->msg);
    free(work);
}

/* Qwen's vocabulary has "</s>" as a plain piece that text merges into: that is no end, and stays what text becomes. */
Test(bpe, texts_of_ends_that_are_plain_pieces)
{
    static const piece ends[] = {
        {"<|im_end|>", 0, NORMAL}, {"<|endoftext|>", 0, CONTROL}, {"[e~[", 0, CONTROL}};
    bpe_init(&vocab, (const char *const[]){"< /", "s >", "</ s>"}, 3);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){"qwen2", ends, 3, NULL, 0, NULL});
    for (uint32_t id = 0; id < vocab.n + 3; id++) {
        cr_expect_eq(mox_token_is_end(t, id), id >= vocab.n, "id %u", id);
    }
    const uint32_t w1[] = {256, 's', '>'};
    expect_ids("in three words", encode(t, "</s>", 4, false, false), w1, 3);
    cr_expect_eq(mox_tokenizer_ids(t)->eot, vocab.n);
    id_list typed = encode(t, "<|im_end|>", 10, false, false);
    cr_expect_gt(typed.n, 1);
    free(typed.ids);
    mox_tokenizer_destroy(&t);
}

/* gpt-oss: <|end|> ends a message within an answer, and what stands between messages is printed. */
Test(bpe, messages_within_an_answer)
{
    static const piece harmony[] = {{"<|return|>", 0, CONTROL},  {"<|call|>", 0, CONTROL},
                                    {"<|end|>", 0, CONTROL},     {"<|channel|>", 0, CONTROL},
                                    {"<|message|>", 0, CONTROL}, {"<|x|>", 0, CONTROL}};
    bpe_init(&vocab, NULL, 0);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){"gpt-4o", harmony, 6, NULL, 0, NULL});
    for (uint32_t id = 256; id < 262; id++) {
        cr_expect_eq(mox_token_is_end(t, id), id < 258, "id %u", id);
    }
    size_t n = 0;
    char *back = detok_all(t, (const uint32_t[]){259, 'a', 260, 'b', 258, 261, 256}, 7, false, &n);
    cr_expect_str_eq(back, "<|channel|>a<|message|>b<|end|>");
    free(back);
    id_list typed = encode(t, "<|channel|>", 11, false, false);
    cr_expect_gt(typed.n, 1);
    free(typed.ids);
    mox_tokenizer_destroy(&t);
    t = bpe_tokenizer(&vocab, &(bpe_file){"gpt-4o", harmony + 1, 4, NULL, 0, NULL});
    cr_expect(mox_token_is_end(t, 257), "<|end|> without <|return|>");
    mox_tokenizer_destroy(&t);
}

/* Every run of the letter is a piece; in whatever order the merges stand, the text is whole and soon done. */
Test(bpe, a_mebibyte_against_every_run_of_one_letter, .timeout = 120)
{
    enum { N = 1 << 20, LONGEST = 600 };
    static char run[LONGEST + 1];
    char *text = malloc(N);
    memset(text, 'a', N);
    for (int order = 0; order < 3; order++) {
        bpe_init(&vocab, NULL, 0);
        for (int k = 2; k <= LONGEST; k++) { /* one more letter; halves; the two taking turns */
            int left = order == 0 ? k - 1 : order == 1 ? k / 2 : k % 2 ? 1 : k / 2;
            char l[LONGEST + 1] = "", r[LONGEST + 1] = "";
            memset(run, 'a', LONGEST);
            memcpy(l, run, (size_t)left);
            memcpy(r, run, (size_t)(k - left));
            bpe_add(&vocab, l, r);
        }
        mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "qwen2"});
        clock_t begin = clock();
        id_list got = encode(t, text, N, false, false);
        double cpu_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
        cr_expect(SANITIZED || cpu_s < 2, "order %d: %.2f s of processor", order, cpu_s);
        size_t n = 0;
        for (uint32_t i = 0; i < got.n; i++) {
            n += vocab.len[got.ids[i]];
        }
        cr_expect(n == N && got.n <= N / 2, "order %d: %zu bytes in %u tokens", order, n, got.n);
        free(got.ids);
        mox_tokenizer_destroy(&t);
    }
    free(text);
}

Test(bpe, too_little_room_says_how_much_is_needed)
{
    uint32_t ids[4] = {7, 7, 7, 7}, n = 0;
    void *work = malloc(mox_tokenizer_work_bytes(4));
    bpe_init(&vocab, NULL, 0);
    mox_tokenizer *t = bpe_tokenizer(&vocab, &(bpe_file){.pre = "qwen2"});
    cr_expect_eq(mox_tokenizer_encode(t, "abcd", 4, true, false, ids, 3, &n, work), MOX_E_LIMIT);
    cr_expect(n == 4 && ids[2] == 'c' && ids[3] == 7);
    cr_expect_eq(mox_tokenizer_encode(t, "abcd", 4, true, false, ids, 4, &n, work), MOX_OK);
    free(work);
    mox_tokenizer_destroy(&t);
}
