/* driver: renders many templates in one process. Standard input has a JSON list of {"template", "vars", "now"}; standard
 * output gets a list of {"text", "marks"} (a digit for each byte: who wrote it) or {"error"}. Strings of vars are a
 * user's. For the comparison with Python's Jinja (oracle.py).
 */
#include "runtime/cli/json_value.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static json_t *rendered(json_t *one)
{
    const json_t *text = json_object_get(one, "template");
    json_t *vars = json_object_get(one, "vars"), *item;
    const char *key;
    mox_jinja *j = NULL;
    mox_jinja_text out;
    mox_err err = mox_jinja_open(&j, json_string_value(text), json_string_length(text), NULL);
    if (err == MOX_OK) {
        mox_jinja_now(j, json_integer_value(json_object_get(one, "now")));
        json_object_foreach(vars, key, item)
        {
            mox_jinja_set(j, key, mox_json_value(j, item));
        }
        err = mox_jinja_render(j, &out);
    }
    json_t *result = json_object();
    if (err != MOX_OK) {
        json_object_set_new(result, "error", json_string_nocheck(mox_err_last()->msg));
    } else {
        char *marks = malloc(out.n + 1);
        for (size_t i = 0; i < out.n; i++) {
            marks[i] = (char)('0' + out.marks[i]);
        }
        json_object_set_new(result, "text", json_stringn_nocheck(out.p, out.n));
        json_object_set_new(result, "marks", json_stringn(marks, out.n));
        free(marks);
    }
    mox_jinja_close(&j);
    return result;
}

int main(void)
{
    json_error_t why;
    json_t *in = json_loadf(stdin, JSON_ALLOW_NUL, &why), *out = json_array(), *one;
    size_t i;
    if (!json_is_array(in)) {
        fprintf(stderr, "no list of templates: %s\n", why.text);
        return 2;
    }
    json_array_foreach(in, i, one)
    {
        json_array_append_new(out, rendered(one));
    }
    json_dumpf(out, stdout, JSON_COMPACT);
    json_decref(in);
    json_decref(out);
    return 0;
}
