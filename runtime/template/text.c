/* Strings with marks. A string is bytes, and either one mark for all of them or a mark for each. Characters are those
 * of UTF-8; a byte that belongs to none counts as one.
 *
 * New strings are written behind the output, which bounds them like it, and then cut off into memory of their own. That
 * nests: whoever writes a piece in between has cut it off before the one around it goes on.
 */
#include "internal.h"

#include "runtime/gguf/utf8.h"
#include "unicode.h"

static void room(jin *j, size_t n)
{
    if (n > j->cfg.max_output - j->n_out) {
        jin_fail(j, "the template writes more than %zu MiB", j->cfg.max_output >> 20);
    }
    jin_step(j, n >> 6);
}

void jin_put(jin *j, const char *p, size_t n, uint8_t mark)
{
    room(j, n);
    if (n > 0) {
        memmove(j->out + j->n_out, p, n);
        memset(j->out_marks + j->n_out, mark, n);
    }
    j->n_out += n;
}

void jin_put_text(jin *j, val s, size_t from, size_t to)
{
    size_t n = to - from, at = j->n_out;
    jin_put(j, s.u.p + from, n, s.mark);
    if (s.marks != NULL && n > 0) {
        memcpy(j->out_marks + at, s.marks + from, n);
    }
}

void jin_put_str(jin *j, val s)
{
    jin_put_text(j, s, 0, s.n);
}

val jin_cut(jin *j, size_t from)
{
    size_t n = j->n_out - from;
    const uint8_t *m = j->out_marks + from;
    val s = {.kind = MOX_J_STR, .mark = n > 0 ? m[0] : MOX_MARK_TEMPLATE, .n = (uint32_t)n, .u.p = ""};
    if (n > 0) {
        s.u.p = memcpy(jin_take(j, n), j->out + from, n);
    }
    if (n > 1 && memcmp(m, m + 1, n - 1) != 0) {
        s.marks = memcpy(jin_take(j, n), m, n);
    }
    j->n_out = from;
    return s;
}

val jin_lit(const char *s)
{
    return mox_jinja_str(s, strlen(s), MOX_MARK_TEMPLATE);
}

val jin_sub(val s, size_t from, size_t to)
{
    return (val){.kind = MOX_J_STR,
                 .mark = s.mark,
                 .n = (uint32_t)(to - from),
                 .marks = s.marks != NULL ? s.marks + from : NULL,
                 .u.p = s.u.p + from};
}

val jin_concat(jin *j, val a, val b)
{
    size_t at = j->n_out;
    jin_put_str(j, a);
    jin_put_str(j, b);
    return jin_cut(j, at);
}

bool jin_is(val s, const char *word)
{
    size_t n = strlen(word);
    return s.kind == MOX_J_STR && s.n == n && memcmp(s.u.p, word, n) == 0;
}

size_t jin_char(val s, size_t at, uint32_t *cp)
{
    unsigned char c = (unsigned char)s.u.p[at];
    if (c < 0x80) {
        *cp = c;
        return 1;
    }
    size_t n = mox_utf8_next(s.u.p + at, s.n - at, cp);
    if (n == 0) {
        *cp = 0xDC00u + c; /* no character has this code */
        return 1;
    }
    return n;
}

uint32_t jin_length(jin *j, val s)
{
    uint32_t n = 0, cp;
    jin_step(j, s.n >> 6);
    for (size_t at = 0; at < s.n; n++) {
        at += jin_char(s, at, &cp);
    }
    return n;
}

size_t jin_offset(val s, uint32_t chars)
{
    size_t at = 0;
    uint32_t cp;
    for (; chars > 0 && at < s.n; chars--) {
        at += jin_char(s, at, &cp);
    }
    return at;
}

bool jin_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || (cp >= 0x1C && cp <= 0x20) || cp == 0x85 || cp == 0xA0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200A) || cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F ||
           cp == 0x3000;
}

static bool strips(uint32_t cp, const val *chars)
{
    if (chars == NULL) {
        return jin_space(cp);
    }
    uint32_t other;
    for (size_t at = 0; at < chars->n;) {
        at += jin_char(*chars, at, &other);
        if (other == cp) {
            return true;
        }
    }
    return false;
}

