/* The streaming detokeniser: valid UTF-8 after every token, whatever the tokens. */
#include "runtime/gguf/utf8.h"
#include "tokenizer/vocab.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { M = V_FIRST, A, MA, HALF, U, EMPTY };
static const piece pieces[] = {
    {MARK, -1, NORMAL},        {"a", -2, NORMAL},      {MARK "a", -1, NORMAL},
    {"x\xC3\xA9", -1, NORMAL}, {"[u] " MARK, 0, USER}, {"", -1, NORMAL},
};
enum { N_PIECES = sizeof pieces / sizeof pieces[0] };

static void expect_text(const mox_tokenizer *t, const uint32_t *ids, size_t n, bool special, const char *want)
{
    size_t len = 0;
    char *got = detok_all(t, ids, n, special, &len);
    cr_expect_str_eq(got, want);
    free(got);
}

static bool is_valid(const char *p, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t used = mox_utf8_next(p + i, n - i, NULL);
        if (!used) {
            return false;
        }
        i += used;
    }
    return true;
}

Test(detok, marks_spaces_and_special_tokens)
{
    mox_tokenizer *t = vocab_tokenizer(pieces, N_PIECES, NULL);
    expect_text(t, (uint32_t[]){V_BOS, MA, MA, M, M, A, V_EOS}, 7, false, "a a  a");
    expect_text(t, (uint32_t[]){V_BOS, MA, V_UNK, V_EOS}, 4, true, "<s>a<unk></s>");
    expect_text(t, (uint32_t[]){M, MA}, 2, false, " a");
    expect_text(t, (uint32_t[]){A, MA}, 2, false, "a a");
    expect_text(t, (uint32_t[]){EMPTY, U, V_BYTE0 + '\n'}, 3, false, "[u] " MARK "\n");
    expect_text(t, (uint32_t[]){V_BYTE0 + ' ', MA}, 2, false, "  a");
    expect_text(t, (uint32_t[]){A, 100000, A}, 3, false, "aa");
    mox_tokenizer_destroy(&t);
}

static void no_prefix(gb *b)
{
    gb_kv_bool(b, "tokenizer.ggml.add_space_prefix", 0);
}

Test(detok, the_first_space_goes_only_where_the_model_adds_one)
{
    mox_tokenizer *t = vocab_tokenizer(pieces, N_PIECES, no_prefix);
    expect_text(t, (uint32_t[]){MA, MA}, 2, false, " a a");
    mox_tokenizer_destroy(&t);

    t = vocab_tokenizer(pieces, N_PIECES, NULL);
    char out[256];
    mox_detok d;
    mox_detok_init(&d, t, false, false); /* in the middle of a text */
    cr_expect_eq(mox_detok_push(&d, MA, out), 2);
    cr_expect(memcmp(out, " a", 2) == 0);
    mox_tokenizer_destroy(&t);
}

/* Each character byte by byte: nothing until the last byte, then all of it. */
Test(detok, characters_cut_everywhere)
{
    static const char *const chars[] = {
        "\x7F",         "\xC2\x80",     "\xC3\xA9",         "\xE0\xA0\x80",     "\xED\x9F\xBF",
        "\xEE\x80\x80", "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF0\x9F\x9A\x80", "\xF4\x8F\xBF\xBF"};
    mox_tokenizer *t = vocab_tokenizer(pieces, N_PIECES, NULL);
    for (size_t i = 0; i < sizeof chars / sizeof chars[0]; i++) {
        char out[256];
        size_t n = strlen(chars[i]);
        mox_detok d;
        mox_detok_init(&d, t, false, true);
        for (size_t k = 0; k < n; k++) {
            size_t got = mox_detok_push(&d, V_BYTE0 + (uint8_t)chars[i][k], out);
            cr_expect_eq(got, k + 1 < n ? 0 : n, "character %zu, byte %zu", i, k);
        }
        cr_expect(memcmp(out, chars[i], n) == 0);
        cr_expect_eq(mox_detok_flush(&d, out), 0);
        /* Cut off after each byte, then the end of the text: one replacement. */
        for (size_t k = 1; k < n; k++) {
            mox_detok_init(&d, t, false, true);
            for (size_t b = 0; b < k; b++) {
                mox_detok_push(&d, V_BYTE0 + (uint8_t)chars[i][b], out);
            }
            cr_expect(mox_detok_flush(&d, out) == 3 && memcmp(out, "\xEF\xBF\xBD", 3) == 0);
            cr_expect_eq(mox_detok_flush(&d, out), 0);
        }
    }
    mox_tokenizer_destroy(&t);
}

#define BAD "\xEF\xBF\xBD"

Test(detok, what_can_never_become_a_character)
{
    static const struct {
        const char *bytes, *want;
    } cases[] = {
        {"\x80", BAD},
        {"\xC0\xAF", BAD BAD},
        {"\xE2\x82"
         "a",
         BAD "a"},
        {"\xF0\x9F\x9A"
         "a",
         BAD "a"},
        {"\xF0\x9F\xC3\xA9", BAD "\xC3\xA9"},
        {"\xED\xA0\x80", BAD BAD BAD},
        {"\xF4\x90\x80\x80", BAD BAD BAD BAD},
        {"\xE0\x80\x80", BAD BAD BAD},
        {"\xFF\xFE"
         "b",
         BAD BAD "b"},
        {"\xE2\xE2\x82\xAC", BAD "\xE2\x82\xAC"},
        {"a\xC3", "a" BAD},
    };
    mox_tokenizer *t = vocab_tokenizer(pieces, N_PIECES, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t ids[8];
        size_t n = strlen(cases[i].bytes);
        for (size_t k = 0; k < n; k++) {
            ids[k] = V_BYTE0 + (uint8_t)cases[i].bytes[k];
        }
        expect_text(t, ids, n, false, cases[i].want);
    }
    /* half a character, then a piece that begins anew */
    expect_text(t, (uint32_t[]){V_BYTE0 + 0xE2, HALF}, 2, false, BAD "x\xC3\xA9");
    mox_tokenizer_destroy(&t);
}

/* Whatever ids come, what is out so far is valid; and cutting the stream elsewhere does not change the text.
 */
Test(detok, random_ids)
{
    mox_tokenizer *t = vocab_tokenizer(pieces, N_PIECES, NULL);
    uint32_t vocab = mox_tokenizer_vocab(t);
    uint64_t s = 42;
    for (int round = 0; round < 500; round++) {
        uint32_t ids[40];
        mox_detok d;
        char out[4096];
        size_t n = 0, whole = 0;
        mox_detok_init(&d, t, round & 1, true);
        for (int i = 0; i < 40; i++) {
            s ^= s << 13, s ^= s >> 7, s ^= s << 17;
            ids[i] = s & 1 ? (uint32_t)(V_BYTE0 + 0x80 + (s >> 8) % 128) : (uint32_t)((s >> 8) % vocab);
            n += mox_detok_push(&d, ids[i], out + n);
            cr_assert(is_valid(out, n), "round %d, token %d", round, i);
        }
        n += mox_detok_flush(&d, out + n);
        cr_assert(is_valid(out, n));
        char *again = detok_all(t, ids, 40, round & 1, &whole);
        cr_assert(whole == n && memcmp(again, out, n) == 0);
        free(again);
    }
    mox_tokenizer_destroy(&t);
}
