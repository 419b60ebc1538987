/* One UTF-8 decoder for everything that looks at text from files and users. Strict: no overlong forms, no
 * surrogates, nothing beyond U+10FFFF. What is invalid is for the caller to decide (escape it, take it byte
 * by byte, replace it), so the decoder only says how long the character is, or that there is none.
 */
#ifndef MOX_RUNTIME_UTF8_H
#define MOX_RUNTIME_UTF8_H

#include <stddef.h>
#include <stdint.h>

enum { MOX_UTF8_MAX = 4 };

/* mox_utf8_next: bytes of the character at p[0..n), its code point in *cp (which may be NULL); 0 if those
 * bytes do not begin with a whole valid character. */
size_t mox_utf8_next(const void *p, size_t n, uint32_t *cp);
typedef enum mox_utf8_state {
    MOX_UTF8_CHAR,    /* a whole character */
    MOX_UTF8_PARTIAL, /* the beginning of one, cut off by the end of the bytes */
    MOX_UTF8_BAD,     /* can never become one, whatever follows */
} mox_utf8_state;

/* mox_utf8_step: what p[0..n) (n > 0) begins with, and how many bytes that is. The length of what is bad is
 * the longest run that began like a character, at least 1: each such run is shown as one U+FFFD. */
mox_utf8_state mox_utf8_step(const void *p, size_t n, size_t *len);

#endif
