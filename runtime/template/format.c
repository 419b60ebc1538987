/* Formatting: "%s is %d" % (a, b), and "{} is {n:>5}".format(a, n=b). What comes out of an argument has its mark. */
#include "methods.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct spec {
    char fill[4];
    size_t n_fill;
    char align; /* < > ^ = or 0 */
    char sign;  /* + space or 0 */
    bool alt, comma;
    int64_t width, precision; /* -1: none */
    char type;
} spec;

static void pad(jin *j, const spec *s, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        jin_step(j, 1);
        jin_put(j, s->fill, s->n_fill, MOX_MARK_TEMPLATE);
    }
}

/* text in the field's width; `sign` bytes of it stay in front of what `=` fills in. */
static void put_padded(jin *j, const spec *s, val text, char align, size_t sign)
{
    int64_t more = s->width - (int64_t)jin_length(j, text);
    more = more > 0 ? more : 0;
    align = s->align != 0 ? s->align : align;
    int64_t left = align == '>' ? more : align == '^' ? more / 2 : 0;
    pad(j, s, left);
    jin_put_text(j, text, 0, align == '=' ? sign : 0);
    pad(j, s, align == '=' ? more : 0);
    jin_put_text(j, text, align == '=' ? sign : 0, text.n);
    pad(j, s, align == '=' ? 0 : more - left);
}

static int with_commas(char *text, size_t size, const char *digits)
{
    size_t whole = strspn(digits, "0123456789"), n = 0;
    for (size_t i = 0; digits[i] != '\0' && n + 2 < size; i++) {
        if (i > 0 && i < whole && (whole - i) % 3 == 0) {
            text[n++] = ',';
        }
        text[n++] = digits[i];
    }
    text[n] = '\0';
    return (int)n;
}

/* A number's text: sign, prefix, digits. */
static size_t number_text(jin *j, const spec *s, val v, char *out, size_t size, size_t *sign)
{
    char digits[400], grouped[600];
    bool negative = jin_number(v) < 0 || (v.kind == MOX_J_FLOAT && signbit(v.u.f) != 0);
    uint64_t u = v.kind != MOX_J_FLOAT && v.u.i < 0 ? -(uint64_t)v.u.i : (uint64_t)v.u.i;
    double f = fabs(jin_number(v));
    int precision = s->precision >= 0 ? (int)(s->precision < 60 ? s->precision : 60) : 6;
    const char *prefix = "";
    switch (s->type) {
    case 'd':
        snprintf(digits, sizeof digits, "%llu", (unsigned long long)u);
        break;
    case 'x':
    case 'X':
        prefix = s->alt ? s->type == 'x' ? "0x" : "0X" : "";
        snprintf(digits, sizeof digits, s->type == 'x' ? "%llx" : "%llX", (unsigned long long)u);
        break;
    case 'o':
        prefix = s->alt ? "0o" : "";
        snprintf(digits, sizeof digits, "%llo", (unsigned long long)u);
        break;
    case 'e':
        snprintf(digits, sizeof digits, "%.*e", precision, f);
        break;
    case 'g':
        snprintf(digits, sizeof digits, "%.*g", precision > 0 ? precision : 1, f);
        break;
    case '%':
        snprintf(digits, sizeof digits, "%.*f%%", precision, f * 100);
        break;
    default:
        snprintf(digits, sizeof digits, "%.*f", precision, f);
    }
    if (s->comma) {
        with_commas(grouped, sizeof grouped, digits);
    }
    char mark[2] = {negative ? '-' : s->sign, '\0'};
    int n = snprintf(out, size, "%s%s%s", mark, prefix, s->comma ? grouped : digits);
    *sign = strlen(mark) + strlen(prefix);
    if (n < 0 || (size_t)n >= size) {
        jin_fail(j, "a formatted number is too long");
    }
    return (size_t)n;
}

/* A value under a specification. old: that of %, where numbers are asked for by letter alone. */
static void put_value(jin *j, spec *s, val v)
{
    size_t at = j->n_out, sign = 0;
    bool number = jin_is_number(v) && v.kind != MOX_J_BOOL;
    if (s->type == 'i' || s->type == 'u') {
        s->type = 'd';
    }
    if (s->type == 0 && number && (s->precision >= 0 || s->comma || v.kind == MOX_J_INT)) {
        s->type = v.kind == MOX_J_INT ? 'd' : s->precision >= 0 ? 'g' : 0;
    }
    if (s->type != 0 && s->type != 's') {
        if (!jin_is_number(v)) {
            jin_fail(j, "%%%c of a %s", s->type, jin_type(v));
        }
        char text[700];
        bool whole = strchr("dxXo", s->type) != NULL;
        if (whole && v.kind == MOX_J_FLOAT) {
            if (s->type != 'd' || !(fabs(v.u.f) < 9e18)) {
                jin_fail(j, "%%%c of a float", s->type);
            }
            v = mox_jinja_int((int64_t)v.u.f, v.mark);
        }
        size_t n = number_text(j, s, v, text, sizeof text, &sign);
        jin_put(j, text, n, v.mark);
        val out = jin_cut(j, at);
        put_padded(j, s, out, '>', sign);
        return;
    }
    val text = jin_str(j, v);
    if (s->precision >= 0) {
        text = jin_sub(text, 0,
                       jin_offset(text, s->precision < UINT32_MAX ? (uint32_t)s->precision : UINT32_MAX));
    }
    put_padded(j, s, text, number ? '>' : '<', sign);
}

