/* Where the prompt of `run` comes from. */
#ifndef MOX_CLI_CHAT_SOURCE_H
#define MOX_CLI_CHAT_SOURCE_H

#include "runtime/cli/options.h"

typedef enum mox_source_kind {
    MOX_SOURCE_CHAT, /* none, and a person at a terminal */
    MOX_SOURCE_TEXT, /* -p, or the words after the model */
    MOX_SOURCE_FILE, /* -f FILE */
    MOX_SOURCE_STDIN,
} mox_source_kind;

/* mox_source_choose: which one, before anything is read. Errors MOX_E_CONFLICT (two prompts, options that do not go
 * together), MOX_E_OPTION (none, and nobody to ask). */
MOX_NODISCARD mox_err mox_source_choose(const mox_opts *o, mox_source_kind *out);
/* mox_source_read: the text, to be freed; one newline at the end of a file is left out. Errors MOX_E_OPTION (empty). */
MOX_NODISCARD mox_err mox_source_read(const mox_opts *o, mox_source_kind kind, char **text, size_t *n);

#endif
