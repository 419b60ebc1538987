/* The filter tojson, as transformers has it: Python's json.dumps, with nothing escaped but what JSON asks for. What it
 * writes around a string has the string's mark, and what it writes around items that of their container. */
#include "internal.h"

#include <math.h>
#include <stdio.h>

typedef struct writer {
    jin *j;
    bool ascii, sort;
    bool pretty;   /* a line for each item */
    val indent;    /* what a level is indented by */
    val item, key; /* separators */
} writer;

static void put_escape(jin *j, uint32_t unit, uint8_t mark)
{
    char text[8];
    int n = snprintf(text, sizeof text, "\\u%04x", unit);
    jin_put(j, text, (size_t)n, mark);
}

static void put_char(const writer *w, val s, size_t at, size_t n, uint32_t cp)
{
    static const char plain[] = "\"\\\n\r\t\b\f", letter[] = "\"\\nrtbf";
    jin *j = w->j;
    uint8_t mark = s.marks != NULL ? s.marks[at] : s.mark;
    const char *known = cp < 0x80 && cp != 0 ? strchr(plain, (int)cp) : NULL;
    if (known != NULL) {
        jin_put(j, "\\", 1, mark);
        jin_put(j, &letter[known - plain], 1, mark);
    } else if (cp < 0x20) {
        put_escape(j, cp, mark);
    } else if (w->ascii && cp >= 0x10000) {
        put_escape(j, 0xD800 + ((cp - 0x10000) >> 10), mark);
        put_escape(j, 0xDC00 + ((cp - 0x10000) & 0x3FF), mark);
    } else if (w->ascii && cp >= 0x7F + 1) {
        put_escape(j, cp, mark);
    } else {
        jin_put_text(j, s, at, at + n);
    }
}

static void put_string(const writer *w, val s)
{
    uint32_t cp;
    jin_put(w->j, "\"", 1, s.mark);
    for (size_t at = 0, n; at < s.n; at += n) {
        n = jin_char(s, at, &cp);
        put_char(w, s, at, n, cp);
    }
    jin_put(w->j, "\"", 1, s.mark);
}

static void new_line(const writer *w, uint32_t level, uint8_t mark)
{
    if (w->pretty) {
        jin_put(w->j, "\n", 1, mark);
        for (uint32_t i = 0; i < level; i++) {
            jin_put(w->j, w->indent.u.p, w->indent.n, mark);
        }
    }
}

static void put(const writer *w, val v, uint32_t level);

static void put_list(const writer *w, val v, uint32_t level)
{
    const jin_list *l = v.u.list;
    jin_put(w->j, "[", 1, v.mark);
    for (uint32_t i = 0; i < l->n; i++) {
        jin_put(w->j, w->item.u.p, i > 0 ? w->item.n : 0, v.mark);
        new_line(w, level + 1, v.mark);
        put(w, l->v[i], level + 1);
    }
    if (l->n > 0) {
        new_line(w, level, v.mark);
    }
    jin_put(w->j, "]", 1, v.mark);
}

static val key_text(jin *j, val key)
{
    static const char *const bools[] = {"false", "true"};
    switch ((mox_jkind)key.kind) {
    case MOX_J_NONE:
        return mox_jinja_str("null", 4, key.mark);
    case MOX_J_BOOL:
        return mox_jinja_str(bools[key.u.i != 0], strlen(bools[key.u.i != 0]), key.mark);
    case MOX_J_STR:
    case MOX_J_INT:
    case MOX_J_FLOAT:
        return jin_str(j, key);
    default:
        jin_fail(j, "tojson: a %s cannot be a key", jin_type(key));
    }
}

/* Entries in the order of their keys: insertion, since few dicts are asked to be sorted and they are short. */
static const jin_entry *sorted(jin *j, const jin_dict *d)
{
    jin_entry *e = jin_take(j, d->n * sizeof *e);
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t at = i;
        for (; at > 0 && jin_compare(j, e[at - 1].key, d->e[i].key) > 0; at--) {
            e[at] = e[at - 1];
        }
        e[at] = d->e[i];
    }
    return e;
}

