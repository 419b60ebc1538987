/* Text to tokens. Outside of tags everything is one text token, up to the next tag and with the white space taken off
 * that tags ask for: `-` takes all, and as in every chat template a block swallows the newline behind it and the
 * spaces in front of it (trim_blocks, lstrip_blocks), unless it says `+`.
 */
#include "parse.h"

#include <stdlib.h>

JIN_NORETURN static void fail_here(jin_parser *ps, const char *what)
{
    jin_fail_at(ps->j, ps->line, (uint32_t)(ps->at - ps->line_at) + 1, "%s", what);
}

static bool here(const jin_parser *ps, const char *s)
{
    size_t n = strlen(s);
    return ps->n - ps->at >= n && memcmp(ps->p + ps->at, s, n) == 0;
}

static void advance(jin_parser *ps, size_t to)
{
    for (; ps->at < to; ps->at++) {
        if (ps->p[ps->at] == '\n') {
            ps->line++;
            ps->line_at = ps->at + 1;
        }
    }
}

static size_t skip_space(const jin_parser *ps, size_t at)
{
    val s = mox_jinja_str(ps->p, ps->n, 0);
    uint32_t cp;
    for (size_t n; at < ps->n && (n = jin_char(s, at, &cp), jin_space(cp));) {
        at += n;
    }
    return at;
}

/* Where the next tag begins; n: nowhere. */
static size_t find_tag(const jin_parser *ps, size_t at)
{
    for (; at + 1 < ps->n; at++) {
        if (ps->p[at] == '{' && (ps->p[at + 1] == '{' || ps->p[at + 1] == '%' || ps->p[at + 1] == '#')) {
            return at;
        }
    }
    return ps->n;
}

/* White space in front of a tag at `to` that the tag takes: the end of what is left of the text from `from`. */
static size_t trim_before(const jin_parser *ps, size_t from, size_t to, char sign, bool block)
{
    val s = mox_jinja_str(ps->p + from, to - from, 0);
    if (sign == '-') {
        return from + jin_strip(s, false, true, NULL).n;
    }
    if (!block || sign == '+') {
        return to;
    }
    const char *newline = memrchr(s.u.p, '\n', s.n);
    size_t line = newline != NULL ? (size_t)(newline - s.u.p) + 1 : 0;
    if (newline == NULL && !ps->line_start) {
        return to;
    }
    val rest = jin_sub(s, line, s.n);
    return jin_strip(rest, true, false, NULL).n == 0 ? from + line : to;
}

/* After the end of a tag: what it takes of the text behind it. */
static void after_tag(jin_parser *ps)
{
    size_t at = ps->at;
    if (ps->trim == TRIM_ALL) {
        at = skip_space(ps, at);
    } else if (ps->trim == TRIM_NEWLINE && at < ps->n && ps->p[at] == '\n') {
        at++;
    }
    ps->line_start = at > ps->at ? ps->p[at - 1] == '\n' : at == 0;
    advance(ps, at);
    ps->trim = TRIM_NONE;
}

static void skip_comment(jin_parser *ps)
{
    jin_parser begin = *ps;
    size_t at = ps->at + 2;
    const char *end = memmem(ps->p + at, ps->n - at, "#}", 2);
    if (end == NULL) {
        fail_here(&begin, "a comment has no end: #} is missing");
    }
    size_t stop = (size_t)(end - ps->p);
    char sign = stop > at ? ps->p[stop - 1] : ' ';
    ps->trim = sign == '-' ? TRIM_ALL : sign == '+' ? TRIM_NONE : TRIM_NEWLINE;
    advance(ps, stop + 2);
}

/* At {% : the end of the tag if it is `{% word %}`, else 0. *sign: what stands in front of %}. */
static size_t lone_tag(const jin_parser *ps, size_t at, const char *word, char *sign)
{
    size_t n = strlen(word);
    at += 2;
    at += at < ps->n && (ps->p[at] == '-' || ps->p[at] == '+');
    at = skip_space(ps, at);
    if (ps->n - at < n || memcmp(ps->p + at, word, n) != 0) {
        return 0;
    }
    at = skip_space(ps, at + n);
    *sign = ' ';
    if (at < ps->n && (ps->p[at] == '-' || ps->p[at] == '+')) {
        *sign = ps->p[at++];
    }
    return ps->n - at >= 2 && memcmp(ps->p + at, "%}", 2) == 0 ? at + 2 : 0;
}

