/* SentencePiece: an independent quadratic version of the merging as
 * the oracle on random text, special tokens, and texts that are hard on bad algorithms. */
#include "runtime/gguf/utf8.h"
#include "sanitized.h"
#include "tokenizer/original.h"
#include "tokenizer/vocab.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MODELS MOX_TEST_DATA "/models/"

/* The same by definition: of all neighbours whose union is a piece, merge the best, the leftmost of equals;
 * repeat. */
typedef struct oracle {
    const mox_tokenizer *t;
    uint32_t first, n; /* ids of the pieces */
    const piece *pieces;
} oracle;

static uint32_t oracle_find(const oracle *o, const char *p, size_t n)
{
    uint32_t hit = MOX_TOKEN_NONE;
    for (uint32_t i = 0; i < o->n; i++) {
        if (strlen(o->pieces[i].text) == n && memcmp(o->pieces[i].text, p, n) == 0) {
            hit = o->first + i;
        }
    }
    return hit;
}

static id_list oracle_encode(const oracle *o, const char *text, size_t n_text)
{
    char *s = malloc(3 * n_text + 4);
    size_t *at = malloc((n_text + 3) * sizeof *at), n = 0, n_sym = 0;
    memcpy(s, MARK, 3);
    n = 3;
    for (size_t i = 0; i < n_text; i++) {
        memcpy(s + n, text[i] == ' ' ? MARK : text + i, text[i] == ' ' ? 3 : 1);
        n += text[i] == ' ' ? 3 : 1;
    }
    for (size_t i = 0; i < n; n_sym++) {
        size_t used = mox_utf8_next(s + i, n - i, NULL);
        at[n_sym] = i;
        i += used ? used : 1;
    }
    at[n_sym] = n;
    for (;;) {
        size_t best = SIZE_MAX;
        float score = 0;
        for (size_t i = 0; i + 1 < n_sym; i++) {
            uint32_t id = oracle_find(o, s + at[i], at[i + 2] - at[i]);
            if (id != MOX_TOKEN_NONE && (best == SIZE_MAX || o->pieces[id - o->first].score > score)) {
                best = i;
                score = o->pieces[id - o->first].score;
            }
        }
        if (best == SIZE_MAX) {
            break;
        }
        memmove(&at[best + 1], &at[best + 2], (n_sym - best - 1) * sizeof *at);
        n_sym--;
    }
    id_list out = {malloc((n + 1) * sizeof(uint32_t)), 0};
    for (size_t i = 0; i < n_sym; i++) {
        uint32_t id = oracle_find(o, s + at[i], at[i + 1] - at[i]);
        for (size_t k = at[i]; k < at[i + 1]; k++) {
            out.ids[out.n++] = id != MOX_TOKEN_NONE ? id : (uint32_t)V_BYTE0 + (uint8_t)s[k];
            k = id != MOX_TOKEN_NONE ? at[i + 1] : k;
        }
    }
    free(s);
    free(at);
    return out;
}

Test(spm, merging_equals_its_definition_on_random_text)
{
    /* Equal scores, overlapping pieces, and pieces whose parts are none ("xyz" without "xy" or "yz"). */
    static const piece pieces[] = {
        {MARK, -1, NORMAL},       {"a", -2, NORMAL},         {"b", -2, NORMAL},       {"c", -3, NORMAL},
        {"ab", -10, NORMAL},      {"bc", -10, NORMAL},       {"ba", -4, NORMAL},      {"abc", -1, NORMAL},
        {"aa", -6, NORMAL},       {"aaa", -5, NORMAL},       {"aaaa", -7, NORMAL},    {MARK "a", -8, NORMAL},
        {MARK MARK, -9, NORMAL},  {MARK "ab", -2, NORMAL},   {"c" MARK, -10, NORMAL}, {"xyz", -1, NORMAL},
        {"\xC3\xA9", -3, NORMAL}, {"a\xC3\xA9", -2, NORMAL}, {"bab", -4, NORMAL},     {"cab" MARK, 0, UNUSED},
    };
    static const char *const atoms[] = {"a", "b", "c",   " ",    "aa",       "\xC3\xA9", "x",
                                        "y", "z", "xyz", "\xC3", "\xF0\x9F", "cab "};
    enum { N = sizeof pieces / sizeof pieces[0] };
    mox_tokenizer *t = vocab_tokenizer(pieces, N, NULL);
    oracle o = {t, V_FIRST, N, pieces};
    uint64_t seed = 4711;
    for (int round = 0; round < 3000; round++) {
        char text[128] = "";
        size_t n = 1 + next_random(&seed) % 24;
        for (size_t i = 0; i < n; i++) {
            strcat(text, atoms[next_random(&seed) % (sizeof atoms / sizeof atoms[0])]);
        }
        id_list want = oracle_encode(&o, text, strlen(text));
        expect_ids(text, encode(t, text, strlen(text), false, false), want.ids, want.n);
        free(want.ids);
    }
    mox_tokenizer_destroy(&t);
}

