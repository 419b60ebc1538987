/* The smallest model that moxie runs: two layers of four experts, 32 wide, byte tokens. Like the toy of builder.h it
 * remembers where each field went, and also where each tensor's data begin ("data NAME").
 */
#ifndef MOX_TESTS_GGUF_TINY_H
#define MOX_TESTS_GGUF_TINY_H

#include "gguf/builder.h"

enum {
    TINY_VOCAB = 267, /* unknown, begin, end, 256 bytes, 8 pieces */
    TINY_LAYERS = 2,
    TINY_EXPERTS = 4,
    TINY_TOP_K = 2,
    TINY_WIDTH = 32,
    TINY_FF = 64,
};

/* What is different; all may be absent. */
typedef struct tiny_edit {
    const char *without_key, *without_tensor; /* left out */
    void (*keys)(gb *b);                      /* after the others */
    void (*tensors)(gb *b, uint64_t off);     /* off: where their data would begin */
    const char *const *tokens;                /* TINY_VOCAB texts instead of the usual ones */
    size_t data;                              /* zeros after the tensors' data */
    uint32_t alignment;                       /* 0: 32, without the key */
} tiny_edit;

void tiny_build(gb *b, const tiny_edit *edit);
/* The usual texts, to change some. The array holds pointers to static storage. */
void tiny_tokens(const char *out[TINY_VOCAB]);

#endif
