/* Values: truth, comparing, containers, looking things up, all as Python does it where templates can tell. */
#include "internal.h"

#include <math.h>

double jin_number(val v)
{
    return v.kind == MOX_J_FLOAT ? v.u.f : (double)v.u.i;
}

bool jin_truth(val v)
{
    switch ((mox_jkind)v.kind) {
    case MOX_J_UNDEF:
    case MOX_J_NONE:
        return false;
    case MOX_J_BOOL:
    case MOX_J_INT:
        return v.u.i != 0;
    case MOX_J_FLOAT:
        return v.u.f != 0;
    case MOX_J_STR:
        return v.n > 0;
    case MOX_J_LIST:
    case MOX_J_TUPLE:
        return v.u.list->n > 0;
    case MOX_J_DICT:
        return v.u.dict->n > 0;
    default:
        return true;
    }
}

static bool equal_lists(jin *j, const jin_list *a, const jin_list *b)
{
    for (uint32_t i = 0; i < a->n && a->n == b->n; i++) {
        if (!jin_equal(j, a->v[i], b->v[i])) {
            return false;
        }
    }
    return a->n == b->n;
}

static bool equal_dicts(jin *j, val a, val b)
{
    const jin_dict *d = a.u.dict;
    for (uint32_t i = 0; i < d->n && d->n == b.u.dict->n; i++) {
        const val *other = jin_dict_find(j, b, d->e[i].key);
        if (other == NULL || !jin_equal(j, d->e[i].v, *other)) {
            return false;
        }
    }
    return d->n == b.u.dict->n;
}

bool jin_equal(jin *j, val a, val b)
{
    bool same = false;
    jin_enter(j);
    jin_step(j, 1);
    if (jin_is_number(a) && jin_is_number(b)) {
        same =
            a.kind != MOX_J_FLOAT && b.kind != MOX_J_FLOAT ? a.u.i == b.u.i : jin_number(a) == jin_number(b);
    } else if (a.kind == b.kind) {
        switch ((mox_jkind)a.kind) {
        case MOX_J_UNDEF:
        case MOX_J_NONE:
            same = true;
            break;
        case MOX_J_STR:
            jin_step(j, a.n >> 6);
            same = a.n == b.n && memcmp(a.u.p, b.u.p, a.n) == 0;
            break;
        case MOX_J_LIST:
        case MOX_J_TUPLE:
            same = equal_lists(j, a.u.list, b.u.list);
            break;
        case MOX_J_DICT:
            same = equal_dicts(j, a, b);
            break;
        default:
            same = a.u.other == b.u.other;
        }
    }
    jin_leave(j);
    return same;
}

JIN_NORETURN static void no_order(jin *j, val a, val b)
{
    val u = a.kind == MOX_J_UNDEF ? a : b;
    if (u.kind == MOX_J_UNDEF) {
        jin_fail(j, "'%.60s' is undefined", u.u.p);
    }
    jin_fail(j, "a %s and a %s have no order", jin_type(a), jin_type(b));
}

int jin_compare(jin *j, val a, val b)
{
    jin_step(j, 1);
    if (jin_is_number(a) && jin_is_number(b)) {
        double x = jin_number(a), y = jin_number(b);
        if (a.kind != MOX_J_FLOAT && b.kind != MOX_J_FLOAT) {
            return (a.u.i > b.u.i) - (a.u.i < b.u.i);
        }
        return (x > y) - (x < y);
    }
    if (a.kind == MOX_J_STR && b.kind == MOX_J_STR) { /* bytes of UTF-8 have the order of characters */
        uint32_t n = a.n < b.n ? a.n : b.n;
        int c = n > 0 ? memcmp(a.u.p, b.u.p, n) : 0;
        return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
    }
    if (jin_is_list(a) && a.kind == b.kind) {
        const jin_list *x = a.u.list, *y = b.u.list;
        int c = 0;
        jin_enter(j);
        for (uint32_t i = 0; i < x->n && i < y->n && c == 0; i++) {
            c = jin_equal(j, x->v[i], y->v[i]) ? 0 : jin_compare(j, x->v[i], y->v[i]);
        }
        jin_leave(j);
        return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
    }
    no_order(j, a, b);
}

bool jin_contains(jin *j, val in, val v)
{
    if (in.kind == MOX_J_STR) {
        if (v.kind != MOX_J_STR) {
            if (v.kind == MOX_J_UNDEF) {
                jin_fail(j, "'%.60s' is undefined", v.u.p);
            }
            jin_fail(j, "a %s is looked for in a string", jin_type(v));
        }
        jin_step(j, in.n >> 6);
        return jin_find(in, 0, v) != SIZE_MAX;
    }
    if (in.kind == MOX_J_DICT || in.kind == MOX_J_NAMESPACE) {
        return jin_dict_find(j, in, v) != NULL;
    }
    uint32_t n;
    const val *items = jin_iter(j, in, &n);
    for (uint32_t i = 0; i < n; i++) {
        if (jin_equal(j, items[i], v)) {
            return true;
        }
    }
    return false;
}

