/* Messages to the ids that a model reads, for `run`: which template, and memory for the work. */
#ifndef MOX_CLI_CHAT_PROMPT_H
#define MOX_CLI_CHAT_PROMPT_H

#include "runtime/chat/chat.h"
#include "runtime/cli/options.h"

/* mox_prompt_template: --chat-template, or what the model file says; read from its header alone. *out NULL: the file
 * has none (a model that continues texts). Errors MOX_E_TEMPLATE: one that is not built in. */
MOX_NODISCARD mox_err mox_prompt_template(const mox_opts *o, const mox_template **out);

typedef struct mox_prompt {
    const mox_opts *o;
    const mox_template *t;
    mox_segment *segments;
    void *work;
    uint32_t max_segments;
    size_t work_bytes;
} mox_prompt;

void mox_prompt_free(mox_prompt *p);
/* mox_prompt_reserve: memory for so many messages with so many bytes of text together; encoding these then allocates
 * nothing. */
MOX_NODISCARD mox_err mox_prompt_reserve(mox_prompt *p, uint32_t n_messages, size_t n_text);
/* mox_prompt_encode: m[0..n) in the form of p->t. Errors MOX_E_LIMIT (*n_ids says how many it takes), MOX_E_ARG. */
MOX_NODISCARD mox_err mox_prompt_encode(mox_prompt *p, const mox_tokenizer *tokenizer, const mox_message *m,
                                        uint32_t n, uint32_t *ids, uint32_t max, uint32_t *n_ids);

#endif
