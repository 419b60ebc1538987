/* SentencePiece ("llama"): spaces become U+2581, then neighbouring symbols merge, best score first.
 *
 * The candidates wait in a heap; one that has become stale (a symbol of it has merged with something else) is
 * dropped when it comes up, recognised by the lengths. So a text of n characters takes O(n log n), whatever
 * the text: scanning for the best pair each time would be quadratic on long runs of one letter. Everything
 * lives in the caller's work buffer: the escaped text (3n + 3 bytes), one symbol per character, at most 2
 * candidates per character at a time (each merge takes one out and puts two in). What is no piece in the end
 * is written byte by byte.
 */
#include "tokenizer_internal.h"

#include "runtime/core/bits.h"
#include "runtime/gguf/utf8.h"

#include <string.h>

static const char space_mark[3] = {'\xE2', '\x96', '\x81'};
enum { NO_SYMBOL = -1 };

typedef struct symbol {
    int32_t prev, next;
    uint32_t off, n; /* in the escaped text; n = 0: merged away */
} symbol;

typedef struct merger {
    const mox_tokenizer *t;
    char *text;
    uint32_t n_text;
    symbol *symbols;
    int32_t n_symbols;
    tok_heap heap;
} merger;

static size_t text_room(size_t n)
{
    return mox_round_up(3 * n + 3, _Alignof(symbol));
}

size_t tok_spm_work_bytes(size_t n)
{
    return text_room(n) + (n + 1) * sizeof(symbol) + 2 * (n + 1) * sizeof(tok_pair);
}

/* A number that is lower where the score is higher: the bits of a float, turned so that they order like the float. */
static uint32_t order_of(float score)
{
    uint32_t bits = 0;
    score += 0.0f; /* -0 is +0 */
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
}

static void consider(merger *m, int32_t left, int32_t right)
{
    if (left == NO_SYMBOL || right == NO_SYMBOL) {
        return;
    }
    const symbol *l = &m->symbols[left], *r = &m->symbols[right];
    uint32_t id = tok_find(m->t, m->text + l->off, (size_t)l->n + r->n);
    if (id != MOX_TOKEN_NONE) {
        tok_heap_push(&m->heap, (tok_pair){order_of(m->t->score[id]), left, (uint32_t)right, l->n + r->n});
    }
}

static void escape_text(merger *m, const char *text, size_t n)
{
    uint32_t used = 0;
    if (m->t->ids.add_space_prefix) {
        memcpy(m->text, space_mark, sizeof space_mark);
        used = sizeof space_mark;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] == ' ') {
            memcpy(m->text + used, space_mark, sizeof space_mark);
            used += sizeof space_mark;
        } else {
            m->text[used++] = text[i];
        }
    }
    m->n_text = used;
}

/* One symbol per character; a byte that belongs to none is a symbol of its own. */
static void split_text(merger *m)
{
    int32_t n = 0;
    for (uint32_t at = 0; at < m->n_text; n++) {
        size_t used = mox_utf8_next(m->text + at, m->n_text - at, NULL);
        uint32_t bytes = used ? (uint32_t)used : 1;
        m->symbols[n] = (symbol){n - 1, n + 1, at, bytes};
        at += bytes;
    }
    m->symbols[n - 1].next = NO_SYMBOL;
    m->n_symbols = n;
}

static void merge_all(merger *m)
{
    for (int32_t i = 1; i < m->n_symbols; i++) {
        consider(m, i - 1, i);
    }
    while (m->heap.n > 0) {
        tok_pair p = tok_heap_pop(&m->heap);
        symbol *l = &m->symbols[p.left], *r = &m->symbols[p.a];
        if (l->n == 0 || r->n == 0 || l->n + r->n != p.b) {
            continue;
        }
        l->n += r->n;
        r->n = 0;
        l->next = r->next;
        if (r->next != NO_SYMBOL) {
            m->symbols[r->next].prev = p.left;
        }
        consider(m, l->prev, p.left);
        consider(m, p.left, l->next);
    }
}

static void emit_all(const merger *m, tok_out *out)
{
    const mox_tokenizer *t = m->t;
    for (int32_t i = 0; i != NO_SYMBOL; i = m->symbols[i].next) {
        const symbol *s = &m->symbols[i];
        uint32_t id = tok_find(t, m->text + s->off, s->n);
        if (id != MOX_TOKEN_NONE) {
            tok_emit(out, id);
            continue;
        }
        for (uint32_t k = 0; k < s->n; k++) {
            id = t->byte_id[(uint8_t)m->text[s->off + k]];
            tok_emit(out, id != MOX_TOKEN_NONE ? id : t->ids.unk);
        }
    }
}

static mox_err spm_encode(const mox_tokenizer *t, const char *text, size_t n, tok_out *out, void *work)
{
    uint8_t *base = work;
    merger m = {.t = t, .text = work};
    m.symbols = (symbol *)(void *)(base + text_room(n));
    m.heap.pairs = (tok_pair *)(void *)(m.symbols + n + 1);
    escape_text(&m, text, n);
    split_text(&m);
    merge_all(&m);
    emit_all(&m, out);
    return MOX_OK;
}

static mox_err spm_begin(mox_tokenizer *t, const mox_gguf *g)
{
    (void)g;
    t->ids = (mox_token_ids){.unk = 0, .bos = 1, .eos = 2, .add_bos = true, .add_space_prefix = true};
    return MOX_OK;
}

static mox_err spm_prepare(mox_tokenizer *t, const mox_gguf *g)
{
    (void)g;
    for (int b = 0; b < 256; b++) {
        if (t->byte_id[b] == MOX_TOKEN_NONE && t->ids.unk == MOX_TOKEN_NONE) {
            return MOX_FAIL(MOX_E_TOKENIZER,
                            "the vocabulary has neither a token for byte 0x%02X nor one for the unknown", b);
        }
    }
    return tok_index_pieces(t);
}

const tok_kind tok_spm = {.model = "llama",
                          .scores = true,
                          .marks = true,
                          .begin = spm_begin,
                          .prepare = spm_prepare,
                          .encode = spm_encode};
