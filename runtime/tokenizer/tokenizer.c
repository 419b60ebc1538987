/* Tokenizers: special tokens, and the table of kinds.
 *
 * Encoding cuts the text at special tokens first and hands what lies between to the kind. User-defined tokens
 * are always cut out; control and unknown tokens only on request, and they are not among the pieces that text
 * can merge into either: what a user types never becomes a control token. At each place the longest special
 * token wins, found by narrowing a range of the sorted list byte by byte, so that a thousand of them cost no
 * more than ten.
 */
#include "tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

static const tok_kind *const supported[] = {&tok_spm, &tok_bpe};

static const struct {
    const char *model, *what;
} others[] = {
    {"bert", "WordPiece"}, {"t5", "unigram"},     {"gemma4", "BPE over characters"},
    {"rwkv", "RWKV"},      {"plamo2", "PLaMo-2"}, {"none", "no vocabulary"},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static mox_err find_kind(const mox_gguf *g, const tok_kind **out)
{
    mox_str model;
    char shown[64];
    MOX_TRY(mox_gguf_str(g, "tokenizer.ggml.model", &model));
    for (size_t i = 0; i < COUNT(supported); i++) {
        if (model.n == strlen(supported[i]->model) && memcmp(model.p, supported[i]->model, model.n) == 0) {
            *out = supported[i];
            return MOX_OK;
        }
    }
    const char *what = "unknown to this version";
    for (size_t i = 0; i < COUNT(others); i++) {
        if (model.n == strlen(others[i].model) && memcmp(model.p, others[i].model, model.n) == 0) {
            what = others[i].what;
        }
    }
    return MOX_FAIL(MOX_E_TOKENIZER,
                    "the tokenizer \"%s\" (%s) is not supported; \"llama\" (SentencePiece) and "
                    "\"gpt2\" (byte-level BPE) are",
                    mox_escape(model, shown, sizeof shown), what);
}

bool mox_tokenizer_is_known(const mox_gguf *g)
{
    const tok_kind *kind;
    const mox_pretok_row *row;
    const char *note;
    return find_kind(g, &kind) == MOX_OK && (kind != &tok_bpe || tok_bpe_known(g, &row, &note) == MOX_OK);
}

/* The first of special[lo, hi) whose byte k is at least `byte`; all of them have more than k bytes. */
static uint32_t lower_bound(const mox_tokenizer *t, uint32_t lo, uint32_t hi, size_t k, unsigned byte)
{
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)tok_text(t, t->special[mid]).p[k] < byte) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* The longest special token at p, or MOX_TOKEN_NONE. */
static uint32_t special_at(const mox_tokenizer *t, const char *p, size_t n, bool parse_special)
{
    uint32_t lo = 0, hi = t->n_special, best = MOX_TOKEN_NONE;
    for (size_t k = 0; k < n && lo < hi; k++) {
        unsigned byte = (unsigned char)p[k];
        lo = lower_bound(t, lo, hi, k, byte);
        hi = lower_bound(t, lo, hi, k, byte + 1);
        /* Those that end here sort first. */
        for (; lo < hi && tok_text(t, t->special[lo]).n == k + 1; lo++) {
            if (parse_special || t->type[t->special[lo]] == TOK_USER) {
                best = t->special[lo];
            }
        }
    }
    return best;
}

uint32_t mox_token_special_at(const mox_tokenizer *t, const char *text, size_t n, size_t *len)
{
    uint32_t id = special_at(t, text, n, true);
    *len = id != MOX_TOKEN_NONE ? tok_text(t, id).n : 0;
    return id;
}

mox_err mox_tokenizer_encode(const mox_tokenizer *t, const char *text, size_t n, bool add_bos,
                             bool parse_special, uint32_t *ids, uint32_t max, uint32_t *n_ids, void *work)
{
    enum { MAX_TEXT = 1 << 30 };
    tok_out out = {.ids = ids, .max = max};
    if (n > MAX_TEXT) {
        return MOX_FAIL(MOX_E_LIMIT, "a text of %zu bytes; %d are allowed", n, MAX_TEXT);
    }
    if (add_bos && t->ids.add_bos) {
        tok_emit(&out, t->ids.bos);
    }
    size_t raw = 0; /* where the text not yet encoded begins */
    for (size_t i = 0; i < n;) {
        uint32_t id = special_at(t, text + i, n - i, parse_special);
        if (id == MOX_TOKEN_NONE) {
            i++;
            continue;
        }
        if (i > raw) {
            MOX_TRY(t->kind->encode(t, text + raw, i - raw, &out, work));
        }
        tok_emit(&out, id);
        i += tok_text(t, id).n;
        i += mox_token_takes(t, id, text + i, n - i);
        raw = i;
    }
    if (n > raw) {
        MOX_TRY(t->kind->encode(t, text + raw, n - raw, &out, work));
    }
    if (add_bos && t->ids.add_eos) {
        tok_emit(&out, t->ids.eos);
    }
    *n_ids = out.n;
    if (out.n > max) {
        return MOX_FAIL(MOX_E_LIMIT, "the text takes %u tokens, there is room for %u", out.n, max);
    }
    return MOX_OK;
}

size_t mox_tokenizer_work_bytes(size_t n_text)
{
    size_t spm = tok_spm_work_bytes(n_text), bpe = tok_bpe_work_bytes(n_text);
    return spm > bpe ? spm : bpe;
}

mox_err mox_tokenizer_create(mox_tokenizer **out, const mox_gguf *g)
{
    mox_err err = MOX_OK;
    mox_tokenizer *t = calloc(1, sizeof *t);
    if (!t) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a tokenizer");
    }
    t->bytes = sizeof *t;
    MOX_TRY_GOTO(err, find_kind(g, &t->kind), fail);
    MOX_TRY_GOTO(err, t->kind->begin(t, g), fail);
    MOX_TRY_GOTO(err, tok_copy_vocab(t, g), fail);
    MOX_TRY_GOTO(err, tok_read_ids(t, g), fail);
    MOX_TRY_GOTO(err, tok_index_bytes(t), fail);
    tok_index_special(t);
    MOX_TRY_GOTO(err, tok_mark_strips(t, g), fail);
    MOX_TRY_GOTO(err, t->kind->prepare(t, g), fail);
    *out = t;
    return MOX_OK;
fail:
    mox_tokenizer_destroy(&t);
    return err;
}

void mox_tokenizer_destroy(mox_tokenizer **t)
{
    mox_tokenizer *o = *t;
    *t = NULL;
    if (!o) {
        return;
    }
    if (o->kind && o->kind->release) {
        o->kind->release(o);
    }
    free(o->blob);
    free(o->off);
    free(o->score);
    free(o->type);
    free(o->is_end);
    free(o->shown);
    free(o->strips);
    free(o->slots);
    free(o->special);
    free(o->byte_value);
    free(o);
}

size_t mox_tokenizer_bytes(const mox_tokenizer *t)
{
    return t->bytes;
}

const char *mox_tokenizer_note(const mox_tokenizer *t)
{
    return t->note;
}

uint32_t mox_tokenizer_vocab(const mox_tokenizer *t)
{
    return t->n_vocab;
}

const mox_token_ids *mox_tokenizer_ids(const mox_tokenizer *t)
{
    return &t->ids;
}

bool mox_token_is_end(const mox_tokenizer *t, uint32_t id)
{
    return id < t->n_vocab && t->is_end[id];
}

mox_str mox_token_text(const mox_tokenizer *t, uint32_t id)
{
    return id < t->n_vocab ? tok_text(t, id) : (mox_str){"", 0};
}
