/* JSON to a template's values. Everything in it is somebody's text, except the roles that everybody uses; the arguments
 * of a tool call, which the OpenAI API has as a text of JSON, become the object that templates expect. jansson is strict
 * about what JSON is; its objects keep their order. Converting allocates nothing, so it may happen after "ready".
 */
#include "runtime/cli/json_doc.h"

#include "runtime/chat/render.h"
#include "runtime/cli/open.h"

#include <stdlib.h>
#include <string.h>

#ifndef MOXIE_MINIMAL
#include "runtime/cli/json_value.h"

#include <jansson.h>

struct mox_jdoc {
    json_t *root;
    mox_jdoc_kind kind;
};

/* A content of texts in parts as one text. The texts are put together once, when the file is read. */
static json_t *joined(const json_t *content)
{
    size_t i, n = 0;
    json_t *part;
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        if (!json_is_string(text)) {
            return NULL; /* an image or the like: the template has to know what to do with it */
        }
        n += json_string_length(text) + 1;
    }
    char *all = malloc(n + 1), *to = all;
    if (all == NULL || n == 0) {
        free(all);
        return NULL;
    }
    json_array_foreach(content, i, part)
    {
        const json_t *text = json_object_get(part, "text");
        to = mempcpy(to, json_string_value(text), json_string_length(text));
        *to++ = '\n';
    }
    json_t *s = json_stringn(all, n - 1);
    free(all);
    return s;
}

/* "{\"a\": 1}" as arguments of a call: the object. */
static void parse_arguments(const json_t *message)
{
    json_t *calls = json_object_get(message, "tool_calls"), *call;
    size_t i;
    json_array_foreach(calls, i, call)
    {
        json_t *f = json_object_get(call, "function");
        f = json_is_object(f) ? f : call;
        const json_t *text = json_object_get(f, "arguments");
        if (json_is_string(text)) {
            json_t *object =
                json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL);
            if (json_is_object(object)) {
                json_object_set(f, "arguments", object);
            }
            json_decref(object);
        }
    }
}

static const char joined_key[] = " joined"; /* beside "content", for templates that take no parts */

static mox_err check_messages(mox_jdoc *d, const char *what)
{
    json_t *list = json_is_object(d->root) ? json_object_get(d->root, "messages") : d->root, *message;
    size_t i;
    if (!json_is_array(list)) {
        return MOX_FAIL(MOX_E_FORMAT,
                        "%.200s: a list of messages is expected, or an object with \"messages\"", what);
    }
    json_array_foreach(list, i, message)
    {
        if (!json_is_string(json_object_get(message, "role"))) {
            return MOX_FAIL(MOX_E_FORMAT, "%.200s: message %zu has no \"role\"", what, i + 1);
        }
        const json_t *content = json_object_get(message, "content");
        json_t *text = json_is_array(content) ? joined(content) : NULL;
        if (text != NULL) {
            json_object_set_new(message, joined_key, text);
        }
        parse_arguments(message);
    }
    json_incref(list);
    json_decref(d->root);
    d->root = list;
    return MOX_OK;
}

static mox_err check_shape(mox_jdoc *d, const char *what)
{
    static const char *const own[] = {"messages", "tools", "documents", "add_generation_prompt"};
    if (d->kind == MOX_JDOC_MESSAGES) {
        return check_messages(d, what);
    }
    if (d->kind == MOX_JDOC_TOOLS) {
        return json_is_array(d->root) ? MOX_OK
                                      : MOX_FAIL(MOX_E_FORMAT, "%.200s: a list of tools is expected", what);
    }
    if (!json_is_object(d->root)) {
        return MOX_FAIL(MOX_E_FORMAT, "%.200s: an object of variables is expected", what);
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (json_object_get(d->root, own[i]) != NULL) {
            return MOX_FAIL(MOX_E_FORMAT, "%.200s: \"%s\" is no variable that can be set this way", what,
                            own[i]);
        }
    }
    return MOX_OK;
}

mox_err mox_jdoc_parse(mox_jdoc **out, const char *text, size_t n, const char *what, mox_jdoc_kind kind)
{
    json_error_t why;
    mox_jdoc *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for %.200s", what);
    }
    d->kind = kind;
    d->root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    mox_err err = MOX_OK;
    if (d->root == NULL) {
        err = MOX_FAIL(MOX_E_FORMAT, "%.200s is not JSON: line %d, column %d: %.120s", what, why.line,
                       why.column, why.text);
    } else {
        err = check_shape(d, what);
    }
    if (err != MOX_OK) {
        mox_jdoc_free(&d);
        return err;
    }
    *out = d;
    return MOX_OK;
}

void mox_jdoc_free(mox_jdoc **d)
{
    if (*d != NULL) {
        json_decref((*d)->root);
        free(*d);
    }
    *d = NULL;
}

static mox_jval message(mox_jinja *j, const json_t *m, bool parts)
{
    const char *key;
    json_t *item;
    bool join = !parts && json_is_array(json_object_get(m, "content"));
    const json_t *text = join ? json_object_get(m, joined_key) : NULL;
    mox_jval out = mox_jinja_dict(j, MOX_MARK_USER);
    json_object_foreach((json_t *)(uintptr_t)m, key, item)
    {
        if (strcmp(key, joined_key) == 0) {
            continue;
        }
        mox_jval v = mox_json_value(j, text != NULL && strcmp(key, "content") == 0 ? text : item);
        if (strcmp(key, "role") == 0) {
            v.mark = mox_render_role(v.u.p, v.n);
        }
        mox_jinja_put(j, out, mox_jinja_str(key, strlen(key), MOX_MARK_USER), v);
    }
    return out;
}

void mox_jdoc_set(mox_jinja *j, const mox_jdoc *d, bool parts)
{
    const char *key;
    json_t *item;
    size_t i;
    if (d->kind == MOX_JDOC_VARIABLES) {
        json_object_foreach(d->root, key, item)
        {
            mox_jinja_set(j, key, mox_json_value(j, item));
        }
    } else if (d->kind == MOX_JDOC_TOOLS) {
        mox_jinja_set(j, "tools", mox_json_value(j, d->root));
    } else {
        mox_jval list = mox_jinja_list(j, MOX_MARK_USER);
        json_array_foreach(d->root, i, item)
        {
            mox_jinja_push(j, list, message(j, item, parts));
        }
        mox_jinja_set(j, "messages", list);
    }
}
#else
mox_err mox_jdoc_parse(mox_jdoc **out, const char *text, size_t n, const char *what, mox_jdoc_kind kind)
{
    (void)out, (void)text, (void)n, (void)kind;
    return MOX_FAIL(MOX_E_FORMAT, "%.300s: this build cannot read JSON (it was made without jansson)", what);
}

void mox_jdoc_free(mox_jdoc **d)
{
    *d = NULL;
}

void mox_jdoc_set(mox_jinja *j, const mox_jdoc *d, bool parts)
{
    (void)j, (void)d, (void)parts;
}
#endif

mox_err mox_jdoc_read(mox_jdoc **out, const char *path, mox_jdoc_kind kind)
{
    char *text = NULL;
    size_t n = 0;
    MOX_TRY(mox_cli_read_all(path, &text, &n));
    mox_err err = mox_jdoc_parse(out, text, n, strcmp(path, "-") == 0 ? "standard input" : path, kind);
    free(text);
    return err;
}
