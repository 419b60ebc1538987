/* Filters that apply another filter or a test to each item. */
#include "filters.h"

/* The arguments behind the first `skip`, which the caller has used up. */
static jin_args rest(jin_args *a, uint32_t skip, const char *what)
{
    jin_args r = *a;
    skip = skip < a->n ? skip : a->n;
    r.v = a->v != NULL ? a->v + skip : NULL;
    r.n = a->n - skip;
    r.n_used = 0;
    r.what = what;
    a->n_used = a->n;
    return r;
}

static jin_fn *named(jin *j, val name, jin_fn *(*find)(const char *, size_t), const char *what)
{
    name = jin_need_str(j, name, what);
    jin_fn *fn = find(name.u.p, name.n);
    if (fn == NULL) {
        jin_fail(j, "the %s \"%.*s\" is not supported", what, name.n < 40 ? (int)name.n : 40, name.u.p);
    }
    return fn;
}

val jin_f_map(jin *j, val v, jin_args *a)
{
    uint32_t n = 0; /* of anything that counts as false there is nothing to map */
    const val *items = jin_truth(v) ? jin_iter(j, v, &n) : NULL;
    val out = jin_new_list(j, n, MOX_J_LIST), path = mox_jinja_none(), otherwise = jin_undef();
    out.mark = v.kind == MOX_J_STR ? MOX_MARK_TEMPLATE : v.mark;
    if (a->n == 0) {
        path = jin_arg_need(j, a, UINT32_MAX, "attribute");
        otherwise = jin_arg_or(j, a, UINT32_MAX, "default", otherwise);
        for (uint32_t i = 0; i < n; i++) {
            val item = jin_path(j, items[i], path);
            jin_push(j, out, item.kind == MOX_J_UNDEF && otherwise.kind != MOX_J_UNDEF ? otherwise : item);
        }
        return out;
    }
    jin_fn *fn = named(j, a->v[0], jin_find_filter, "filter");
    for (uint32_t i = 0; i < n; i++) {
        jin_args r = rest(a, 1, "map");
        jin_step(j, 1);
        jin_push(j, out, fn(j, items[i], &r));
        jin_args_end(j, &r);
    }
    a->n_used = a->n;
    return out;
}

/* Items for which the test holds (or does not); the test's name is the argument at `first`, without one truth. */
static val choose(jin *j, val v, jin_args *a, const val *path, bool keep)
{
    uint32_t n = 0, first = path != NULL;
    const val *items = jin_truth(v) ? jin_iter(j, v, &n) : NULL;
    val out = jin_new_list(j, 0, MOX_J_LIST);
    out.mark = v.kind == MOX_J_STR ? MOX_MARK_TEMPLATE : v.mark;
    jin_fn *test = a->n > first ? named(j, a->v[first], jin_find_test, "test") : NULL;
    for (uint32_t i = 0; i < n; i++) {
        val item = path != NULL ? jin_path(j, items[i], *path) : items[i];
        bool holds = jin_truth(item);
        jin_step(j, 1);
        if (test != NULL) {
            jin_args r = rest(a, first + 1, "the test");
            holds = test(j, item, &r).u.i != 0;
            jin_args_end(j, &r);
        }
        if (holds == keep) {
            jin_push(j, out, items[i]);
        }
    }
    a->n_used = a->n;
    return out;
}

val jin_f_select(jin *j, val v, jin_args *a)
{
    return choose(j, v, a, NULL, true);
}

val jin_f_reject(jin *j, val v, jin_args *a)
{
    return choose(j, v, a, NULL, false);
}

val jin_f_selectattr(jin *j, val v, jin_args *a)
{
    val path = jin_arg_need(j, a, 0, "attribute");
    return choose(j, v, a, &path, true);
}

val jin_f_rejectattr(jin *j, val v, jin_args *a)
{
    val path = jin_arg_need(j, a, 0, "attribute");
    return choose(j, v, a, &path, false);
}
