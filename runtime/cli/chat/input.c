/* Lines to inputs. Knows no terminal, so that tests can feed it. */
#include "runtime/cli/chat/input.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char quotes[] = "\"\"\"";
enum { N_QUOTES = 3 };

void mox_input_free(mox_input *in)
{
    free(in->text);
    in->text = NULL;
    in->n = in->cap = 0;
}

static bool append(mox_input *in, const char *text, size_t n)
{
    if (in->n + n + 1 > in->cap) {
        size_t cap = 2 * (in->n + n + 1);
        char *more = realloc(in->text, cap);
        if (more == NULL) {
            return false;
        }
        in->text = more;
        in->cap = cap;
    }
    memcpy(in->text + in->n, text, n);
    in->n += n;
    in->text[in->n] = '\0';
    return true;
}

/* A block: the rest of the first line, then lines until one that has the closing quotes; what follows them counts. */
static mox_line_result read_block(mox_input *in, const char *text, size_t n)
{
    for (bool first = true;; first = false) {
        const char *end = memmem(text, n, quotes, N_QUOTES);
        if (end != NULL) {
            size_t before = (size_t)(end - text);
            bool ok = append(in, text, before) && append(in, end + N_QUOTES, n - before - N_QUOTES);
            return ok ? MOX_LINE_TEXT : MOX_LINE_END;
        }
        bool newline =
            !first || n > 0; /* nothing behind the opening quotes: the text begins with the next line */
        if (!append(in, text, n) || (newline && !append(in, "\n", 1))) {
            return MOX_LINE_END;
        }
        mox_line_result r = in->read(in->arg, "... ", &text, &n);
        if (r == MOX_LINE_INTERRUPT) {
            in->n += in->n == 0; /* a block was begun, even if nothing stands in it */
            return r;
        }
        if (r == MOX_LINE_END) {
            return MOX_LINE_TEXT;
        }
    }
}

mox_line_result mox_input_read(mox_input *in)
{
    const char *text = NULL;
    size_t n = 0;
    in->n = 0;
    mox_line_result r = in->read(in->arg, ">>> ", &text, &n);
    if (r != MOX_LINE_TEXT) {
        in->n = r == MOX_LINE_INTERRUPT ? n : 0;
        return r;
    }
    if (n >= N_QUOTES && memcmp(text, quotes, N_QUOTES) == 0) {
        return append(in, "", 0) ? read_block(in, text + N_QUOTES, n - N_QUOTES) : MOX_LINE_END;
    }
    while (n > 0 && text[n - 1] == '\\') {
        if (!append(in, text, n - 1) || !append(in, "\n", 1)) {
            return MOX_LINE_END;
        }
        r = in->read(in->arg, "... ", &text, &n);
        if (r != MOX_LINE_TEXT) {
            return r == MOX_LINE_INTERRUPT ? r : MOX_LINE_TEXT;
        }
    }
    return append(in, text, n) ? MOX_LINE_TEXT : MOX_LINE_END;
}
