/* The vocabulary of a file: its texts, scores and types, copied and checked, and the indexes over them. */
#include "tokenizer_internal.h"

#include "runtime/core/bits.h"
#include "runtime/core/hash.h"
#include "runtime/gguf/utf8.h"

#include <stdlib.h>
#include <string.h>

/* Memory of the tokenizer, zeroed; counted for the plan. */
void *tok_take(mox_tokenizer *t, size_t n, size_t size)
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
mox_err tok_copy_vocab(mox_tokenizer *t, const mox_gguf *g)
{
    static const char tokens[] = "tokenizer.ggml.tokens";
    uint32_t n = 0, n_scores = 0, n_types = 0, id = 0;
    const void *scores = NULL, *types = NULL, *cursor = NULL;
    size_t total = 0;
    mox_str s;
    MOX_TRY(mox_gguf_string_array(g, tokens, &n));
    if (t->kind->scores) {
        MOX_TRY(mox_gguf_array(g, "tokenizer.ggml.scores", MOX_GGUF_F32, &scores, &n_scores));
    }
    MOX_TRY(mox_gguf_array(g, "tokenizer.ggml.token_type", MOX_GGUF_I32, &types, &n_types));
    n_scores = t->kind->scores ? n_scores : n;
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
    t->blob = tok_take(t, total, 1);
    t->off = tok_take(t, (size_t)n + 1, sizeof *t->off);
    t->score = tok_take(t, n, sizeof *t->score);
    t->type = tok_take(t, n, sizeof *t->type);
    t->is_end = tok_take(t, n, sizeof *t->is_end);
    t->shown = tok_take(t, n, sizeof *t->shown);
    t->special = tok_take(t, n, sizeof *t->special);
    t->byte_value = tok_take(t, n, 1);
    if (!t->blob || !t->off || !t->score || !t->type || !t->is_end || !t->shown || !t->special ||
        !t->byte_value) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a vocabulary of %u tokens", n);
    }
    if (scores) {
        memcpy(t->score, scores, (size_t)n * sizeof *t->score);
    }
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
mox_err tok_index_bytes(mox_tokenizer *t)
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
        mox_str s = tok_piece(t, id);
        if (s.n == n && memcmp(s.p, p, n) == 0) {
            return &t->slots[i];
        }
    }
}

uint32_t tok_find(const mox_tokenizer *t, const char *p, size_t n)
{
    return n > t->max_text ? MOX_TOKEN_NONE : *slot_of(t, p, n);
}

/* The pieces that text may become. Of two tokens with one text the later one counts, as in llama.cpp; but a plain piece
 * rather than a user-defined token, which is cut out of text before this index is asked. */
mox_err tok_index_pieces(mox_tokenizer *t)
{
    t->n_slots = 1;
    while (t->n_slots < t->n_vocab * 2) {
        t->n_slots *= 2;
    }
    t->slots = tok_take(t, t->n_slots, sizeof *t->slots);
    if (!t->slots) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for an index of %u tokens", t->n_vocab);
    }
    memset(t->slots, 0xFF, t->n_slots * sizeof *t->slots);
    static const uint8_t turns[] = {TOK_USER, TOK_UNUSED, TOK_NORMAL};
    for (size_t i = 0; i < sizeof turns; i++) {
        for (uint32_t id = 0; id < t->n_vocab; id++) {
            mox_str s = tok_piece(t, id);
            if (t->type[id] == turns[i] && s.n > 0 && !(t->unreachable && t->unreachable[id])) {
                *slot_of(t, s.p, s.n) = id;
            }
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

void tok_index_special(mox_tokenizer *t)
{
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        uint8_t type = t->type[id];
        if ((type == TOK_CONTROL || type == TOK_UNKNOWN || type == TOK_USER) && tok_text(t, id).n > 0) {
            t->special[t->n_special++] = id;
        }
    }
    qsort_r(t->special, t->n_special, sizeof *t->special, by_text, t);
}