static void text_token(jin_parser *ps, size_t from, size_t to)
{
    ps->cur.kind = T_TEXT;
    ps->cur.v = mox_jinja_str(ps->p + from, to - from, MOX_MARK_TEMPLATE);
}

/* {% raw %} ... {% endraw %}: everything between is text. */
static void raw(jin_parser *ps, size_t body, char sign)
{
    jin_parser begin = *ps;
    advance(ps, body);
    ps->trim = sign == '-' ? TRIM_ALL : TRIM_NONE;
    after_tag(ps);
    size_t from = ps->at;
    for (size_t at = from;; at++) {
        const char *tag = at < ps->n ? memmem(ps->p + at, ps->n - at, "{%", 2) : NULL;
        if (tag == NULL) {
            fail_here(&begin, "a raw block has no end: endraw is missing");
        }
        at = (size_t)(tag - ps->p);
        char end_sign;
        size_t end = lone_tag(ps, at, "endraw", &end_sign);
        if (end > 0) {
            text_token(ps, from, trim_before(ps, from, at, ps->p[at + 2], true));
            advance(ps, end);
            ps->trim = end_sign == '-' ? TRIM_ALL : end_sign == '+' ? TRIM_NONE : TRIM_NEWLINE;
            return;
        }
    }
}

/* Text up to the next tag, or the tag itself. */
static void next_text(jin_parser *ps)
{
    after_tag(ps);
    size_t from = ps->at, tag = find_tag(ps, from);
    if (tag == ps->n) {
        text_token(ps, from, ps->n);
        advance(ps, ps->n);
        if (from == ps->n) {
            ps->cur.kind = T_END;
        }
        return;
    }
    char kind = ps->p[tag + 1], sign = tag + 2 < ps->n ? ps->p[tag + 2] : ' ';
    size_t to = trim_before(ps, from, tag, sign, kind != '{');
    if (tag > from) {
        text_token(ps, from, to);
        advance(ps, tag);
        ps->line_start = false; /* what is in front of the tag is taken care of */
        return;
    }
    if (kind == '#') {
        skip_comment(ps);
        next_text(ps);
        return;
    }
    char raw_sign;
    size_t body = kind == '%' ? lone_tag(ps, tag, "raw", &raw_sign) : 0;
    if (body > 0) {
        raw(ps, body, raw_sign);
        return;
    }
    ps->cur.kind = kind == '{' ? T_PRINT_BEGIN : T_BLOCK_BEGIN;
    ps->mode = kind == '{' ? MODE_PRINT : MODE_BLOCK;
    ps->n_closes = 0;
    ps->after_dot = false;
    advance(ps, tag + 2 + (sign == '-' || sign == '+'));
}

static uint32_t hex(jin_parser *ps, size_t at, uint32_t n)
{
    uint32_t v = 0;
    for (uint32_t i = 0; i < n; i++) {
        char c = at + i < ps->n ? ps->p[at + i] : ' ';
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) {
            fail_here(ps, "an escape in a string lacks hexadecimal digits");
        }
        v = v << 4 | (uint32_t)d;
    }
    return v;
}