static int64_t digits(val f, size_t *at)
{
    int64_t n = 0;
    for (; *at < f.n && f.u.p[*at] >= '0' && f.u.p[*at] <= '9'; ++*at) {
        n = n < 100000000 ? n * 10 + (f.u.p[*at] - '0') : n;
    }
    return n;
}

static spec plain(void)
{
    return (spec){.fill = " ", .n_fill = 1, .width = -1, .precision = -1};
}

/* The next argument of a %: one of a tuple, an entry of a dict, or the only one. */
static val next_arg(jin *j, val arg, uint32_t *i)
{
    if (arg.kind != MOX_J_TUPLE) {
        if ((*i)++ > 0) {
            jin_fail(j, "too few arguments for a format");
        }
        return arg;
    }
    if (*i >= arg.u.list->n) {
        jin_fail(j, "too few arguments for a format");
    }
    return arg.u.list->v[(*i)++];
}

/* One %..., behind the sign; returns where it ends. */
static size_t percent(jin *j, val f, size_t at, val arg, uint32_t *i)
{
    spec s = plain();
    bool left = false, zero = false, named = false;
    val v = jin_undef();
    if (at < f.n && f.u.p[at] == '(') {
        size_t end = jin_find(f, at, jin_lit(")"));
        if (end == SIZE_MAX || arg.kind != MOX_J_DICT) {
            jin_fail(j, "a format with a name needs a dict");
        }
        v = jin_item(j, arg, jin_sub(f, at + 1, end));
        named = true;
        at = end + 1;
    }
    for (; at < f.n && strchr("-+ #0", f.u.p[at]) != NULL && f.u.p[at] != '\0'; at++) {
        char c = f.u.p[at];
        left = left || c == '-';
        zero = zero || c == '0';
        s.alt = s.alt || c == '#';
        s.sign = c == '+' || (c == ' ' && s.sign == 0) ? c : s.sign;
    }
    if (at < f.n && f.u.p[at] == '*') {
        jin_fail(j, "%%* is not supported");
    }
    s.width = digits(f, &at);
    if (at < f.n && f.u.p[at] == '.') {
        at++;
        s.precision = digits(f, &at);
    }
    char type = at < f.n ? f.u.p[at] : '\0';
    if (type == '\0' || strchr("sdiuxXofFeg%rc", type) == NULL) {
        jin_fail(j, "the format %%%c is not supported", type >= ' ' && type < 0x7F ? type : '?');
    }
    if (type == '%') {
        jin_put(j, "%", 1, MOX_MARK_TEMPLATE);
        return at + 1;
    }
    v = named ? v : next_arg(j, arg, i);
    size_t start = j->n_out;
    if (type == 'r') {
        jin_put_repr(j, v);
        v = jin_cut(j, start);
    } else if (type == 'c' && v.kind != MOX_J_STR) {
        jin_fail(j, "%%c of a %s is not supported", jin_type(v));
    }
    s.type = type == 'r' || type == 'c' ? 's' : type == 'F' ? 'f' : type;
    if (zero && !left && s.type != 's') {
        s.fill[0] = '0';
        s.align = '=';
    } else {
        s.align = left ? '<' : '>';
    }
    put_value(j, &s, v);
    return at + 1;
}

val jin_percent(jin *j, val f, val arg)
{
    size_t start = j->n_out;
    uint32_t i = 0;
    for (size_t at = 0; at < f.n;) {
        size_t sign = jin_find(f, at, jin_lit("%"));
        if (sign == SIZE_MAX) {
            jin_put_text(j, f, at, f.n);
            break;
        }
        jin_put_text(j, f, at, sign);
        at = percent(j, f, sign + 1, arg, &i);
    }
    if (arg.kind == MOX_J_TUPLE ? i < arg.u.list->n : i == 0 && arg.kind != MOX_J_DICT) {
        jin_fail(j, "not all arguments of a format are used");
    }
    return jin_cut(j, start);
}

