/* Messages to the ids that a model reads, for `run`: which template, and memory for the work. */
#ifndef MOX_CLI_CHAT_PROMPT_H
#define MOX_CLI_CHAT_PROMPT_H

#include "runtime/chat/chat.h"
#include "runtime/chat/render.h"
#include "runtime/cli/json_doc.h"
#include "runtime/cli/options.h"

typedef struct mox_prompt {
    const mox_opts *o;
    const mox_template *t; /* built in, or NULL */
    mox_jinja *jinja;      /* rendered, or NULL */
    char name[64];         /* of what is rendered */
    bool parts;            /* it takes a content in parts */
    mox_jdoc *tools, *kwargs;
    mox_segment *segments;
    void *work;
    uint32_t max_segments;
    size_t work_bytes;
} mox_prompt;

/* mox_prompt_jinja: the template that --chat-template names, or else the model's, read from its header alone; compiled
 * in memory of its own. model NULL: none. *out NULL: there is none. name: what it is called. Errors MOX_E_TEMPLATE,
 * MOX_E_OPTION (no such name), those of reading a file. */
MOX_NODISCARD mox_err mox_prompt_jinja(const mox_opts *o, const char *model, mox_jinja **out, char name[64]);
/* mox_prompt_open: the template for o, built in or rendered, and what its variables are. Afterwards
 * mox_prompt_has_template says whether there is one; without, a model continues texts. */
MOX_NODISCARD mox_err mox_prompt_open(mox_prompt *p, const mox_opts *o);
bool mox_prompt_has_template(const mox_prompt *p);
const char *mox_prompt_name(const mox_prompt *p); /* NULL: none */
void mox_prompt_free(mox_prompt *p);
/* mox_prompt_reserve: memory for so many messages with so many bytes of text together; encoding these then allocates
 * nothing, unless a template writes much more of its own than the messages have. */
MOX_NODISCARD mox_err mox_prompt_reserve(mox_prompt *p, uint32_t n_messages, size_t n_text);
/* mox_prompt_prepare: memory for these messages. A template that fails does so here. */
MOX_NODISCARD mox_err mox_prompt_prepare(mox_prompt *p, const mox_message *m, uint32_t n);
/* mox_prompt_encode: m[0..n) in the form of the template. Errors MOX_E_LIMIT (*n_ids says how many it takes), MOX_E_ARG,
 * MOX_E_TEMPLATE. */
MOX_NODISCARD mox_err mox_prompt_encode(mox_prompt *p, const mox_tokenizer *tokenizer, const mox_message *m,
                                        uint32_t n, uint32_t *ids, uint32_t max, uint32_t *n_ids);

#endif
