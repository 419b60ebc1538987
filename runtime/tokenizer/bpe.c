/* Byte-level BPE ("gpt2"): words by the pre-tokenizer, then in each word the neighbours merge, first merge of the list
 * first.
 *
 * Files write a byte as a printable character (bytes outside of printable Latin-1 as U+0100 and on); here the pieces are
 * turned back into bytes once, at open, so text needs no such detour. While merging, a symbol is a token id: what a pair
 * becomes is looked up by two ids, among the merges of the left one, sorted by the right one. That is as fast as hashing
 * texts and has no bad case for a vocabulary made to have one. As for SentencePiece, candidates wait in a heap, so a word
 * of n bytes takes O(n log n); a candidate whose symbols have become others is dropped when it comes up.
 *
 * A merge that would make a control token is left out: what is typed never becomes one. A merge of what is no token is
 * an error, since the ids of such a file mean nothing.
 */
#include "tokenizer_internal.h"

#include "runtime/core/bits.h"
#include "runtime/gguf/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char merges_key[] = "tokenizer.ggml.merges";
enum { MAX_MERGES = 1 << 22, LAST_BYTE_CHAR = 0x143 };
enum { NO_SYMBOL = -1 };
#define MERGED_AWAY (MOX_TOKEN_NONE - 1) /* more than any id, as MOX_TOKEN_NONE: a byte that is no token */

typedef struct symbol {
    int32_t prev, next;
    uint32_t id;
} symbol;

typedef struct merger {
    const mox_tokenizer *t;
    tok_out *out;
    symbol *symbols;
    tok_heap heap;
} merger;

/* Printable bytes stand for themselves; the others, in order, for U+0100 and on. */
static bool stands_for_itself(unsigned byte)
{
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

/* The byte that a character of a piece stands for; -1: none. */
static int byte_of_char(uint32_t c)
{
    if (c < 256) {
        return stands_for_itself(c) ? (int)c : -1;
    }
    if (c > LAST_BYTE_CHAR) {
        return -1;
    }
    unsigned skip = c - 256, byte = 0;
    while (stands_for_itself(byte) || skip-- > 0) {
        byte++;
    }
    return (int)byte;
}

/* The bytes that s stands for, at most as many as it has; SIZE_MAX: it holds a character that stands for none. */
static size_t to_bytes(mox_str s, const int16_t *byte_of, char *out)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        uint32_t c = 0;
        size_t used = mox_utf8_next(s.p + i, s.n - i, &c);
        if (used == 0 || c > LAST_BYTE_CHAR || byte_of[c] < 0) {
            return SIZE_MAX;
        }
        out[n++] = (char)byte_of[c];
        i += used;
    }
    return n;
}

static void make_byte_table(int16_t *byte_of)
{
    for (uint32_t c = 0; c <= LAST_BYTE_CHAR; c++) {
        byte_of[c] = (int16_t)byte_of_char(c);
    }
}

static bool is_piece(const mox_tokenizer *t, uint32_t id)
{
    return t->type[id] == TOK_NORMAL || t->type[id] == TOK_UNUSED;
}

/* The bytes of every token. Special tokens are written as they are; so is, for printing, a piece of characters that
 * stand for no bytes, which no text can become. */
static mox_err decode_pieces(mox_tokenizer *t, const int16_t *byte_of)
{
    t->piece = tok_take(t, t->off[t->n_vocab], 1);
    t->piece_off = tok_take(t, (size_t)t->n_vocab + 1, sizeof *t->piece_off);
    if (!t->piece || !t->piece_off) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a vocabulary of %u tokens", t->n_vocab);
    }
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        mox_str s = tok_text(t, id);
        char *to = t->piece + t->piece_off[id];
        size_t n = is_piece(t, id) ? to_bytes(s, byte_of, to) : SIZE_MAX;
        t->unreachable[id] = is_piece(t, id) && n == SIZE_MAX;
        if (n == SIZE_MAX) {
            memcpy(to, s.p, s.n);
            n = s.n;
        }
        t->piece_off[id + 1] = t->piece_off[id] + (uint32_t)n;
    }
    return MOX_OK;
}

static mox_err bad_merge(uint32_t i, mox_str s, const char *why)
{
    char shown[96];
    return MOX_FAIL(MOX_E_TOKENIZER, "merge %u, \"%s\", %s", i, mox_escape(s, shown, sizeof shown), why);
}

