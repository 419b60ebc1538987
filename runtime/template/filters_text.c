/* Filters that make strings of strings. What is no string is printed first, as everywhere in Jinja. */
#include "filters.h"

val jin_f_upper(jin *j, val v, jin_args *a)
{
    (void)a;
    val s = jin_str(j, v);
    size_t at = j->n_out;
    jin_put_case(j, s, 0, s.n, CASE_UPPER);
    return jin_cut(j, at);
}

val jin_f_lower(jin *j, val v, jin_args *a)
{
    (void)a;
    val s = jin_str(j, v);
    size_t at = j->n_out;
    jin_put_case(j, s, 0, s.n, CASE_LOWER);
    return jin_cut(j, at);
}

val jin_f_capitalize(jin *j, val v, jin_args *a)
{
    (void)a;
    val s = jin_str(j, v);
    size_t at = j->n_out, first = jin_offset(s, 1);
    jin_put_case(j, s, 0, first, CASE_UPPER);
    jin_put_case(j, s, first, s.n, CASE_LOWER);
    return jin_cut(j, at);
}

/* Words begin behind white space, hyphens and opening brackets: not the same as the method title(). */
val jin_f_title(jin *j, val v, jin_args *a)
{
    (void)a;
    val s = jin_str(j, v);
    size_t start = j->n_out;
    bool begin = true;
    uint32_t cp;
    for (size_t at = 0, n; at < s.n; at += n) {
        n = jin_char(s, at, &cp);
        bool between = jin_space(cp) || cp == '-' || cp == '(' || cp == '{' || cp == '[' || cp == '<';
        jin_put_case(j, s, at, at + n, begin && !between ? CASE_UPPER : CASE_LOWER);
        begin = between;
    }
    return jin_cut(j, start);
}

val jin_f_trim(jin *j, val v, jin_args *a)
{
    val chars = jin_arg_or(j, a, 0, "chars", mox_jinja_none());
    return jin_strip(jin_str(j, v), true, true, chars.kind == MOX_J_STR ? &chars : NULL);
}

val jin_f_replace(jin *j, val v, jin_args *a)
{
    val from = jin_str(j, jin_arg_need(j, a, 0, "old")), to = jin_str(j, jin_arg_need(j, a, 1, "new"));
    val most = jin_arg_or(j, a, 2, "count", mox_jinja_none());
    return jin_replace(j, jin_str(j, v), from, to,
                       most.kind == MOX_J_NONE ? -1 : jin_need_int(j, most, "replace: count"));
}

val jin_f_indent(jin *j, val v, jin_args *a)
{
    val s = jin_str(j, v), width = jin_arg_or(j, a, 0, "width", jin_int(4));
    bool first = jin_truth(jin_arg_or(j, a, 1, "first", jin_bool(false)));
    bool blank = jin_truth(jin_arg_or(j, a, 2, "blank", jin_bool(false)));
    val by = width.kind == MOX_J_STR
                 ? width
                 : jin_binary(j, OP_MUL, jin_lit(" "), jin_int(jin_need_int(j, width, "indent: width")));
    size_t start = j->n_out, next = 0, end;
    bool begin = true;
    do {
        size_t at = next;
        end = jin_line_end(s, at, &next);
        jin_put(j, "\n", !begin, MOX_MARK_TEMPLATE);
        if (begin ? first : blank || end > at) {
            jin_put_str(j, by);
        }
        jin_put_text(j, s, at, end);
        jin_step(j, 1);
        begin = false;
    } while (end < s.n);
    return jin_cut(j, start);
}

