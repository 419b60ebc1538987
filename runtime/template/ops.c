/* Operators. Whole numbers are 64 bits wide; what leaves them is an error, not another number. */
#include "internal.h"

#include <math.h>

JIN_NORETURN static void wrong(jin *j, const char *op, val a, val b)
{
    val u = a.kind == MOX_J_UNDEF ? a : b;
    if (u.kind == MOX_J_UNDEF) {
        jin_fail(j, "'%.60s' is undefined", u.u.p);
    }
    jin_fail(j, "%s of a %s and a %s", op, jin_type(a), jin_type(b));
}

JIN_NORETURN static void beyond(jin *j)
{
    jin_fail(j, "a number is beyond 64 bits");
}

static uint8_t join(val a, val b)
{
    return a.mark > b.mark ? a.mark : b.mark;
}

static val integer(jin *j, jin_op op, val a, val b)
{
    int64_t x = a.u.i, y = b.u.i, r = 0;
    if ((op == OP_FLOORDIV || op == OP_MOD) && y == 0) {
        jin_fail(j, "division by zero");
    }
    if (op == OP_ADD   ? __builtin_add_overflow(x, y, &r)
        : op == OP_SUB ? __builtin_sub_overflow(x, y, &r)
        : op == OP_MUL ? __builtin_mul_overflow(x, y, &r)
                       : y == -1 && x == INT64_MIN) {
        beyond(j);
    }
    if (op == OP_FLOORDIV) {
        r = x / y - ((x % y != 0) && ((x < 0) != (y < 0)));
    } else if (op == OP_MOD) {
        r = x % y;
        r += r != 0 && (r < 0) != (y < 0) ? y : 0;
    }
    return mox_jinja_int(r, join(a, b));
}

static val power(jin *j, val a, val b)
{
    if (!jin_is_int(a) || !jin_is_int(b) || b.u.i < 0) {
        double x = jin_number(a), y = jin_number(b);
        if (x == 0 && y < 0) {
            jin_fail(j, "division by zero");
        }
        return mox_jinja_float(pow(x, y), join(a, b));
    }
    int64_t r = 1, x = a.u.i;
    for (int64_t n = b.u.i; n > 0 && r != 0 && !(x == 1 && r == 1); n >>= 1) {
        if ((n & 1) && __builtin_mul_overflow(r, x, &r)) {
            beyond(j);
        }
        if (n > 1 && __builtin_mul_overflow(x, x, &x)) {
            beyond(j);
        }
    }
    return mox_jinja_int(r, join(a, b));
}

static val real(jin *j, jin_op op, val a, val b)
{
    double x = jin_number(a), y = jin_number(b), r = 0;
    if (y == 0 && (op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD)) {
        jin_fail(j, "division by zero");
    }
    switch (op) {
    case OP_ADD:
        r = x + y;
        break;
    case OP_SUB:
        r = x - y;
        break;
    case OP_MUL:
        r = x * y;
        break;
    case OP_DIV:
        r = x / y;
        break;
    case OP_FLOORDIV:
        r = floor(x / y);
        break;
    default:
        r = fmod(x, y);
        r += r != 0 && (r < 0) != (y < 0) ? y : 0;
    }
    return mox_jinja_float(r, join(a, b));
}

static val lists(jin *j, val a, val b)
{
    uint32_t n = a.u.list->n + b.u.list->n;
    jin_step(j, n);
    val out = jin_new_list(j, n, (mox_jkind)a.kind);
    out.mark = join(a, b);
    for (uint32_t i = 0; i < n; i++) {
        jin_push(j, out, i < a.u.list->n ? a.u.list->v[i] : b.u.list->v[i - a.u.list->n]);
    }
    return out;
}

static val repeat(jin *j, val s, int64_t times)
{
    if (s.kind == MOX_J_STR) {
        size_t at = j->n_out;
        for (int64_t i = 0; i < times && s.n > 0; i++) {
            jin_step(j, 1);
            jin_put_str(j, s);
        }
        return jin_cut(j, at);
    }
    val out = jin_new_list(j, 0, (mox_jkind)s.kind);
    out.mark = s.mark;
    for (int64_t i = 0; i < times && s.u.list->n > 0; i++) {
        for (uint32_t k = 0; k < s.u.list->n; k++) {
            jin_step(j, 1);
            jin_push(j, out, s.u.list->v[k]);
        }
    }
    return out;
}

val jin_binary(jin *j, jin_op op, val a, val b)
{
    static const char *const names[] = {"the sum",      "the difference", "the product", "the quotient",
                                        "the quotient", "the remainder",  "the power"};
    bool sequence = a.kind == MOX_J_STR || jin_is_list(a), other = b.kind == MOX_J_STR || jin_is_list(b);
    if (jin_is_number(a) && jin_is_number(b)) {
        if (op == OP_POW) {
            return power(j, a, b);
        }
        return jin_is_int(a) && jin_is_int(b) && op != OP_DIV ? integer(j, op, a, b) : real(j, op, a, b);
    }
    if (op == OP_ADD && a.kind == MOX_J_STR && b.kind == MOX_J_STR) {
        return jin_concat(j, a, b);
    }
    if (op == OP_ADD && jin_is_list(a) && a.kind == b.kind) {
        return lists(j, a, b);
    }
    if (op == OP_MUL && sequence && jin_is_int(b)) {
        return repeat(j, a, b.u.i);
    }
    if (op == OP_MUL && other && jin_is_int(a)) {
        return repeat(j, b, a.u.i);
    }
    if (op == OP_MOD && a.kind == MOX_J_STR) {
        return jin_percent(j, a, b);
    }
    wrong(j, names[op], a, b);
}

bool jin_relation(jin *j, jin_op op, val a, val b)
{
    switch (op) {
    case OP_EQ:
        return jin_equal(j, a, b);
    case OP_NE:
        return !jin_equal(j, a, b);
    case OP_IN:
        return jin_contains(j, b, a);
    case OP_NOT_IN:
        return !jin_contains(j, b, a);
    default:
        break;
    }
    if (jin_is_number(a) && jin_is_number(b) && (isnan(jin_number(a)) || isnan(jin_number(b)))) {
        return false;
    }
    int c = jin_compare(j, a, b);
    return op == OP_LT ? c < 0 : op == OP_LE ? c <= 0 : op == OP_GT ? c > 0 : c >= 0;
}
