/* Filters over lists and dicts. Those that are lazy in Python give lists here: in a template nobody can tell. */
#include "filters.h"

val jin_f_default(jin *j, val v, jin_args *a)
{
    val otherwise = jin_arg_or(j, a, 0, "default_value", jin_lit(""));
    bool falsy = jin_truth(jin_arg_or(j, a, 1, "boolean", jin_bool(false)));
    return v.kind == MOX_J_UNDEF || (falsy && !jin_truth(v)) ? otherwise : v;
}

val jin_f_length(jin *j, val v, jin_args *a)
{
    (void)a;
    switch ((mox_jkind)v.kind) {
    case MOX_J_UNDEF:
        return jin_int(0);
    case MOX_J_STR:
        return jin_int(jin_length(j, v));
    case MOX_J_LIST:
    case MOX_J_TUPLE:
        return jin_int(v.u.list->n);
    case MOX_J_DICT:
        return jin_int(v.u.dict->n);
    default:
        jin_fail(j, "length of a %s", jin_type(v));
    }
}

val jin_f_first(jin *j, val v, jin_args *a)
{
    (void)a;
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    return n > 0 ? items[0] : jin_missing(j, jin_lit("the first of nothing"));
}

val jin_f_last(jin *j, val v, jin_args *a)
{
    (void)a;
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    return n > 0 ? items[n - 1] : jin_missing(j, jin_lit("the last of nothing"));
}

static val list_of(jin *j, const val *items, uint32_t n, uint8_t mark)
{
    val out = jin_new_list(j, n, MOX_J_LIST);
    out.mark = mark;
    for (uint32_t i = 0; i < n; i++) {
        jin_push(j, out, items[i]);
    }
    jin_step(j, n);
    return out;
}

val jin_f_list(jin *j, val v, jin_args *a)
{
    (void)a;
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    return list_of(j, items, n, v.kind == MOX_J_STR ? MOX_MARK_TEMPLATE : v.mark);
}

val jin_f_items(jin *j, val v, jin_args *a)
{
    (void)a;
    val out = jin_new_list(j, 0, MOX_J_LIST);
    if (v.kind == MOX_J_UNDEF) {
        return out;
    }
    if (v.kind != MOX_J_DICT) {
        jin_fail(j, "items of a %s", jin_type(v));
    }
    for (uint32_t i = 0; i < v.u.dict->n; i++) {
        val pair = jin_new_list(j, 2, MOX_J_TUPLE);
        pair.mark = v.mark;
        jin_push(j, pair, v.u.dict->e[i].key);
        jin_push(j, pair, v.u.dict->e[i].v);
        jin_push(j, out, pair);
        jin_step(j, 1);
    }
    out.mark = v.mark;
    return out;
}

val jin_path(jin *j, val v, val path)
{
    if (jin_is_int(path)) {
        return jin_item(j, v, path);
    }
    path = jin_need_str(j, path, "an attribute");
    for (size_t at = 0; at <= path.n;) {
        size_t dot = jin_find(path, at, jin_lit("."));
        dot = dot == SIZE_MAX ? path.n : dot;
        val key = jin_sub(path, at, dot);
        int64_t i = 0;
        bool digits = key.n > 0 && key.n < 10;
        for (uint32_t k = 0; k < key.n && digits; k++) {
            digits = key.u.p[k] >= '0' && key.u.p[k] <= '9';
            i = i * 10 + (key.u.p[k] - '0');
        }
        v = jin_item(j, v, digits ? jin_int(i) : key);
        at = dot + 1;
    }
    return v;
}

val jin_f_join(jin *j, val v, jin_args *a)
{
    uint32_t n;
    val by = jin_str(j, jin_arg_or(j, a, 0, "d", jin_lit(""))), path;
    bool attribute = jin_arg(j, a, 1, "attribute", &path) && path.kind != MOX_J_NONE;
    const val *items = jin_iter(j, v, &n);
    size_t at = j->n_out;
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) {
            jin_put_str(j, by);
        }
        jin_put_value(j, attribute ? jin_path(j, items[i], path) : items[i]);
    }
    return jin_cut(j, at);
}

val jin_f_reverse(jin *j, val v, jin_args *a)
{
    (void)a;
    if (v.kind != MOX_J_STR && !jin_is_list(v)) {
        v = jin_f_list(j, v, a);
    }
    val none = mox_jinja_none(), out = jin_slice(j, v, none, none, jin_int(-1));
    out.kind = out.kind == MOX_J_TUPLE ? MOX_J_LIST : out.kind;
    return out;
}

/* What is compared: an attribute, in lower case unless case counts. */
static val sort_key(jin *j, val v, const val *path, bool cased)
{
    jin_args none = {.what = "lower"};
    v = path != NULL ? jin_path(j, v, *path) : v;
    return v.kind == MOX_J_STR && !cased ? jin_f_lower(j, v, &none) : v;
}

typedef struct keyed {
    val key, v;
} keyed;

/* Merge sort: equal ones keep their order, also when the order is turned round. */
static void merge_sort(jin *j, keyed *k, keyed *work, uint32_t n, bool reverse)
{
    if (n < 2) {
        return;
    }
    uint32_t half = n / 2, a = 0, b = half, at = 0;
    merge_sort(j, k, work, half, reverse);
    merge_sort(j, k + half, work, n - half, reverse);
    while (at < n) {
        bool second = a == half;
        if (a < half && b < n) {
            int c = jin_compare(j, k[a].key, k[b].key);
            second = reverse ? c < 0 : c > 0;
        }
        work[at++] = second ? k[b++] : k[a++];
    }
    memcpy(k, work, n * sizeof *k);
}

