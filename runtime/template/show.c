/* Values as text: str() and repr() of Python, which is what templates print. */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

void jin_put_int(jin *j, int64_t i, uint8_t mark)
{
    char text[32];
    int n = snprintf(text, sizeof text, "%lld", (long long)i);
    jin_put(j, text, (size_t)n, mark);
}

/* The shortest digits that give the same number back; an exponent from 1e16 on and below 1e-4. */
void jin_put_float(jin *j, double f, uint8_t mark)
{
    char text[64], digits[32];
    if (!isfinite(f)) {
        const char *word = isnan(f) ? "nan" : f > 0 ? "inf" : "-inf";
        jin_put(j, word, strlen(word), mark);
        return;
    }
    int precision = 1;
    do {
        snprintf(text, sizeof text, "%.*e", precision - 1, f);
    } while (strtod(text, NULL) != f && ++precision <= 17);
    const char *e = strchr(text, 'e');
    int exponent = atoi(e + 1), n;
    if (exponent < -4 || exponent >= 16) {
        n = snprintf(digits, sizeof digits, "%.*s", (int)(e - text), text);
        jin_put(j, digits, (size_t)n, mark);
        n = snprintf(text, sizeof text, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else {
        int decimals = precision - 1 - exponent;
        n = snprintf(text, sizeof text, "%.*f", decimals > 1 ? decimals : 1, f);
    }
    jin_put(j, text, (size_t)n, mark);
}

static bool printable(uint32_t cp)
{
    static const uint32_t hidden[][2] = {
        {0x7F, 0xA0},     {0xAD, 0xAD},       {0x600, 0x605},   {0x61C, 0x61C},   {0x6DD, 0x6DD},
        {0x70F, 0x70F},   {0x1680, 0x1680},   {0x180E, 0x180E}, {0x2000, 0x200F}, {0x2028, 0x202F},
        {0x205F, 0x206F}, {0x3000, 0x3000},   {0xD800, 0xF8FF}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB},
        {0xFFFE, 0xFFFF}, {0xE0000, 0x10FFFF}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        if (cp >= hidden[i][0] && cp <= hidden[i][1]) {
            return false;
        }
    }
    return cp >= 0x20;
}

static void put_quoted(jin *j, val s)
{
    bool twice = memchr(s.u.p, '\'', s.n) != NULL && memchr(s.u.p, '"', s.n) == NULL;
    char quote = twice ? '"' : '\'', text[16];
    uint32_t cp;
    jin_put(j, &quote, 1, s.mark);
    for (size_t at = 0, n; at < s.n; at += n) {
        uint8_t mark = s.marks != NULL ? s.marks[at] : s.mark;
        n = jin_char(s, at, &cp);
        int k = 0;
        if (cp == (uint32_t)quote || cp == '\\') {
            k = snprintf(text, sizeof text, "\\%c", (char)cp);
        } else if (cp == '\n' || cp == '\r' || cp == '\t') {
            k = snprintf(text, sizeof text, "\\%c", cp == '\n' ? 'n' : cp == '\r' ? 'r' : 't');
        } else if (!printable(cp)) {
            k = snprintf(text, sizeof text,
                         cp < 0x100     ? "\\x%02x"
                         : cp < 0x10000 ? "\\u%04x"
                                        : "\\U%08x",
                         cp);
        }
        if (k > 0) {
            jin_put(j, text, (size_t)k, mark);
        } else {
            jin_put_text(j, s, at, at + n);
        }
    }
    jin_put(j, &quote, 1, s.mark);
}

static void put_list(jin *j, val v)
{
    const jin_list *l = v.u.list;
    bool tuple = v.kind == MOX_J_TUPLE;
    jin_put(j, tuple ? "(" : "[", 1, v.mark);
    for (uint32_t i = 0; i < l->n; i++) {
        jin_put(j, ", ", i > 0 ? 2 : 0, v.mark);
        jin_put_repr(j, l->v[i]);
    }
    jin_put(j, ",", tuple && l->n == 1, v.mark);
    jin_put(j, tuple ? ")" : "]", 1, v.mark);
}

static void put_dict(jin *j, val v)
{
    const jin_dict *d = v.u.dict;
    jin_put(j, "{", 1, v.mark);
    for (uint32_t i = 0; i < d->n; i++) {
        jin_put(j, ", ", i > 0 ? 2 : 0, v.mark);
        jin_put_repr(j, d->e[i].key);
        jin_put(j, ": ", 2, v.mark);
        jin_put_repr(j, d->e[i].v);
    }
    jin_put(j, "}", 1, v.mark);
}

void jin_put_repr(jin *j, val v)
{
    if (v.kind == MOX_J_STR) {
        put_quoted(j, v);
    } else if (v.kind == MOX_J_UNDEF) {
        jin_put(j, "Undefined", 9, v.mark);
    } else {
        jin_put_value(j, v);
    }
}

void jin_put_value(jin *j, val v)
{
    static const char *const bools[] = {"False", "True"};
    jin_enter(j);
    jin_step(j, 1);
    switch ((mox_jkind)v.kind) {
    case MOX_J_UNDEF:
        break;
    case MOX_J_NONE:
        jin_put(j, "None", 4, v.mark);
        break;
    case MOX_J_BOOL:
        jin_put(j, bools[v.u.i != 0], strlen(bools[v.u.i != 0]), v.mark);
        break;
    case MOX_J_INT:
        jin_put_int(j, v.u.i, v.mark);
        break;
    case MOX_J_FLOAT:
        jin_put_float(j, v.u.f, v.mark);
        break;
    case MOX_J_STR:
        jin_put_str(j, v);
        break;
    case MOX_J_LIST:
    case MOX_J_TUPLE:
        put_list(j, v);
        break;
    case MOX_J_DICT:
        put_dict(j, v);
        break;
    default:
        jin_fail(j, "a %s cannot be printed", jin_type(v));
    }
    jin_leave(j);
}

val jin_str(jin *j, val v)
{
    if (v.kind == MOX_J_STR) {
        return v;
    }
    size_t at = j->n_out;
    jin_put_value(j, v);
    return jin_cut(j, at);
}
