/* What the comparison with Python's Jinja does not show: errors with their place, what is refused by name, limits of
 * the interface, and rendering twice. */
#include "render.h"

Test(template, errors_name_line_and_column)
{
    expect_failure("a\nb {{ x", "line 2, column 7: a tag has no end");
    expect_failure("{% if a %}\n{% for x in y %}", "line 2, column 4: the block \"for\" has no end");
    expect_failure("\n\n  {{ nope.key }}", "line 3, column 11: 'nope' is undefined");
    expect_failure("{{ 1 +\n  'a' }}", "line 1, column 6: the sum of a int and a string");
    expect_failure("{% endif %}", "line 1, column 4: endif, where nothing is open");
    expect_failure("{{ raise_exception('no: ' ~ word) }}", "line 1, column 4: no: w<|x|>");
    expect_failure("{# never ends", "line 1, column 1: a comment has no end");
    expect_failure("{% raw %}{{ x }}", "line 1, column 1: a raw block has no end");
    expect_failure("{{ 'text }}", "a string has no end");
    expect_failure("{{ (1, 2] }}", "a bracket closes that was not opened");
    expect_failure("{{ a b }}", "\"b\", where }} is due");
}

Test(template, what_is_not_supported_is_refused_by_name)
{
    static const char *const cases[][2] = {
        {"{% include 'x' %}", "the statement \"include\" is not supported"},
        {"{% extends 'x' %}", "\"extends\""},
        {"{% block a %}{% endblock %}", "\"block\""},
        {"{% import 'x' as y %}", "\"import\""},
        {"{% do x %}", "\"do\""},
        {"{% autoescape true %}{% endautoescape %}", "\"autoescape\""},
        {"{{ x | pprint }}", "the filter \"pprint\" is not supported"},
        {"{{ x is wizard }}", "the test \"wizard\" is not supported"},
        {"{% if true %}{{ x | pprint }}{% endif %}", "the filter \"pprint\" is not supported"},
        {"{% for a in b recursive %}{% endfor %}", "\"recursive\""},
        {"{{ f(*args) }}", "* in front of an argument"},
        {"{{ 'a'.encode() }}", "no method \"encode\", or it is not supported"},
        {"{% for a in 'x' %}{{ loop.wizard }}{% endfor %}", "loop.wizard is not supported"},
        {"{{ 'a'.format }}", "a method cannot be printed"},
        {"{{ cycler('a') }}", "'cycler' is undefined"},
        {"{{ '{0.a}'.format(1) }}", "the field {0.a} is not supported"},
        {"{{ '%q' % 1 }}", "the format %q is not supported"},
        {"{{ 'x' | tojson(wizard=1) }}", "tojson has no argument \"wizard\""},
        {"{{ 'x' | trim('a', 'b') }}", "trim takes 1 arguments, and not 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        expect_failure(cases[i][0], cases[i][1]);
    }
}

Test(template, renders_again_and_with_other_values)
{
    mox_jinja *j = NULL;
    mox_jinja_text out;
    const char text[] = "{% set n = x ~ '!' %}{{ n }}";
    cr_assert_eq(mox_jinja_open(&j, text, sizeof text - 1, NULL), MOX_OK);
    for (int i = 0; i < 3; i++) {
        mox_jinja_begin(j);
        mox_jinja_set(j, "x", mox_jinja_int(i, MOX_MARK_USER));
        for (int again = 0; again < 2; again++) {
            cr_assert_eq(mox_jinja_render(j, &out), MOX_OK);
            cr_assert_eq(out.n, 2);
            cr_assert_eq(out.p[0], '0' + i);
            cr_assert_eq(out.marks[0], MOX_MARK_USER);
            cr_assert_eq(out.marks[1], MOX_MARK_TEMPLATE);
        }
    }
    mox_jinja_begin(j);
    cr_assert_eq(mox_jinja_render(j, &out), MOX_OK);
    cr_assert_eq(out.n, 1, "the last values are forgotten");
    mox_jinja_close(&j);
}

Test(template, knows_loops_over_content)
{
    static const char *const yes[] = {
        "{% for p in message.content %}{% endfor %}",
        "{%for m in messages%}{%if a%}{%else%}{%for p in m['content']%}{%endfor%}{%endif%}{%endfor%}",
        "{% macro f(content) %}{% for p in content %}{% endfor %}{% endmacro %}",
        "{% for m in messages %}{% set c = m.content %}{% for p in c %}{% endfor %}{% endfor %}"};
    static const char *const no[] = {
        "{% for m in messages %}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{% for c in m.tool_calls %}{{ m.content }}{% endfor %}{% endfor %}"};
    for (int i = 0; i < 6; i++) {
        mox_jinja *j = NULL;
        const char *text = i < 4 ? yes[i] : no[i - 4];
        cr_assert_eq(mox_jinja_open(&j, text, strlen(text), NULL), MOX_OK);
        cr_expect_eq(mox_jinja_loops_over(j, "content"), i < 4, "%s", text);
        mox_jinja_close(&j);
    }
}