static val sorted(jin *j, const val *items, const val *keys, uint32_t n, bool reverse)
{
    keyed *k = jin_take(j, 2 * (size_t)n * sizeof *k);
    for (uint32_t i = 0; i < n; i++) {
        k[i] = (keyed){keys[i], items[i]};
    }
    merge_sort(j, k, k + n, n, reverse);
    val out = jin_new_list(j, n, MOX_J_LIST);
    for (uint32_t i = 0; i < n; i++) {
        jin_push(j, out, k[i].v);
    }
    return out;
}

val jin_f_sort(jin *j, val v, jin_args *a)
{
    bool reverse = jin_truth(jin_arg_or(j, a, 0, "reverse", jin_bool(false)));
    bool cased = jin_truth(jin_arg_or(j, a, 1, "case_sensitive", jin_bool(false)));
    val path = jin_arg_or(j, a, 2, "attribute", mox_jinja_none());
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    val *keys = jin_take(j, n * sizeof *keys);
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = sort_key(j, items[i], path.kind != MOX_J_NONE ? &path : NULL, cased);
    }
    val out = sorted(j, items, keys, n, reverse);
    out.mark = v.kind == MOX_J_STR ? MOX_MARK_TEMPLATE : v.mark;
    return out;
}

val jin_f_dictsort(jin *j, val v, jin_args *a)
{
    bool cased = jin_truth(jin_arg_or(j, a, 0, "case_sensitive", jin_bool(false)));
    val by = jin_arg_or(j, a, 1, "by", jin_lit("key"));
    bool reverse = jin_truth(jin_arg_or(j, a, 2, "reverse", jin_bool(false)));
    if (!jin_is(by, "key") && !jin_is(by, "value")) {
        jin_fail(j, "dictsort: by is \"key\" or \"value\"");
    }
    if (v.kind != MOX_J_DICT) {
        jin_fail(j, "dictsort of a %s", jin_type(v));
    }
    val pairs = jin_f_items(j, v, a), index = jin_int(jin_is(by, "value"));
    uint32_t n = pairs.u.list->n;
    val *keys = jin_take(j, n * sizeof *keys);
    for (uint32_t i = 0; i < n; i++) {
        keys[i] = sort_key(j, pairs.u.list->v[i], &index, cased);
    }
    val out = sorted(j, pairs.u.list->v, keys, n, reverse);
    out.mark = v.mark;
    return out;
}

val jin_f_unique(jin *j, val v, jin_args *a)
{
    bool cased = jin_truth(jin_arg_or(j, a, 0, "case_sensitive", jin_bool(false)));
    val path = jin_arg_or(j, a, 1, "attribute", mox_jinja_none());
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    val out = jin_new_list(j, 0, MOX_J_LIST), seen = jin_new_list(j, 0, MOX_J_LIST);
    for (uint32_t i = 0; i < n; i++) {
        val key = sort_key(j, items[i], path.kind != MOX_J_NONE ? &path : NULL, cased);
        if (!jin_contains(j, seen, key)) {
            jin_push(j, seen, key);
            jin_push(j, out, items[i]);
        }
    }
    out.mark = v.kind == MOX_J_STR ? MOX_MARK_TEMPLATE : v.mark;
    return out;
}

val jin_f_sum(jin *j, val v, jin_args *a)
{
    val path = jin_arg_or(j, a, 0, "attribute", mox_jinja_none()),
        sum = jin_arg_or(j, a, 1, "start", jin_int(0));
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    for (uint32_t i = 0; i < n; i++) {
        sum = jin_binary(j, OP_ADD, sum, path.kind != MOX_J_NONE ? jin_path(j, items[i], path) : items[i]);
    }
    return sum;
}

static val extreme(jin *j, val v, jin_args *a, int sign)
{
    bool cased = jin_truth(jin_arg_or(j, a, 0, "case_sensitive", jin_bool(false)));
    val path = jin_arg_or(j, a, 1, "attribute", mox_jinja_none()),
        best = jin_missing(j, jin_lit("an extreme of nothing"));
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    val best_key = best;
    for (uint32_t i = 0; i < n; i++) {
        val key = sort_key(j, items[i], path.kind != MOX_J_NONE ? &path : NULL, cased);
        if (i == 0 || sign * jin_compare(j, key, best_key) > 0) {
            best = items[i];
            best_key = key;
        }
    }
    return best;
}

val jin_f_min(jin *j, val v, jin_args *a)
{
    return extreme(j, v, a, -1);
}

val jin_f_max(jin *j, val v, jin_args *a)
{
    return extreme(j, v, a, 1);
}

val jin_f_batch(jin *j, val v, jin_args *a)
{
    int64_t size = jin_need_int(j, jin_arg_need(j, a, 0, "linecount"), "batch: linecount");
    val fill = jin_arg_or(j, a, 1, "fill_with", mox_jinja_none()), out = jin_new_list(j, 0, MOX_J_LIST);
    uint32_t n;
    const val *items = jin_iter(j, v, &n);
    if (size < 1) {
        jin_fail(j, "batch: linecount is below 1");
    }
    for (uint32_t i = 0; i < n;) {
        val part = jin_new_list(j, 0, MOX_J_LIST);
        for (int64_t k = 0; k < size && (i < n || fill.kind != MOX_J_NONE); k++) {
            jin_step(j, 1);
            val item = i < n ? items[i] : fill;
            i += i < n;
            jin_push(j, part, item);
        }
        jin_push(j, out, part);
    }
    return out;
}
