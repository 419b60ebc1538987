/* Errors, progress and signals of the command line. Errors fit one screen and say what, the numbers, why, and
 * what would help; nothing here writes to stdout. Lines are put together in memory and written at once, so
 * that they stay whole beside other writers, and nothing is allocated after "ready". */
#include "runtime/cli/ui.h"

#include "runtime/core/clock.h"
#include "runtime/gguf/gguf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void put_stderr(const char *text, size_t n)
{
    while (n > 0) {
        ssize_t w = write(STDERR_FILENO, text, n);
        if (w <= 0) {
            return; /* nobody is listening */
        }
        text += w;
        n -= (size_t)w;
    }
}

/* Of the terminal on stderr; 80 where it does not say. */
static int columns(void)
{
    struct winsize size = {0};
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* What was made fit where it was read is left alone: no second backslash before the first. */
const char *mox_ui_shown(const char *text, char *out, size_t n)
{
    mox_str s = {text, strlen(text)};
    if (s.n < n && mox_is_printable(s)) {
        memcpy(out, text, s.n + 1);
        return out;
    }
    return mox_escape(s, out, n);
}

void mox_ui_line(const char *fmt, ...)
{
    static const char name[] = "moxie: ";
    char text[1024], line[sizeof name + sizeof text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    memcpy(line, name, sizeof name);
    mox_ui_shown(text, line + sizeof name - 1, sizeof text);
    size_t len = strlen(line);
    line[len] = '\n';
    put_stderr(line, len + 1);
}

void mox_ui_log(void *ctx, mox_log_level level, const char *line)
{
    (void)ctx;
    mox_ui_line("%s%s", level == MOX_LOG_ERROR ? "error: " : level == MOX_LOG_WARN ? "warning: " : "", line);
}

int mox_ui_error(void)
{
    const mox_err_info *e = mox_err_last();
    char sys[128] = "";
    if (e->sys != 0 && strstr(e->msg, strerror(e->sys)) == NULL) {
        snprintf(sys, sizeof sys, ": %s", strerror(e->sys));
    }
    mox_ui_line("error: %s%s [MX-%04d]", e->msg[0] != '\0' ? e->msg : mox_err_text(e->code), sys, -e->code);
    const char *fix = e->fix;
    for (bool first = true; *fix != '\0'; first = false) {
        size_t n = strcspn(fix, "\n");
        char one[sizeof e->fix], shown[400], line[sizeof shown + 16];
        snprintf(one, sizeof one, "%.*s", (int)n, fix);
        int m = snprintf(line, sizeof line, "%s %s\n", first ? "try: " : "     ",
                         mox_ui_shown(one, shown, sizeof shown));
        put_stderr(line, (size_t)m < sizeof line ? (size_t)m : sizeof line - 1);
        fix += n + (fix[n] == '\n');
    }
    int code = mox_err_exit_code(e->code);
    return code != 0 ? code : 1;
}

const char *mox_human(uint64_t bytes, char out[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double v = (double)bytes;
    size_t u = 0;
    while (v >= 1024 && u + 1 < sizeof units / sizeof *units) {
        v /= 1024;
        u++;
    }
    snprintf(out, 24, u == 0 ? "%.0f %s" : "%.1f %s", v, units[u]);
    return out;
}

bool mox_ui_note(const char *fmt, ...)
{
    static uint64_t last_ns;
    char raw[256], text[256], line[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(raw, sizeof raw, fmt, ap);
    va_end(ap);
    mox_ui_shown(raw, text, sizeof text);
    if (isatty(STDERR_FILENO)) {
        int n = snprintf(line, sizeof line, "\r\033[K%.*s", columns() - 1, text);
        put_stderr(line, (size_t)n);
        return true;
    }
    uint64_t now = mox_now_ns();
    if (last_ns == 0 || now - last_ns >= 10000000000u) {
        last_ns = now;
        mox_ui_line("%s", text);
    }
    return false;
}

void mox_ui_note_clear(void)
{
    static const char wipe[] = "\r\033[K";
    put_stderr(wipe, sizeof wipe - 1);
}

void mox_progress_init(mox_progress *p)
{
    const char *term = getenv("TERM");
    *p = (mox_progress){.tty = isatty(STDERR_FILENO) != 0 && (term == NULL || strcmp(term, "dumb") != 0)};
}

void mox_progress_clear(mox_progress *p)
{
    if (p->drawn) {
        mox_ui_note_clear();
        p->drawn = false;
    }
}

/* Within the terminal's width: the bar gives way first; a line that wraps could not be wiped. */
static void draw_bar(mox_progress *p, uint64_t done, uint64_t total, double rate)
{
    struct winsize size;
    size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    char bar[34] = "", a[24], b[24], line[200] = "\r\033[K";
    size_t head = strlen(line), width = columns > 90 ? 32 : columns > 66 ? columns - 58 : 0;
    size_t full = total > 0 ? (size_t)((double)done / (double)total * (double)width) : 0;
    for (size_t i = 0; i < width; i++) {
        bar[i] = i < full ? '#' : '.';
    }
    bar[width] = width > 0 ? ' ' : '\0';
    double left = rate > 0 ? (double)(total - done) / rate : 0;
    size_t n =
        head + (size_t)snprintf(line + head, sizeof line - head, "%-8s %s%s of %s  %.2f GB/s  %.0f s left",
                                p->stage, bar, mox_human(done, a), mox_human(total, b), rate / 1e9, left);
    put_stderr(line, n < head + columns - 1 ? n : head + columns - 1);
    p->drawn = true;
}

void mox_progress_update(void *progress, const char *stage, uint64_t done, uint64_t total)
{
    mox_progress *p = progress;
    uint64_t now = mox_now_ns();
    if (total <= 1) {
        return; /* the header: nothing to wait for */
    }
    if (strcmp(p->stage, stage) != 0) {
        snprintf(p->stage, sizeof p->stage, "%s", stage);
        p->stage_ns = p->last_ns = now;
    }
    double seconds = (double)(now - p->stage_ns) * 1e-9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    bool end = done >= total;
    if (p->tty && !end) {
        draw_bar(p, done, total, rate);
    } else if (end || now - p->last_ns >= 10000000000u) {
        char a[24], b[24];
        p->last_ns = now;
        mox_progress_clear(p);
        if (end && seconds < 0.05) {
            mox_ui_line("%s: %s", p->stage, mox_human(total, b)); /* too short for a rate */
        } else {
            mox_ui_line("%s: %s of %s in %.2f s, %.2f GB/s", p->stage, mox_human(done, a),
                        mox_human(total, b), seconds, rate / 1e9);
        }
    }
}

/* The one piece of file-scope state of the program: a handler has no other way to be reached. */
static volatile sig_atomic_t stop_code, stop_soft;
static volatile sig_atomic_t stop_within;
static void (*volatile before_exit)(void);

static void leave(int code)
{
    static const char text[] = "\nmoxie: stopped\n";
    if (before_exit != NULL) {
        before_exit();
    }
    put_stderr(text, sizeof text - 1);
    _exit(code);
}

static void on_alarm(int sig)
{
    (void)sig;
    leave(stop_code);
}

static void on_signal(int sig)
{
    int code = sig == SIGTERM ? 143 : 130;
    if (!stop_soft || stop_code != 0) {
        leave(code);
    }
    stop_code = code;
    alarm((unsigned)stop_within);
}

void mox_stop_install(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sa.sa_flags = SA_RESTART;
    sigemptyset(&sa.sa_mask);
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sa.sa_handler = on_alarm;
    sigaction(SIGALRM, &sa, NULL);
}

void mox_stop_before_exit(void (*fn)(void))
{
    before_exit = fn;
}

void mox_stop_forget(void)
{
    stop_code = 0;
}

void mox_stop_set(int code)
{
    stop_code = code;
}

void mox_stop_within(unsigned seconds)
{
    stop_within = (int)seconds;
}

void mox_stop_soft(bool soft)
{
    stop_soft = soft;
}

int mox_stop_requested(void)
{
    return stop_code;
}