val jin_strip(val s, bool left, bool right, const val *chars)
{
    size_t from = 0, to = s.n, n;
    uint32_t cp;
    while (left && from < to && (n = jin_char(s, from, &cp), strips(cp, chars))) {
        from += n;
    }
    while (right && to > from) {
        size_t at = to - 1; /* back to where the last character begins */
        while (at > from && to - at < MOX_UTF8_MAX && ((unsigned char)s.u.p[at] & 0xC0) == 0x80) {
            at--;
        }
        if (at + jin_char(jin_sub(s, 0, to), at, &cp) != to) {
            at = to - 1;
            cp = 0xDC00u + (unsigned char)s.u.p[at];
        }
        if (!strips(cp, chars)) {
            break;
        }
        to = at;
    }
    return jin_sub(s, from, to);
}

size_t jin_find(val s, size_t from, val word)
{
    if (word.n == 0) {
        return from;
    }
    const char *p = from < s.n ? memmem(s.u.p + from, s.n - from, word.u.p, word.n) : NULL;
    return p != NULL ? (size_t)(p - s.u.p) : SIZE_MAX;
}

val jin_replace(jin *j, val s, val from, val to, int64_t most)
{
    size_t start = j->n_out, at = 0;
    uint32_t cp;
    jin_step(j, s.n >> 6);
    while (most != 0) {
        size_t found = jin_find(s, at, from);
        if (found == SIZE_MAX || (from.n == 0 && at >= s.n)) {
            break;
        }
        jin_put_text(j, s, at, found);
        jin_put_str(j, to);
        jin_step(j, 1);
        at = found + from.n;
        if (from.n == 0) { /* an empty word stands before every character and at the end */
            size_t n = jin_char(s, at, &cp);
            jin_put_text(j, s, at, at + n);
            at += n;
        }
        most -= most > 0;
    }
    jin_put_text(j, s, at, s.n);
    if (from.n == 0 && at >= s.n && most != 0) {
        jin_put_str(j, to);
    }
    return jin_cut(j, start);
}

void jin_put_cp(jin *j, uint32_t cp, uint8_t mark)
{
    char b[4];
    size_t n = 0;
    if (cp >= 0xDC80 && cp <= 0xDCFF) { /* a bad byte, as jin_char gives it */
        b[n++] = (char)(cp - 0xDC00);
    } else if (cp < 0x80) {
        b[n++] = (char)cp;
    } else if (cp < 0x800) {
        b[n++] = (char)(0xC0 | cp >> 6);
        b[n++] = (char)(0x80 | (cp & 0x3F));
    } else if (cp < 0x10000) {
        b[n++] = (char)(0xE0 | cp >> 12);
        b[n++] = (char)(0x80 | (cp >> 6 & 0x3F));
        b[n++] = (char)(0x80 | (cp & 0x3F));
    } else {
        b[n++] = (char)(0xF0 | cp >> 18);
        b[n++] = (char)(0x80 | (cp >> 12 & 0x3F));
        b[n++] = (char)(0x80 | (cp >> 6 & 0x3F));
        b[n++] = (char)(0x80 | (cp & 0x3F));
    }
    jin_put(j, b, n, mark);
}

uint32_t jin_upper(uint32_t cp)
{
    return jin_unicode_map(cp, true);
}

uint32_t jin_lower(uint32_t cp)
{
    return jin_unicode_map(cp, false);
}

bool jin_alpha(uint32_t cp)
{
    return jin_unicode_alpha(cp);
}

bool jin_cased(uint32_t cp)
{
    return jin_upper(cp) != cp || jin_lower(cp) != cp || cp == 0xDF || cp == 0xAA || cp == 0xBA;
}

size_t jin_line_end(val s, size_t at, size_t *next)
{
    uint32_t cp;
    for (size_t n; at < s.n; at += n) {
        n = jin_char(s, at, &cp);
        if ((cp >= 10 && cp <= 13) || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
            cp == 0x2029) {
            *next = at + n + (cp == 13 && at + 1 < s.n && s.u.p[at + 1] == '\n');
            return at;
        }
    }
    *next = s.n;
    return s.n;
}

void jin_put_case(jin *j, val s, size_t from, size_t to, jin_case how)
{
    uint32_t cp;
    for (size_t at = from; at < to;) {
        uint8_t mark = s.marks != NULL ? s.marks[at] : s.mark;
        size_t n = jin_char(s, at, &cp);
        if (how == CASE_UPPER && cp == 0xDF) { /* the one letter of daily use that becomes two */
            jin_put(j, "SS", 2, mark);
        } else {
            jin_put_cp(j, how == CASE_UPPER ? jin_upper(cp) : jin_lower(cp), mark);
        }
        at += n;
    }
}
