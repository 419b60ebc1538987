#include "tokenizer/bpe_vocab.h"

#include "runtime/tokenizer/pretok.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t find(const bpe_vocab *v, const void *p, size_t n)
{
    for (uint32_t id = 0; id < v->n; id++) {
        if (v->len[id] == n && memcmp(v->text[id], p, n) == 0) {
            return id;
        }
    }
    return UINT32_MAX;
}

static uint32_t find_or_add(bpe_vocab *v, const void *p, size_t n)
{
    uint32_t id = find(v, p, n);
    if (id == UINT32_MAX) {
        assert(v->n < BPE_MAX && n <= BPE_TEXT);
        id = v->n++;
        memcpy(v->text[id], p, n);
        v->len[id] = n;
    }
    return id;
}

static uint32_t add_merge(bpe_vocab *v, uint32_t left, uint32_t right)
{
    uint8_t joined[2 * BPE_TEXT];
    uint32_t i = v->n_merges++;
    assert(v->n_merges <= BPE_MAX);
    memcpy(joined, v->text[left], v->len[left]);
    memcpy(joined + v->len[left], v->text[right], v->len[right]);
    v->left[i] = left;
    v->right[i] = right;
    return v->result[i] = find_or_add(v, joined, v->len[left] + v->len[right]);
}

void bpe_add(bpe_vocab *v, const char *left, const char *right)
{
    uint32_t l = find_or_add(v, left, strlen(left)), r = find_or_add(v, right, strlen(right));
    add_merge(v, l, r);
}

static void bytes_only(bpe_vocab *v)
{
    memset(v, 0, sizeof *v);
    for (v->n = 0; v->n < 256; v->n++) {
        v->text[v->n][0] = (uint8_t)v->n;
        v->len[v->n] = 1;
    }
}

void bpe_init(bpe_vocab *v, const char *const *merges, size_t n)
{
    bytes_only(v);
    for (size_t i = 0; i < n; i++) {
        char left[64];
        const char *space = strchr(merges[i], ' ');
        snprintf(left, sizeof left, "%.*s", (int)(space - merges[i]), merges[i]);
        bpe_add(v, left, space + 1);
    }
}

enum { MAX_SYMBOLS = 1 << 16, WORD_END = UINT32_MAX };

typedef struct symbols {
    uint32_t id[MAX_SYMBOLS];
    size_t n;
} symbols;

static mox_err add_word(void *ctx, const char *word, size_t n)
{
    symbols *s = ctx;
    for (size_t i = 0; i < n; i++) {
        s->id[s->n++] = (uint8_t)word[i];
    }
    s->id[s->n++] = WORD_END;
    assert(s->n < MAX_SYMBOLS - BPE_TEXT);
    return MOX_OK;
}

static void apply(symbols *s, uint32_t left, uint32_t right, uint32_t result)
{
    size_t to = 0;
    for (size_t i = 0; i < s->n; i++) {
        bool both = i + 1 < s->n && s->id[i] == left && s->id[i + 1] == right;
        s->id[to++] = both ? result : s->id[i];
        i += both;
    }
    s->n = to;
}

void bpe_train(bpe_vocab *v, const char *pre, const char *text, uint32_t n)
{
    static symbols s;
    static uint32_t count[BPE_MAX][BPE_MAX];
    mox_pretok *p = NULL;
    void *work = malloc(mox_pretok_work_bytes());
    s.n = 0;
    bytes_only(v);
    mox_err err = mox_pretok_create(&p, mox_pretok_find((mox_str){pre, strlen(pre)}), true);
    assert(err == MOX_OK);
    err = mox_pretok_split(p, text, strlen(text), add_word, &s, work);
    assert(err == MOX_OK);
    for (uint32_t k = 0; k < n; k++) {
        uint32_t best = 0, left = 0, right = 0;
        memset(count, 0, sizeof count);
        for (size_t i = 0; i + 1 < s.n; i++) {
            uint32_t l = s.id[i], r = s.id[i + 1];
            if (l != WORD_END && r != WORD_END && ++count[l][r] > best) {
                best = count[l][r];
                left = l;
                right = r;
            }
        }
        if (best < 2) {
            break;
        }
        apply(&s, left, right, add_merge(v, left, right));
    }
    mox_pretok_destroy(&p);
    free(work);
}

/* Bytes as files write them: GPT-2's table by its definition. */
static size_t written(char *out, const uint8_t *p, size_t n)
{
    size_t used = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned c = 0, next = 256;
        for (unsigned b = 0; b <= p[i]; b++) {
            bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
            c = itself ? b : next++;
        }
        if (c < 0x80) {
            out[used++] = (char)c;
        } else {
            out[used++] = (char)(0xC0 | c >> 6);
            out[used++] = (char)(0x80 | (c & 0x3F));
        }
    }
    out[used] = 0;
    return used;
}

static void build(gb *b, const bpe_vocab *v, const bpe_file *f)
{
    size_t total = v->n + f->n_pieces, n_merges = v->n_merges + f->n_raw;
    const char **texts = calloc(total, sizeof *texts), **merges = calloc(n_merges + 1, sizeof *merges);
    int32_t *types = calloc(total, sizeof *types);
    char *room = malloc((v->n + v->n_merges) * (4 * BPE_TEXT + 2)), *at = room;
    for (uint32_t id = 0; id < v->n; id++) {
        texts[id] = at;
        types[id] = NORMAL;
        at += written(at, v->text[id], v->len[id]) + 1;
    }
    for (size_t i = 0; i < f->n_pieces; i++) {
        texts[v->n + i] = f->pieces[i].text;
        types[v->n + i] = f->pieces[i].type;
    }
    for (uint32_t i = 0; i < v->n_merges; i++) {
        merges[i] = at;
        at += written(at, v->text[v->left[i]], v->len[v->left[i]]);
        *at++ = ' ';
        at += written(at, v->text[v->right[i]], v->len[v->right[i]]) + 1;
    }
    for (size_t i = 0; i < f->n_raw; i++) {
        merges[v->n_merges + i] = f->raw_merges[i];
    }
    gb_begin(b, 3);
    gb_kv_str(b, "tokenizer.ggml.model", "gpt2");
    if (f->pre) {
        gb_kv_str(b, "tokenizer.ggml.pre", f->pre);
    }
    gb_kv_strings(b, "tokenizer.ggml.tokens", texts, total);
    gb_kv_array(b, "tokenizer.ggml.token_type", K_I32, types, total, 4);
    gb_kv_strings(b, "tokenizer.ggml.merges", merges, n_merges);
    if (f->keys) {
        f->keys(b);
    }
    gb_finish(b);
    free(texts);
    free(merges);
    free(types);
    free(room);
}

mox_err bpe_create(mox_tokenizer **t, const bpe_vocab *v, const bpe_file *f)
{
    gb b = {0};
    mox_gguf *g = NULL;
    *t = NULL;
    build(&b, v, f);
    mox_err err = mox_gguf_parse(&g, b.p, b.n, b.n, NULL);
    err = err == MOX_OK ? mox_tokenizer_create(t, g) : err;
    mox_gguf_close(&g);
    gb_free(&b);
    return err;
}

mox_tokenizer *bpe_tokenizer(const bpe_vocab *v, const bpe_file *f)
{
    mox_tokenizer *t = NULL;
    if (bpe_create(&t, v, f) != MOX_OK) {
        fprintf(stderr, "bpe_tokenizer: %s\n", mox_err_last()->msg);
        abort();
    }
    return t;
}
