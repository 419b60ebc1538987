/* What the kinds of tokenizers share: the vocabulary, copied out of the file, and the list of tokens to be
 * emitted. */
#ifndef MOX_RUNTIME_TOKENIZER_INTERNAL_H
#define MOX_RUNTIME_TOKENIZER_INTERNAL_H

#include "runtime/tokenizer/tokenizer.h"

/* tokenizer.ggml.token_type */
typedef enum tok_type {
    TOK_NORMAL = 1,
    TOK_UNKNOWN = 2,
    TOK_CONTROL = 3,
    TOK_USER = 4,
    TOK_UNUSED = 5,
    TOK_BYTE = 6
} tok_type;

enum { TOK_MAX_VOCAB = 1 << 22, TOK_MAX_TEXT = 1024 };

/* Where encoding writes: counts on when the buffer is full. */
typedef struct tok_out {
    uint32_t *ids;
    uint32_t max, n;
} tok_out;

static inline void tok_emit(tok_out *o, uint32_t id)
{
    if (o->n < o->max) {
        o->ids[o->n] = id;
    }
    o->n++;
}

typedef struct tok_kind {
    const char *model; /* tokenizer.ggml.model */
    /* prepare: checks and tables of this kind, after the vocabulary is there. */
    mox_err (*prepare)(mox_tokenizer *t);
    /* encode: text without special tokens in it; first is what mox_tokenizer_work_bytes promised. */
    void (*encode)(const mox_tokenizer *t, const char *text, size_t n, tok_out *out, void *work);
} tok_kind;

struct mox_tokenizer {
    const tok_kind *kind;
    uint32_t n_vocab;
    uint32_t max_text; /* of one token, bytes */
    char *blob;        /* all texts, one after the other */
    uint32_t *off;     /* n_vocab + 1 */
    float *score;
    uint8_t *type;   /* tok_type */
    bool *is_end;    /* ends generation */
    uint32_t *slots; /* open addressing, text -> id; pieces that text may merge into */
    uint32_t n_slots;
    uint32_t *special; /* ids of control, unknown and user-defined tokens, sorted by text */
    uint32_t n_special;
    uint32_t byte_id[256]; /* MOX_TOKEN_NONE where the vocabulary lacks a byte */
    uint8_t *byte_value;   /* of a byte token */
    size_t bytes;
    mox_token_ids ids;
};

static inline mox_str tok_text(const mox_tokenizer *t, uint32_t id)
{
    return (mox_str){t->blob + t->off[id], t->off[id + 1] - t->off[id]};
}

/* tok_find: the piece with that text, or MOX_TOKEN_NONE. */
uint32_t tok_find(const mox_tokenizer *t, const char *p, size_t n);

extern const tok_kind tok_spm;
size_t tok_spm_work_bytes(size_t n_text);

#endif
