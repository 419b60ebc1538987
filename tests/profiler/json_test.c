/* JSON writer: the exact text, with hostile strings and numbers. */
#include "profiler/report/json.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct sink {
    char *text;
    size_t bytes;
    FILE *file;
} sink;

static mox_json begin(sink *s)
{
    s->file = open_memstream(&s->text, &s->bytes);
    cr_assert_not_null(s->file);
    mox_json j;
    mox_json_begin(&j, s->file);
    return j;
}

static void expect(mox_json *j, sink *s, const char *want)
{
    mox_json_end(j);
    fclose(s->file);
    cr_assert_str_eq(s->text, want);
    free(s->text);
}

Test(json, nesting_and_commas)
{
    sink s;
    mox_json j = begin(&s);
    mox_json_object(&j, NULL);
    mox_json_u64(&j, "a", 1);
    mox_json_array(&j, "b");
    mox_json_u64(&j, NULL, 1);
    mox_json_object(&j, NULL);
    mox_json_object_end(&j);
    mox_json_array(&j, NULL);
    mox_json_array_end(&j);
    mox_json_object(&j, NULL);
    mox_json_bool(&j, "x", true);
    mox_json_object_end(&j);
    mox_json_array_end(&j);
    mox_json_object(&j, "c");
    mox_json_bool(&j, "d", false);
    mox_json_string(&j, "e", NULL);
    mox_json_object_end(&j);
    mox_json_i64(&j, "f", -5);
    mox_json_object_end(&j);
    expect(&j, &s, "{\"a\":1,\"b\":[1,{},[],{\"x\":true}],\"c\":{\"d\":false,\"e\":null},\"f\":-5}\n");
}

Test(json, numbers_at_their_limits)
{
    sink s;
    mox_json j = begin(&s);
    mox_json_array(&j, NULL);
    mox_json_u64(&j, NULL, UINT64_MAX);
    mox_json_i64(&j, NULL, INT64_MIN);
    mox_json_f64(&j, NULL, 0.1);
    mox_json_f64(&j, NULL, 1e300);
    mox_json_f64(&j, NULL, -0.0);
    mox_json_f64(&j, NULL, NAN);
    mox_json_f64(&j, NULL, INFINITY);
    mox_json_f64(&j, NULL, -INFINITY);
    mox_json_array_end(&j);
    expect(&j, &s, "[18446744073709551615,-9223372036854775808,0.1,1e+300,-0,null,null,null]\n");
}

Test(json, strings_are_escaped)
{
    sink s;
    mox_json j = begin(&s);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "\"key\"\n", "a\"b\\c\b\f\n\r\t\x01\x1f\x7f/");
    mox_json_string_n(&j, "nul", "a\0b", 3);
    mox_json_string(&j, "text", "größe \xe2\x82\xac \xf0\x9f\x99\x82");
    mox_json_object_end(&j);
    expect(&j, &s,
           "{\"\\\"key\\\"\\n\":\"a\\\"b\\\\c\\b\\f\\n\\r\\t\\u0001\\u001f\\u007f/\",\"nul\":\"a\\u0000b\","
           "\"text\":\"größe \xe2\x82\xac \xf0\x9f\x99\x82\"}\n");
}

#define BAD "\xef\xbf\xbd"

Test(json, bytes_that_are_not_utf8_are_replaced)
{
    static const char *const cases[][2] = {
        {"\x80", BAD},
        {"a\xff z", "a" BAD " z"},
        {"\xc0\xaf", BAD BAD},                 /* overlong */
        {"\xe0\x80\x80", BAD BAD BAD},         /* overlong */
        {"\xed\xa0\x80", BAD BAD BAD},         /* a surrogate */
        {"\xf4\x90\x80\x80", BAD BAD BAD BAD}, /* beyond U+10FFFF */
        {"\xe2\x82", BAD BAD},                 /* cut short */
        {"\xe2(\xa1", BAD "(" BAD},
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"}, /* the last code point is fine */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sink s;
        char want[64];
        mox_json j = begin(&s);
        mox_json_string(&j, NULL, cases[i][0]);
        snprintf(want, sizeof want, "\"%s\"\n", cases[i][1]);
        expect(&j, &s, want);
    }
}

Test(json, sixty_four_levels)
{
    sink s;
    char want[64 + 64 + 2];
    mox_json j = begin(&s);
    for (int i = 0; i < 64; i++) {
        mox_json_array(&j, NULL);
    }
    for (int i = 0; i < 64; i++) {
        mox_json_array_end(&j);
    }
    memset(want, '[', 64);
    memset(want + 64, ']', 64);
    memcpy(want + 128, "\n", 2);
    expect(&j, &s, want);
}
