/* Pre-tokenizer: cuts text into the words inside which byte-level BPE merges.
 *
 * Which words a model was trained on is said by tokenizer.ggml.pre, one name for one or more regular expressions
 * (pretok_table.c). They are applied in turn: each cuts the pieces that the one before left, and what lies between its
 * matches stays a piece too, so no byte is ever lost. Bytes that are no UTF-8 are pieces of their own.
 */
#ifndef MOX_RUNTIME_PRETOK_H
#define MOX_RUNTIME_PRETOK_H

#include "runtime/gguf/gguf.h"

enum { MOX_PRETOK_PATTERNS = 6 };

typedef struct mox_pretok_row {
    const char *names;                         /* of tokenizer.ggml.pre, separated by spaces */
    const char *patterns[MOX_PRETOK_PATTERNS]; /* the first ones; NULL after them */
    bool ignore_merges; /* a word that is a token is that token, whatever the merges say */
    bool add_bos;       /* unless the file says otherwise */
} mox_pretok_row;

/* mox_pretok_find: the row of that name; NULL if there is none. */
const mox_pretok_row *mox_pretok_find(mox_str name);
const mox_pretok_row *mox_pretok_at(size_t i); /* NULL after the last one */
/* mox_pretok_available: false where this program was built without PCRE2. */
bool mox_pretok_available(void);

typedef struct mox_pretok mox_pretok;

/* mox_pretok_create: jit false: never compile to machine code (where that is forbidden, it is not done anyway).
 * Errors MOX_E_TOKENIZER, MOX_E_NO_MEMORY. Threads: one mox_pretok may be used by any number at a time. */
MOX_NODISCARD mox_err mox_pretok_create(mox_pretok **out, const mox_pretok_row *row, bool jit);
void mox_pretok_destroy(mox_pretok **p);
size_t mox_pretok_bytes(const mox_pretok *p);

typedef mox_err (*mox_pretok_word)(void *ctx, const char *word, size_t n);

/* mox_pretok_split: calls word for each word of text, in order. Allocates nothing: what matching needs is taken from
 * work (mox_pretok_work_bytes(), any alignment). Errors: those of word; MOX_E_LIMIT: matching takes more steps than
 * are reasonable for a text of that length. */
MOX_NODISCARD mox_err mox_pretok_split(const mox_pretok *p, const char *text, size_t n, mox_pretok_word word,
                                       void *ctx, void *work);
size_t mox_pretok_work_bytes(void);

#endif