/* A run of one letter is the worst case for scanning; with n log n this is over at once, quadratic work is
 * not. */
Test(spm, a_mebibyte_of_one_letter, .timeout = 60)
{
    static const piece pieces[] = {{MARK, -9, NORMAL},
                                   {"a", -8, NORMAL},
                                   {"aa", -1, NORMAL},
                                   {"aaa", -3, NORMAL},
                                   {"aaaa", -2, NORMAL},
                                   {"aaaaaaaa", -4, NORMAL},
                                   {"aaaaaaaaaaaaaaaa", -5, NORMAL}};
    enum { N = 1 << 20 };
    mox_tokenizer *t = vocab_tokenizer(pieces, 7, NULL);
    char *text = malloc(N);
    memset(text, 'a', N);
    id_list got = encode(t, text, N, true, false);
    cr_assert_eq(got.n, 2 + N / 16);
    cr_expect(got.ids[0] == V_BOS && got.ids[1] == V_FIRST);
    for (uint32_t i = 2; i < got.n; i++) {
        cr_assert_eq(got.ids[i], V_FIRST + 6);
    }
    free(got.ids);
    free(text);
    mox_tokenizer_destroy(&t);
}

/* G91. Every run of the letter up to the longest token is a piece. Whatever order the scores put them in, the text comes
 * back whole, and within seconds of processor, where work that grows with the square takes hours. */
Test(spm, a_mebibyte_against_every_run_of_it, .timeout = 60)
{
    enum { N = 1 << 20, LONGEST = 1024, PIECES = LONGEST + 1, CPU_S = 2 };
    static char run[LONGEST + 1];
    static piece pieces[PIECES];
    memset(run, 'a', LONGEST);
    char *text = malloc(N);
    memset(text, 'a', N);
    for (int order = 0; order < 4; order++) { /* longer is better; worse; all the same; no order at all */
        pieces[0] = (piece){MARK, -9, NORMAL};
        for (int n = 1; n <= LONGEST; n++) {
            float mixed = (float)((unsigned)n * 2654435761u % 1021);
            pieces[n].text = run + LONGEST - n;
            pieces[n].score = order == 0 ? (float)n : order == 1 ? -(float)n : order == 2 ? 0.0f : mixed;
            pieces[n].type = NORMAL;
        }
        mox_tokenizer *t = vocab_tokenizer(pieces, PIECES, NULL);
        clock_t begin = clock();
        id_list got = encode(t, text, N, false, false);
        double cpu_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
        cr_expect(SANITIZED || cpu_s < CPU_S, "order %d: %.2f s of processor", order, cpu_s);
        size_t n = 0;
        for (uint32_t i = 0; i < got.n; i++) {
            cr_assert(got.ids[i] >= V_FIRST);
            n += i > 0 ? mox_token_text(t, got.ids[i]).n : 0;
        }
        cr_expect(got.ids[0] == V_FIRST && n == N, "order %d: %zu bytes in %u tokens", order, n, got.n);
        free(got.ids);
        mox_tokenizer_destroy(&t);
    }
    free(text);
}

