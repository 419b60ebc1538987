/* Stop strings in text that comes in pieces: a string may begin in one token and end in another, so what could
 * be the beginning of one is held back until it is decided. */
#ifndef MOX_RUNTIME_STOP_H
#define MOX_RUNTIME_STOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MOX_STOP_MAX = 8, MOX_STOP_BYTES = 128 }; /* strings, and bytes of each */

typedef struct mox_stop {
    const char *const *strings; /* not empty, at most MOX_STOP_BYTES long */
    uint32_t n_strings;
    size_t n_held;
    char held[MOX_STOP_BYTES];
} mox_stop;

/* mox_stop_push: a piece of n bytes at text, with room for MOX_STOP_BYTES in front of it. Returns where the text
 * that may be given out begins (what was held stands in front of the piece) and its length in *n_out; *matched:
 * a stop string was found, and the text ends before it. */
const char *mox_stop_push(mox_stop *s, char *text, size_t n, size_t *n_out, bool *matched);
/* mox_stop_flush: what is still held, when no more comes. */
const char *mox_stop_flush(mox_stop *s, size_t *n_out);

#endif
