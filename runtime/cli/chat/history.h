/* The file of what was typed: $XDG_STATE_HOME/moxie/history, readable by its owner alone. */
#ifndef MOX_CLI_CHAT_HISTORY_H
#define MOX_CLI_CHAT_HISTORY_H

#include "runtime/core/err.h"

#include <stddef.h>

/* mox_history_path: where it is; its folder is made. Errors MOX_E_OPEN, MOX_E_CONFIG (no home). */
MOX_NODISCARD mox_err mox_history_path(char *out, size_t n);
/* mox_history_load: fn for each entry, the oldest first; a missing file has none. Only the last MOX_HISTORY_MAX entries
 * count, and a file with many more is cut down to them. */
enum { MOX_HISTORY_MAX = 1000 };
MOX_NODISCARD mox_err mox_history_load(const char *path, void (*fn)(void *arg, const char *entry), void *arg);
/* mox_history_add: one entry more; newlines in it are kept. */
MOX_NODISCARD mox_err mox_history_add(const char *path, const char *entry);

#endif
