#include "tokenizer/vocab.h"

#include <assert.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vocab_file(gb *b, mox_gguf **g, const piece *pieces, size_t n, void (*keys)(gb *b))
{
    size_t total = V_FIRST + n;
    const char **texts = calloc(total, sizeof *texts);
    float *scores = calloc(total, sizeof *scores);
    int32_t *types = calloc(total, sizeof *types);
    static char bytes[256][8];
    texts[V_UNK] = "<unk>", types[V_UNK] = UNKNOWN;
    texts[V_BOS] = "<s>", types[V_BOS] = CONTROL;
    texts[V_EOS] = "</s>", types[V_EOS] = CONTROL;
    for (int i = 0; i < 256; i++) {
        snprintf(bytes[i], sizeof bytes[i], "<0x%02X>", (unsigned)i);
        texts[V_BYTE0 + i] = bytes[i];
        types[V_BYTE0 + i] = BYTE;
    }
    for (size_t i = 0; i < n; i++) {
        texts[V_FIRST + i] = pieces[i].text;
        scores[V_FIRST + i] = pieces[i].score;
        types[V_FIRST + i] = pieces[i].type;
    }
    gb_begin(b, 3);
    gb_kv_str(b, "general.architecture", "llama");
    gb_kv_str(b, "tokenizer.ggml.model", "llama");
    gb_kv_strings(b, "tokenizer.ggml.tokens", texts, total);
    gb_kv_array(b, "tokenizer.ggml.scores", K_F32, scores, total, 4);
    gb_kv_array(b, "tokenizer.ggml.token_type", K_I32, types, total, 4);
    if (keys) {
        keys(b);
    }
    gb_finish(b);
    free(texts);
    free(scores);
    free(types);
    mox_err err = mox_gguf_parse(g, b->p, b->n, b->n, NULL);
    if (err != MOX_OK) {
        fprintf(stderr, "vocab_file: %s\n", mox_err_last()->msg);
        abort();
    }
}

mox_tokenizer *vocab_tokenizer(const piece *pieces, size_t n, void (*keys)(gb *b))
{
    gb b = {0};
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    vocab_file(&b, &g, pieces, n, keys);
    if (mox_tokenizer_create(&t, g) != MOX_OK) {
        fprintf(stderr, "vocab_tokenizer: %s\n", mox_err_last()->msg);
        abort();
    }
    /* The tokenizer copies what it needs: whoever reads the file's bytes from here on is found by a
     * sanitizer. */
    mox_gguf_close(&g);
    gb_free(&b);
    return t;
}

id_list encode(const mox_tokenizer *t, const char *text, size_t n, bool add_bos, bool parse_special)
{
    id_list out = {0};
    uint32_t max = (uint32_t)(3 * n) + 8;
    void *work = malloc(mox_tokenizer_work_bytes(n));
    char *exact = malloc(n ? n : 1);
    out.ids = malloc(max * sizeof *out.ids);
    assert(work && exact && out.ids);
    memcpy(exact, text, n);
    mox_err err = mox_tokenizer_encode(t, exact, n, add_bos, parse_special, out.ids, max, &out.n, work);
    if (err != MOX_OK) {
        fprintf(stderr, "encode: %s\n", mox_err_last()->msg);
        abort();
    }
    free(work);
    free(exact);
    return out;
}

char *detok_all(const mox_tokenizer *t, const uint32_t *ids, size_t n, bool print_special, size_t *n_out)
{
    mox_detok d;
    size_t used = 0, max = mox_detok_max(t);
    char *out = malloc((n + 1) * max + 1), *one = malloc(max);
    assert(out && one);
    mox_detok_init(&d, t, print_special, true);
    for (size_t i = 0; i <= n; i++) {
        size_t len = i < n ? mox_detok_push(&d, ids[i], one) : mox_detok_flush(&d, one);
        assert(len <= max);
        memcpy(out + used, one, len);
        used += len;
    }
    out[used] = 0;
    *n_out = used;
    free(one);
    return out;
}

void expect_ids(const char *what, id_list got, const uint32_t *want, size_t n)
{
    cr_expect(got.n == n && memcmp(got.ids, want, n * sizeof *want) == 0,
              "%s: %u ids, %zu expected, or others", what, got.n, n);
    free(got.ids);
}

uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

size_t put_char(char *out, uint32_t c)
{
    static const uint8_t lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n; i-- > 1; c >>= 6) {
        out[i] = (char)(0x80 | (c & 0x3F));
    }
    out[0] = (char)(lead[n] | c);
    return n;
}
