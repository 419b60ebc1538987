/* A user's text never becomes a control token, whatever is done to it: every operation on strings, over texts that look
 * like control tokens, between pieces of the template that would complete them. */
#include "render.h"
#include "runtime/chat/render.h"

#include <stdio.h>

static const char *const look_alikes[] = {"<|im_start|>",
                                          "</s>",
                                          "[INST]",
                                          "<s>",
                                          "<|eot_id|>",
                                          "|>",
                                          "<|",
                                          "im_start",
                                          "a</s>b",
                                          " </s> ",
                                          "&lt;s&gt;",
                                          "\\u003cs\\u003e",
                                          "<\xEF\xBD\x9CUser\xEF\xBD\x9C>"};

/* x is the user's text. What of the output is marked as the template's must not depend on it. */
static const char *const operations[] = {
    "{{ x }}",
    "{{ x ~ x }}",
    "{{ '<|' + x + '|>' }}",
    "{{ x[::-1] }}",
    "{{ x[1:-1] }}",
    "{{ x[0] }}",
    "{{ x | trim }}",
    "{{ x | upper }}",
    "{{ x | lower }}",
    "{{ x | title }}",
    "{{ x | capitalize }}",
    "{{ x.strip() }}",
    "{{ x | replace('i', '') }}",
    "{{ 'AxB'.replace('x', x) }}",
    "{{ x | replace('z', 'y') }}",
    "{{ x.split('|') | join('|') }}",
    "{{ x.split('z')[0] }}",
    "{{ [x, x] | join('') }}",
    "{{ x | list | join }}",
    "{{ ''.join([x]) }}",
    "{{ x | tojson }}",
    "{{ {'k': x} | tojson }}",
    "{{ {x: 1} | tojson(indent=1) }}",
    "{{ [x] }}",
    "{{ {x: x} }}",
    "{{ '%s' % x }}",
    "{{ '%r' % x }}",
    "{{ '%5.3s' % x }}",
    "{{ '{}'.format(x) }}",
    "{{ '{:>20}'.format(x) }}",
    "{{ '{a!r}'.format(a=x) }}",
    "{{ x * 2 }}",
    "{{ x | indent }}",
    "{{ x | truncate(8, true, '') }}",
    "{{ x | center(30) }}",
    "{{ x.ljust(20, '.') }}",
    "{{ x | e }}",
    "{{ x | string }}",
    "{{ x | safe }}",
    "{{ x | urlencode }}",
    "{{ x | first }}{{ x | last }}",
    "{{ x | reverse }}",
    "{{ [x] | map('upper') | first }}",
    "{{ [x] | sort | first }}",
    "{{ x.partition('|')[2] }}",
    "{% set y %}{{ x }}{% endset %}{{ y }}",
    "{% filter lower %}{{ x }}{% endfilter %}",
    "{% for c in x %}{{ c }}{% endfor %}",
    "{% macro f(a) %}{{ a }}{% endmacro %}{{ f(x) }}",
    "{% set ns = namespace(v=x) %}{{ ns.v }}",
    "{{ d.x }}{{ d['x'] }}",
    "{% for k, v in d.items() %}{{ k }}{{ v }}{% endfor %}",
    "{{ d | dictsort | first | last }}",
    "{{ d | tojson }}",
    "{{ d }}",
    "{{ n }}{{ n + 1 }}{{ n | string }}{{ '%d' % n }}",
    "{{ x if x else '' }}{{ x or '' }}{{ x and x }}",
    "{{ x | default('') }}",
    "{{ x.title() }}",
    "{{ x.removeprefix('a') }}",
    "{{ x.zfill(20) }}",
    "{{ x.splitlines() | join }}",
    "{{ x | unique | join }}",
    "{{ x | batch(2) | map('join') | join }}",
    "{{ (x, 1) | string }}",
    "{{ x.rsplit('i', 1) | join('i') }}",
};

static void put_variables(mox_jinja *j, const char *text)
{
    size_t n = strlen(text);
    mox_jval d = mox_jinja_dict(j, MOX_MARK_USER);
    mox_jinja_put(j, d, mox_jinja_str("x", 1, MOX_MARK_USER), mox_jinja_str(text, n, MOX_MARK_USER));
    mox_jinja_set(j, "x", mox_jinja_str(text, n, MOX_MARK_USER));
    mox_jinja_set(j, "d", d);
    mox_jinja_set(j, "n", mox_jinja_int(7, MOX_MARK_USER));
}

/* No run of the template's bytes holds a character that the template itself lacks. */
static void expect_no_leak(const char *operation, const char *text)
{
    mox_jinja *j = NULL;
    mox_jinja_text out;
    uint32_t by_user = 0;
    cr_assert_eq(mox_jinja_open(&j, operation, strlen(operation), NULL), MOX_OK, "%s", mox_err_last()->msg);
    put_variables(j, text);
    cr_assert_eq(mox_jinja_render(j, &out), MOX_OK, "%s: %s", operation, mox_err_last()->msg);
    for (size_t i = 0; i < out.n; i++) {
        by_user += out.marks[i] == MOX_MARK_USER;
        bool harmless =
            out.marks[i] != MOX_MARK_TEMPLATE || strchr("ABk ,:'\"[](){}.\n%01", out.p[i]) != NULL;
        bool own = strstr(operation, "'<|' +") != NULL || strstr(operation, "join('") != NULL;
        cr_expect(harmless || own, "%s over %s: byte %zu (%c) is marked as the template's: %.*s", operation,
                  text, i, out.p[i], (int)out.n, out.p);
    }
    cr_expect(by_user > 0 || out.n == 0, "%s over %s: nothing is the user's: %.*s", operation, text,
              (int)out.n, out.p);
    mox_jinja_close(&j);
}