/* The escape behind a backslash at `at`; returns where it ends. */
static size_t escape(jin_parser *ps, size_t at)
{
    static const char from[] = "ntr\\'\"abfv", to[] = "\n\t\r\\'\"\a\b\f\v";
    jin *j = ps->j;
    char c = ps->p[at];
    const char *known = memchr(from, c, sizeof from - 1);
    if (known != NULL) {
        jin_put(j, &to[known - from], 1, MOX_MARK_TEMPLATE);
        return at + 1;
    }
    if (c == '\n') {
        return at + 1;
    }
    if (c >= '0' && c <= '7') {
        uint32_t v = 0, n = 0;
        for (; n < 3 && at + n < ps->n && ps->p[at + n] >= '0' && ps->p[at + n] <= '7'; n++) {
            v = v * 8 + (uint32_t)(ps->p[at + n] - '0');
        }
        jin_put_cp(j, v, MOX_MARK_TEMPLATE);
        return at + n;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        uint32_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8, cp = hex(ps, at + 1, n);
        if (cp > 0x10FFFF || (cp >= 0xD800 && cp <= 0xDFFF)) {
            fail_here(ps, "an escape in a string names no character");
        }
        jin_put_cp(j, cp, MOX_MARK_TEMPLATE);
        return at + 1 + n;
    }
    if (c == 'N') {
        fail_here(ps, "characters by name (\\N) are not supported");
    }
    jin_put(j, "\\", 1, MOX_MARK_TEMPLATE);
    jin_put(j, &c, 1, MOX_MARK_TEMPLATE);
    return at + 1;
}

static void string(jin_parser *ps)
{
    char quote = ps->p[ps->at];
    size_t at = ps->at + 1, start = ps->j->n_out;
    while (at < ps->n && ps->p[at] != quote) {
        if (ps->p[at] == '\\' && at + 1 < ps->n) {
            at = escape(ps, at + 1);
        } else {
            jin_put(ps->j, &ps->p[at++], 1, MOX_MARK_TEMPLATE);
        }
    }
    if (at >= ps->n) {
        fail_here(ps, "a string has no end");
    }
    ps->cur.kind = T_STRING;
    ps->cur.v = jin_cut(ps->j, start);
    advance(ps, at + 1);
}

static bool digit(const jin_parser *ps, size_t at)
{
    return at < ps->n && ps->p[at] >= '0' && ps->p[at] <= '9';
}

static size_t digits(const jin_parser *ps, size_t at)
{
    while (digit(ps, at) || (at < ps->n && ps->p[at] == '_' && digit(ps, at + 1))) {
        at++;
    }
    return at;
}

static void number(jin_parser *ps)
{
    char text[64];
    size_t end = digits(ps, ps->at), n = 0;
    bool real = false;
    if (!ps->after_dot && end < ps->n && ps->p[end] == '.' && digit(ps, end + 1)) {
        end = digits(ps, end + 1);
        real = true;
    }
    if (!ps->after_dot && end < ps->n && (ps->p[end] | 32) == 'e') {
        size_t at = end + 1;
        at += at < ps->n && (ps->p[at] == '+' || ps->p[at] == '-');
        if (digit(ps, at)) {
            end = digits(ps, at);
            real = true;
        }
    }
    for (size_t i = ps->at; i < end; i++) {
        if (n + 1 >= sizeof text) {
            fail_here(ps, "a number is too long");
        }
        if (ps->p[i] != '_') {
            text[n++] = ps->p[i];
        }
    }
    text[n] = '\0';
    char *rest = text;
    if (real) {
        ps->cur.kind = T_FLOAT;
        ps->cur.v = mox_jinja_float(strtod(text, &rest), MOX_MARK_TEMPLATE);
    } else {
        ps->cur.kind = T_INT;
        unsigned long long i = strtoull(text, &rest, 10);
        if (n > 19 || i > INT64_MAX) {
            fail_here(ps, "a number is beyond 64 bits");
        }
        ps->cur.v = mox_jinja_int((int64_t)i, MOX_MARK_TEMPLATE);
    }
    advance(ps, end);
}

static bool name_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9') ||
           (unsigned char)c >= 0x80;
}

