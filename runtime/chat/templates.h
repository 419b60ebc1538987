/* What a template is inside this folder: a new one is a file and a row in templates.c. */
#ifndef MOX_RUNTIME_CHAT_TEMPLATES_H
#define MOX_RUNTIME_CHAT_TEMPLATES_H

#include "runtime/chat/chat.h"

struct mox_template {
    const char *name;
    bool (*matches)(mox_str chat_template);
    /* Segments of messages whose order has been checked; at most MOX_SEGMENTS_PER_MESSAGE each and one more. */
    uint32_t (*format)(const mox_message *m, uint32_t n, const mox_token_ids *ids, mox_segment *out);
};

enum { MOX_SEGMENTS_PER_MESSAGE = 6 };

extern const mox_template mox_template_mistral;

#endif
