/* Tokenizers: the vocabulary of a file, special tokens, and the table of kinds.
 *
 * Encoding cuts the text at special tokens first and hands what lies between to the kind. User-defined tokens
 * are always cut out; control and unknown tokens only on request, and they are not among the pieces that text
 * can merge into either: what a user types never becomes a control token. At each place the longest special
 * token wins, found by narrowing a range of the sorted list byte by byte, so that a thousand of them cost no
 * more than ten.
 */
#include "tokenizer_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/hash.h"
#include "runtime/gguf/utf8.h"

#include <stdlib.h>
#include <string.h>

static const tok_kind *const supported[] = {&tok_spm};

static const struct {
    const char *model, *what;
} others[] = {
    {"gpt2", "byte-level BPE"}, {"bert", "WordPiece"}, {"t5", "unigram"},
    {"rwkv", "RWKV"},           {"plamo2", "PLaMo-2"}, {"none", "no vocabulary"},
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
                    "the tokenizer \"%s\" (%s) is not supported; \"llama\" (SentencePiece) is",
                    mox_escape(model, shown, sizeof shown), what);
}

bool mox_tokenizer_is_known(const mox_gguf *g)
{
    const tok_kind *kind;
    return find_kind(g, &kind) == MOX_OK;
}

/* Memory of the tokenizer, zeroed; counted for the plan. */
static void *take(mox_tokenizer *t, size_t n, size_t size)
{
    t->bytes += n * size; /* n <= TOK_MAX_VOCAB * 2, or the bytes of a header */
    return calloc(n ? n : 1, size);
}

static mox_err check_text(mox_str s, uint32_t id)
{
    if (s.n > TOK_MAX_TEXT) {
        return MOX_FAIL(MOX_E_TOKENIZER, "token %u has %zu bytes, more than the %d allowed", id, s.n,
                        TOK_MAX_TEXT);
    }
    for (size_t i = 0; i < s.n;) {
        size_t used = mox_utf8_next(s.p + i, s.n - i, NULL);
        if (used == 0) {
            return MOX_FAIL(MOX_E_TOKENIZER, "token %u is not valid UTF-8", id);
        }
        i += used;
    }
    return MOX_OK;
}

/* Texts, scores and types out of the file into tables of our own. */
static mox_err copy_vocab(mox_tokenizer *t, const mox_gguf *g)
{
    static const char tokens[] = "tokenizer.ggml.tokens";
    uint32_t n = 0, n_scores = 0, n_types = 0, id = 0;
    const void *scores = NULL, *types = NULL, *cursor = NULL;
    size_t total = 0;
    mox_str s;
    MOX_TRY(mox_gguf_string_array(g, tokens, &n));
    MOX_TRY(mox_gguf_array(g, "tokenizer.ggml.scores", MOX_GGUF_F32, &scores, &n_scores));
    MOX_TRY(mox_gguf_array(g, "tokenizer.ggml.token_type", MOX_GGUF_I32, &types, &n_types));
    if (n == 0 || n > TOK_MAX_VOCAB || n_scores != n || n_types != n) {
        return MOX_FAIL(
            MOX_E_TOKENIZER,
            "%u tokens with %u scores and %u types; 1 to %d tokens with as many of both are possible", n,
            n_scores, n_types, TOK_MAX_VOCAB);
    }
    while (mox_gguf_next_string(g, tokens, &cursor, &s)) {
        MOX_TRY(check_text(s, id++));
        total += s.n;
    }
    if (total > UINT32_MAX) {
        return MOX_FAIL(MOX_E_TOKENIZER, "%zu bytes of token texts", total);
    }
    t->n_vocab = n;
    t->blob = take(t, total, 1);
    t->off = take(t, (size_t)n + 1, sizeof *t->off);
    t->score = take(t, n, sizeof *t->score);
    t->type = take(t, n, sizeof *t->type);
    t->is_end = take(t, n, sizeof *t->is_end);
    t->special = take(t, n, sizeof *t->special);
    t->byte_value = take(t, n, 1);
    if (!t->blob || !t->off || !t->score || !t->type || !t->is_end || !t->special || !t->byte_value) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a vocabulary of %u tokens", n);
    }
    memcpy(t->score, scores, (size_t)n * sizeof *t->score);
    cursor = NULL;
    for (id = 0; mox_gguf_next_string(g, tokens, &cursor, &s); id++) {
        uint32_t type = mox_le32((const uint8_t *)types + (size_t)id * 4);
        if (type < TOK_NORMAL || type > TOK_BYTE) {
            return MOX_FAIL(MOX_E_TOKENIZER, "token %u has the unknown type %d", id, (int)type);
        }
        if (t->score[id] != t->score[id]) {
            return MOX_FAIL(MOX_E_TOKENIZER, "the score of token %u is not a number", id);
        }
        t->type[id] = (uint8_t)type;
        memcpy(t->blob + t->off[id], s.p, s.n);
        t->off[id + 1] = t->off[id] + (uint32_t)s.n;
        t->max_text = s.n > t->max_text ? (uint32_t)s.n : t->max_text;
    }
    return MOX_OK;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