static void operator(jin_parser *ps)
{
    static const char *const two[] = {"//", "**", "==", "!=", "<=", ">="};
    static const char one[] = "+-*/%~<>=.,:|()[]{};";
    size_t n = 1;
    for (size_t i = 0; i < sizeof two / sizeof *two; i++) {
        n = here(ps, two[i]) ? 2 : n;
    }
    char c = ps->p[ps->at];
    if (n == 1 && memchr(one, c, sizeof one - 1) == NULL) {
        fail_here(ps, "a character that does not belong into a tag");
    }
    if (c == '(' || c == '[' || c == '{') {
        if (ps->n_closes == sizeof ps->closes) {
            fail_here(ps, "brackets nested too deep");
        }
        ps->closes[ps->n_closes++] = (char)(c == '(' ? ')' : c + 2);
    } else if (c == ')' || c == ']' || c == '}') {
        if (ps->n_closes == 0 || ps->closes[ps->n_closes - 1] != c) {
            fail_here(ps, "a bracket closes that was not opened");
        }
        ps->n_closes--;
    }
    ps->cur.kind = T_OP;
    advance(ps, ps->at + n);
}

/* The end of a tag, unless brackets are open: then its characters are operators. */
static bool tag_end(jin_parser *ps)
{
    const char *close = ps->mode == MODE_PRINT ? "}}" : "%}";
    char c = ps->p[ps->at];
    bool sign = c == '-' || (c == '+' && ps->mode == MODE_BLOCK);
    if (ps->n_closes > 0 ||
        !(here(ps, close) ||
          (sign && ps->n - ps->at > 2 && ps->p[ps->at + 1] == close[0] && ps->p[ps->at + 2] == close[1]))) {
        return false;
    }
    ps->cur.kind = ps->mode == MODE_PRINT ? T_PRINT_END : T_BLOCK_END;
    ps->trim = sign && c == '-' ? TRIM_ALL : ps->mode == MODE_PRINT || c == '+' ? TRIM_NONE : TRIM_NEWLINE;
    ps->mode = MODE_TEXT;
    advance(ps, ps->at + 2 + sign);
    return true;
}

void jin_next(jin_parser *ps)
{
    if (ps->mode != MODE_TEXT) {
        advance(ps, skip_space(ps, ps->at));
    }
    ps->cur = (jin_token){.line = ps->line, .col = (uint32_t)(ps->at - ps->line_at) + 1, .p = ps->p + ps->at};
    size_t from = ps->at;
    if (ps->mode == MODE_TEXT) {
        next_text(ps);
        if (ps->cur.kind != T_TEXT && ps->cur.kind != T_END) {
            ps->cur.line = ps->line; /* comments may lie in between */
            ps->cur.col = (uint32_t)(ps->at - ps->line_at) + 1;
            ps->cur.col -= ps->cur.col > 2 ? 2 : ps->cur.col - 1;
        }
        return;
    }
    if (ps->at >= ps->n) {
        fail_here(ps, ps->mode == MODE_PRINT ? "a tag has no end: }} is missing"
                                             : "a tag has no end: %} is missing");
    }
    char c = ps->p[ps->at];
    if (tag_end(ps)) {
        return;
    }
    if (c == '"' || c == '\'') {
        string(ps);
    } else if (c >= '0' && c <= '9') {
        number(ps);
    } else if (name_char(c, true)) {
        size_t end = ps->at;
        while (end < ps->n && name_char(ps->p[end], false)) {
            end++;
        }
        ps->cur.kind = T_NAME;
        advance(ps, end);
    } else {
        operator(ps);
    }
    ps->cur.n = ps->at - from;
    ps->after_dot = ps->cur.kind == T_OP && ps->cur.n == 1 && c == '.';
}

void jin_unexpected(jin_parser *ps, const char *wanted)
{
    const jin_token *t = &ps->cur;
    int n = t->n < 40 ? (int)t->n : 40;
    const char *what = t->kind == T_END           ? "the end of the template"
                       : t->kind == T_TEXT        ? "text"
                       : t->kind == T_PRINT_END   ? "}}"
                       : t->kind == T_BLOCK_END   ? "%}"
                       : t->kind == T_BLOCK_BEGIN ? "{%"
                       : t->kind == T_PRINT_BEGIN ? "{{"
                                                  : NULL;
    if (what != NULL) {
        jin_fail_at(ps->j, t->line, t->col, "%s, where %s is due", what, wanted);
    }
    jin_fail_at(ps->j, t->line, t->col, "\"%.*s\", where %s is due", n, t->p, wanted);
}
