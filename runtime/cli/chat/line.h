/* One line of input from a person. Two implementations of one interface: line_edit.c over libedit (editing, history,
 * bracketed paste), line_plain.c for builds with libc alone. */
#ifndef MOX_CLI_CHAT_LINE_H
#define MOX_CLI_CHAT_LINE_H

#include "runtime/core/err.h"

#include <stddef.h>

typedef struct mox_line mox_line;

typedef enum mox_line_result {
    MOX_LINE_TEXT,
    MOX_LINE_END,       /* Ctrl-D on an empty line, or the terminal is gone */
    MOX_LINE_INTERRUPT, /* Ctrl-C: *n says how many bytes stood there */
} mox_line_result;

/* history: a file to read lines from and add them to; NULL: none is kept. */
MOX_NODISCARD mox_err mox_line_create(mox_line **out, const char *history);
void mox_line_destroy(mox_line **line);
/* mox_line_read: *text (valid until the next call) has no newline at its end; one inside came from a paste or
 * Alt-Enter. */
mox_line_result mox_line_read(mox_line *line, const char *prompt, const char **text, size_t *n);
/* mox_line_remember: add to the history, unless it begins with a space or repeats the entry before. After a failure
 * nothing more is written to the file. */
MOX_NODISCARD mox_err mox_line_remember(mox_line *line, const char *text);

#endif
