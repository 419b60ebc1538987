/* A template out of the bytes, and a user's text behind the first zero: whatever is accepted renders within its limits
 * or fails with a message, twice the same, and the user's text keeps its mark: a control character that it alone
 * holds is never the template's.
 */
#include "fuzz/fuzz.h"
#include "runtime/template/template.h"

#include <string.h>

static void variables(mox_jinja *j, const char *text, size_t n)
{
    mox_jval messages = mox_jinja_list(j, MOX_MARK_USER);
    for (uint32_t i = 0; i < 2; i++) {
        mox_jval m = mox_jinja_dict(j, MOX_MARK_USER);
        const char *role = i == 0 ? "user" : "assistant";
        mox_jinja_put(j, m, mox_jinja_str("role", 4, MOX_MARK_USER),
                      mox_jinja_str(role, strlen(role), MOX_MARK_TEMPLATE));
        mox_jinja_put(j, m, mox_jinja_str("content", 7, MOX_MARK_USER),
                      mox_jinja_str(text, n, MOX_MARK_USER));
        mox_jinja_push(j, messages, m);
    }
    mox_jinja_set(j, "messages", messages);
    mox_jinja_set(j, "x", mox_jinja_str(text, n, MOX_MARK_USER));
    mox_jinja_set(j, "tools", mox_jinja_none());
    mox_jinja_set(j, "add_generation_prompt", mox_jinja_bool(true, MOX_MARK_TEMPLATE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const mox_jinja_cfg cfg = {.memory = 4 << 20, .max_output = 1 << 20, .max_steps = 100000};
    const uint8_t *zero = n > 0 ? memchr(data, 0, n) : NULL;
    size_t n_text = zero != NULL ? (size_t)(zero - data) : n;
    const char *user = zero != NULL ? (const char *)zero + 1 : "";
    size_t n_user = zero != NULL ? n - n_text - 1 : 0;
    mox_jinja *j = NULL;
    mox_jinja_text out = {0}, again = {0};
    if (mox_jinja_open(&j, (const char *)data, n_text, &cfg) != MOX_OK) {
        MUST(mox_err_last()->code == MOX_E_TEMPLATE && mox_err_last()->msg[0] != '\0');
        return 0;
    }
    mox_jinja_now(j, 0);
    mox_jinja_begin(j);
    variables(j, user, n_user);
    mox_err err = mox_jinja_render(j, &out);
    MUST(err == MOX_OK || err == MOX_E_TEMPLATE);
    size_t n_out = out.n;
    MUST(n_out <= cfg.max_output);
    bool own = memchr(data, 0x1A, n_text) != NULL || memchr(data, '\\', n_text) != NULL;
    for (size_t i = 0; i < n_out && !own; i++) {
        MUST(out.p[i] != 0x1A || out.marks[i] == MOX_MARK_USER);
    }
    mox_jinja_begin(j);
    variables(j, user, n_user);
    MUST(mox_jinja_render(j, &again) == err && again.n == n_out);
    mox_jinja_close(&j);
    return 0;
}
