/* Templates that mean harm end with an error that says so, in little time and within their memory. */
#include "render.h"

#include <stdio.h>

static char *repeat(const char *before, const char *what, uint32_t n, const char *after)
{
    size_t len = strlen(what);
    char *s = malloc(strlen(before) + n * len + strlen(after) + 1), *to = stpcpy(s, before);
    for (uint32_t i = 0; i < n; i++) {
        to = stpcpy(to, what);
    }
    strcpy(to, after);
    return s;
}

static void expect_repeated(const char *before, const char *what, uint32_t n, const char *after,
                            const char *why)
{
    char *text = repeat(before, what, n, after);
    if (why != NULL) {
        expect_failure(text, why);
    } else {
        char *got = render_n(text, strlen(text), NULL);
        cr_expect(got[0] != '!', "%u times %s: %.200s", n, what, got);
        free(got);
    }
    free(text);
}

/* G93: blocks that never end; a template of a MiB. */
Test(hostile, unterminated_and_big)
{
    expect_repeated("", "{% if x %}", 100, "", "has no end");
    expect_repeated("", "x", 1 << 20, "", NULL);
    expect_repeated("", "{{ word }}", 100000, "", NULL);
    expect_repeated("{# ", "{#", 1 << 19, "", "no end");
    expect_repeated("", "{% raw %}", 100000, "", "no end");
    expect_repeated("{{ '", "\\x41", 1 << 18, "' }}", NULL);
    expect_repeated("", "y", 5 << 20, "", "a chat template of");
}

