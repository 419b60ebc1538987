/* Small vocabularies for the tests: unk, bos, eos, the 256 bytes, then what a test lists. */
#ifndef MOX_TESTS_TOKENIZER_VOCAB_H
#define MOX_TESTS_TOKENIZER_VOCAB_H

#include "gguf/builder.h"
#include "runtime/tokenizer/tokenizer.h"

enum { V_UNK, V_BOS, V_EOS, V_BYTE0, V_FIRST = V_BYTE0 + 256 };
enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };
#define MARK "\xE2\x96\x81"

typedef struct piece {
    const char *text;
    float score;
    int32_t type;
} piece;

/* The file with that vocabulary; keys (may be NULL) adds more. The caller closes *g and frees *b. */
void vocab_file(gb *b, mox_gguf **g, const piece *pieces, size_t n, void (*keys)(gb *b));
/* The tokenizer of such a file; fails the test if it cannot be made. */
mox_tokenizer *vocab_tokenizer(const piece *pieces, size_t n, void (*keys)(gb *b));

typedef struct id_list {
    uint32_t *ids;
    uint32_t n;
} id_list;
/* Encode with exactly the room and work memory that are promised to suffice; the caller frees ids. */
id_list encode(const mox_tokenizer *t, const char *text, size_t n, bool add_bos, bool parse_special);
/* Whether those are the ids; frees them. */
void expect_ids(const char *what, id_list got, const uint32_t *want, size_t n);
/* The next of a sequence of numbers; *state is not 0. */
uint64_t next_random(uint64_t *state);
/* A character as UTF-8: bytes written, at most 4. */
size_t put_char(char *out, uint32_t c);
/* All output of the detokeniser for these ids, terminated; the caller frees. */
char *detok_all(const mox_tokenizer *t, const uint32_t *ids, size_t n, bool print_special, size_t *n_out);

#endif
