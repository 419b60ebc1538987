/* Streaming detokeniser. Characters of many bytes may be spread over several tokens, and a token may end in
 * the middle of one: what is incomplete waits, what can never be completed comes out as U+FFFD, so the output
 * is valid UTF-8 at every moment. */
#include "tokenizer_internal.h"

#include "runtime/gguf/utf8.h"

#include <string.h>

static const char replacement[3] = {'\xEF', '\xBF', '\xBD'};
static const char space_mark[3] = {'\xE2', '\x96', '\x81'};

void mox_detok_init(mox_detok *d, const mox_tokenizer *t, bool print_special, bool at_start)
{
    *d = (mox_detok){.t = t, .print_special = print_special, .at_start = at_start};
}

size_t mox_detok_max(const mox_tokenizer *t)
{
    /* every byte of the token and of what was held back may turn into a U+FFFD */
    return sizeof replacement * ((size_t)t->max_text + MOX_UTF8_MAX);
}

/* One more byte of the stream: appends to out what is decided by it. */
static size_t feed(mox_detok *d, uint8_t byte, char *out)
{
    size_t written = 0, len = 0;
    d->held[d->n_held++] = byte;
    while (d->n_held > 0) {
        mox_utf8_state state = mox_utf8_step(d->held, d->n_held, &len);
        if (state == MOX_UTF8_PARTIAL) {
            break;
        }
        const void *from = state == MOX_UTF8_CHAR ? (const void *)d->held : replacement;
        size_t n = state == MOX_UTF8_CHAR ? len : sizeof replacement;
        memcpy(out + written, from, n);
        written += n;
        d->n_held -= (uint32_t)len;
        memmove(d->held, d->held + len, d->n_held);
    }
    return written;
}

static bool has_mark(mox_str s, size_t i)
{
    return s.n - i >= sizeof space_mark && memcmp(s.p + i, space_mark, sizeof space_mark) == 0;
}

/* How many bytes of a piece are the space that encoding put before the text. */
static size_t added_space(const mox_detok *d, mox_str s)
{
    if (!d->at_start || !d->t->ids.add_space_prefix) {
        return 0;
    }
    return d->t->kind->marks ? (has_mark(s, 0) ? sizeof space_mark : 0) : s.n > 0 && s.p[0] == ' ';
}

/* The text of a piece with its marks turned to spaces, without the first one at the start of a text. */
static size_t feed_piece(mox_detok *d, mox_str s, char *out)
{
    size_t written = 0;
    for (size_t i = added_space(d, s); i < s.n;) {
        bool mark = d->t->kind->marks && has_mark(s, i);
        written += feed(d, mark ? ' ' : (uint8_t)s.p[i], out + written);
        i += mark ? sizeof space_mark : 1;
    }
    return written;
}

static size_t feed_raw(mox_detok *d, mox_str s, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < s.n; i++) {
        written += feed(d, (uint8_t)s.p[i], out + written);
    }
    return written;
}

size_t mox_detok_push(mox_detok *d, uint32_t id, char *out)
{
    const mox_tokenizer *t = d->t;
    size_t written = 0;
    if (id >= t->n_vocab) {
        return 0;
    }
    switch (t->type[id]) {
    case TOK_CONTROL:
    case TOK_UNKNOWN:
        return d->print_special || t->shown[id] ? feed_raw(d, tok_text(t, id), out) : 0;
    case TOK_BYTE:
        written = feed(d, t->byte_value[id], out);
        break;
    case TOK_USER: /* matched in the text as it was typed, so its marks are the user's own */
        written = feed_raw(d, tok_text(t, id), out);
        break;
    default:
        written = feed_piece(d, tok_piece(t, id), out);
        break;
    }
    d->at_start = false;
    return written;
}

size_t mox_detok_flush(mox_detok *d, char *out)
{
    if (d->n_held == 0) {
        return 0;
    }
    d->n_held = 0;
    memcpy(out, replacement, sizeof replacement);
    return sizeof replacement;
}