val jin_new_list(jin *j, uint32_t cap, mox_jkind kind)
{
    jin_list *l = jin_take(j, sizeof *l);
    if (l != NULL) {
        *l = (jin_list){.v = cap > 0 ? jin_take(j, (size_t)cap * sizeof(val)) : NULL, .cap = cap};
    }
    return (val){.kind = (uint8_t)kind, .u.list = l};
}

void jin_push(jin *j, val list, val v)
{
    jin_list *l = list.u.list;
    if (l->n == l->cap) {
        uint32_t cap = l->cap > 0 ? 2 * l->cap : 8;
        val *more = jin_take(j, cap * sizeof *more);
        if (more == NULL) {
            return;
        }
        if (l->n > 0) {
            memcpy(more, l->v, l->n * sizeof *more);
        }
        l->v = more;
        l->cap = cap;
    }
    l->v[l->n++] = v;
}

val jin_new_dict(jin *j, mox_jkind kind)
{
    jin_dict *d = jin_take(j, sizeof *d);
    if (d != NULL) {
        *d = (jin_dict){0};
    }
    return (val){.kind = (uint8_t)kind, .u.dict = d};
}

val *jin_dict_find(jin *j, val dict, val key)
{
    jin_dict *d = dict.u.dict;
    jin_step(j, d->n >> 5);
    for (uint32_t i = 0; i < d->n; i++) {
        val k = d->e[i].key;
        if (key.kind == MOX_J_STR ? k.kind == MOX_J_STR && k.n == key.n && memcmp(k.u.p, key.u.p, k.n) == 0
                                  : k.kind != MOX_J_STR && jin_equal(j, k, key)) {
            return &d->e[i].v;
        }
    }
    if (key.kind == MOX_J_LIST || key.kind == MOX_J_DICT) {
        jin_fail(j, "a %s cannot be a key", jin_type(key));
    }
    return NULL;
}

void jin_dict_set(jin *j, val dict, val key, val v)
{
    val *there = jin_dict_find(j, dict, key);
    if (there != NULL) {
        *there = v;
        return;
    }
    dict.kind = MOX_J_DICT;
    mox_jinja_put(j, dict, key, v);
}

/* Characters as strings of their own. */
static val *characters(jin *j, val s, uint32_t *n)
{
    *n = jin_length(j, s);
    jin_step(j, *n);
    val *out = jin_take(j, (size_t)*n * sizeof *out);
    uint32_t cp;
    for (size_t at = 0, i = 0; at < s.n; i++) {
        size_t len = jin_char(s, at, &cp);
        out[i] = jin_sub(s, at, at + len);
        at += len;
    }
    return out;
}

val *jin_iter(jin *j, val v, uint32_t *n)
{
    val *out;
    *n = 0;
    switch ((mox_jkind)v.kind) {
    case MOX_J_UNDEF:
        return NULL;
    case MOX_J_STR:
        return characters(j, v, n);
    case MOX_J_LIST:
    case MOX_J_TUPLE:
        *n = v.u.list->n;
        return v.u.list->v;
    case MOX_J_DICT:
        *n = v.u.dict->n;
        jin_step(j, *n);
        out = jin_take(j, (size_t)*n * sizeof *out);
        for (uint32_t i = 0; i < *n; i++) {
            out[i] = v.u.dict->e[i].key;
        }
        return out;
    default:
        jin_fail(j, "a %s cannot be looped over", jin_type(v));
    }
}

val jin_missing(jin *j, val key)
{
    if (key.kind != MOX_J_STR) {
        return jin_undef();
    }
    size_t at = j->n_out;
    jin_put_str(j, jin_sub(key, 0, key.n < 60 ? key.n : 60));
    jin_put(j, "", 1, MOX_MARK_TEMPLATE);
    return (val){.kind = MOX_J_UNDEF, .u.p = jin_cut(j, at).u.p};
}

static val bound(jin *j, val self, const jin_method *m)
{
    jin_fn *fn = m != NULL ? jin_method_of(m, self) : NULL;
    if (fn == NULL) {
        return jin_undef();
    }
    jin_bound *b = jin_take(j, sizeof *b);
    *b = (jin_bound){.self = self, .fn = fn, .name = m->name};
    return (val){.kind = MOX_J_METHOD, .u.other = b};
}

/* The index-th item of a list or character of a string. */
static val at_index(jin *j, val v, int64_t i)
{
    uint32_t n = v.kind == MOX_J_STR ? jin_length(j, v) : v.u.list->n;
    i += i < 0 ? (int64_t)n : 0;
    if (i < 0 || i >= (int64_t)n) {
        return jin_undef();
    }
    if (v.kind != MOX_J_STR) {
        return v.u.list->v[i];
    }
    uint32_t cp;
    size_t at = jin_offset(v, (uint32_t)i);
    return jin_sub(v, at, at + jin_char(v, at, &cp));
}