/* Ids of both sides and of what they make. */
static mox_err read_merge(const mox_tokenizer *t, const int16_t *byte_of, uint32_t i, mox_str s,
                          uint32_t *left, tok_merge *m)
{
    char bytes[TOK_MAX_TEXT];
    const char *space = s.n > 1 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
    if (space == NULL || s.n > TOK_MAX_TEXT) {
        return bad_merge(i, s, space ? "is longer than any token" : "has no space between two pieces");
    }
    mox_str l = {s.p, (size_t)(space - s.p)}, r = {space + 1, s.n - l.n - 1};
    size_t n_left = to_bytes(l, byte_of, bytes);
    size_t n_right = n_left != SIZE_MAX ? to_bytes(r, byte_of, bytes + n_left) : SIZE_MAX;
    if (n_right == SIZE_MAX || n_right == 0) {
        return bad_merge(i, s, "holds characters that stand for no bytes");
    }
    *left = tok_find(t, bytes, n_left);
    m->right = tok_find(t, bytes + n_left, n_right);
    m->result = tok_find(t, bytes, n_left + n_right);
    m->rank = i;
    return MOX_OK;
}

/* Whether a text is a token that plain text must not become: then its merge is no damage. */
static bool is_kept_apart(const mox_tokenizer *t, mox_str s)
{
    char joined[TOK_MAX_TEXT];
    const char *space = memchr(s.p + 1, ' ', s.n - 1);
    size_t n = (size_t)(space - s.p), len = 0;
    memcpy(joined, s.p, n);
    memcpy(joined + n, space + 1, s.n - n - 1);
    const char *const texts[] = {joined, s.p, space + 1};
    const size_t lens[] = {s.n - 1, n, s.n - n - 1};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (mox_token_special_at(t, texts[i], lens[i], &len) != MOX_TOKEN_NONE && len == lens[i]) {
            return true;
        }
    }
    return false;
}

static int by_right(const void *a, const void *b)
{
    const tok_merge *x = a, *y = b;
    int order = (x->right > y->right) - (x->right < y->right);
    return order ? order : (x->rank > y->rank) - (x->rank < y->rank);
}

/* Merges in the order of the file, beside them the left ids, into ranges by left id. */
static void sort_merges(mox_tokenizer *t, const uint32_t *left, const tok_merge *from, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        t->merge_first[left[i] + 1]++;
    }
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        t->merge_first[id + 1] += t->merge_first[id];
    }
    for (uint32_t i = n; i-- > 0;) { /* each range fills from its end, which becomes its beginning */
        t->merges[--t->merge_first[left[i] + 1]] = from[i];
    }
    memmove(t->merge_first, t->merge_first + 1, t->n_vocab * sizeof *t->merge_first);
    t->merge_first[t->n_vocab] = n;
    for (uint32_t id = 0; id < t->n_vocab; id++) {
        uint32_t lo = t->merge_first[id];
        qsort(t->merges + lo, t->merge_first[id + 1] - lo, sizeof *t->merges, by_right);
    }
}

static mox_err fill_merges(mox_tokenizer *t, const mox_gguf *g, const int16_t *byte_of, uint32_t *left,
                           tok_merge *list)
{
    const void *cursor = NULL;
    mox_str s;
    uint32_t used = 0;
    for (uint32_t i = 0; mox_gguf_next_string(g, merges_key, &cursor, &s); i++) {
        MOX_TRY(read_merge(t, byte_of, i, s, &left[used], &list[used]));
        if (left[used] != MOX_TOKEN_NONE && list[used].right != MOX_TOKEN_NONE &&
            list[used].result != MOX_TOKEN_NONE) {
            used++;
        } else if (!is_kept_apart(t, s)) {
            return bad_merge(i, s, "joins or makes what is no token");
        }
    }
    sort_merges(t, left, list, used);
    return MOX_OK;
}

static mox_err read_merges(mox_tokenizer *t, const mox_gguf *g, const int16_t *byte_of)
{
    uint32_t n = 0;
    MOX_TRY(mox_gguf_string_array(g, merges_key, &n));
    if (n > MAX_MERGES) {
        return MOX_FAIL(MOX_E_TOKENIZER, "%u merges; %d are allowed", n, MAX_MERGES);
    }
    t->merges = tok_take(t, n, sizeof *t->merges);
    t->merge_first = tok_take(t, (size_t)t->n_vocab + 2, sizeof *t->merge_first);
    uint32_t *left = calloc((size_t)n + 1, sizeof *left);
    tok_merge *list = calloc((size_t)n + 1, sizeof *list);
    mox_err err = !t->merges || !t->merge_first || !left || !list
                      ? MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %u merges", n)
                      : fill_merges(t, g, byte_of, left, list);
    free(left);
    free(list);
    return err;
}

