/* Calls: macros, methods, and the functions that every template has. */
#include "internal.h"

#include <stdio.h>

void jin_eval_args(jin *j, const node *list, jin_args *a)
{
    uint32_t n = 0, n_k = 0;
    for (const node *e = list; e != NULL; e = e->next) {
        n += e->kind != E_KEYWORD;
        n_k += e->kind == E_KEYWORD;
    }
    a->v = n > 0 ? jin_take(j, n * sizeof *a->v) : NULL;
    a->k = n_k > 0 ? jin_take(j, n_k * sizeof *a->k) : NULL;
    for (const node *e = list; e != NULL; e = e->next) {
        if (e->kind != E_KEYWORD) {
            a->v[a->n++] = jin_eval(j, e);
        } else {
            a->k[a->n_k++] = (jin_keyword){.name = e->name, .v = jin_eval(j, e->a)};
        }
    }
}

bool jin_arg(jin *j, jin_args *a, uint32_t i, const char *name, val *out)
{
    if (i < a->n) {
        a->n_used = i + 1 > a->n_used ? i + 1 : a->n_used;
        *out = a->v[i];
        return true;
    }
    for (uint32_t k = 0; k < a->n_k; k++) {
        if (jin_is(j->names[a->k[k].name], name)) {
            a->k[k].used = true;
            *out = a->k[k].v;
            return true;
        }
    }
    return false;
}

val jin_arg_or(jin *j, jin_args *a, uint32_t i, const char *name, val otherwise)
{
    val v;
    return jin_arg(j, a, i, name, &v) ? v : otherwise;
}

val jin_arg_need(jin *j, jin_args *a, uint32_t i, const char *name)
{
    val v;
    if (!jin_arg(j, a, i, name, &v)) {
        jin_fail(j, "%.40s: the argument %s is missing", a->what, name);
    }
    return v;
}

void jin_args_end(jin *j, jin_args *a)
{
    if (a->n > a->n_used) {
        jin_fail(j, "%.40s takes %u arguments, and not %u", a->what, a->n_used, a->n);
    }
    for (uint32_t k = 0; k < a->n_k; k++) {
        if (!a->k[k].used) {
            val name = j->names[a->k[k].name];
            jin_fail(j, "%.40s has no argument \"%.*s\"", a->what, (int)name.n, name.u.p);
        }
    }
}

/* Parameters of a macro, in its new scope; a default may use those in front of it. */
static void bind_parameters(jin *j, const jin_macro *m, jin_args *a)
{
    uint32_t i = 0;
    for (const node *p = m->def->a; p != NULL; p = p->next, i++) {
        val v = jin_undef();
        bool given = i < a->n;
        if (given) {
            v = a->v[i];
            a->n_used = i + 1;
        }
        for (uint32_t k = 0; k < a->n_k; k++) {
            if (a->k[k].name == p->name) {
                if (given) {
                    jin_fail(j, "%.40s gets an argument twice", a->what);
                }
                a->k[k].used = given = true;
                v = a->k[k].v;
            }
        }
        if (!given && p->a != NULL) {
            v = jin_eval(j, p->a);
        } else if (!given) {
            v = jin_missing(j, j->names[p->name]);
        }
        jin_bind(j, j->scope, p->name, v);
    }
}

static void bind_rest(jin *j, const jin_macro *m, jin_args *a)
{
    if (m->def->varargs) {
        val rest = jin_new_list(j, 0, MOX_J_TUPLE);
        for (uint32_t i = a->n_used; i < a->n; i++) {
            jin_push(j, rest, a->v[i]);
        }
        a->n_used = a->n;
        jin_bind(j, j->scope, jin_name(j, "varargs", 7), rest);
    }
    if (m->def->kwargs) {
        val rest = jin_new_dict(j, MOX_J_DICT);
        for (uint32_t k = 0; k < a->n_k; k++) {
            if (!a->k[k].used) {
                jin_dict_set(j, rest, j->names[a->k[k].name], a->k[k].v);
                a->k[k].used = true;
            }
        }
        jin_bind(j, j->scope, jin_name(j, "kwargs", 6), rest);
    }
    jin_args_end(j, a);
}

val jin_call_macro(jin *j, const jin_macro *m, jin_args *a, const val *caller)
{
    char what[64];
    val name = j->names[m->def->name];
    snprintf(what, sizeof what, "%.*s()", name.n < 40 ? (int)name.n : 40, name.u.p);
    a->what = what;
    if (++j->calls > MOX_JINJA_CALLS) {
        jin_fail(j, "%s: macros call each other more than %d deep", what, MOX_JINJA_CALLS);
    }
    jin_enter(j);
    jin_scope *before = jin_push_scope(j, m->scope);
    bind_parameters(j, m, a);
    if (caller != NULL) {
        jin_bind(j, j->scope, jin_name(j, "caller", 6), *caller);
    }
    bind_rest(j, m, a);
    size_t at = j->n_out;
    jin_exec(j, m->def->b);
    j->scope = before;
    j->calls--;
    jin_leave(j);
    return jin_cut(j, at);
}

static val loop_method(jin *j, val v, val name, jin_args *a)
{
    jin_loop *l = (jin_loop *)v.u.other;
    val given = jin_new_list(j, a->n, MOX_J_TUPLE);
    for (uint32_t i = 0; i < a->n; i++) {
        jin_push(j, given, a->v[i]);
    }
    a->n_used = a->n;
    if (jin_is(name, "cycle")) {
        if (a->n == 0) {
            jin_fail(j, "loop.cycle needs something to take turns with");
        }
        return a->v[l->i % a->n];
    }
    bool same = l->has_changed && jin_equal(j, l->changed, given);
    l->changed = given;
    l->has_changed = true;
    return jin_bool(!same);
}

