/* Rendering a text for tests: what it gives, or why it fails. */
#ifndef MOX_TESTS_TEMPLATE_RENDER_H
#define MOX_TESTS_TEMPLATE_RENDER_H

#include "runtime/template/template.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The text (to be freed), or "! " and the error's message. */
static inline char *render_n(const char *text, size_t n, const mox_jinja_cfg *cfg)
{
    mox_jinja *j = NULL;
    mox_jinja_text out = {0};
    mox_err err = mox_jinja_open(&j, text, n, cfg);
    if (err == MOX_OK) {
        mox_jinja_set(j, "word", mox_jinja_str("w<|x|>", 6, MOX_MARK_USER));
        err = mox_jinja_render(j, &out);
    }
    char *s;
    if (err == MOX_OK) {
        s = calloc(1, out.n + 1);
        memcpy(s, out.p, out.n);
    } else {
        cr_assert_eq(err, MOX_E_TEMPLATE, "%s", mox_err_last()->msg);
        s = calloc(1, strlen(mox_err_last()->msg) + 3);
        memcpy(s, "! ", 2);
        strcpy(s + 2, mox_err_last()->msg);
    }
    mox_jinja_close(&j);
    return s;
}

static inline void expect_render(const char *text, const char *want)
{
    char *got = render_n(text, strlen(text), NULL);
    cr_expect_str_eq(got, want, "%s\n  gives %s\n  and not %s", text, got, want);
    free(got);
}

/* It fails, and the message has that in it. */
static inline void expect_failure(const char *text, const char *why)
{
    char *got = render_n(text, strlen(text), NULL);
    cr_expect(got[0] == '!' && strstr(got, why) != NULL, "%.200s\n  gives %.300s\n  and not %s", text, got,
              why);
    free(got);
}

#endif
