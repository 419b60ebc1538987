#include "tokenizer/original.h"
#include "sanitized.h"
#include "tokenizer/vocab.h"

#include <criterion/criterion.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

mox_tokenizer *open_tokenizer(const char *path)
{
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    cr_assert_eq(mox_gguf_open(&g, path), MOX_OK, "%s", mox_err_last()->msg);
    cr_assert_eq(mox_tokenizer_create(&t, g), MOX_OK, "%s: %s", path, mox_err_last()->msg);
    mox_gguf_close(&g);
    return t;
}

/* The ids of a text, and its text again from the ids. */
static void check(const mox_tokenizer *t, const char *file, const char *text, size_t n_text,
                  bool parse_special, const uint32_t *want, size_t n)
{
    size_t n_back = 0, at = 0;
    id_list got = encode(t, text, n_text, false, parse_special);
    while (at < n && at < got.n && got.ids[at] == want[at]) {
        at++;
    }
    cr_expect(got.n == n && at == n, "%s: \"%s\": %u ids, %zu expected; different from %zu on", file, text,
              got.n, n, at);
    char *back = detok_all(t, want, n, parse_special, &n_back);
    cr_expect(n_back == n_text && memcmp(back, text, n_back) == 0, "%s: back from \"%s\": \"%s\"", file, text,
              back);
    free(back);
    free(got.ids);
}

/* A text of 1 MiB of one character (n_char bytes): the same text back, and within seconds of processor. */
static void check_mebibyte(const mox_tokenizer *t, const char *file, const char *c)
{
    enum { N = SANITIZED ? 1 << 15 : 1 << 20, CPU_S = 2 };
    const size_t n_char = strlen(c), n_text = N / n_char * n_char;
    char *text = malloc(N);
    for (size_t i = 0; i < n_text; i++) {
        text[i] = c[i % n_char];
    }
    clock_t begin = clock();
    id_list got = encode(t, text, n_text, false, false);
    double cpu_s = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_expect(SANITIZED || cpu_s < CPU_S, "%s: a MiB of \"%s\" took %.2f s of processor", file, c, cpu_s);
    size_t n_back = 0;
    char *back = detok_all(t, got.ids, got.n, false, &n_back);
    cr_expect(n_back == n_text && memcmp(back, text, n_text) == 0, "%s: a MiB of \"%s\" became %zu bytes",
              file, c, n_back);
    free(back);
    free(got.ids);
    free(text);
}

static const char *const characters[] = {"x", " ", "\n", "1", "\xC3\xA9", "!"};
enum { N_CHARACTERS = sizeof characters / sizeof characters[0] };

unsigned check_model(const char *gguf, const char *json, unsigned nth)
{
    json_t *j = json_load_file(json, JSON_ALLOW_NUL, NULL), *test = NULL;
    json_t *tests = json_object_get(j, "tokenizer_tests");
    unsigned count = (unsigned)json_array_size(tests);
    size_t i = 0;
    if (count > 0) {
        mox_tokenizer *t = open_tokenizer(gguf);
        json_array_foreach(tests, i, test)
        {
            const json_t *text = json_object_get(test, "text"), *ids = json_object_get(test, "ids");
            size_t n = json_array_size(ids);
            uint32_t *want = calloc(n + 1, sizeof *want);
            for (size_t k = 0; k < n; k++) {
                want[k] = (uint32_t)json_integer_value(json_array_get(ids, k));
            }
            check(t, gguf, json_string_value(text), json_string_length(text),
                  json_is_true(json_object_get(test, "parse_special")), want, n);
            free(want);
        }
        check_mebibyte(t, gguf, characters[nth % N_CHARACTERS]);
        mox_tokenizer_destroy(&t);
    }
    json_decref(j);
    return count;
}

unsigned check_models(const char *folder)
{
    char pattern[4096], gguf[4096];
    glob_t found = {0};
    unsigned n = 0;
    snprintf(pattern, sizeof pattern, "%s/*-a*.json", folder);
    cr_assert_eq(glob(pattern, 0, NULL, &found), 0, "%s", pattern);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        json_t *j = json_load_file(found.gl_pathv[i], JSON_ALLOW_NUL, NULL);
        const char *file = json_string_value(json_array_get(json_object_get(j, "files"), 0));
        snprintf(gguf, sizeof gguf, "%s/%s", folder, file ? file : "");
        n += file && check_model(gguf, found.gl_pathv[i], (unsigned)i) > 20;
        json_decref(j);
    }
    globfree(&found);
    return n;
}

static char *whole_file(const char *path, const char *suffix)
{
    char name[4096];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    FILE *f = fopen(name, "rb");
    cr_assert_not_null(f, "%s", name);
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    char *p = calloc(n + 1, 1);
    rewind(f);
    cr_assert_eq(fread(p, 1, n, f), n);
    fclose(f);
    return p;
}

unsigned check_vocabulary(const char *gguf)
{
    static const char marker[] = "\n__ggml_vocab_test__\n";
    mox_tokenizer *t = open_tokenizer(gguf);
    char *texts = whole_file(gguf, ".inp"), *ids = whole_file(gguf, ".out"), *line = ids;
    unsigned count = 0;
    for (char *text = texts, *end = NULL; text; text = end ? end + sizeof marker - 1 : NULL) {
        uint32_t want[4096];
        size_t n = 0;
        char *line_end = strchr(line, '\n');
        end = strstr(text, marker);
        if (end == NULL && *text == 0) {
            break; /* after the last marker */
        }
        cr_assert(line_end, "%s: more texts than lines of ids", gguf);
        while (line + strspn(line, " ") < line_end) {
            want[n++] = (uint32_t)strtoul(line, &line, 10);
        }
        line = line_end + 1;
        check(t, gguf, text, end ? (size_t)(end - text) : strlen(text), false, want, n);
        count++;
    }
    for (int i = 0; i < N_CHARACTERS; i++) {
        check_mebibyte(t, gguf, characters[i]);
    }
    free(texts);
    free(ids);
    mox_tokenizer_destroy(&t);
    return count;
}