/* Byte tokens are "<0x00>" to "<0xFF>", nothing else: the text becomes an index. */
static mox_err index_bytes(mox_tokenizer *t)
{
    memset(t->byte_id, 0xFF, sizeof t->byte_id);
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        mox_str s = tok_text(t, id);
        if (t->type[id] != TOK_BYTE) {
            continue;
        }
        int hi = s.n == 6 ? hex_digit(s.p[3]) : -1, lo = s.n == 6 ? hex_digit(s.p[4]) : -1;
        if (hi < 0 || lo < 0 || memcmp(s.p, "<0x", 3) != 0 || s.p[5] != '>') {
            char shown[64];
            return MOX_FAIL(MOX_E_TOKENIZER, "token %u is a byte, but its text is \"%s\"", id,
                            mox_escape(s, shown, sizeof shown));
        }
        t->byte_value[id] = (uint8_t)(hi << 4 | lo);
        t->byte_id[t->byte_value[id]] = id;
    }
    return MOX_OK;
}

static uint32_t *slot_of(const mox_tokenizer *t, const char *p, size_t n)
{
    uint32_t mask = t->n_slots - 1;
    for (uint32_t i = (uint32_t)mox_hash64(p, n, 0) & mask;; i = (i + 1) & mask) {
        uint32_t id = t->slots[i];
        if (id == MOX_TOKEN_NONE) {
            return &t->slots[i];
        }
        mox_str s = tok_text(t, id);
        if (s.n == n && memcmp(s.p, p, n) == 0) {
            return &t->slots[i];
        }
    }
}

uint32_t tok_find(const mox_tokenizer *t, const char *p, size_t n)
{
    return n > t->max_text ? MOX_TOKEN_NONE : *slot_of(t, p, n);
}

/* The pieces that text may become. Of two tokens with one text the later one counts, as in llama.cpp. */
static mox_err index_pieces(mox_tokenizer *t)
{
    t->n_slots = 1;
    while (t->n_slots < t->n_vocab * 2) {
        t->n_slots *= 2;
    }
    t->slots = take(t, t->n_slots, sizeof *t->slots);
    if (!t->slots) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for an index of %u tokens", t->n_vocab);
    }
    memset(t->slots, 0xFF, t->n_slots * sizeof *t->slots);
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        mox_str s = tok_text(t, id);
        bool piece = t->type[id] == TOK_NORMAL || t->type[id] == TOK_USER || t->type[id] == TOK_UNUSED;
        if (piece && s.n > 0) {
            *slot_of(t, s.p, s.n) = id;
        }
    }
    return MOX_OK;
}

static int by_text(const void *a, const void *b, void *ctx)
{
    const mox_tokenizer *t = ctx;
    mox_str x = tok_text(t, *(const uint32_t *)a), y = tok_text(t, *(const uint32_t *)b);
    int order = memcmp(x.p, y.p, x.n < y.n ? x.n : y.n);
    order = order ? order : (x.n > y.n) - (x.n < y.n);
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    return order ? order
                 : (i > j) - (i < j); /* of two with one text the later one is found, as among pieces */
}

static void index_special(mox_tokenizer *t)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        uint8_t type = t->type[id];
        if ((type == TOK_CONTROL || type == TOK_UNKNOWN || type == TOK_USER) && tok_text(t, id).n > 0) {
            t->special[t->n_special++] = id;
        }
    }
    qsort_r(t->special, t->n_special, sizeof *t->special, by_text, t);
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
            t->kind->encode(t, text + raw, i - raw, &out, work);
        }
        tok_emit(&out, id);
        i += tok_text(t, id).n;
        raw = i;
    }
    if (n > raw) {
        t->kind->encode(t, text + raw, n - raw, &out, work);
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
    return tok_spm_work_bytes(n_text);
}