val jin_item(jin *j, val v, val key)
{
    if (v.kind == MOX_J_UNDEF) {
        jin_fail(j, "'%.60s' is undefined", v.u.p);
    }
    if (v.kind == MOX_J_DICT || v.kind == MOX_J_NAMESPACE) {
        const val *there = jin_dict_find(j, v, key);
        if (there != NULL) {
            return *there;
        }
    }
    if ((v.kind == MOX_J_STR || jin_is_list(v)) && jin_is_int(key)) {
        return at_index(j, v, key.u.i);
    }
    if (key.kind == MOX_J_STR) {
        val m = v.kind == MOX_J_LOOP ? jin_undef() : bound(j, v, jin_find_method(key.u.p, key.n));
        return m.kind != MOX_J_UNDEF ? m : jin_missing(j, key);
    }
    return jin_undef();
}

val jin_attr(jin *j, val v, uint32_t name, const jin_method *m)
{
    val key = j->names[name];
    if (v.kind == MOX_J_UNDEF) {
        jin_fail(j, "'%.60s' is undefined", v.u.p);
    }
    if (v.kind == MOX_J_LOOP) {
        return jin_loop_attr(j, v, jin_missing(j, key).u.p);
    }
    if (m != NULL && v.kind != MOX_J_NAMESPACE) {
        val b = bound(j, v, m);
        if (b.kind != MOX_J_UNDEF) {
            return b;
        }
    }
    if (v.kind == MOX_J_DICT || v.kind == MOX_J_NAMESPACE) {
        const val *there = jin_dict_find(j, v, key);
        if (there != NULL) {
            return *there;
        }
    }
    if (v.kind == MOX_J_MACRO && jin_is(key, "name")) {
        return j->names[((const jin_macro *)v.u.other)->def->name];
    }
    return jin_missing(j, key);
}

/* Python's slice: where it begins and ends in n items, for a step. */
static void bounds(jin *j, int64_t n, val from, val to, int64_t step, int64_t *a, int64_t *b)
{
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
    const val given[] = {from, to};
    int64_t at[] = {step > 0 ? low : high, step > 0 ? high : low};
    for (int k = 0; k < 2; k++) {
        if (given[k].kind == MOX_J_NONE) {
            continue;
        }
        int64_t i = jin_need_int(j, given[k], "the bound of a slice");
        i += i < 0 ? n : 0;
        at[k] = i < low ? low : i > high ? high : i;
    }
    *a = at[0];
    *b = at[1];
}

val jin_slice(jin *j, val v, val from, val to, val by)
{
    int64_t step = by.kind == MOX_J_NONE ? 1 : jin_need_int(j, by, "the step of a slice"), a, b;
    if (v.kind == MOX_J_UNDEF) {
        jin_fail(j, "'%.60s' is undefined", v.u.p);
    }
    if (step == 0) {
        jin_fail(j, "the step of a slice is 0");
    }
    if (v.kind != MOX_J_STR && !jin_is_list(v)) {
        return jin_undef();
    }
    uint32_t n = v.kind == MOX_J_STR ? jin_length(j, v) : v.u.list->n;
    bounds(j, n, from, to, step, &a, &b);
    step = step > (int64_t)n + 1 ? (int64_t)n + 1 : step < -(int64_t)n - 1 ? -(int64_t)n - 1 : step;
    if (v.kind == MOX_J_STR && step == 1) {
        return a < b ? jin_sub(v, jin_offset(v, (uint32_t)a), jin_offset(v, (uint32_t)b)) : jin_sub(v, 0, 0);
    }
    uint32_t count;
    const val *items = jin_iter(j, v, &count);
    val out = jin_new_list(j, 0, v.kind == MOX_J_STR ? MOX_J_LIST : (mox_jkind)v.kind);
    out.mark = v.mark;
    for (int64_t i = a; step > 0 ? i < b : i > b; i += step) {
        jin_step(j, 1);
        jin_push(j, out, items[i]);
    }
    if (v.kind != MOX_J_STR) {
        return out;
    }
    size_t start = j->n_out;
    for (uint32_t i = 0; i < out.u.list->n; i++) {
        jin_put_str(j, out.u.list->v[i]);
    }
    return jin_cut(j, start);
}

int64_t jin_need_int(jin *j, val v, const char *what)
{
    if (!jin_is_int(v)) {
        jin_fail(j, "%s is a %s, and not a whole number", what, jin_type(v));
    }
    return v.u.i;
}

val jin_need_str(jin *j, val v, const char *what)
{
    if (v.kind == MOX_J_UNDEF) {
        jin_fail(j, "%s: '%.60s' is undefined", what, v.u.p);
    }
    if (v.kind != MOX_J_STR) {
        jin_fail(j, "%s is a %s, and not a string", what, jin_type(v));
    }
    return v;
}