/* A token for each byte; those that no valid UTF-8 holds may be missing. */
static mox_err index_bytes(mox_tokenizer *t)
{
    for (unsigned b = 0; b < 256; b++) {
        char c = (char)b;
        uint32_t id = tok_find(t, &c, 1);
        t->byte_id[b] = id != MOX_TOKEN_NONE ? id : t->byte_id[b];
        bool in_utf8 = b < 0xF5 && b != 0xC0 && b != 0xC1;
        if (t->byte_id[b] == MOX_TOKEN_NONE && t->ids.unk == MOX_TOKEN_NONE && in_utf8) {
            return MOX_FAIL(MOX_E_TOKENIZER,
                            "the vocabulary has neither a token for byte 0x%02X nor one for the unknown", b);
        }
    }
    return MOX_OK;
}

static mox_err bpe_prepare(mox_tokenizer *t, const mox_gguf *g)
{
    int16_t byte_of[LAST_BYTE_CHAR + 1];
    make_byte_table(byte_of);
    t->unreachable = tok_take(t, t->n_vocab, sizeof *t->unreachable);
    if (!t->unreachable) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a vocabulary of %u tokens", t->n_vocab);
    }
    MOX_TRY(decode_pieces(t, byte_of));
    MOX_TRY(tok_index_pieces(t));
    MOX_TRY(index_bytes(t));
    MOX_TRY(read_merges(t, g, byte_of));
    MOX_TRY(mox_pretok_create(&t->pretok, t->pre, true));
    t->bytes += mox_pretok_bytes(t->pretok);
    return MOX_OK;
}

/* What the file says about words, and what follows from it where it says no more. */
static mox_err bpe_begin(mox_tokenizer *t, const mox_gguf *g)
{
    MOX_TRY(tok_bpe_known(g, &t->pre, &t->note));
    t->ids = (mox_token_ids){
        .bos = MOX_TOKEN_NONE, .eos = MOX_TOKEN_NONE, .unk = MOX_TOKEN_NONE, .add_bos = t->pre->add_bos};
    return MOX_OK;
}

/* Lists one name of each kind; docs/models.md has all. */
static mox_err unknown_pre(mox_str name)
{
    char shown[64], known[400];
    size_t used = 0;
    for (size_t i = 0; mox_pretok_at(i) && used < sizeof known; i++) {
        const char *names = mox_pretok_at(i)->names;
        int n = (int)strcspn(names, " ");
        used += (size_t)snprintf(known + used, sizeof known - used, " %.*s", n, names);
    }
    return MOX_FAIL(
        MOX_E_TOKENIZER,
        "the pre-tokenizer \"%s\" is unknown to this version; known are, with others of the same kinds:%s",
        mox_escape(name, shown, sizeof shown), known);
}

mox_err tok_bpe_known(const mox_gguf *g, const mox_pretok_row **row, const char **note)
{
    static const char key[] = "tokenizer.ggml.pre", fallback[] = "default";
    mox_str name = {fallback, sizeof fallback - 1};
    if (!mox_pretok_available()) {
        return MOX_FAIL(MOX_E_TOKENIZER,
                        "the tokenizer \"gpt2\" (byte-level BPE) needs PCRE2, which this program was built "
                        "without");
    }
    if (mox_gguf_has(g, key)) {
        MOX_TRY(mox_gguf_str(g, key, &name));
    }
    *row = mox_pretok_find(name);
    if (*row == NULL) {
        return unknown_pre(name);
    }
    if (*row == mox_pretok_find((mox_str){fallback, sizeof fallback - 1})) {
        *note =
            "the file does not say how its tokenizer cuts text into words (tokenizer.ggml.pre); cut in the "
            "default way, text may become other tokens than the model was trained with";
    }
    return MOX_OK;
}

static bool bpe_makes(const mox_gguf *g, mox_str text)
{
    const void *cursor = NULL;
    mox_str s;
    uint32_t n = 0;
    if (mox_gguf_string_array(g, merges_key, &n) != MOX_OK) {
        return false;
    }
    while (mox_gguf_next_string(g, merges_key, &cursor, &s)) {
        const char *space = s.n == text.n + 1 && s.n > 1 ? memchr(s.p + 1, ' ', s.n - 1) : NULL;
        size_t left = space ? (size_t)(space - s.p) : 0;
        if (space && memcmp(s.p, text.p, left) == 0 && memcmp(space + 1, text.p + left, text.n - left) == 0) {
            return true;
        }
    }
    return false;
}