val jin_f_escape(jin *j, val v, jin_args *a)
{
    static const char plain[] = "&<>'\"";
    static const char *const escaped[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    (void)a;
    val s = jin_str(j, v);
    size_t start = j->n_out;
    for (size_t at = 0; at < s.n; at++) {
        const char *known = memchr(plain, s.u.p[at], sizeof plain - 1);
        if (known == NULL) {
            jin_put_text(j, s, at, at + 1);
        } else {
            const char *e = escaped[known - plain];
            jin_put(j, e, strlen(e), s.marks != NULL ? s.marks[at] : s.mark);
        }
    }
    return jin_cut(j, start);
}

val jin_f_string(jin *j, val v, jin_args *a)
{
    (void)a;
    return jin_str(j, v);
}

/* Nothing is escaped here, so nothing needs to be kept from it. */
val jin_f_safe(jin *j, val v, jin_args *a)
{
    return jin_f_string(j, v, a);
}

val jin_f_format(jin *j, val v, jin_args *a)
{
    val with = jin_new_list(j, a->n, MOX_J_TUPLE);
    if (a->n_k > 0) {
        with = jin_new_dict(j, MOX_J_DICT);
        for (uint32_t k = 0; k < a->n_k; k++) {
            jin_dict_set(j, with, j->names[a->k[k].name], a->k[k].v);
            a->k[k].used = true;
        }
    }
    for (uint32_t i = 0; i < a->n && a->n_k == 0; i++) {
        jin_push(j, with, a->v[i]);
        a->n_used = i + 1;
    }
    return jin_percent(j, jin_str(j, v), with);
}

val jin_f_truncate(jin *j, val v, jin_args *a)
{
    val s = jin_str(j, v);
    int64_t most = jin_need_int(j, jin_arg_or(j, a, 0, "length", jin_int(255)), "truncate: length");
    bool words = jin_truth(jin_arg_or(j, a, 1, "killwords", jin_bool(false)));
    val end = jin_str(j, jin_arg_or(j, a, 2, "end", jin_lit("...")));
    val more = jin_arg_or(j, a, 3, "leeway", mox_jinja_none());
    int64_t leeway = more.kind == MOX_J_NONE ? 5 : jin_need_int(j, more, "truncate: leeway");
    int64_t n_end = jin_length(j, end);
    if (most < n_end || leeway < 0 || most > UINT32_MAX || leeway > UINT32_MAX) {
        jin_fail(j, "truncate: a length of %lld is out of range", (long long)most);
    }
    if (jin_length(j, s) <= most + leeway) {
        return s;
    }
    val cut = jin_sub(s, 0, jin_offset(s, (uint32_t)(most - n_end)));
    if (!words) {
        const char *space = memrchr(cut.u.p, ' ', cut.n);
        cut = jin_sub(cut, 0, space != NULL ? (size_t)(space - cut.u.p) : cut.n);
    }
    return jin_concat(j, cut, end);
}

val jin_f_center(jin *j, val v, jin_args *a)
{
    val s = jin_str(j, v);
    int64_t width = jin_need_int(j, jin_arg_or(j, a, 0, "width", jin_int(80)), "center: width");
    int64_t pad = width - jin_length(j, s), left = pad / 2 + (pad & width & 1);
    size_t at = j->n_out;
    for (int64_t i = 0; i < left; i++) {
        jin_put(j, " ", 1, MOX_MARK_TEMPLATE);
        jin_step(j, 1);
    }
    jin_put_str(j, s);
    for (int64_t i = left; i < pad; i++) {
        jin_put(j, " ", 1, MOX_MARK_TEMPLATE);
        jin_step(j, 1);
    }
    return jin_cut(j, at);
}

val jin_f_wordcount(jin *j, val v, jin_args *a)
{
    (void)a;
    val s = jin_str(j, v);
    uint32_t cp, words = 0;
    bool in = false;
    for (size_t at = 0; at < s.n;) {
        at += jin_char(s, at, &cp);
        bool word = jin_alpha(cp) || (cp >= '0' && cp <= '9') || cp == '_';
        words += word && !in;
        in = word;
    }
    return jin_int(words);
}

val jin_f_urlencode(jin *j, val v, jin_args *a)
{
    static const char hex[] = "0123456789ABCDEF";
    (void)a;
    val s = jin_str(j, v);
    size_t start = j->n_out;
    for (size_t at = 0; at < s.n; at++) {
        unsigned char c = (unsigned char)s.u.p[at];
        if (c < 0x80 && (jin_alpha(c) || (c >= '0' && c <= '9') || strchr("_.-~/", c) != NULL) && c != 0) {
            jin_put_text(j, s, at, at + 1);
        } else {
            char text[3] = {'%', hex[c >> 4], hex[c & 15]};
            jin_put(j, text, 3, s.marks != NULL ? s.marks[at] : s.mark);
        }
    }
    return jin_cut(j, start);
}
