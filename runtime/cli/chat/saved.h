/* Saved conversations: a JSON document, {"schema": "moxie.chat/1", "messages": [{"role", "content", "tokens"}]}. Files
 * of other programs that have "messages" with roles and contents can be loaded too. */
#ifndef MOX_CLI_CHAT_SAVED_H
#define MOX_CLI_CHAT_SAVED_H

#include "runtime/cli/chat/conversation.h"

/* mox_conv_save: written beside path and put in its place whole, readable by its owner alone. A file that is there and
 * is no saved conversation is not replaced. Errors MOX_E_WRITE, MOX_E_OPEN, MOX_E_CONFLICT. */
MOX_NODISCARD mox_err mox_conv_save(const mox_conversation *c, const char *path, const char *model);
/* mox_conv_load: replaces *c, on success only. An answer's tokens are believed where they give its text with this
 * tokenizer (t NULL: never). Errors MOX_E_OPEN, MOX_E_FORMAT. */
MOX_NODISCARD mox_err mox_conv_load(mox_conversation *c, const char *path, const mox_tokenizer *t);

#endif
