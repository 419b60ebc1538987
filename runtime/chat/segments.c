/* Segments to ids: runs of text between tokens are joined and tokenised as one. */
#include "runtime/chat/chat.h"

#include "runtime/core/bits.h"

#include <string.h>

static bool is_text(const mox_segment *s)
{
    return s->kind == MOX_SEGMENT_TEMPLATE || s->kind == MOX_SEGMENT_USER;
}

size_t mox_segments_work_bytes(const mox_segment *s, uint32_t n)
{
    size_t text = 0;
    for (uint32_t i = 0; i < n; i++) {
        text += is_text(&s[i]) ? s[i].n_text : 0;
    }
    return mox_round_up(text + 1, 64) + mox_tokenizer_work_bytes(text);
}

typedef struct sink {
    const mox_tokenizer *t;
    bool parse_special;
    uint32_t *ids;
    uint32_t n, max; /* n goes on counting past max */
    char *text;
    size_t n_text;
    uint32_t before; /* the token before the text gathered so far, which may take its first whitespace */
    void *work;
} sink;

static void put(sink *out, uint32_t id)
{
    if (out->n < out->max) {
        out->ids[out->n] = id;
    }
    out->n++;
    out->before = id;
}

/* The text gathered so far. */
static mox_err end_text(sink *out)
{
    if (out->n_text == 0) {
        return MOX_OK;
    }
    size_t taken = mox_token_takes(out->t, out->before, out->text, out->n_text);
    uint32_t at = out->n < out->max ? out->n : out->max, n = 0;
    mox_err err = mox_tokenizer_encode(out->t, out->text + taken, out->n_text - taken, false,
                                       out->parse_special, out->ids + at, out->max - at, &n, out->work);
    out->n += n;
    out->n_text = 0;
    out->before = MOX_TOKEN_NONE;
    return err == MOX_E_LIMIT && n > out->max - at ? MOX_OK : err; /* said once, with the sum, at the end */
}

mox_err mox_segments_encode(const mox_tokenizer *t, const mox_segment *s, uint32_t n, bool parse_special,
                            uint32_t *ids, uint32_t max, uint32_t *n_ids, void *work)
{
    size_t text = 0;
    for (uint32_t i = 0; i < n; i++) {
        text += is_text(&s[i]) ? s[i].n_text : 0;
    }
    sink out = {.t = t,
                .parse_special = parse_special,
                .ids = ids,
                .max = max,
                .before = MOX_TOKEN_NONE,
                .text = work,
                .work = (char *)work + mox_round_up(text + 1, 64)};
    for (uint32_t i = 0; i < n; i++) {
        if (is_text(&s[i])) {
            memcpy(out.text + out.n_text, s[i].text, s[i].n_text);
            out.n_text += s[i].n_text;
            continue;
        }
        MOX_TRY(end_text(&out));
        if (s[i].kind == MOX_SEGMENT_TOKEN) {
            put(&out, s[i].token);
        }
        for (uint32_t k = 0; s[i].kind == MOX_SEGMENT_IDS && k < s[i].n_ids; k++) {
            put(&out, s[i].ids[k]);
        }
    }
    MOX_TRY(end_text(&out));
    *n_ids = out.n;
    return out.n <= max ? MOX_OK
                        : MOX_FAIL(MOX_E_LIMIT, "the text takes %u tokens, there is room for %u", out.n, max);
}
