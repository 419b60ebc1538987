/* Methods of strings, as Python's. */
#include "filters.h"
#include "methods.h"

static val stripped(jin *j, val s, jin_args *a, bool left, bool right)
{
    val chars = jin_arg_or(j, a, 0, "chars", mox_jinja_none());
    if (chars.kind != MOX_J_NONE) {
        chars = jin_need_str(j, chars, "the characters to strip");
        jin_step(j, chars.n >> 3);
    }
    jin_step(j, s.n >> 6);
    return jin_strip(s, left, right, chars.kind == MOX_J_STR ? &chars : NULL);
}

val jin_m_strip(jin *j, val s, jin_args *a)
{
    return stripped(j, s, a, true, true);
}

val jin_m_lstrip(jin *j, val s, jin_args *a)
{
    return stripped(j, s, a, true, false);
}

val jin_m_rstrip(jin *j, val s, jin_args *a)
{
    return stripped(j, s, a, false, true);
}

/* At white space, runs of which count as one. */
static val split_space(jin *j, val s, int64_t most, bool right)
{
    val out = jin_new_list(j, 0, MOX_J_LIST);
    if (right) { /* words from the right are words from the left, but for where the rest is */
        val all = split_space(j, s, -1, false);
        int64_t n = all.u.list->n;
        if (most < 0 || n <= most) {
            return all;
        }
        const val *rest = &all.u.list->v[n - most - 1];
        val head = jin_sub(s, 0, (size_t)(rest->u.p - s.u.p) + rest->n);
        jin_push(j, out, head);
        for (int64_t i = n - most; i < n; i++) {
            jin_push(j, out, all.u.list->v[i]);
        }
        return out;
    }
    val left = jin_strip(s, true, false, NULL);
    uint32_t cp;
    for (size_t at = 0; left.n > 0; most -= most > 0) {
        jin_step(j, 1);
        if (most == 0) {
            jin_push(j, out, jin_strip(left, false, true, NULL));
            break;
        }
        size_t n = 0;
        for (at = 0; at < left.n && (n = jin_char(left, at, &cp), !jin_space(cp));) {
            at += n;
        }
        jin_push(j, out, jin_sub(left, 0, at));
        left = jin_strip(jin_sub(left, at, left.n), true, false, NULL);
    }
    return out;
}

static size_t find_last(val s, size_t end, val word)
{
    for (size_t at = end >= word.n ? end - word.n + 1 : 0; at > 0; at--) {
        if (memcmp(s.u.p + at - 1, word.u.p, word.n) == 0) {
            return at - 1;
        }
    }
    return SIZE_MAX;
}

static val split(jin *j, val s, jin_args *a, bool right)
{
    val by = jin_arg_or(j, a, 0, "sep", mox_jinja_none()), out = jin_new_list(j, 0, MOX_J_LIST);
    int64_t most = jin_need_int(j, jin_arg_or(j, a, 1, "maxsplit", jin_int(-1)), "split: maxsplit");
    jin_step(j, s.n >> 6);
    if (by.kind == MOX_J_NONE) {
        return split_space(j, s, most, right);
    }
    by = jin_need_str(j, by, "split: the separator");
    if (by.n == 0) {
        jin_fail(j, "split: the separator is empty");
    }
    size_t at = 0, found;
    if (right && most >= 0) {
        size_t end = s.n;
        val parts = jin_new_list(j, 0, MOX_J_LIST);
        while (most-- > 0 && (found = find_last(s, end, by)) != SIZE_MAX) {
            jin_step(j, 1 + ((end - found) >> 6));
            jin_push(j, parts, jin_sub(s, found + by.n, end));
            end = found;
        }
        jin_push(j, out, jin_sub(s, 0, end));
        for (uint32_t i = parts.u.list->n; i > 0; i--) {
            jin_push(j, out, parts.u.list->v[i - 1]);
        }
        return out;
    }
    for (; most != 0 && (found = jin_find(s, at, by)) != SIZE_MAX; most -= most > 0) {
        jin_step(j, 1);
        jin_push(j, out, jin_sub(s, at, found));
        at = found + by.n;
    }
    jin_push(j, out, jin_sub(s, at, s.n));
    return out;
}

val jin_m_split(jin *j, val s, jin_args *a)
{
    return split(j, s, a, false);
}

val jin_m_rsplit(jin *j, val s, jin_args *a)
{
    return split(j, s, a, true);
}

val jin_m_splitlines(jin *j, val s, jin_args *a)
{
    bool keep = jin_truth(jin_arg_or(j, a, 0, "keepends", jin_bool(false)));
    val out = jin_new_list(j, 0, MOX_J_LIST);
    for (size_t at = 0, next; at < s.n; at = next) {
        size_t end = jin_line_end(s, at, &next);
        jin_step(j, 1);
        jin_push(j, out, jin_sub(s, at, keep ? next : end));
    }
    return out;
}

