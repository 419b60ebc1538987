/* strftime_now(format): the day and time, for templates that tell the model. The clock can be given, so that a test, or
 * a conversation that goes on past midnight, renders the same again. */
#include "internal.h"

#include <time.h>

val jin_g_strftime_now(jin *j, val self, jin_args *a)
{
    (void)self;
    val format = jin_need_str(j, jin_arg_need(j, a, 0, "format"), "strftime_now: the format");
    char f[256], text[1024];
    struct tm tm;
    if (format.n == 0) {
        return jin_lit("");
    }
    if (format.n >= sizeof f || memchr(format.u.p, '\0', format.n) != NULL) {
        jin_fail(j, "strftime_now: a format of %u bytes is too long, or has a zero in it", format.n);
    }
    memcpy(f, format.u.p, format.n);
    f[format.n] = '\0';
    time_t now = j->has_now ? (time_t)j->now : time(NULL);
    struct tm *ok = j->has_now ? gmtime_r(&now, &tm) : localtime_r(&now, &tm);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    size_t n = ok != NULL ? strftime(text, sizeof text, f, &tm) : 0;
#pragma GCC diagnostic pop
    if (n == 0) {
        jin_fail(j, "strftime_now: the format \"%.40s\" gives no text, or a very long one", f);
    }
    size_t at = j->n_out;
    jin_put(j, text, n, format.mark);
    return jin_cut(j, at);
}