/* [[fill]align][sign][#][0][width][,][.precision][type] */
static spec parse_spec(jin *j, val f)
{
    spec s = plain();
    size_t at = 0, n = 0;
    uint32_t cp;
    n = f.n > 0 ? jin_char(f, 0, &cp) : 0;
    if (n > 0 && n < f.n && strchr("<>^=", f.u.p[n]) != NULL && f.u.p[n] != '\0') {
        memcpy(s.fill, f.u.p, n);
        s.n_fill = n;
        s.align = f.u.p[n];
        at = n + 1;
    } else if (f.n > 0 && f.u.p[0] != '\0' && strchr("<>^=", f.u.p[0]) != NULL) {
        s.align = f.u.p[0];
        at = 1;
    }
    if (at < f.n && (f.u.p[at] == '+' || f.u.p[at] == '-' || f.u.p[at] == ' ')) {
        s.sign = f.u.p[at] == '-' ? 0 : f.u.p[at];
        at++;
    }
    if (at < f.n && f.u.p[at] == '#') {
        s.alt = true;
        at++;
    }
    if (at < f.n && f.u.p[at] == '0' && s.align == 0) {
        s.fill[0] = '0';
        s.align = '=';
        at++;
    }
    s.width = digits(f, &at);
    if (at < f.n && f.u.p[at] == ',') {
        s.comma = true;
        at++;
    }
    if (at < f.n && f.u.p[at] == '.') {
        at++;
        s.precision = digits(f, &at);
    }
    if (at < f.n) {
        s.type = f.u.p[at++];
        if (s.type == 0 || strchr("sdxXofFeg%", s.type) == NULL || at < f.n) {
            jin_fail(j, "the format \"%.*s\" is not supported", f.n < 40 ? (int)f.n : 40, f.u.p);
        }
        s.type = s.type == 'F' ? 'f' : s.type;
    }
    return s;
}

/* What a field names: nothing (the next argument), a number, or a name. */
static val field(jin *j, val name, jin_args *a, uint32_t *i)
{
    size_t at = 0;
    int64_t index = name.n == 0 ? (int64_t)(*i)++ : digits(name, &at);
    if (name.n == 0 || at == name.n) {
        if (index >= (int64_t)a->n) {
            jin_fail(j, "format: there is no argument %lld", (long long)index);
        }
        return a->v[index];
    }
    for (uint32_t k = 0; k < a->n_k; k++) {
        if (jin_equal(j, j->names[a->k[k].name], name)) {
            return a->k[k].v;
        }
    }
    jin_fail(j, "format: there is no argument \"%.*s\"", name.n < 40 ? (int)name.n : 40, name.u.p);
}

/* {name!conversion:spec}; returns where it ends. */
static size_t put_field(jin *j, val f, size_t at, jin_args *a, uint32_t *i)
{
    size_t end = jin_find(f, at, jin_lit("}"));
    if (end == SIZE_MAX) {
        jin_fail(j, "format: a { without }");
    }
    val inside = jin_sub(f, at, end);
    size_t colon = jin_find(inside, 0, jin_lit(":")), bang = jin_find(inside, 0, jin_lit("!"));
    colon = colon == SIZE_MAX ? inside.n : colon;
    bang = bang < colon ? bang : colon;
    if (memchr(inside.u.p, '{', inside.n) != NULL || memchr(inside.u.p, '[', bang) != NULL ||
        memchr(inside.u.p, '.', bang) != NULL) {
        jin_fail(j, "format: the field {%.*s} is not supported", inside.n < 40 ? (int)inside.n : 40,
                 inside.u.p);
    }
    val v = field(j, jin_sub(inside, 0, bang), a, i), how = jin_sub(inside, bang, colon);
    spec s = parse_spec(j, colon < inside.n ? jin_sub(inside, colon + 1, inside.n) : jin_lit(""));
    if (jin_is(how, "!r")) {
        size_t start = j->n_out;
        jin_put_repr(j, v);
        v = jin_cut(j, start);
    } else if (how.n > 0 && !jin_is(how, "!s")) {
        jin_fail(j, "format: the conversion %.*s is not supported", how.n < 20 ? (int)how.n : 20, how.u.p);
    }
    if (colon == inside.n || jin_is(how, "!s")) {
        v = jin_str(j, v);
    }
    put_value(j, &s, v);
    return end + 1;
}

val jin_m_format(jin *j, val f, jin_args *a)
{
    size_t start = j->n_out;
    uint32_t i = 0;
    for (size_t at = 0; at < f.n;) {
        char c = f.u.p[at];
        if ((c == '{' || c == '}') && at + 1 < f.n && f.u.p[at + 1] == c) {
            jin_put_text(j, f, at, at + 1);
            at += 2;
        } else if (c == '{') {
            at = put_field(j, f, at + 1, a, &i);
        } else if (c == '}') {
            jin_fail(j, "format: a } without {");
        } else {
            jin_put_text(j, f, at, at + 1);
            at++;
        }
    }
    a->n_used = a->n;
    for (uint32_t k = 0; k < a->n_k; k++) {
        a->k[k].used = true;
    }
    return jin_cut(j, start);
}
