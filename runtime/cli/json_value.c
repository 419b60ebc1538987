/* JSON to a template's values, by jansson's tree. Objects keep their order; nothing is allocated but by the template. */
#ifndef MOXIE_MINIMAL
#include "runtime/cli/json_value.h"

#include <jansson.h>
#include <string.h>

mox_jval mox_json_value(mox_jinja *j, const json_t *v)
{
    const char *key;
    json_t *item;
    size_t i;
    mox_jval out;
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        out = mox_jinja_dict(j, MOX_MARK_USER);
        json_object_foreach((json_t *)(uintptr_t)v, key, item)
        {
            mox_jinja_put(j, out, mox_jinja_str(key, strlen(key), MOX_MARK_USER), mox_json_value(j, item));
        }
        return out;
    case JSON_ARRAY:
        out = mox_jinja_list(j, MOX_MARK_USER);
        json_array_foreach(v, i, item)
        {
            mox_jinja_push(j, out, mox_json_value(j, item));
        }
        return out;
    case JSON_STRING:
        return mox_jinja_str(json_string_value(v), json_string_length(v), MOX_MARK_USER);
    case JSON_INTEGER:
        return mox_jinja_int(json_integer_value(v), MOX_MARK_USER);
    case JSON_REAL:
        return mox_jinja_float(json_real_value(v), MOX_MARK_USER);
    case JSON_TRUE:
    case JSON_FALSE:
        return mox_jinja_bool(json_is_true(v), MOX_MARK_USER);
    default:
        return mox_jinja_none();
    }
}
#else
typedef int no_json_value; /* a file of C holds something */
#endif
