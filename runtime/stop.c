/* Looks at every place of a piece; pieces are tokens, so there is nothing to be gained by a cleverer search. A
 * string that is complete ends the text at once, even where a longer one might have begun before it. */
#include "runtime/stop.h"

#include <string.h>

/* Where the first string that is complete (whole), or that reaches the end of text unfinished (not whole),
 * begins; n: nowhere. */
static size_t find(const mox_stop *s, const char *text, size_t n, bool whole)
{
    for (size_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < s->n_strings; k++) {
            size_t len = strlen(s->strings[k]);
            if (len <= n - i ? whole && memcmp(text + i, s->strings[k], len) == 0
                             : !whole && memcmp(text + i, s->strings[k], n - i) == 0) {
                return i;
            }
        }
    }
    return n;
}

const char *mox_stop_push(mox_stop *s, char *text, size_t n, size_t *n_out, bool *matched)
{
    char *begin = text - s->n_held;
    memcpy(begin, s->held, s->n_held);
    n += s->n_held;
    s->n_held = 0;
    size_t end = find(s, begin, n, true);
    *matched = end < n;
    if (!*matched) {
        end = find(s, begin, n, false);
        s->n_held = n - end; /* shorter than the string that it may become */
        memcpy(s->held, begin + end, s->n_held);
    }
    *n_out = end;
    return begin;
}

const char *mox_stop_flush(mox_stop *s, size_t *n_out)
{
    *n_out = s->n_held;
    s->n_held = 0;
    return s->held;
}