/* Every byte string is text: without control tokens, and the bytes of the tokens give it back. */
Test(spm, arbitrary_bytes_go_there_and_back)
{
    mox_tokenizer *t = open_tokenizer(MODELS "mixtral-a.gguf");
    uint64_t seed = 99;
    for (int round = 0; round < 2000; round++) {
        char text[64], back[2048];
        size_t n = next_random(&seed) % sizeof text, used = 0;
        for (size_t i = 0; i < n; i++) {
            text[i] = (char)(next_random(&seed) % 3 ? next_random(&seed) % 128 : next_random(&seed));
        }
        id_list got = encode(t, text, n, false, false);
        for (uint32_t i = 0; i < got.n; i++) {
            mox_str s = mox_token_text(t, got.ids[i]);
            unsigned byte = 0;
            cr_assert(got.ids[i] > 2, "a control token from plain bytes");
            if (s.n == 6 && sscanf(s.p, "<0x%02X>", &byte) == 1) {
                back[used++] = (char)byte;
                continue;
            }
            for (size_t k = 0; k < s.n; k++) {
                bool mark = s.n - k >= 3 && memcmp(s.p + k, MARK, 3) == 0;
                back[used++] = mark ? ' ' : s.p[k];
                k += mark ? 2 : 0;
            }
        }
        size_t skip = n ? 1 : 0; /* the space that the model adds */
        cr_assert(used == n + skip && memcmp(back + skip, text, n) == 0, "round %d", round);
        free(got.ids);
    }
    mox_tokenizer_destroy(&t);
}

/* Text never becomes a control, unknown or byte token by its letters, whatever pieces the vocabulary has. */
Test(spm, typed_text_is_no_special_token)
{
    static const piece pieces[] = {
        {MARK, -1, NORMAL},    {"<", -2, NORMAL},    {"s", -2, NORMAL},    {">", -2, NORMAL},
        {"<s", -1, NORMAL},    {"/", -2, NORMAL},    {"</", -1, NORMAL},   {"</s", -1, NORMAL},
        {"<|x|>", 0, CONTROL}, {"|", -2, NORMAL},    {"x", -2, NORMAL},    {"<|x", -1, NORMAL},
        {"<|x|", -1, NORMAL},  {"<|", -1, NORMAL},   {"<0x4", -1, NORMAL}, {"<0x41", -1, NORMAL},
        {"<0", -1, NORMAL},    {"<0x", -1, NORMAL},  {"0", -2, NORMAL},    {"4", -2, NORMAL},
        {"1", -2, NORMAL},     {"<unk", -1, NORMAL},
    };
    static const char *const texts[] = {"<s>", "</s>", "<|x|>", "<0x41>", "<unk>", "<s><|x|></s>"};
    mox_tokenizer *t = vocab_tokenizer(pieces, sizeof pieces / sizeof pieces[0], NULL);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        id_list got = encode(t, texts[i], strlen(texts[i]), false, false);
        size_t n = 0;
        char *back = detok_all(t, got.ids, got.n, false, &n);
        for (uint32_t k = 0; k < got.n; k++) {
            cr_expect(got.ids[k] > V_EOS && got.ids[k] != V_FIRST + 8 && got.ids[k] != V_BYTE0 + 0x41,
                      "%s: id %u", texts[i], got.ids[k]);
        }
        cr_expect_str_eq(back, texts[i]);
        free(back);
        free(got.ids);
    }
    const uint32_t want[] = {V_BOS, V_FIRST + 8, V_EOS};
    expect_ids("parsed", encode(t, texts[5], strlen(texts[5]), false, true), want, 3);
    const uint32_t unk[] = {V_UNK};
    expect_ids("unk parsed", encode(t, "<unk>", 5, false, true), unk, 1);
    mox_tokenizer_destroy(&t);
}

/* G92: special tokens that begin alike; the longest one at the leftmost place. */
Test(spm, user_defined_tokens_are_always_cut_out)
{
    static const piece pieces[] = {
        {MARK, -1, NORMAL}, {"a", -2, NORMAL},   {MARK "a", -1, NORMAL}, {"[u]", 0, USER},
        {"[u]x", 0, USER},  {"[u]xyz", 0, USER}, {"[c]", 0, CONTROL},    {"[c]a", 0, USER},
        {"  ", 0, USER},    {"[d]", 0, CONTROL}, {"[d]", 0, CONTROL},
    };
    enum { M = V_FIRST, A, MA, U, UX, UXYZ, C, CA, SP, D1, D2 };
    mox_tokenizer *t = vocab_tokenizer(pieces, D2 + 1 - V_FIRST, NULL);
    const uint32_t w1[] = {MA, U, MA}, w2[] = {UX, M, V_BYTE0 + 'y'}, w3[] = {UXYZ, UXYZ}, w4[] = {CA},
                   w5[] = {C, M, V_BYTE0 + 'b'};
    const uint32_t w6[] = {MA, SP, MA}, w7[] = {MA, SP, M, MA};
    expect_ids("a[u]a", encode(t, "a[u]a", 5, false, false), w1, 3);
    expect_ids("[u]xy", encode(t, "[u]xy", 5, false, false), w2, 3);
    expect_ids("[u]xyz twice", encode(t, "[u]xyz[u]xyz", 12, false, false), w3, 2);
    expect_ids("[c]a", encode(t, "[c]a", 4, false, true), w4, 1);
    expect_ids("[c]b", encode(t, "[c]b", 4, false, true), w5, 3);
    expect_ids("a  a", encode(t, "a  a", 4, false, false), w6, 3);
    expect_ids("a   a", encode(t, "a   a", 5, false, false), w7, 4);
    for (int again = 0; again < 3; again++) { /* of equal texts the later one, every time */
        const uint32_t w8[] = {D2, M, V_BYTE0 + 'b'};
        expect_ids("[d]b", encode(t, "[d]b", 4, false, true), w8, 3);
    }
    id_list plain = encode(t, "[c]b", 4, false, false);
    for (uint32_t i = 0; i < plain.n; i++) {
        cr_expect_neq(plain.ids[i], C);
    }
    free(plain.ids);
    mox_tokenizer_destroy(&t);
}

