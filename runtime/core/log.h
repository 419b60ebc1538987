/* Log lines go through one callback given at open; the library itself never writes to stdout or stderr. */
#ifndef MOX_CORE_LOG_H
#define MOX_CORE_LOG_H

#include "runtime/core/err.h"

typedef enum mox_log_level { MOX_LOG_ERROR, MOX_LOG_WARN, MOX_LOG_INFO, MOX_LOG_DEBUG } mox_log_level;

typedef struct mox_log {
    void (*fn)(void *ctx, mox_log_level level, const char *line); /* line: no newline; may be NULL: no log */
    void *ctx;
    mox_log_level level; /* lines above it are not formatted */
} mox_log;

/* mox_log_line: "unit: fact, number unit". Formats into a stack buffer (1 KiB), never allocates. log may be
 * NULL. */
void mox_log_line(const mox_log *log, mox_log_level level, const char *fmt, ...) MOX_PRINTF(3, 4);

#endif
