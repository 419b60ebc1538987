/* What the kinds of tokenizers share: the vocabulary, copied out of the file, and the list of tokens to be
 * emitted. */
#ifndef MOX_RUNTIME_TOKENIZER_INTERNAL_H
#define MOX_RUNTIME_TOKENIZER_INTERNAL_H

#include "pretok.h"
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

/* Two neighbours that may merge. What they were when they were found is kept, so that a pair whose symbols have become
 * others can be told when it comes up: heaps take nothing out of the middle. */
typedef struct tok_pair {
    uint32_t order; /* lower merges first */
    int32_t left;   /* symbol */
    uint32_t a, b;  /* what they were, in the words of the kind */
} tok_pair;

typedef struct tok_heap {
    tok_pair *pairs;
    size_t n;
} tok_heap;

void tok_heap_push(tok_heap *h, tok_pair p);
tok_pair tok_heap_pop(tok_heap *h);

typedef struct tok_kind {
    const char *model;  /* tokenizer.ggml.model */
    bool scores, marks; /* the file has scores; pieces write a space as U+2581 */
    /* begin: defaults of t->ids, before the file's keys are read. */
    mox_err (*begin)(mox_tokenizer *t, const mox_gguf *g);
    /* makes: whether plain text can become that token by the rules of the file (NULL: not asked). */
    bool (*makes)(const mox_gguf *g, mox_str text);
    /* prepare: checks and tables of this kind, after the vocabulary is there; calls tok_index_pieces. */
    mox_err (*prepare)(mox_tokenizer *t, const mox_gguf *g);
    /* encode: text without special tokens in it; work is what mox_tokenizer_work_bytes promised. */
    mox_err (*encode)(const mox_tokenizer *t, const char *text, size_t n, tok_out *out, void *work);
    void (*release)(mox_tokenizer *t); /* what prepare took; NULL: nothing */
} tok_kind;

typedef struct tok_merge { /* of a left token with this right one */
    uint32_t right, rank, result;
} tok_merge;

struct mox_tokenizer {
    const tok_kind *kind;
    const char *note; /* what is doubtful about the file, or NULL */
    uint32_t n_vocab;
    uint32_t max_text; /* of one token, bytes */
    char *blob;        /* all texts, one after the other */
    uint32_t *off;     /* n_vocab + 1 */
    float *score;
    uint8_t *type;   /* tok_type */
    bool *is_end;    /* ends generation */
    bool *shown;     /* control tokens that are printed */
    bool *strips;    /* special tokens that whitespace behind them belongs to; NULL: none */
    uint32_t *slots; /* open addressing, bytes -> id; pieces that text may merge into */
    uint32_t n_slots;
    uint32_t *special; /* ids of control, unknown and user-defined tokens, sorted by text */
    uint32_t n_special;
    uint32_t byte_id[256]; /* MOX_TOKEN_NONE where the vocabulary lacks a byte */
    uint8_t *byte_value;   /* of a byte token */
    size_t bytes;
    mox_token_ids ids;

    /* Byte-level BPE alone. */
    const mox_pretok_row *pre;
    mox_pretok *pretok;
    char *piece; /* as blob: the bytes that tokens stand for; NULL: their texts are that */
    uint32_t *piece_off;
    bool *unreachable;     /* pieces that stand for no bytes */
    tok_merge *merges;     /* sorted by left, then right, then rank */
    uint32_t *merge_first; /* n_vocab + 1: where the merges of a left token begin */
};

static inline mox_str tok_text(const mox_tokenizer *t, uint32_t id)
{
    return (mox_str){t->blob + t->off[id], t->off[id + 1] - t->off[id]};
}

/* The bytes that text has where it becomes this token. */
static inline mox_str tok_piece(const mox_tokenizer *t, uint32_t id)
{
    return t->piece ? (mox_str){t->piece + t->piece_off[id], t->piece_off[id + 1] - t->piece_off[id]}
                    : tok_text(t, id);
}

/* tok_take: memory of the tokenizer, zeroed and counted for the plan; NULL if there is none. */
void *tok_take(mox_tokenizer *t, size_t n, size_t size);
/* tok_copy_vocab: texts, scores and types out of the file. tok_index_bytes: byte tokens. tok_index_special,
 * tok_index_pieces: the tables for looking up. tok_read_ids: ids by the file's keys, ends by key and by text. */
MOX_NODISCARD mox_err tok_copy_vocab(mox_tokenizer *t, const mox_gguf *g);
MOX_NODISCARD mox_err tok_index_bytes(mox_tokenizer *t);
void tok_index_special(mox_tokenizer *t);
MOX_NODISCARD mox_err tok_index_pieces(mox_tokenizer *t);
MOX_NODISCARD mox_err tok_read_ids(mox_tokenizer *t, const mox_gguf *g);
/* tok_mark_strips: t->strips, after tok_index_special. */
MOX_NODISCARD mox_err tok_mark_strips(mox_tokenizer *t, const mox_gguf *g);
/* tok_find: the piece of those bytes, or MOX_TOKEN_NONE. */
uint32_t tok_find(const mox_tokenizer *t, const char *p, size_t n);

extern const tok_kind tok_spm, tok_bpe;
size_t tok_spm_work_bytes(size_t n_text);
size_t tok_bpe_work_bytes(size_t n_text);
/* tok_bpe_known: how such a file's text is cut into words, or the error that it is not known here. *note is set where
 * the file does not say. */
MOX_NODISCARD mox_err tok_bpe_known(const mox_gguf *g, const mox_pretok_row **row, const char **note);

#endif