static void no_prefix(gb *b)
{
    gb_kv_bool(b, "tokenizer.ggml.add_space_prefix", 0);
}

static void bos_and_eos(gb *b)
{
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 1);
    gb_kv_bool(b, "tokenizer.ggml.add_eos_token", 1);
}

static void neither(gb *b)
{
    gb_kv_bool(b, "tokenizer.ggml.add_bos_token", 0);
}

Test(spm, space_prefix_bos_and_eos_follow_the_keys)
{
    static const piece pieces[] = {
        {MARK, -1, NORMAL}, {"a", -2, NORMAL}, {MARK "a", -1, NORMAL}, {"[u]", 0, USER}};
    enum { M = V_FIRST, A, MA, U };
    mox_tokenizer *t = vocab_tokenizer(pieces, 4, no_prefix);
    const uint32_t w1[] = {V_BOS, A, MA}, w2[] = {A, U, A};
    expect_ids("no prefix", encode(t, "a a", 3, true, false), w1, 3);
    expect_ids("no prefix after a special token", encode(t, "a[u]a", 5, false, false), w2, 3);
    mox_tokenizer_destroy(&t);

    t = vocab_tokenizer(pieces, 4, bos_and_eos);
    const uint32_t w3[] = {V_BOS, MA, V_EOS}, w4[] = {MA}, w5[] = {V_BOS, V_EOS}, w6[] = {U, MA};
    expect_ids("both", encode(t, "a", 1, true, false), w3, 3);
    expect_ids("neither wanted", encode(t, "a", 1, false, false), w4, 1);
    expect_ids("empty", encode(t, "", 0, true, false), w5, 2);
    expect_ids("empty, none", encode(t, "", 0, false, false), w5, 0);
    expect_ids("prefix after a special token", encode(t, "[u]a", 4, false, false), w6, 2);
    mox_tokenizer_destroy(&t);

    t = vocab_tokenizer(pieces, 4, neither);
    expect_ids("a model without bos", encode(t, "a", 1, true, false), w4, 1);
    mox_tokenizer_destroy(&t);
}

Test(spm, too_little_room_says_how_much_is_needed)
{
    static const piece pieces[] = {{MARK, -1, NORMAL}, {"a", -2, NORMAL}};
    mox_tokenizer *t = vocab_tokenizer(pieces, 2, NULL);
    uint32_t ids[6] = {7, 7, 7, 7, 7, 7}, n = 0;
    void *work = malloc(mox_tokenizer_work_bytes(4));
    cr_expect_eq(mox_tokenizer_encode(t, "aaaa", 4, true, false, ids, 3, &n, work), MOX_E_LIMIT);
    cr_expect(n == 6 && ids[2] == V_FIRST + 1 && ids[3] == 7);
    cr_expect_eq(mox_tokenizer_encode(t, "aaaa", 4, true, false, NULL, 0, &n, work), MOX_E_LIMIT);
    cr_expect_eq(n, 6);
    cr_expect_eq(mox_tokenizer_encode(t, "aaaa", 4, true, false, ids, 6, &n, work), MOX_OK);
    cr_expect_eq(n, 6);
    free(work);
    mox_tokenizer_destroy(&t);
}