/* Whether s begins (or ends) with the argument, or with one of a tuple of them. */
static val affix(jin *j, val s, jin_args *a, bool end)
{
    val what = jin_arg_need(j, a, 0, "prefix");
    uint32_t n = 1;
    const val *words = what.kind == MOX_J_TUPLE ? jin_iter(j, what, &n) : &what;
    for (uint32_t i = 0; i < n; i++) {
        val w = jin_need_str(j, words[i], end ? "endswith" : "startswith");
        if (w.n <= s.n && memcmp(s.u.p + (end ? s.n - w.n : 0), w.u.p, w.n) == 0) {
            return jin_bool(true);
        }
    }
    return jin_bool(false);
}

val jin_m_startswith(jin *j, val s, jin_args *a)
{
    return affix(j, s, a, false);
}

val jin_m_endswith(jin *j, val s, jin_args *a)
{
    return affix(j, s, a, true);
}

val jin_m_replace(jin *j, val s, jin_args *a)
{
    val from = jin_need_str(j, jin_arg_need(j, a, 0, "old"), "replace: the old text");
    val to = jin_need_str(j, jin_arg_need(j, a, 1, "new"), "replace: the new text");
    return jin_replace(j, s, from, to,
                       jin_need_int(j, jin_arg_or(j, a, 2, "count", jin_int(-1)), "replace: count"));
}

val jin_m_upper(jin *j, val s, jin_args *a)
{
    return jin_f_upper(j, s, a);
}

val jin_m_lower(jin *j, val s, jin_args *a)
{
    return jin_f_lower(j, s, a);
}

val jin_m_capitalize(jin *j, val s, jin_args *a)
{
    return jin_f_capitalize(j, s, a);
}

/* A word is a run of letters that have a case. */
val jin_m_title(jin *j, val s, jin_args *a)
{
    (void)a;
    size_t start = j->n_out;
    bool in = false;
    uint32_t cp;
    for (size_t at = 0, n; at < s.n; at += n) {
        n = jin_char(s, at, &cp);
        jin_put_case(j, s, at, at + n, in ? CASE_LOWER : CASE_UPPER);
        in = jin_cased(cp);
    }
    return jin_cut(j, start);
}

/* The bytes of s between two positions in characters, as find() and its like take them. */
static void span(jin *j, val s, jin_args *a, size_t *from, size_t *to)
{
    *from = 0;
    *to = s.n;
    if (a->n < 2) {
        return;
    }
    int64_t n = jin_length(j, s), at[2] = {0, n};
    for (uint32_t i = 0; i < 2; i++) {
        val v = jin_arg_or(j, a, i + 1, "start", mox_jinja_none());
        if (v.kind != MOX_J_NONE) {
            int64_t k = jin_need_int(j, v, "a position");
            k += k < 0 ? n : 0;
            at[i] = k < 0 ? 0 : k > n + 1 ? n + 1 : k;
        }
    }
    *from = at[0] > n ? (size_t)s.n + 1 : jin_offset(s, (uint32_t)at[0]);
    *to = jin_offset(s, (uint32_t)(at[1] < n ? at[1] : n));
}

static int64_t search(jin *j, val s, jin_args *a, bool last)
{
    val word = jin_need_str(j, jin_arg_need(j, a, 0, "sub"), "find: the text");
    size_t from, to, found;
    span(j, s, a, &from, &to);
    jin_step(j, s.n >> 6);
    if (from > to) {
        return -1;
    }
    val in = jin_sub(s, 0, to);
    found = last ? find_last(in, to, word) : jin_find(in, from, word);
    if (found == SIZE_MAX || found < from || found + word.n > to) {
        return -1;
    }
    return jin_length(j, jin_sub(s, 0, found));
}

val jin_m_find(jin *j, val s, jin_args *a)
{
    return jin_int(search(j, s, a, false));
}

val jin_m_rfind(jin *j, val s, jin_args *a)
{
    return jin_int(search(j, s, a, true));
}

val jin_m_index(jin *j, val s, jin_args *a)
{
    int64_t i = search(j, s, a, false);
    if (i < 0) {
        jin_fail(j, "index: the text is not there");
    }
    return jin_int(i);
}

val jin_m_count(jin *j, val s, jin_args *a)
{
    val word = jin_need_str(j, jin_arg_need(j, a, 0, "sub"), "count: the text");
    size_t from, to, found;
    int64_t n = 0;
    span(j, s, a, &from, &to);
    if (from > to) {
        return jin_int(0);
    }
    val in = jin_sub(s, 0, to);
    jin_step(j, s.n >> 6);
    if (word.n == 0) {
        return jin_int((int64_t)jin_length(j, jin_sub(s, from, to)) + 1);
    }
    while ((found = jin_find(in, from, word)) != SIZE_MAX) {
        n++;
        from = found + word.n;
    }
    return jin_int(n);
}

val jin_m_join(jin *j, val s, jin_args *a)
{
    uint32_t n;
    const val *items = jin_iter(j, jin_arg_need(j, a, 0, "iterable"), &n);
    size_t at = j->n_out;
    for (uint32_t i = 0; i < n; i++) {
        jin_put_str(j, i > 0 ? s : jin_lit(""));
        jin_put_str(j, jin_need_str(j, items[i], "join: an item"));
    }
    return jin_cut(j, at);
}

