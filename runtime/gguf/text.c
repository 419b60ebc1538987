/* Text from files: decoding it and making it fit to print. A model file may be hostile, and a terminal obeys
 * escape sequences: nothing from a file is printed except through mox_escape. */
#include "gguf_internal.h"

#include "runtime/gguf/utf8.h"

#include <stdio.h>
#include <string.h>

/* The range that the second byte must lie in narrows for the lead bytes whose wider range would give overlong
 * forms, surrogates or values past U+10FFFF. */
static size_t lead(uint8_t b, uint8_t *lo, uint8_t *hi)
{
    *lo = 0x80;
    *hi = 0xBF;
    if (b < 0x80) {
        return 1;
    }
    if (b >= 0xC2 && b <= 0xDF) {
        return 2;
    }
    if (b >= 0xE0 && b <= 0xEF) {
        *lo = b == 0xE0 ? 0xA0 : 0x80;
        *hi = b == 0xED ? 0x9F : 0xBF;
        return 3;
    }
    if (b >= 0xF0 && b <= 0xF4) {
        *lo = b == 0xF0 ? 0x90 : 0x80;
        *hi = b == 0xF4 ? 0x8F : 0xBF;
        return 4;
    }
    return 0;
}

/* How many of the first bytes fit a character of *want bytes. */
static size_t valid_prefix(const uint8_t *s, size_t n, size_t *want)
{
    uint8_t lo, hi;
    *want = n > 0 ? lead(s[0], &lo, &hi) : 0;
    if (*want == 0) {
        return 0;
    }
    size_t i = 1;
    while (i < *want && i < n && s[i] >= lo && s[i] <= hi) {
        lo = 0x80;
        hi = 0xBF;
        i++;
    }
    return i;
}

size_t mox_utf8_next(const void *p, size_t n, uint32_t *cp)
{
    const uint8_t *s = p;
    size_t want = 0;
    if (valid_prefix(s, n, &want) != want || want == 0) {
        return 0;
    }
    if (cp) {
        uint32_t v = want == 1 ? s[0] : s[0] & (0xFFu >> (want + 1));
        for (size_t i = 1; i < want; i++) {
            v = v << 6 | (s[i] & 0x3F);
        }
        *cp = v;
    }
    return want;
}

mox_utf8_state mox_utf8_step(const void *p, size_t n, size_t *len)
{
    size_t want = 0, have = valid_prefix(p, n, &want);
    *len = have > 0 ? have : 1;
    if (have == want && want > 0) {
        return MOX_UTF8_CHAR;
    }
    return have == n && n > 0 ? MOX_UTF8_PARTIAL : MOX_UTF8_BAD;
}

/* Characters that move, hide or reorder what stands around them. */
static int is_hidden(uint32_t cp)
{
    static const uint32_t ranges[][2] = {
        {0x00, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},       {0x61C, 0x61C},
        {0x180E, 0x180E}, {0x200B, 0x200F}, {0x2028, 0x202E},   {0x2060, 0x206F},
        {0xFEFF, 0xFEFF}, {0xFFF9, 0xFFFB}, {0xE0000, 0xE007F},
    };
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (cp >= ranges[i][0] && cp <= ranges[i][1]) {
            return 1;
        }
    }
    return 0;
}

bool mox_is_printable(mox_str s)
{
    for (size_t i = 0; i < s.n;) {
        uint32_t cp = 0;
        size_t used = mox_utf8_next(s.p + i, s.n - i, &cp);
        if (used == 0 || is_hidden(cp)) {
            return false;
        }
        i += used;
    }
    return true;
}

bool gguf_is_name(mox_str s)
{
    return s.n > 0 && mox_is_printable(s);
}

bool gguf_is_tensor_name(mox_str s)
{
    return gguf_is_name(s) && !memchr(s.p, '/', s.n) && !memchr(s.p, '\\', s.n);
}

/* One character, or one byte that is none, as printable text; returns how many bytes of s it used. */
static size_t escape_one(const uint8_t *s, size_t n, char out[16])
{
    uint32_t cp = 0;
    size_t used = mox_utf8_next(s, n, &cp);
    if (used == 0) {
        snprintf(out, 16, "\\x%02X", s[0]);
        return 1;
    }
    const char *named = cp == '\n'   ? "\\n"
                        : cp == '\r' ? "\\r"
                        : cp == '\t' ? "\\t"
                        : cp == '\\' ? "\\\\"
                                     : NULL;
    if (named) {
        snprintf(out, 16, "%s", named);
    } else if (cp < 0x80 && is_hidden(cp)) {
        snprintf(out, 16, "\\x%02X", cp);
    } else if (is_hidden(cp)) {
        snprintf(out, 16, "\\u%04X", cp);
    } else {
        memcpy(out, s, used);
        out[used] = 0;
    }
    return used;
}

const char *mox_escape(mox_str s, char *out, size_t n)
{
    size_t used = 0, at = 0, cut = 0; /* cut: where "..." still fits */
    if (n == 0) {
        return out;
    }
    while (at < s.n) {
        char one[16];
        at += escape_one((const uint8_t *)s.p + at, s.n - at, one);
        size_t len = strlen(one);
        if (used + len + 1 > n) {
            snprintf(out + cut, n - cut, "...");
            return out;
        }
        memcpy(out + used, one, len);
        used += len;
        cut = used + 4 <= n ? used : cut;
    }
    out[used] = 0;
    return out;
}
