/* Tests: {{ x is defined }}. */
#include "internal.h"

#define TEST(name, expression)                                                                               \
    static val name(jin *j, val v, jin_args *a)                                                              \
    {                                                                                                        \
        (void)j, (void)v, (void)a;                                                                           \
        return jin_bool(expression);                                                                         \
    }

TEST(t_defined, v.kind != MOX_J_UNDEF)
TEST(t_undefined, v.kind == MOX_J_UNDEF)
TEST(t_none, v.kind == MOX_J_NONE)
TEST(t_string, v.kind == MOX_J_STR)
TEST(t_mapping, v.kind == MOX_J_DICT)
TEST(t_number, jin_is_number(v))
TEST(t_integer, v.kind == MOX_J_INT)
TEST(t_float, v.kind == MOX_J_FLOAT)
TEST(t_boolean, v.kind == MOX_J_BOOL)
TEST(t_true, v.kind == MOX_J_BOOL && v.u.i != 0)
TEST(t_false, v.kind == MOX_J_BOOL && v.u.i == 0)
TEST(t_iterable, v.kind == MOX_J_UNDEF || v.kind == MOX_J_STR || jin_is_list(v) || v.kind == MOX_J_DICT)
TEST(t_callable, v.kind == MOX_J_MACRO || v.kind == MOX_J_FUNCTION || v.kind == MOX_J_METHOD)
TEST(t_escaped, false)

static val other(jin *j, jin_args *a)
{
    return jin_arg_need(j, a, 0, "other");
}

TEST(t_eq, jin_relation(j, OP_EQ, v, other(j, a)))
TEST(t_ne, jin_relation(j, OP_NE, v, other(j, a)))
TEST(t_lt, jin_relation(j, OP_LT, v, other(j, a)))
TEST(t_le, jin_relation(j, OP_LE, v, other(j, a)))
TEST(t_gt, jin_relation(j, OP_GT, v, other(j, a)))
TEST(t_ge, jin_relation(j, OP_GE, v, other(j, a)))
TEST(t_in, jin_relation(j, OP_IN, v, jin_arg_need(j, a, 0, "seq")))
TEST(t_odd, jin_binary(j, OP_MOD, v, jin_int(2)).u.i == 1)
TEST(t_even, jin_binary(j, OP_MOD, v, jin_int(2)).u.i == 0)
TEST(t_divisible, jin_binary(j, OP_MOD, v, jin_arg_need(j, a, 0, "num")).u.i == 0)
TEST(t_filter, v.kind == MOX_J_STR && jin_find_filter(v.u.p, v.n) != NULL)
TEST(t_test, v.kind == MOX_J_STR && jin_find_test(v.u.p, v.n) != NULL)

static val t_same(jin *j, val v, jin_args *a)
{
    val o = other(j, a);
    bool plain = v.kind <= MOX_J_STR;
    return jin_bool(v.kind == o.kind && (plain ? jin_equal(j, v, o) : v.u.other == o.u.other));
}

/* Whether all letters are of one case, and there is one. */
static bool all_of(jin *j, val v, bool upper)
{
    val s = jin_str(j, v);
    bool any = false;
    uint32_t cp;
    for (size_t at = 0; at < s.n;) {
        at += jin_char(s, at, &cp);
        if ((upper ? jin_upper(cp) : jin_lower(cp)) != cp) {
            return false;
        }
        any = any || jin_cased(cp);
    }
    return any;
}

TEST(t_upper, all_of(j, v, true))
TEST(t_lower, all_of(j, v, false))

jin_fn *jin_find_test(const char *name, size_t n)
{
    static const struct {
        const char *name;
        jin_fn *fn;
    } all[] = {
        {"defined", t_defined},
        {"undefined", t_undefined},
        {"none", t_none},
        {"string", t_string},
        {"mapping", t_mapping},
        {"number", t_number},
        {"integer", t_integer},
        {"float", t_float},
        {"boolean", t_boolean},
        {"true", t_true},
        {"false", t_false},
        {"iterable", t_iterable},
        {"sequence", t_iterable},
        {"callable", t_callable},
        {"escaped", t_escaped},
        {"eq", t_eq},
        {"equalto", t_eq},
        {"==", t_eq},
        {"ne", t_ne},
        {"!=", t_ne},
        {"lt", t_lt},
        {"lessthan", t_lt},
        {"<", t_lt},
        {"le", t_le},
        {"<=", t_le},
        {"gt", t_gt},
        {"greaterthan", t_gt},
        {">", t_gt},
        {"ge", t_ge},
        {">=", t_ge},
        {"in", t_in},
        {"odd", t_odd},
        {"even", t_even},
        {"divisibleby", t_divisible},
        {"sameas", t_same},
        {"upper", t_upper},
        {"lower", t_lower},
        {"filter", t_filter},
        {"test", t_test},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strlen(all[i].name) == n && memcmp(all[i].name, name, n) == 0) {
            return all[i].fn;
        }
    }
    return NULL;
}
