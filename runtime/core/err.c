/* The error table and the thread-local record of the last failure.
 *
 * The record is the only mutable file-scope state of the project, with the word that says whose record it is in a
 * module. It is filled by the leaf that failed and read by whoever reports; nothing here allocates, so an out-of-memory
 * failure is reported like any other.
 */
#include "runtime/core/err.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct err_row {
    mox_err code;
    int exit_code;
    const char *name;
    const char *text;
} err_row;

static const err_row rows[] = {
#define X(name, number, exit_code, text) {MOX_E_##name, exit_code, #name, text},
    MOX_ERRORS(X)
#undef X
};

static _Thread_local mox_err_info own;
static mox_err_info *(*shared)(void);

mox_err_info *mox_err_record(void)
{
    return shared ? shared() : &own;
}

void mox_err_share(mox_err_info *(*of_this_thread)(void))
{
    shared = of_this_thread == mox_err_record ? NULL : of_this_thread;
}

static const err_row *find_row(mox_err code)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].code == code) {
            return &rows[i];
        }
    }
    return NULL;
}

mox_err mox_err_set(mox_err code, int sys, const char *file, int line, const char *fmt, ...)
{
    /* Formatted aside first: an argument may point into the record being replaced. */
    mox_err_info *last = mox_err_record();
    char msg[sizeof last->msg];
    va_list args;
    va_start(args, fmt);
    vsnprintf(msg, sizeof msg, fmt, args);
    va_end(args);
    last->code = code;
    last->sys = sys;
    last->file = file;
    last->line = line;
    memcpy(last->msg, msg, sizeof msg);
    last->fix[0] = '\0';
    return code;
}

mox_err mox_err_fix(const char *fmt, ...)
{
    mox_err_info *last = mox_err_record();
    char fix[sizeof last->fix];
    va_list args;
    va_start(args, fmt);
    vsnprintf(fix, sizeof fix, fmt, args);
    va_end(args);
    memcpy(last->fix, fix, sizeof fix);
    return last->code;
}

const mox_err_info *mox_err_last(void)
{
    return mox_err_record();
}

mox_err mox_err_restore(const mox_err_info *info)
{
    mox_err_info *last = mox_err_record();
    memmove(last, info, sizeof *last);
    return last->code;
}

const char *mox_err_name(mox_err code)
{
    const err_row *row = find_row(code);
    return row ? row->name : "UNKNOWN";
}

const char *mox_err_text(mox_err code)
{
    const err_row *row = find_row(code);
    return row ? row->text : "unknown error code";
}

int mox_err_exit_code(mox_err code)
{
    const err_row *row = find_row(code);
    return row ? row->exit_code : 1;
}
