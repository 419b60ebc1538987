/* Filters that make numbers. */
#include "filters.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A number's text without white space around it and without `_` between digits, as a C string; NULL: too long. */
static char *number_text(val s, char text[80])
{
    s = jin_strip(s, true, true, NULL);
    uint32_t n = 0;
    for (uint32_t i = 0; i < s.n; i++) {
        bool between = s.u.p[i] == '_' && i > 0 && i + 1 < s.n && s.u.p[i - 1] != '_';
        if (!between) {
            text[n++] = s.u.p[i];
        }
        if (n == 79) {
            return NULL;
        }
    }
    text[n] = '\0';
    return text;
}

static bool text_to_float(val s, double *f)
{
    char text[80], *end;
    if (number_text(s, text) == NULL || text[0] == '\0' || strpbrk(text, "xXpP(") != NULL) {
        return false;
    }
    *f = strtod(text, &end);
    return *end == '\0';
}

static bool text_to_int(val s, int base, int64_t *i)
{
    char text[80], *end;
    if (number_text(s, text) == NULL || text[0] == '\0') {
        return false;
    }
    errno = 0;
    *i = strtoll(text, &end, base);
    return *end == '\0' && errno == 0;
}

val jin_f_int(jin *j, val v, jin_args *a)
{
    val otherwise = jin_arg_or(j, a, 0, "default", jin_int(0));
    int64_t base = jin_need_int(j, jin_arg_or(j, a, 1, "base", jin_int(10)), "int: base"), i;
    double f;
    if (v.kind == MOX_J_UNDEF) {
        jin_fail(j, "'%.60s' is undefined", v.u.p);
    }
    if (base < 2 || base > 36) {
        jin_fail(j, "int: the base is out of range");
    }
    if (jin_is_int(v)) {
        return mox_jinja_int(v.u.i, v.mark);
    }
    if (v.kind == MOX_J_STR && text_to_int(v, (int)base, &i)) {
        return mox_jinja_int(i, v.mark);
    }
    if (v.kind == MOX_J_FLOAT || (v.kind == MOX_J_STR && text_to_float(v, &f))) {
        f = v.kind == MOX_J_FLOAT ? v.u.f : f;
        return fabs(f) < 9e18 ? mox_jinja_int((int64_t)f, v.mark) : otherwise;
    }
    return otherwise;
}

val jin_f_float(jin *j, val v, jin_args *a)
{
    val otherwise = jin_arg_or(j, a, 0, "default", mox_jinja_float(0, MOX_MARK_TEMPLATE));
    double f;
    if (v.kind == MOX_J_UNDEF) {
        jin_fail(j, "'%.60s' is undefined", v.u.p);
    }
    if (jin_is_number(v)) {
        return mox_jinja_float(jin_number(v), v.mark);
    }
    return v.kind == MOX_J_STR && text_to_float(v, &f) ? mox_jinja_float(f, v.mark) : otherwise;
}

val jin_f_abs(jin *j, val v, jin_args *a)
{
    (void)a;
    if (!jin_is_number(v)) {
        jin_fail(j, "abs of a %s", jin_type(v));
    }
    return jin_number(v) < 0 ? jin_binary(j, OP_SUB, jin_int(0), v) : jin_binary(j, OP_ADD, jin_int(0), v);
}

val jin_f_round(jin *j, val v, jin_args *a)
{
    int64_t precision = jin_need_int(j, jin_arg_or(j, a, 0, "precision", jin_int(0)), "round: precision");
    val method = jin_arg_or(j, a, 1, "method", jin_lit("common"));
    if (!jin_is_number(v)) {
        jin_fail(j, "round of a %s", jin_type(v));
    }
    if (precision < 0 || precision > 15) {
        jin_fail(j, "round: a precision of %lld is not supported", (long long)precision);
    }
    double scale = pow(10, (double)precision), x = jin_number(v);
    if (jin_is(method, "ceil") || jin_is(method, "floor")) {
        x = jin_is(method, "ceil") ? ceil(x * scale) : floor(x * scale);
        return mox_jinja_float(x / scale, v.mark);
    }
    if (!jin_is(method, "common")) {
        jin_fail(j, "round: the method is common, ceil or floor");
    }
    if (jin_is_int(v) || !isfinite(x)) {
        return v.kind == MOX_J_BOOL ? mox_jinja_int(v.u.i, v.mark) : v;
    }
    char text[400]; /* the decimal digits of the number itself decide, as in Python */
    snprintf(text, sizeof text, "%.*f", (int)precision, x);
    return mox_jinja_float(strtod(text, NULL), v.mark);
}