/* Whether there is a character and all are of a kind. */
static val all_chars(val s, bool digits, bool letters, bool spaces)
{
    uint32_t cp;
    for (size_t at = 0; at < s.n;) {
        at += jin_char(s, at, &cp);
        if (!(digits && cp >= '0' && cp <= '9') && !(letters && jin_alpha(cp)) &&
            !(spaces && jin_space(cp))) {
            return jin_bool(false);
        }
    }
    return jin_bool(s.n > 0);
}

val jin_m_isdigit(jin *j, val s, jin_args *a)
{
    (void)j, (void)a;
    return all_chars(s, true, false, false);
}

val jin_m_isalpha(jin *j, val s, jin_args *a)
{
    (void)j, (void)a;
    return all_chars(s, false, true, false);
}

val jin_m_isalnum(jin *j, val s, jin_args *a)
{
    (void)j, (void)a;
    return all_chars(s, true, true, false);
}

val jin_m_isspace(jin *j, val s, jin_args *a)
{
    (void)j, (void)a;
    return all_chars(s, false, false, true);
}

val jin_m_isupper(jin *j, val s, jin_args *a)
{
    return jin_find_test("upper", 5)(j, s, a);
}

val jin_m_islower(jin *j, val s, jin_args *a)
{
    return jin_find_test("lower", 5)(j, s, a);
}

static void fill(jin *j, val with, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        jin_step(j, 1);
        jin_put_str(j, with);
    }
}

/* To a width, with `left` of 0..2 halves of the filling in front. */
static val justify(jin *j, val s, jin_args *a, int left)
{
    int64_t width = jin_need_int(j, jin_arg_need(j, a, 0, "width"), "the width"),
            pad = width - jin_length(j, s);
    val with = jin_need_str(j, jin_arg_or(j, a, 1, "fillchar", jin_lit(" ")), "what fills up");
    if (jin_length(j, with) != 1) {
        jin_fail(j, "%.20s: one character is needed to fill up with", a->what);
    }
    int64_t front = left == 0 ? 0 : left == 2 ? pad : pad / 2 + (pad & width & 1);
    size_t at = j->n_out;
    fill(j, with, front);
    jin_put_str(j, s);
    fill(j, with, pad > 0 ? pad - front : 0);
    return jin_cut(j, at);
}

val jin_m_ljust(jin *j, val s, jin_args *a)
{
    return justify(j, s, a, 0);
}

val jin_m_center(jin *j, val s, jin_args *a)
{
    return justify(j, s, a, 1);
}

val jin_m_rjust(jin *j, val s, jin_args *a)
{
    return justify(j, s, a, 2);
}

val jin_m_zfill(jin *j, val s, jin_args *a)
{
    int64_t width = jin_need_int(j, jin_arg_need(j, a, 0, "width"), "the width");
    size_t at = j->n_out, sign = s.n > 0 && (s.u.p[0] == '-' || s.u.p[0] == '+');
    jin_put_text(j, s, 0, sign);
    fill(j, jin_lit("0"), width - jin_length(j, s));
    jin_put_text(j, s, sign, s.n);
    return jin_cut(j, at);
}

val jin_m_removeprefix(jin *j, val s, jin_args *a)
{
    val w = jin_need_str(j, jin_arg_need(j, a, 0, "prefix"), "removeprefix");
    return w.n <= s.n && memcmp(s.u.p, w.u.p, w.n) == 0 ? jin_sub(s, w.n, s.n) : s;
}

val jin_m_removesuffix(jin *j, val s, jin_args *a)
{
    val w = jin_need_str(j, jin_arg_need(j, a, 0, "suffix"), "removesuffix");
    return w.n <= s.n && memcmp(s.u.p + s.n - w.n, w.u.p, w.n) == 0 ? jin_sub(s, 0, s.n - w.n) : s;
}

static val parted(jin *j, val s, jin_args *a, bool last)
{
    val w = jin_need_str(j, jin_arg_need(j, a, 0, "sep"), "partition: the separator"),
        none = jin_sub(s, 0, 0);
    if (w.n == 0) {
        jin_fail(j, "partition: the separator is empty");
    }
    size_t at = last ? find_last(s, s.n, w) : jin_find(s, 0, w);
    val out = jin_new_list(j, 3, MOX_J_TUPLE);
    if (at == SIZE_MAX) {
        jin_push(j, out, last ? none : s);
        jin_push(j, out, none);
        jin_push(j, out, last ? s : none);
    } else {
        jin_push(j, out, jin_sub(s, 0, at));
        jin_push(j, out, jin_sub(s, at, at + w.n));
        jin_push(j, out, jin_sub(s, at + w.n, s.n));
    }
    return out;
}

val jin_m_partition(jin *j, val s, jin_args *a)
{
    return parted(j, s, a, false);
}

val jin_m_rpartition(jin *j, val s, jin_args *a)
{
    return parted(j, s, a, true);
}
