/* One input of a person: a line, or several that belong together. */
#ifndef MOX_CLI_CHAT_INPUT_H
#define MOX_CLI_CHAT_INPUT_H

#include "runtime/cli/chat/line.h"

/* Where lines come from: mox_line_read, or a test. */
typedef mox_line_result (*mox_read_line_fn)(void *arg, const char *prompt, const char **text, size_t *n);

typedef struct mox_input {
    mox_read_line_fn read;
    void *arg;
    char *text; /* owned; ends with NUL */
    size_t n, cap;
} mox_input;

void mox_input_free(mox_input *in);
/* mox_input_read: in->text[0..n). A backslash at the end of a line joins the next one with a newline; """ begins a
 * block that goes to the next """. Ctrl-C drops what was begun: MOX_LINE_INTERRUPT, in->n > 0 if there was something.
 * Ctrl-D in a block ends it. */
mox_line_result mox_input_read(mox_input *in);

#endif
