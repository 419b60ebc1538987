/* Reading a line without libedit: the terminal's own editing, no history. Builds with libc alone. */
#include "runtime/cli/chat/line.h"

#include "runtime/cli/chat/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mox_line {
    char *text;
    size_t cap;
};

mox_err mox_line_create(mox_line **out, const char *history)
{
    (void)history;
    *out = calloc(1, sizeof **out);
    return *out != NULL ? MOX_OK : MOX_FAIL(MOX_E_NO_MEMORY, "no memory to read lines");
}

void mox_line_destroy(mox_line **line)
{
    if (*line != NULL) {
        free((*line)->text);
        free(*line);
        *line = NULL;
    }
}

mox_line_result mox_line_read(mox_line *line, const char *prompt, const char **text, size_t *n)
{
    size_t len = 0;
    fputs(prompt, stdout);
    fflush(stdout);
    for (;;) {
        if (line->cap - len < 4096) {
            char *more = realloc(line->text, line->cap + 65536);
            if (more == NULL) {
                return MOX_LINE_END;
            }
            line->text = more;
            line->cap += 65536;
        }
        clearerr(stdin);
        if (fgets(line->text + len, (int)(line->cap - len), stdin) == NULL) {
            if (ferror(stdin) && mox_term_changed()) {
                continue; /* another window size, or back from being suspended */
            }
            if (len == 0) {
                return MOX_LINE_END;
            }
            break;
        }
        len += strlen(line->text + len);
        if (line->text[len - 1] == '\n') {
            line->text[--len] = '\0';
            break;
        }
    }
    *text = line->text;
    *n = len;
    return MOX_LINE_TEXT;
}

mox_err mox_line_remember(mox_line *line, const char *text)
{
    (void)line;
    (void)text;
    return MOX_OK;
}
