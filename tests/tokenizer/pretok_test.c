/* Pre-tokenizers: the words that the publishers' own patterns give (words.json, made with Oniguruma), the same words with
 * and without machine code, and no text that takes long. */
#include "runtime/gguf/utf8.h"
#include "runtime/tokenizer/pretok.h"
#include "sanitized.h"
#include "tokenizer/vocab.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct words {
    size_t len[4096];
    size_t n, bytes;
} words;

static mox_err add_word(void *ctx, const char *word, size_t n)
{
    words *w = ctx;
    (void)word;
    cr_assert(n > 0, "an empty word");
    w->bytes += n;
    w->len[w->n < 4096 ? w->n : 4095] = n;
    w->n++;
    return MOX_OK;
}

static mox_pretok *open_row(const mox_pretok_row *row, bool jit)
{
    mox_pretok *p = NULL;
    cr_assert_not_null(row);
    cr_assert_eq(mox_pretok_create(&p, row, jit), MOX_OK, "%s: %s", row->names, mox_err_last()->msg);
    return p;
}

static void split(const mox_pretok *p, const char *text, size_t n, words *w)
{
    void *work = malloc(mox_pretok_work_bytes()); /* exactly what is promised to suffice */
    w->n = w->bytes = 0;
    cr_assert_eq(mox_pretok_split(p, text, n, add_word, w, work), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(w->bytes, n, "%zu bytes of %zu", w->bytes, n);
    free(work);
}

Test(pretok, words_of_the_publishers_patterns)
{
    json_t *j = json_load_file(MOX_TEST_DATA "/words.json", 0, NULL), *lists = NULL, *list = NULL;
    json_t *texts = json_object_get(j, "texts");
    const char *name = NULL;
    size_t i = 0;
    cr_assert_geq(json_array_size(texts), 80);
    cr_assert_geq(json_object_size(json_object_get(j, "words")), 19);
    json_object_foreach(json_object_get(j, "words"), name, lists)
    {
        mox_pretok *p = open_row(mox_pretok_find((mox_str){name, strlen(name)}), true);
        json_array_foreach(lists, i, list)
        {
            static words w;
            const json_t *text = json_array_get(texts, i);
            split(p, json_string_value(text), json_string_length(text), &w);
            bool same = w.n == json_array_size(list);
            for (size_t k = 0; same && k < w.n; k++) {
                same = (json_int_t)w.len[k] == json_integer_value(json_array_get(list, k));
            }
            cr_expect(same, "%s: \"%s\"", name, json_string_value(text));
        }
        mox_pretok_destroy(&p);
    }
    json_decref(j);
}

/* Any characters below the surrogates, and bytes that are none. */
static size_t random_text(uint64_t *seed, char *out, size_t max)
{
    static const char common[] = "aZ19 \n'!s\t/";
    size_t n = 0;
    while (n + 4 < max) {
        uint64_t r = next_random(seed);
        if (r % 16 == 0) {
            out[n++] = (char)(0x80 | r >> 8);
        } else if (r % 3) {
            out[n++] = common[(r >> 8) % (sizeof common - 1)];
        } else {
            n += put_char(out + n, (uint32_t)((r >> 8) % (r % 5 ? 0x600 : 0xD800)));
        }
    }
    return n;
}

Test(pretok, machine_code_and_none_agree)
{
    uint64_t seed = 21;
    for (size_t i = 0; mox_pretok_at(i); i++) {
        mox_pretok *fast = open_row(mox_pretok_at(i), true), *slow = open_row(mox_pretok_at(i), false);
        cr_expect_geq(mox_pretok_bytes(fast), mox_pretok_bytes(slow));
        for (int round = 0; round < 200; round++) {
            static words a, b;
            char text[200];
            size_t n = random_text(&seed, text, sizeof text);
            split(fast, text, n, &a);
            split(slow, text, n, &b);
            cr_assert(a.n == b.n && memcmp(a.len, b.len, a.n * sizeof *a.len) == 0, "%s, round %d",
                      mox_pretok_at(i)->names, round);
        }
        mox_pretok_destroy(&fast);
        mox_pretok_destroy(&slow);
    }
}

/* Long runs, and short ones over and over: quadratic matching would take minutes, and end at the limit of steps. */
Test(pretok, no_text_takes_long, .timeout = 300)
{
    static const char *const atoms[] = {
        "a",  "A",   "1",  " ",  "\n", "!",    "'",        "\t",           "_",         "\r\n",    "a ",
        "A1", " \n", "'s", "aA", "-a", "\xFF", "\xC3\xA9", "\xE4\xB8\x80", "a\xCC\x81", "\xCC\x81"};
    enum { N = SANITIZED ? 1 << 13 : 1 << 17 };
    static char text[N + 8];
    for (size_t i = 0; mox_pretok_at(i); i++) {
        mox_pretok *p = open_row(mox_pretok_at(i), i % 2 == 0); /* half of them without machine code */
        for (size_t k = 0; k < sizeof atoms / sizeof atoms[0]; k++) {
            static words w;
            size_t n = 0, len = strlen(atoms[k]);
            for (; n + len <= N; n += len) {
                memcpy(text + n, atoms[k], len);
            }
            text[n++] = k % 2 ? 'x' : '\n';
            clock_t begin = clock();
            split(p, text, n, &w);
            double cpu_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
            cr_expect(SANITIZED || cpu_s < 2, "%s, \"%s\": %.2f s", mox_pretok_at(i)->names, atoms[k], cpu_s);
        }
        mox_pretok_destroy(&p);
    }
}

static mox_err count_bytes(void *ctx, const char *word, size_t n)
{
    (void)word;
    *(size_t *)ctx += n;
    return MOX_OK;
}

/* Patterns such as none in the table: steps without end, and more depth than there is memory for. Each ends in an error
 * that says so, within the memory promised. */
Test(pretok, patterns_out_of_bounds_end_in_an_error)
{
    static const mox_pretok_row bad[] = {{.names = "steps", .patterns = {"(?:a+)+$"}},
                                         {.names = "depth", .patterns = {"(?:(a)|(?=b)b)*[^ab]"}}};
    static char text[1 << 16];
    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 'b';
    for (size_t i = 0; i < 2; i++) {
        for (int jit = 0; jit < 2; jit++) {
            size_t bytes = 0;
            mox_pretok *p = open_row(&bad[i], jit);
            void *work = malloc(mox_pretok_work_bytes());
            mox_err err = mox_pretok_split(p, text, sizeof text, count_bytes, &bytes, work);
            cr_expect_eq(err, MOX_E_LIMIT, "%s, machine code %d: %zu bytes", bad[i].names, jit, bytes);
            cr_expect(err == MOX_OK || strstr(mox_err_last()->msg, "cannot be cut into words"));
            free(work);
            mox_pretok_destroy(&p);
        }
    }
}

static mox_err refuse_second(void *ctx, const char *word, size_t n)
{
    (void)word;
    (void)n;
    return ++*(int *)ctx < 2 ? MOX_OK : MOX_FAIL(MOX_E_TOKEN, "enough");
}

Test(pretok, errors_of_the_receiver_end_it)
{
    int calls = 0;
    mox_pretok *p = open_row(mox_pretok_find((mox_str){"deepseek-v3", 11}), true);
    void *work = malloc(mox_pretok_work_bytes());
    cr_expect_eq(mox_pretok_split(p, "a b c", 5, refuse_second, &calls, work), MOX_E_TOKEN);
    cr_expect_eq(calls, 2);
    cr_expect_eq(mox_pretok_split(p, "", 0, refuse_second, &calls, work), MOX_OK);
    free(work);
    mox_pretok_destroy(&p);
    mox_pretok_destroy(&p);
    cr_expect_null(mox_pretok_find((mox_str){"llama", 5}));
    cr_expect_null(mox_pretok_find((mox_str){"", 0}));
    cr_expect_null(mox_pretok_find((mox_str){"dbrx smaug-bpe", 14}));
}
