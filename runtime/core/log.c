/* Log lines are formatted on the stack and handed to the owner's callback; see log.h. A line longer than the
 * buffer is cut, and its last characters are replaced by "..." so that the cut is visible. */
#include "runtime/core/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { LOG_LINE_BYTES = 1024 };

void mox_log_line(const mox_log *log, mox_log_level level, const char *fmt, ...)
{
    if (!log || !log->fn || level > log->level) {
        return;
    }
    char line[LOG_LINE_BYTES];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n < 0) {
        return;
    }
    if ((size_t)n >= sizeof line) {
        memcpy(line + sizeof line - 4, "...", 4);
    }
    log->fn(log->ctx, level, line);
}