/* Texts that end a turn in one family or another. Files name only one id, and not always the one that chat
 * models write; several also have the wrong type. */
static const char *const end_texts[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<end_of_turn>",
    "<EOT>",
    "[EOT]",
    "<|eom_id|>",
    "[EOS]",
    "<|return|>",
    "<|call|>",
    "<|endoftext|>",
    "</s>",
    "<|eot|>",
    "<eos>",
    "<|end_of_text|>",
    ("<\xEF\xBD\x9C"
     "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>"),
};
enum { END_OF_TURN_TEXTS = 6 }; /* the first ones end a turn rather than a text */

static void mark_ends(mox_tokenizer *t)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        mox_str s = tok_text(t, id);
        for (size_t k = 0; k < COUNT(end_texts); k++) {
            if (s.n != strlen(end_texts[k]) || memcmp(s.p, end_texts[k], s.n) != 0) {
                continue;
            }
            t->is_end[id] = true;
            t->type[id] = TOK_CONTROL;
            if (k < END_OF_TURN_TEXTS && t->ids.eot == MOX_TOKEN_NONE) {
                t->ids.eot = id;
            }
        }
    }
}

/* An id from a key, a default where the key is absent and the vocabulary is long enough, else none. */
static mox_err read_id(const mox_tokenizer *t, const mox_gguf *g, const char *key, uint32_t fallback,
                       uint32_t *out)
{
    *out = fallback < t->n_vocab ? fallback : MOX_TOKEN_NONE;
    if (mox_gguf_u32_opt(g, key, 0, t->n_vocab - 1, out) != MOX_OK) {
        mox_err_info e = *mox_err_last();
        return mox_err_set(MOX_E_TOKENIZER, 0, e.file, e.line, "%s", e.msg);
    }
    return MOX_OK;
}

static mox_err read_ids(mox_tokenizer *t, const mox_gguf *g)
{
    uint32_t eom = MOX_TOKEN_NONE, pad = MOX_TOKEN_NONE;
    mox_token_ids *ids = &t->ids;
    *ids = (mox_token_ids){.add_bos = true, .add_eos = false, .add_space_prefix = true};
    MOX_TRY(read_id(t, g, "tokenizer.ggml.unknown_token_id", 0, &ids->unk));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.bos_token_id", 1, &ids->bos));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.eos_token_id", 2, &ids->eos));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.eot_token_id", MOX_TOKEN_NONE, &ids->eot));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.eom_token_id", MOX_TOKEN_NONE, &eom));
    MOX_TRY(read_id(t, g, "tokenizer.ggml.padding_token_id", MOX_TOKEN_NONE, &pad));
    MOX_TRY(mox_gguf_bool_opt(g, "tokenizer.ggml.add_bos_token", &ids->add_bos));
    MOX_TRY(mox_gguf_bool_opt(g, "tokenizer.ggml.add_eos_token", &ids->add_eos));
    MOX_TRY(mox_gguf_bool_opt(g, "tokenizer.ggml.add_space_prefix", &ids->add_space_prefix));
    if ((ids->add_bos && ids->bos == MOX_TOKEN_NONE) || (ids->add_eos && ids->eos == MOX_TOKEN_NONE)) {
        return MOX_FAIL(MOX_E_TOKENIZER, "the model wants a token at the %s of a text, but has none",
                        ids->add_bos && ids->bos == MOX_TOKEN_NONE ? "beginning" : "end");
    }
    mark_ends(t);
    const uint32_t keys[] = {ids->eos, ids->eot, eom};
    for (size_t i = 0; i < COUNT(keys); i++) {
        if (keys[i] != MOX_TOKEN_NONE) {
            t->is_end[keys[i]] = true;
        }
    }
    return MOX_OK;
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
    MOX_TRY_GOTO(err, copy_vocab(t, g), fail);
    MOX_TRY_GOTO(err, read_ids(t, g), fail);
    MOX_TRY_GOTO(err, index_bytes(t), fail);
    MOX_TRY_GOTO(err, index_pieces(t), fail);
    index_special(t);
    MOX_TRY_GOTO(err, t->kind->prepare(t), fail);
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
    free(o->blob);
    free(o->off);
    free(o->score);
    free(o->type);
    free(o->is_end);
    free(o->slots);
    free(o->special);
    free(o->byte_value);
    free(o);
}

size_t mox_tokenizer_bytes(const mox_tokenizer *t)
{
    return t->bytes;
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
