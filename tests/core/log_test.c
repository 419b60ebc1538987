/* Log: levels, formatting, the visible cut of a long line, and logs that are not there. */
#include "runtime/core/log.h"

#include <criterion/criterion.h>
#include <string.h>

typedef struct seen {
    int lines;
    mox_log_level level;
    char last[2048];
} seen;

static void keep(void *ctx, mox_log_level level, const char *line)
{
    seen *s = ctx;
    s->lines++;
    s->level = level;
    strncpy(s->last, line, sizeof s->last - 1);
}

Test(log, lines_at_or_below_the_level_arrive_formatted)
{
    seen s = {0};
    mox_log log = {.fn = keep, .ctx = &s, .level = MOX_LOG_INFO};
    mox_log_line(&log, MOX_LOG_DEBUG, "store: %d slots", 3);
    cr_assert_eq(s.lines, 0);
    mox_log_line(&log, MOX_LOG_WARN, "store: %d slots", 3);
    cr_assert_eq(s.lines, 1);
    cr_assert_eq(s.level, MOX_LOG_WARN);
    cr_assert_str_eq(s.last, "store: 3 slots");
}

Test(log, long_lines_end_in_dots)
{
    seen s = {0};
    mox_log log = {.fn = keep, .ctx = &s, .level = MOX_LOG_DEBUG};
    mox_log_line(&log, MOX_LOG_ERROR, "%2000d", 1);
    cr_assert_eq(strlen(s.last), 1023);
    cr_assert_str_eq(s.last + 1020, "...");
}

Test(log, a_missing_log_is_silence)
{
    mox_log none = {.level = MOX_LOG_DEBUG};
    mox_log_line(NULL, MOX_LOG_ERROR, "nobody");
    mox_log_line(&none, MOX_LOG_ERROR, "nobody");
}
