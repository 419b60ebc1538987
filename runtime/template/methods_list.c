/* Methods of lists and dicts. Those that change a list change it for everyone who has it, as in Python; the values that
 * the caller built are changed too, until it builds others. */
#include "filters.h"
#include "methods.h"

val jin_l_append(jin *j, val l, jin_args *a)
{
    jin_push(j, l, jin_arg_need(j, a, 0, "object"));
    return mox_jinja_none();
}

val jin_l_extend(jin *j, val l, jin_args *a)
{
    uint32_t n;
    const val *items = jin_iter(j, jin_arg_need(j, a, 0, "iterable"), &n);
    for (uint32_t i = 0; i < n; i++) {
        jin_step(j, 1);
        jin_push(j, l, items[i]);
    }
    return mox_jinja_none();
}

/* An index into n items; negative ones count from the end. */
static int64_t position(jin *j, val v, uint32_t n)
{
    int64_t i = jin_need_int(j, v, "an index");
    return i < 0 ? i + (int64_t)n : i;
}

val jin_l_insert(jin *j, val v, jin_args *a)
{
    jin_list *l = v.u.list;
    int64_t i = position(j, jin_arg_need(j, a, 0, "index"), l->n);
    val item = jin_arg_need(j, a, 1, "object");
    i = i < 0 ? 0 : i > (int64_t)l->n ? (int64_t)l->n : i;
    jin_push(j, v, item);
    jin_step(j, l->n >> 3);
    memmove(&l->v[i + 1], &l->v[i], (l->n - 1 - (size_t)i) * sizeof *l->v);
    l->v[i] = item;
    return mox_jinja_none();
}

static val take_out(jin *j, jin_list *l, int64_t i)
{
    if (i < 0 || i >= (int64_t)l->n) {
        jin_fail(j, "there is no item %lld in a list of %u", (long long)i, l->n);
    }
    val out = l->v[i];
    jin_step(j, l->n >> 3);
    memmove(&l->v[i], &l->v[i + 1], (l->n - 1 - (size_t)i) * sizeof *l->v);
    l->n--;
    return out;
}

val jin_l_pop(jin *j, val v, jin_args *a)
{
    return take_out(j, v.u.list, position(j, jin_arg_or(j, a, 0, "index", jin_int(-1)), v.u.list->n));
}

static int64_t where(jin *j, val v, jin_args *a)
{
    val item = jin_arg_need(j, a, 0, "value");
    for (uint32_t i = 0; i < v.u.list->n; i++) {
        if (jin_equal(j, v.u.list->v[i], item)) {
            return i;
        }
    }
    jin_fail(j, "%.20s: the value is not in the list", a->what);
}

val jin_l_remove(jin *j, val v, jin_args *a)
{
    take_out(j, v.u.list, where(j, v, a));
    return mox_jinja_none();
}

val jin_l_index(jin *j, val v, jin_args *a)
{
    return jin_int(where(j, v, a));
}

val jin_l_count(jin *j, val v, jin_args *a)
{
    val item = jin_arg_need(j, a, 0, "value");
    int64_t n = 0;
    for (uint32_t i = 0; i < v.u.list->n; i++) {
        n += jin_equal(j, v.u.list->v[i], item);
    }
    return jin_int(n);
}

val jin_l_clear(jin *j, val v, jin_args *a)
{
    (void)j, (void)a;
    v.u.list->n = 0;
    return mox_jinja_none();
}

val jin_l_copy(jin *j, val v, jin_args *a)
{
    return jin_f_list(j, v, a);
}

val jin_l_reverse(jin *j, val v, jin_args *a)
{
    (void)a;
    jin_list *l = v.u.list;
    jin_step(j, l->n >> 3);
    for (uint32_t i = 0; i < l->n / 2; i++) {
        val t = l->v[i];
        l->v[i] = l->v[l->n - 1 - i];
        l->v[l->n - 1 - i] = t;
    }
    return mox_jinja_none();
}

val jin_d_get(jin *j, val d, jin_args *a)
{
    const val *there = jin_dict_find(j, d, jin_arg_need(j, a, 0, "key"));
    val otherwise = jin_arg_or(j, a, 1, "default", mox_jinja_none());
    return there != NULL ? *there : otherwise;
}

val jin_d_items(jin *j, val d, jin_args *a)
{
    return jin_f_items(j, d, a);
}

val jin_d_keys(jin *j, val d, jin_args *a)
{
    return jin_f_list(j, d, a);
}

val jin_d_values(jin *j, val d, jin_args *a)
{
    (void)a;
    val out = jin_new_list(j, d.u.dict->n, MOX_J_LIST);
    out.mark = d.mark;
    for (uint32_t i = 0; i < d.u.dict->n; i++) {
        jin_push(j, out, d.u.dict->e[i].v);
    }
    return out;
}

val jin_d_copy(jin *j, val d, jin_args *a)
{
    (void)a;
    val out = jin_new_dict(j, MOX_J_DICT);
    out.mark = d.mark;
    for (uint32_t i = 0; i < d.u.dict->n; i++) {
        jin_step(j, 1);
        mox_jinja_put(j, out, d.u.dict->e[i].key, d.u.dict->e[i].v);
    }
    return out;
}

val jin_d_pop(jin *j, val d, jin_args *a)
{
    val key = jin_arg_need(j, a, 0, "key"), otherwise;
    bool given = jin_arg(j, a, 1, "default", &otherwise);
    const val *there = jin_dict_find(j, d, key);
    if (there == NULL) {
        if (!given) {
            jin_fail(j, "pop: the key is not there");
        }
        return otherwise;
    }
    val out = *there;
    jin_entry *e = (jin_entry *)(void *)((char *)(uintptr_t)there - offsetof(jin_entry, v));
    size_t i = (size_t)(e - d.u.dict->e);
    memmove(e, e + 1, (d.u.dict->n - 1 - i) * sizeof *e);
    d.u.dict->n--;
    return out;
}

val jin_d_update(jin *j, val d, jin_args *a)
{
    val from;
    if (jin_arg(j, a, 0, "", &from)) {
        if (from.kind != MOX_J_DICT) {
            jin_fail(j, "update from a %s", jin_type(from));
        }
        for (uint32_t i = 0; i < from.u.dict->n; i++) {
            jin_dict_set(j, d, from.u.dict->e[i].key, from.u.dict->e[i].v);
        }
    }
    for (uint32_t k = 0; k < a->n_k; k++) {
        jin_dict_set(j, d, j->names[a->k[k].name], a->k[k].v);
        a->k[k].used = true;
    }
    return mox_jinja_none();
}

val jin_d_setdefault(jin *j, val d, jin_args *a)
{
    val key = jin_arg_need(j, a, 0, "key"), otherwise = jin_arg_or(j, a, 1, "default", mox_jinja_none());
    const val *there = jin_dict_find(j, d, key);
    if (there != NULL) {
        return *there;
    }
    jin_dict_set(j, d, key, otherwise);
    return otherwise;
}
