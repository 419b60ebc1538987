/* Small byte-level BPE vocabularies for the tests: the 256 bytes (id = byte), what merges make, then what a test lists. */
#ifndef MOX_TESTS_TOKENIZER_BPE_VOCAB_H
#define MOX_TESTS_TOKENIZER_BPE_VOCAB_H

#include "tokenizer/vocab.h"

enum { BPE_MAX = 1400, BPE_TEXT = 700 };

typedef struct bpe_vocab {
    uint8_t text[BPE_MAX][BPE_TEXT]; /* bytes of each id */
    size_t len[BPE_MAX];
    uint32_t n;
    uint32_t left[BPE_MAX], right[BPE_MAX], result[BPE_MAX]; /* of each merge */
    uint32_t n_merges;
} bpe_vocab;

/* The bytes, and merges of texts such as "a b" in their order: both sides and the whole become tokens. */
void bpe_init(bpe_vocab *v, const char *const *merges, size_t n);
void bpe_add(bpe_vocab *v, const char *left, const char *right);
/* The bytes, and the n merges that training on a text gives: each time the most frequent neighbours within words. */
void bpe_train(bpe_vocab *v, const char *pre, const char *text, uint32_t n);

typedef struct bpe_file {
    const char *pre; /* NULL: not said */
    const piece *pieces;
    size_t n_pieces;               /* ids from v->n on */
    const char *const *raw_merges; /* added as they are */
    size_t n_raw;
    void (*keys)(gb *b);
} bpe_file;

/* A file with that vocabulary, and what becomes of it; `t` may be NULL after an error. */
mox_err bpe_create(mox_tokenizer **t, const bpe_vocab *v, const bpe_file *f);
mox_tokenizer *bpe_tokenizer(const bpe_vocab *v, const bpe_file *f); /* fails the test instead */

#endif
