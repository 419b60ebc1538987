/* Expressions to values. */
#include "internal.h"

val *jin_lookup(jin *j, uint32_t name)
{
    for (jin_scope *s = j->scope; s != NULL; s = s->up) {
        for (jin_binding *b = s->first; b != NULL; b = b->next) {
            if (b->name == name) {
                return &b->v;
            }
        }
    }
    return NULL;
}

void jin_bind(jin *j, jin_scope *s, uint32_t name, val v)
{
    for (jin_binding *b = s->first; b != NULL; b = b->next) {
        if (b->name == name) {
            b->v = v;
            return;
        }
    }
    jin_binding *b = jin_take(j, sizeof *b);
    if (b != NULL) {
        *b = (jin_binding){.name = name, .v = v, .next = s->first};
        s->first = b;
    }
}

val jin_resolve(jin *j, uint32_t name)
{
    const val *v = jin_lookup(j, name);
    if (v != NULL) {
        return *v;
    }
    val s = j->names[name];
    char text[64];
    size_t n = s.n < sizeof text - 1 ? s.n : sizeof text - 1;
    memcpy(text, s.u.p, n);
    text[n] = '\0';
    val f = jin_function(text);
    if (f.kind == MOX_J_UNDEF) {
        f.u.p = memcpy(jin_take(j, n + 1), text, n + 1);
    }
    return f;
}

static val items(jin *j, const node *e)
{
    val list = jin_new_list(j, 0, e->kind == E_TUPLE ? MOX_J_TUPLE : MOX_J_LIST);
    for (const node *n = e->a; n != NULL; n = n->next) {
        jin_push(j, list, jin_eval(j, n));
    }
    return list;
}

static val dict(jin *j, const node *e)
{
    val d = jin_new_dict(j, MOX_J_DICT);
    for (const node *n = e->a; n != NULL; n = n->next->next) {
        val key = jin_eval(j, n);
        jin_dict_set(j, d, key, jin_eval(j, n->next));
    }
    return d;
}

static val concat(jin *j, const node *e)
{
    val list = items(j, e);
    size_t at = j->n_out;
    for (uint32_t i = 0; i < list.u.list->n; i++) {
        jin_put_value(j, list.u.list->v[i]);
    }
    return jin_cut(j, at);
}

static val compare(jin *j, const node *e)
{
    val left = jin_eval(j, e->a);
    for (const node *n = e->b; n != NULL; n = n->next) {
        val right = jin_eval(j, n->a);
        j->at = n;
        if (!jin_relation(j, (jin_op)n->op, left, right)) {
            return jin_bool(false);
        }
        left = right;
    }
    return jin_bool(true);
}

static val negate(jin *j, val v)
{
    if (!jin_is_number(v)) {
        jin_fail(j, v.kind == MOX_J_UNDEF ? "the sign of something undefined" : "the sign of a %s",
                 jin_type(v));
    }
    return jin_binary(j, OP_SUB, jin_int(0), v);
}

static val optional(jin *j, const node *e)
{
    return e != NULL ? jin_eval(j, e) : mox_jinja_none();
}

static val slice(jin *j, const node *e)
{
    val v = jin_eval(j, e->a), from = optional(j, e->b), to = optional(j, e->c), step = optional(j, e->d);
    j->at = e;
    return jin_slice(j, v, from, to, step);
}

static val apply(jin *j, const node *e)
{
    jin_args a = {.what = e->what};
    val v = jin_eval(j, e->a);
    jin_eval_args(j, e->b, &a);
    j->at = e;
    if (e->fn == NULL) {
        jin_fail(j, "the %s \"%.40s\" is not supported", e->kind == E_TEST ? "test" : "filter", e->what);
    }
    v = e->fn(j, v, &a);
    jin_args_end(j, &a);
    return e->kind == E_TEST ? jin_bool((v.u.i != 0) != e->negated) : v;
}

static val choose(jin *j, const node *e)
{
    if (jin_truth(jin_eval(j, e->a))) {
        return jin_eval(j, e->b);
    }
    return e->c != NULL ? jin_eval(j, e->c) : jin_undef();
}

static val eval(jin *j, const node *e)
{
    val a, b;
    switch ((jin_kind)e->kind) {
    case E_CONST:
        return e->v;
    case E_NAME:
        return jin_resolve(j, e->name);
    case E_LIST:
    case E_TUPLE:
        return items(j, e);
    case E_DICT:
        return dict(j, e);
    case E_ATTR:
        a = jin_eval(j, e->a);
        j->at = e;
        return jin_attr(j, a, e->name, e->method);
    case E_ITEM:
        a = jin_eval(j, e->a);
        b = jin_eval(j, e->b);
        j->at = e;
        return jin_item(j, a, b);
    case E_SLICE:
        return slice(j, e);
    case E_CALL:
        return jin_call(j, e);
    case E_FILTER:
    case E_TEST:
        return apply(j, e);
    case E_NOT:
        return jin_bool(!jin_truth(jin_eval(j, e->a)));
    case E_NEG:
        return negate(j, jin_eval(j, e->a));
    case E_POS:
        return jin_eval(j, e->a);
    case E_BIN:
        a = jin_eval(j, e->a);
        b = jin_eval(j, e->b);
        j->at = e;
        return jin_binary(j, (jin_op)e->op, a, b);
    case E_AND:
        a = jin_eval(j, e->a);
        return jin_truth(a) ? jin_eval(j, e->b) : a;
    case E_OR:
        a = jin_eval(j, e->a);
        return jin_truth(a) ? a : jin_eval(j, e->b);
    case E_CONCAT:
        return concat(j, e);
    case E_COMPARE:
        return compare(j, e);
    case E_COND:
        return choose(j, e);
    default:
        jin_fail(j, "an expression of an unknown kind");
    }
}

val jin_eval(jin *j, const node *e)
{
    jin_enter(j);
    jin_step(j, 1);
    j->at = e;
    val v = eval(j, e);
    jin_leave(j);
    return v;
}
