/* Comparing with an earlier bench. jansson is used here and nowhere else. Tests are matched by name; one that
 * the other file lacks is said, and fails the comparison: a gate that compares nothing is open. */
#include "runtime/cli/bench/compare.h"
#include "runtime/cli/ui.h"

#include <string.h>

#ifndef MOXIE_MINIMAL
#include <jansson.h>

/* The median of the test with that name; < 0: it is not there. */
static double median_of(const json_t *doc, const char *name)
{
    const json_t *tests = json_object_get(doc, "tests");
    for (size_t i = 0; i < json_array_size(tests); i++) {
        const json_t *test = json_array_get(tests, i);
        const char *other = json_string_value(json_object_get(test, "name"));
        const json_t *median = json_object_get(json_object_get(test, "tok_s"), "median");
        if (other != NULL && strcmp(other, name) == 0 && json_is_number(median)) {
            return json_number_value(median);
        }
    }
    return -1;
}

static mox_err compare(const mox_opts *o, const json_t *doc, const mox_bench_result *results, uint32_t n)
{
    uint32_t slower = 0, missing = 0;
    for (uint32_t i = 0; i < n; i++) {
        double before = median_of(doc, results[i].name), now = results[i].tok_s;
        if (before <= 0) {
            mox_ui_line("%s: not in %.200s", results[i].name, o->compare);
            missing++;
            continue;
        }
        double pct = 100 * (now - before) / before;
        bool bad = o->fail_below > 0 && pct < -(double)o->fail_below;
        slower += bad;
        mox_ui_line("%s: %.2f tok/s, was %.2f: %+.1f %%%s", results[i].name, now, before, pct,
                    bad ? ", too slow" : "");
    }
    if (slower > 0) {
        return MOX_FAIL(MOX_E_CHECK, "%u of %u tests are more than %g %% slower than in %.200s", slower, n,
                        (double)o->fail_below, o->compare);
    }
    if (missing > 0 && o->fail_below > 0) {
        return MOX_FAIL(MOX_E_CHECK, "%u of %u tests are not in %.200s", missing, n, o->compare);
    }
    return MOX_OK;
}

mox_err mox_bench_compare(const mox_opts *o, const mox_bench_result *results, uint32_t n)
{
    json_error_t why;
    if (o->compare == NULL) {
        return MOX_OK;
    }
    json_t *doc = json_load_file(o->compare, JSON_REJECT_DUPLICATES, &why);
    if (doc == NULL) {
        return json_error_code(&why) == json_error_cannot_open_file
                   ? MOX_FAIL(MOX_E_OPEN, "%.200s cannot be opened", o->compare)
                   : MOX_FAIL(MOX_E_FORMAT, "%.200s:%d: %s", o->compare, why.line, why.text);
    }
    const char *schema = json_string_value(json_object_get(doc, "schema"));
    mox_err err = MOX_OK;
    if (schema == NULL || strncmp(schema, "moxie.bench/1", 14) != 0) {
        err = MOX_FAIL(MOX_E_FORMAT, "%.200s is not what bench --json writes", o->compare);
    } else {
        err = compare(o, doc, results, n);
    }
    json_decref(doc);
    return err;
}

#else

mox_err mox_bench_compare(const mox_opts *o, const mox_bench_result *results, uint32_t n)
{
    (void)results, (void)n;
    return o->compare == NULL
               ? MOX_OK
               : MOX_FAIL(MOX_E_OPTION, "--compare: this build reads no JSON (it is made without "
                                        "jansson)");
}

#endif