val jin_call_with(jin *j, val callee, jin_args *a)
{
    val out;
    switch ((mox_jkind)callee.kind) {
    case MOX_J_MACRO:
        return jin_call_macro(j, callee.u.other, a, NULL);
    case MOX_J_METHOD: {
        const jin_bound *b = callee.u.other;
        a->what = b->name;
        out = b->fn(j, b->self, a);
        break;
    }
    case MOX_J_FUNCTION: {
        const jin_method *f = callee.u.other;
        a->what = f->name;
        out = f->str(j, jin_undef(), a);
        break;
    }
    case MOX_J_UNDEF:
        jin_fail(j, callee.u.p[0] != '\0' ? "'%.60s' is undefined" : "something undefined is called",
                 callee.u.p);
    default:
        jin_fail(j, "a %s cannot be called", jin_type(callee));
    }
    jin_args_end(j, a);
    return out;
}

val jin_call(jin *j, const node *e)
{
    jin_args a = {.what = "call"};
    const node *f = e->a;
    if (f->kind == E_ATTR) { /* loop.cycle(), loop.changed(); other attributes are values */
        val self = jin_eval(j, f->a);
        val name = j->names[f->name];
        if (self.kind == MOX_J_LOOP && (jin_is(name, "cycle") || jin_is(name, "changed"))) {
            jin_eval_args(j, e->b, &a);
            j->at = e;
            return loop_method(j, self, name, &a);
        }
        j->at = f;
        val callee = jin_attr(j, self, f->name, f->method);
        if (callee.kind == MOX_J_UNDEF) {
            jin_fail(j, "a %s has no method \"%.*s\", or it is not supported", jin_type(self), (int)name.n,
                     name.u.p);
        }
        jin_eval_args(j, e->b, &a);
        j->at = f;
        return jin_call_with(j, callee, &a);
    }
    val callee = jin_eval(j, f);
    jin_eval_args(j, e->b, &a);
    j->at = e;
    return jin_call_with(j, callee, &a);
}

static val g_range(jin *j, val self, jin_args *a)
{
    (void)self;
    int64_t from = jin_need_int(j, jin_arg_need(j, a, 0, "stop"), "range: a bound"), to = from, step = 1;
    val v;
    if (jin_arg(j, a, 1, "stop", &v)) {
        to = jin_need_int(j, v, "range: a bound");
        step = jin_need_int(j, jin_arg_or(j, a, 2, "step", jin_int(1)), "range: the step");
    } else {
        from = 0;
    }
    if (step == 0) {
        jin_fail(j, "range: the step is 0");
    }
    val out = jin_new_list(j, 0, MOX_J_LIST);
    for (int64_t i = from; step > 0 ? i < to : i > to;) {
        jin_step(j, 1);
        jin_push(j, out, jin_int(i));
        if (__builtin_add_overflow(i, step, &i)) {
            break;
        }
    }
    return out;
}

static val keyword_dict(jin *j, jin_args *a, mox_jkind kind)
{
    val d = jin_new_dict(j, kind), from;
    if (jin_arg(j, a, 0, "", &from)) {
        if (from.kind == MOX_J_DICT) {
            for (uint32_t i = 0; i < from.u.dict->n; i++) {
                jin_dict_set(j, d, from.u.dict->e[i].key, from.u.dict->e[i].v);
            }
            d.mark = from.mark;
        } else {
            uint32_t n, two;
            const val *pairs = jin_iter(j, from, &n);
            for (uint32_t i = 0; i < n; i++) {
                const val *pair = jin_iter(j, pairs[i], &two);
                if (two != 2) {
                    jin_fail(j, "%.20s: pairs of a key and a value are needed", a->what);
                }
                jin_dict_set(j, d, pair[0], pair[1]);
            }
        }
    }
    for (uint32_t k = 0; k < a->n_k; k++) {
        jin_dict_set(j, d, j->names[a->k[k].name], a->k[k].v);
        a->k[k].used = true;
    }
    return d;
}

static val g_namespace(jin *j, val self, jin_args *a)
{
    (void)self;
    return keyword_dict(j, a, MOX_J_NAMESPACE);
}

static val g_dict(jin *j, val self, jin_args *a)
{
    (void)self;
    return keyword_dict(j, a, MOX_J_DICT);
}

JIN_NORETURN static val g_raise(jin *j, val self, jin_args *a)
{
    (void)self;
    val s = jin_str(j, jin_arg_need(j, a, 0, "message"));
    jin_fail(j, "%.*s", s.n < 300 ? (int)s.n : 300, s.u.p);
}

val jin_function(const char *name)
{
    static const jin_method all[] = {{"range", g_range, NULL, NULL},
                                     {"namespace", g_namespace, NULL, NULL},
                                     {"dict", g_dict, NULL, NULL},
                                     {"raise_exception", g_raise, NULL, NULL},
                                     {"strftime_now", jin_g_strftime_now, NULL, NULL}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(name, all[i].name) == 0) {
            return (val){.kind = MOX_J_FUNCTION, .u.other = &all[i]};
        }
    }
    return jin_undef();
}