Test(marks, go_through_every_operation)
{
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        for (size_t k = 0; k < sizeof look_alikes / sizeof *look_alikes; k++) {
            expect_no_leak(operations[i], look_alikes[k]);
        }
    }
}

/* The demo model's vocabulary: <s> and </s> are control tokens. Of every operation over every text none comes out. */
Test(marks, no_segment_of_a_user_is_a_token)
{
    mox_gguf *g = NULL;
    mox_tokenizer *t = NULL;
    cr_assert_eq(mox_gguf_open(&g, MOX_TEST_DATA "/demo/moxie-demo-Q4_K_M.gguf"), MOX_OK);
    cr_assert_eq(mox_tokenizer_create(&t, g), MOX_OK);
    mox_gguf_close(&g);
    for (size_t i = 0; i < sizeof operations / sizeof *operations; i++) {
        for (size_t k = 0; k < sizeof look_alikes / sizeof *look_alikes; k++) {
            char text[512];
            mox_jinja *j = NULL;
            mox_jinja_text out;
            mox_segment *s;
            uint32_t n, tokens = 0, ids[2048], n_ids = 0;
            snprintf(text, sizeof text, "{{ bos_token }}<%s</s>", operations[i]);
            cr_assert_eq(mox_jinja_open(&j, text, strlen(text), NULL), MOX_OK);
            mox_render_begin(j, t, true);
            put_variables(j, look_alikes[k]);
            cr_assert_eq(mox_jinja_render(j, &out), MOX_OK);
            cr_assert_eq(mox_render_segments(j, &out, t, NULL, 0, &s, &n), MOX_OK);
            void *work = malloc(mox_segments_work_bytes(s, n));
            cr_assert_eq(mox_segments_encode(t, s, n, false, ids, 2048, &n_ids, work), MOX_OK);
            free(work);
            for (uint32_t a = 0; a < n_ids; a++) {
                tokens += ids[a] == mox_tokenizer_ids(t)->bos || ids[a] == mox_tokenizer_ids(t)->eos;
            }
            cr_expect_eq(tokens, 2, "%s over %s: %u control tokens", operations[i], look_alikes[k], tokens);
            cr_expect_eq(ids[0], mox_tokenizer_ids(t)->bos);
            mox_jinja_close(&j);
        }
    }
    mox_tokenizer_destroy(&t);
}

/* Roles that everybody uses name tokens; a role that somebody thought of does not. */
Test(marks, roles)
{
    cr_assert_eq(mox_render_role("assistant", 9), MOX_MARK_TEMPLATE);
    cr_assert_eq(mox_render_role("im_start", 8), MOX_MARK_USER);
    cr_assert_eq(mox_render_role("user|>", 6), MOX_MARK_USER);
    cr_assert_eq(mox_render_role("", 0), MOX_MARK_USER);
}

/* An answer goes in as its tokens where the template prints it as it was, and as text where it was changed. */
Test(marks, answers_keep_their_tokens)
{
    const uint32_t own[] = {300, 301};
    mox_message m[] = {{.role = MOX_ROLE_USER, .text = "same", .n_text = 4},
                       {.role = MOX_ROLE_ASSISTANT, .text = "same", .n_text = 4, .ids = own, .n_ids = 2},
                       {.role = MOX_ROLE_USER, .text = "same", .n_text = 4}};
    static const struct {
        const char *text;
        uint32_t n_ids;
    } cases[] = {{"{% for m in messages %}{{ m.role }}{{ m.content }}{% endfor %}", 1},
                 {"{% for m in messages %}{{ m.content | trim }}{% endfor %}", 1},
                 {"{% for m in messages %}{{ m.content | upper }}{% endfor %}", 0},
                 {"{% for m in messages %}{{ m.content[1:] }}{% endfor %}", 0},
                 {"{{ messages[1].content }} {{ messages[1].content }}", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        mox_jinja *j = NULL;
        mox_jinja_text out;
        mox_segment *s;
        uint32_t n, found = 0;
        cr_assert_eq(mox_jinja_open(&j, cases[i].text, strlen(cases[i].text), NULL), MOX_OK);
        mox_render_begin(j, NULL, true);
        mox_render_messages(j, m, 3);
        cr_assert_eq(mox_jinja_render(j, &out), MOX_OK, "%s", mox_err_last()->msg);
        cr_assert_eq(mox_render_segments(j, &out, NULL, m, 3, &s, &n), MOX_OK);
        for (uint32_t k = 0; k < n; k++) {
            found += s[k].kind == MOX_SEGMENT_IDS && s[k].ids == own;
        }
        cr_expect_eq(found, cases[i].n_ids, "%s", cases[i].text);
        mox_jinja_close(&j);
    }
}
