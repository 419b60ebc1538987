/* What every command shows people: errors, progress, numbers with units, and stopping on a signal. All of it
 * goes to stderr; stdout carries results alone. */
#ifndef MOX_CLI_UI_H
#define MOX_CLI_UI_H

#include "runtime/moxie.h"

#include <signal.h>

/* mox_ui_error: this thread's last failure, in the form "moxie: error: ... [MX-4001]" and "try:" lines.
 * Returns the program's exit code for it. */
int mox_ui_error(void);
void mox_ui_line(const char *fmt, ...) MOX_PRINTF(1, 2); /* "moxie: ..." */
/* mox_ui_shown: text that may quote a file, its name or an argument, on one line and with nothing in it that a terminal
 * obeys. Whatever goes to stderr here has passed it; for stdout it is the caller's to ask. Cut to fit; returns out. */
const char *mox_ui_shown(const char *text, char *out, size_t n);
/* mox_ui_log: for mox_cfg.log. */
void mox_ui_log(void *ctx, mox_log_level level, const char *line);

/* "13.0 MiB"; returns out. */
const char *mox_human(uint64_t bytes, char out[24]);

/* mox_ui_note: a line that stands until the next, on a terminal; elsewhere a line, every ten seconds at most. True: it
 * is drawn and wants mox_ui_note_clear before anything else is written. */
bool mox_ui_note(const char *fmt, ...) MOX_PRINTF(1, 2);
void mox_ui_note_clear(void);

/* Progress of opening: a bar on a terminal, one line per stage (and one every ten seconds) elsewhere. */
typedef struct mox_progress {
    bool tty;
    bool drawn; /* a bar stands on the current line */
    char stage[24];
    uint64_t stage_ns, last_ns;
} mox_progress;

void mox_progress_init(mox_progress *p);
void mox_progress_update(void *progress, const char *stage, uint64_t done, uint64_t total);
void mox_progress_clear(mox_progress *p);

/* Signals. Between mox_stop_soft(true) and (false) SIGINT and SIGTERM only set a flag, so that an answer is
 * ended in order; outside (loading, prompt) nothing has been given out yet and the program ends at once.
 * A second signal always ends it. */
void mox_stop_install(void);
/* mox_stop_before_exit: called in the handler before it ends the program (signal-safe calls only); NULL: nothing.
 * mox_stop_forget: what was asked for has been done. mox_stop_set: as if that signal had come. */
void mox_stop_before_exit(void (*fn)(void));
void mox_stop_forget(void);
void mox_stop_set(int code);
void mox_stop_soft(bool soft);
/* mox_stop_within: a flag that is not answered in so many seconds, because a read hangs or a step is long, ends the program
 * all the same; 0: it waits. */
void mox_stop_within(unsigned seconds);
int mox_stop_requested(void); /* 0, or the exit code: 130, 143 */

#endif