static void put_dict(const writer *w, val v, uint32_t level)
{
    const jin_dict *d = v.u.dict;
    const jin_entry *e = w->sort ? sorted(w->j, d) : d->e;
    jin_put(w->j, "{", 1, v.mark);
    for (uint32_t i = 0; i < d->n; i++) {
        jin_put(w->j, w->item.u.p, i > 0 ? w->item.n : 0, v.mark);
        new_line(w, level + 1, v.mark);
        put_string(w, key_text(w->j, e[i].key));
        jin_put(w->j, w->key.u.p, w->key.n, v.mark);
        put(w, e[i].v, level + 1);
    }
    if (d->n > 0) {
        new_line(w, level, v.mark);
    }
    jin_put(w->j, "}", 1, v.mark);
}

static void put(const writer *w, val v, uint32_t level)
{
    static const char *const bools[] = {"false", "true"};
    jin *j = w->j;
    jin_enter(j);
    jin_step(j, 1);
    switch ((mox_jkind)v.kind) {
    case MOX_J_NONE:
        jin_put(j, "null", 4, v.mark);
        break;
    case MOX_J_BOOL:
        jin_put(j, bools[v.u.i != 0], strlen(bools[v.u.i != 0]), v.mark);
        break;
    case MOX_J_FLOAT:
        if (isfinite(v.u.f)) {
            jin_put_float(j, v.u.f, v.mark);
        } else {
            const char *word = isnan(v.u.f) ? "NaN" : v.u.f > 0 ? "Infinity" : "-Infinity";
            jin_put(j, word, strlen(word), v.mark);
        }
        break;
    case MOX_J_INT:
        jin_put_int(j, v.u.i, v.mark);
        break;
    case MOX_J_STR:
        put_string(w, v);
        break;
    case MOX_J_LIST:
    case MOX_J_TUPLE:
        put_list(w, v, level);
        break;
    case MOX_J_DICT:
        put_dict(w, v, level);
        break;
    default:
        jin_fail(
            j, v.kind == MOX_J_UNDEF ? "tojson: the value is undefined" : "tojson: a %s has no form in JSON",
            jin_type(v));
    }
    jin_leave(j);
}

static void take_indent(writer *w, val v)
{
    if (v.kind == MOX_J_NONE || v.kind == MOX_J_UNDEF) {
        return;
    }
    w->pretty = true;
    if (v.kind == MOX_J_STR) {
        w->indent = v;
        return;
    }
    int64_t n = jin_need_int(w->j, v, "tojson: indent");
    size_t at = w->j->n_out;
    for (int64_t i = 0; i < n && i < 1000; i++) {
        jin_put(w->j, " ", 1, MOX_MARK_TEMPLATE);
    }
    w->indent = jin_cut(w->j, at);
}

val jin_f_tojson(jin *j, val v, jin_args *a)
{
    writer w = {.j = j};
    w.ascii = jin_truth(jin_arg_or(j, a, 0, "ensure_ascii", jin_bool(false)));
    take_indent(&w, jin_arg_or(j, a, 1, "indent", mox_jinja_none()));
    val both = jin_arg_or(j, a, 2, "separators", mox_jinja_none());
    w.sort = jin_truth(jin_arg_or(j, a, 3, "sort_keys", jin_bool(false)));
    w.item = jin_lit(w.pretty ? "," : ", ");
    w.key = jin_lit(": ");
    if (both.kind != MOX_J_NONE) {
        if (!jin_is_list(both) || both.u.list->n != 2) {
            jin_fail(j, "tojson: separators are two strings");
        }
        w.item = jin_need_str(j, both.u.list->v[0], "tojson: a separator");
        w.key = jin_need_str(j, both.u.list->v[1], "tojson: a separator");
    }
    size_t at = j->n_out;
    put(&w, v, 0);
    return jin_cut(j, at);
}
