/* Chat: a list of messages -> the tokens that a model reads.
 *
 * A template turns messages into segments; each segment says whether its text is the template's own or somebody's.
 * Control tokens come from the template alone, by id: what a person or a file says is always text, whatever it looks
 * like (unless the caller asks for parse_special). Neighbouring texts are tokenised together, as the reference does, so
 * that a border between template and user leaves no trace; an answer whose tokens are known goes in as those tokens,
 * so that what the model has read once is the beginning of what it reads next.
 *
 * Built in: "mistral", the [INST] form of Mistral and Mixtral. Called by the command line.
 */
#ifndef MOX_RUNTIME_CHAT_H
#define MOX_RUNTIME_CHAT_H

#include "runtime/tokenizer/tokenizer.h"

typedef enum mox_role { MOX_ROLE_SYSTEM, MOX_ROLE_USER, MOX_ROLE_ASSISTANT, MOX_ROLES } mox_role;
const char *mox_role_name(mox_role role); /* "system", "user", "assistant" */

typedef struct mox_message {
    mox_role role;
    bool stopped; /* an answer that was ended before its end */
    const char *text;
    size_t n_text;
    const uint32_t *ids; /* an answer as it was generated; n_ids 0: only its text is known */
    uint32_t n_ids;
} mox_message;

typedef enum mox_segment_kind {
    MOX_SEGMENT_TOKEN,    /* template: a control token */
    MOX_SEGMENT_TEMPLATE, /* template: text */
    MOX_SEGMENT_USER,     /* somebody's text */
    MOX_SEGMENT_IDS,      /* tokens as they were generated */
    MOX_SEGMENT_BREAK,    /* nothing; texts on both sides are tokenised apart */
} mox_segment_kind;

typedef struct mox_segment {
    mox_segment_kind kind;
    uint32_t token;
    const char *text;
    size_t n_text;
    const uint32_t *ids;
    uint32_t n_ids;
} mox_segment;

typedef struct mox_template mox_template;

/* mox_template_match: the built-in form that a GGUF's tokenizer.chat_template describes, NULL if none does.
 * mox_template_by_name: NULL if unknown. */
const mox_template *mox_template_match(mox_str chat_template);
const mox_template *mox_template_by_name(const char *name);
const char *mox_template_name(const mox_template *t);

/* mox_template_format: at most mox_segments_max(n) segments for n messages, ready for an answer. Segments point into
 * the messages. At most one system message, in front; then user and assistant in turns, a user's last. Errors
 * MOX_E_ARG, with the place. */
MOX_NODISCARD mox_err mox_template_format(const mox_template *t, const mox_message *m, uint32_t n,
                                          const mox_token_ids *ids, mox_segment *out, uint32_t *n_out);
uint32_t mox_segments_max(uint32_t n_messages);

/* mox_segments_encode: to ids. work: mox_segments_work_bytes. Errors MOX_E_LIMIT (more than max ids; *n_ids then says
 * how many it takes). */
MOX_NODISCARD mox_err mox_segments_encode(const mox_tokenizer *t, const mox_segment *s, uint32_t n,
                                          bool parse_special, uint32_t *ids, uint32_t max, uint32_t *n_ids,
                                          void *work);
size_t mox_segments_work_bytes(const mox_segment *s, uint32_t n);

#endif
