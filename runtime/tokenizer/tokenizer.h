/* Tokenizer: text <-> ids. SentencePiece ("llama") and byte-level BPE ("gpt2"); a kind is one file plus one row in
 * tokenizer.c.
 *
 * Text never becomes a control token unless parse_special is set. All memory is taken at creation; encode
 * works in the caller's buffers, so it may run after "ready".
 */
#ifndef MOX_RUNTIME_TOKENIZER_H
#define MOX_RUNTIME_TOKENIZER_H

#include "runtime/gguf/gguf.h"

typedef struct mox_tokenizer mox_tokenizer;

typedef struct mox_token_ids { /* MOX_TOKEN_NONE where the model has none */
    uint32_t bos, eos, unk, eot;
    bool add_bos, add_eos, add_space_prefix;
} mox_token_ids;
#define MOX_TOKEN_NONE UINT32_MAX

/* mox_tokenizer_create: from tokenizer.ggml.*. Errors MOX_E_TOKENIZER, MOX_E_KEY. Copies what it needs (g may
 * be closed). */
MOX_NODISCARD mox_err mox_tokenizer_create(mox_tokenizer **out, const mox_gguf *g);
/* mox_tokenizer_is_known: whether the file's kind of tokenizer is one that can be created. If not, the error record
 * says which it is. */
bool mox_tokenizer_is_known(const mox_gguf *g);
void mox_tokenizer_destroy(mox_tokenizer **t);
/* mox_tokenizer_note: what is doubtful about the file's tokenizer, for a person to read; NULL: nothing. */
const char *mox_tokenizer_note(const mox_tokenizer *t);
size_t mox_tokenizer_bytes(const mox_tokenizer *t); /* memory held, for the plan */
uint32_t mox_tokenizer_vocab(const mox_tokenizer *t);
const mox_token_ids *mox_tokenizer_ids(const mox_tokenizer *t);
bool mox_token_is_end(const mox_tokenizer *t, uint32_t id); /* ends generation */

/* add_bos: as the model wants it (its add_bos_token, and add_eos_token at the end); false: never.
 * mox_tokenizer_encode: appends ids of text[0..n) to ids (capacity max). Invalid UTF-8 goes through byte
 * fallback. work: mox_tokenizer_work_bytes(n), aligned like malloc. Errors MOX_E_LIMIT (more than max ids; *n_ids then
 * says how many it takes), MOX_E_TOKENIZER (a byte that the vocabulary has no token for). */
MOX_NODISCARD mox_err mox_tokenizer_encode(const mox_tokenizer *t, const char *text, size_t n, bool add_bos,
                                           bool parse_special, uint32_t *ids, uint32_t max, uint32_t *n_ids,
                                           void *work);
size_t mox_tokenizer_work_bytes(size_t n_text);
/* mox_token_special_at: the longest control, unknown or user-defined token that text[0..n) begins with, and its bytes;
 * MOX_TOKEN_NONE: none. For whoever knows which parts of a text may name such tokens (chat templates). */
uint32_t mox_token_special_at(const mox_tokenizer *t, const char *text, size_t n, size_t *len);
/* mox_token_takes: bytes of text[0..n) that belong to the special token before it, because its tokenizer takes the
 * whitespace that follows. mox_tokenizer_encode does so itself; for whoever puts tokens and texts together. */
size_t mox_token_takes(const mox_tokenizer *t, uint32_t id, const char *text, size_t n);
/* the token's stored text (escaped forms as in the file) */
mox_str mox_token_text(const mox_tokenizer *t, uint32_t id);

/* Streaming detokeniser: push ids, get whole UTF-8 characters. Incomplete sequences are held back; what can
 * never become a character comes out as U+FFFD. The first leading space is dropped when the model adds one.
 */
typedef struct mox_detok {
    const mox_tokenizer *t;
    bool print_special;
    bool at_start;
    uint8_t held[4];
    uint32_t n_held;
} mox_detok;

void mox_detok_init(mox_detok *d, const mox_tokenizer *t, bool print_special, bool at_start);
/* mox_detok_push: bytes written to out (capacity >= mox_detok_max(t)). */
size_t mox_detok_push(mox_detok *d, uint32_t id, char *out);
size_t mox_detok_flush(mox_detok *d, char *out); /* end of text: what was held back */
size_t mox_detok_max(const mox_tokenizer *t);

#endif