static const tok_merge *find_merge(const mox_tokenizer *t, uint32_t left, uint32_t right)
{
    if (left >= t->n_vocab || right >= t->n_vocab) {
        return NULL;
    }
    uint32_t lo = t->merge_first[left], end = t->merge_first[left + 1], hi = end;
    while (lo < hi) { /* the first of equals: the one that stands first in the file */
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->merges[mid].right < right) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < end && t->merges[lo].right == right ? &t->merges[lo] : NULL;
}

static void consider(merger *m, int32_t left)
{
    int32_t right = left != NO_SYMBOL ? m->symbols[left].next : NO_SYMBOL;
    if (right == NO_SYMBOL) {
        return;
    }
    uint32_t left_id = m->symbols[left].id, right_id = m->symbols[right].id;
    const tok_merge *merge = find_merge(m->t, left_id, right_id);
    if (merge) {
        tok_heap_push(&m->heap, (tok_pair){merge->rank, left, left_id, right_id});
    }
}

static void merge_all(merger *m)
{
    while (m->heap.n > 0) {
        tok_pair p = tok_heap_pop(&m->heap);
        symbol *l = &m->symbols[p.left];
        if (l->id != p.a || l->next == NO_SYMBOL || m->symbols[l->next].id != p.b) {
            continue;
        }
        symbol *r = &m->symbols[l->next];
        l->id = find_merge(m->t, p.a, p.b)->result;
        l->next = r->next;
        r->id = MERGED_AWAY;
        if (l->next != NO_SYMBOL) {
            m->symbols[l->next].prev = p.left;
        }
        consider(m, l->prev);
        consider(m, p.left);
    }
}

/* One word: its bytes as symbols, merged, written out. */
static mox_err encode_word(void *ctx, const char *word, size_t n)
{
    merger *m = ctx;
    const mox_tokenizer *t = m->t;
    uint32_t whole = t->pre->ignore_merges ? tok_find(t, word, n) : MOX_TOKEN_NONE;
    if (whole != MOX_TOKEN_NONE) {
        tok_emit(m->out, whole);
        return MOX_OK;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t id = t->byte_id[(uint8_t)word[i]];
        if (id == MOX_TOKEN_NONE && t->ids.unk == MOX_TOKEN_NONE) {
            return MOX_FAIL(MOX_E_TOKENIZER,
                            "the text holds the byte 0x%02X, which is no UTF-8 and no token of this model",
                            (uint8_t)word[i]);
        }
        m->symbols[i] = (symbol){(int32_t)i - 1, i + 1 < n ? (int32_t)i + 1 : NO_SYMBOL, id};
    }
    m->heap.n = 0;
    for (int32_t i = 0; i + 1 < (int32_t)n; i++) {
        consider(m, i);
    }
    merge_all(m);
    for (int32_t i = 0; i != NO_SYMBOL; i = m->symbols[i].next) {
        tok_emit(m->out, m->symbols[i].id != MOX_TOKEN_NONE ? m->symbols[i].id : t->ids.unk);
    }
    return MOX_OK;
}

static size_t text_room(size_t n)
{
    return mox_round_up(n + 1, _Alignof(symbol));
}

size_t tok_bpe_work_bytes(size_t n)
{
    return text_room(n) + (n + 1) * (sizeof(symbol) + 2 * sizeof(tok_pair)) + mox_pretok_work_bytes();
}

static mox_err bpe_encode(const mox_tokenizer *t, const char *text, size_t n, tok_out *out, void *work)
{
    uint8_t *base = work;
    merger m = {.t = t, .out = out, .symbols = (symbol *)(void *)(base + text_room(n))};
    m.heap.pairs = (tok_pair *)(void *)(m.symbols + n + 1);
    if (t->ids.add_space_prefix && n > 0 && text[0] != ' ') {
        base[0] = ' ';
        memcpy(base + 1, text, n);
        text = work;
        n++;
    }
    return mox_pretok_split(t->pretok, text, n, encode_word, &m, m.heap.pairs + 2 * n);
}

static void bpe_release(mox_tokenizer *t)
{
    mox_pretok_destroy(&t->pretok);
    free(t->piece);
    free(t->piece_off);
    free(t->unreachable);
    free(t->merges);
    free(t->merge_first);
}

const tok_kind tok_bpe = {.model = "gpt2",
                          .begin = bpe_begin,
                          .makes = bpe_makes,
                          .prepare = bpe_prepare,
                          .encode = bpe_encode,
                          .release = bpe_release};