/* G94: macros that call themselves and each other; a caller that calls its macro. */
Test(hostile, recursion)
{
    expect_failure("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "more than 100 deep");
    expect_failure("{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}",
                   "deep");
    expect_failure(
        "{% macro f() %}{{ caller() }}{% endmacro %}{% macro g() %}{% call f() %}{{ g() }}{% endcall %}"
        "{% endmacro %}{{ g() }}",
        "deep");
    expect_failure("{% macro f(a=f()) %}{% endmacro %}{{ f() }}", "deep");
    expect_failure("{% set l = [] %}{% set _ = l.append(l) %}{{ l }}", "levels deep");
    expect_failure("{% set l = [] %}{% set _ = l.append(l) %}{{ l | tojson }}", "levels deep");
    expect_failure(
        "{% set l = [] %}{% set _ = l.append(l) %}{% set m = [] %}{% set _ = m.append(m) %}{{ l == m }}",
        "levels deep");
    expect_failure("{% set d = {} %}{% set _ = d.update({'d': d}) %}{{ d }}", "levels deep");
}

/* G95: loops, ranges and strings without end. */
Test(hostile, endless)
{
    expect_failure("{% for i in range(10**9) %}{% endfor %}", "more than");
    expect_failure("{% for i in range(10**9) if false %}{% endfor %}", "more than");
    expect_failure("{{ range(10**18) | list }}", "more than");
    expect_failure("{% for i in range(25000) %}{% for k in range(25000) %}{% endfor %}{% endfor %}",
                   "more than");
    expect_failure("{{ 'x' * 10**9 }}", "more than");
    expect_failure("{{ 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' * 10**9 }}", "more than 16 MiB");
    expect_failure("{{ [0] * 10**12 }}", "more than");
    expect_failure("{{ 'x'.ljust(10**9) }}", "more than");
    expect_failure("{{ '%2000000000d' % 1 }}", "more than");
    expect_failure("{{ '{:>2000000000}'.format(1) }}", "more than");
    expect_failure("{{ 'a\nb' | indent(10**9) }}", "more than");
    expect_failure("{{ 9999999999 ** 9999999999 }}", "beyond 64 bits");
    expect_failure("{{ 9223372036854775807 + 1 }}", "beyond 64 bits");
    expect_failure("{{ -9223372036854775807 - 2 }}", "beyond 64 bits");
    expect_failure("{{ (-9223372036854775807 - 1) // -1 }}", "beyond 64 bits");
    expect_failure("{{ 1 // 0 }}", "division by zero");
    expect_failure("{{ 1 % 0 }}", "division by zero");
    expect_failure("{{ 99999999999999999999 }}", "beyond 64 bits");
}

/* Strings and lists that double with each turn. */
Test(hostile, exponential)
{
    expect_failure(
        "{% set ns = namespace(s='x') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "more than 16 MiB");
    expect_failure(
        "{% set ns = namespace(s='xy') %}{% for i in range(64) %}{% set ns.s = ns.s.replace('x', ns.s) %}"
        "{% endfor %}",
        "MiB");
    expect_failure(
        "{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "");
    expect_failure(
        "{% set ns = namespace(l=['x']) %}{% for i in range(64) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
        "{{ ns.l }}",
        "");
    expect_failure(
        "{% set ns = namespace(l=['x']) %}{% for i in range(64) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
        "{{ ns.l == [ns.l] or ns.l | tojson }}",
        "");
    expect_failure(
        "{% set ns = namespace(s='x' * 1000000) %}{% for i in range(1000) %}{% set ns.s = ns.s[1:] ~ 'y' %}"
        "{% endfor %}",
        "");
    expect_failure("{% filter replace('', 'xxxxxxxxxxxxxxxx') %}{% filter replace('', 'xxxxxxxxxxxxxxxx') %}"
                   "{{ 'x' * 200000 }}{% endfilter %}{% endfilter %}",
                   "MiB");
}

/* G96: brackets, blocks and chains, 20,000 of them. */
Test(hostile, nesting)
{
    expect_repeated("{{ ", "(", 20000, "1", "deep");
    expect_repeated("{{ ", "[", 20000, "", "deep");
    expect_repeated("{{ ", "{'a':", 20000, "", "deep");
    expect_repeated("{{ ", "not ", 20000, "1 }}", "deep");
    expect_repeated("{{ ", "-", 20000, "1 }}", "deep");
    expect_repeated("{{ 1", "+1", 20000, " }}", "deep");
    expect_repeated("{{ 1", " if 1 else 1", 20000, " }}", "deep");
    expect_repeated("{{ x", ".x", 20000, " }}", "deep");
    expect_repeated("{{ x", "|trim", 20000, " }}", "deep");
    expect_repeated("{{ x", "[0]", 20000, " }}", "deep");
    expect_repeated("{{ x", "()", 20000, " }}", "deep");
    expect_repeated("", "{% if 1 %}", 20000, "", "deep");
    expect_repeated("", "{% for a in b %}", 20000, "", "deep");
    expect_repeated("{% if 0 %}", "{% elif 0 %}", 20000, "{% endif %}", NULL);
    expect_repeated("{{ ''", " ~ 'a'", 20000, " }}", NULL);
    expect_repeated("{{ 1", " < 2", 20000, " }}", NULL);
}

/* G97: ways out of Python's Jinja lead nowhere here. */
Test(hostile, escapes)
{
    expect_render("[{{ ''.__class__ }}][{{ word.__class__ is defined }}][{{ [].__len__ }}]", "[][False][]");
    expect_render("[{{ ''['__class__'] }}][{{ range.__globals__ }}][{{ namespace(a=1).__init__ }}]",
                  "[][][]");
    expect_failure("{{ ''.__class__.__mro__[1].__subclasses__() }}", "'__class__' is undefined");
    expect_failure("{{ self.__init__ }}", "'self' is undefined");
    expect_failure("{{ raise_exception.__globals__['os'] }}", "'__globals__' is undefined");
    expect_failure("{{ request.application }}", "'request' is undefined");
    expect_failure("{{ '{0.__class__}'.format(1) }}", "not supported");
    expect_failure("{{ 'x' | attr('__class__') }}", "the filter \"attr\" is not supported");
}

/* G98: raises, empty, zero bytes, bad UTF-8, wrong types. */
Test(hostile, odd_texts)
{
    expect_render("", "");
    expect_render("\n", "");
    expect_failure("{{ raise_exception('stop') }}", "stop");
    expect_failure("{{ raise_exception() }}", "the argument message is missing");
    char *got = render_n("a\0b{{ 1 }}", 10, NULL);
    cr_expect_str_eq(got, "a");
    free(got);
    got = render_n("\0{{\0}}", 6, NULL);
    cr_expect(got[0] == '!');
    free(got);
    expect_render("\xFF\xFE{{ '\xC3' | length }}{{ ('\xFF' ~ 'a')[::-1] }}{{ '\xF0\x9F' | upper }}",
                  "\xFF\xFE"
                  "1a\xFF\xF0\x9F");
    expect_failure("{{ 1.items() }}", "");
    expect_failure("{% for a, b in [1] %}{% endfor %}", "cannot be looped over");
    expect_failure("{% for a, b in [[1, 2, 3]] %}{% endfor %}", "3 values for");
    expect_failure("{{ 'a' + 1 }}", "the sum of a string and a int");
    expect_failure("{{ none + 1 }}", "the sum of a None");
    expect_failure("{{ {[]: 1} }}", "cannot be a key");
    expect_failure("{{ 1 < 'a' }}", "have no order");
    expect_failure("{{ 'a'[::0] }}", "step of a slice is 0");
    expect_failure("{{ nope() }}", "'nope' is undefined");
    expect_failure("{{ word() }}", "a string cannot be called");
    expect_failure("{% set word.x = 1 %}", "namespace alone");
    expect_failure("{% break %}", "outside of a loop");
}

/* Whatever a small memory is used for, it ends in an error and not beyond it. */
Test(hostile, little_memory)
{
    static const char text[] =
        "{% set ns = namespace(l=[]) %}{% for i in range(2000) %}{% set ns.l = ns.l + [i ~ 'x'] %}"
        "{% endfor %}{{ ns.l | join(',') | upper | length }}";
    uint32_t failed = 0;
    for (size_t memory = 1 << 10; memory <= 64 << 20; memory *= 2) {
        mox_jinja_cfg cfg = {.memory = memory};
        char *got = render_n(text, sizeof text - 1, &cfg);
        cr_expect(strcmp(got, "10889") == 0 || strstr(got, "of memory") != NULL, "%zu bytes: %s", memory,
                  got);
        failed += got[0] == '!';
        free(got);
    }
    cr_expect_gt(failed, 3);
    cr_expect_lt(failed, 17);
}
