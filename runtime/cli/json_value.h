/* JSON as a value of a chat template, for the program and for the test that compares templates with Python's Jinja. */
#ifndef MOX_CLI_JSON_VALUE_H
#define MOX_CLI_JSON_VALUE_H

#ifndef MOXIE_MINIMAL
#include "runtime/template/template.h"

struct json_t; /* jansson's */

/* mox_json_value: all strings in it, keys too, are marked as a user's. */
mox_jval mox_json_value(mox_jinja *j, const struct json_t *v);
#endif

#endif
