/* Terminal settings and signals of a chat.
 *
 * Whatever ends the program, the terminal must be left as it was found: a handler for each ending signal puts the
 * settings back and lets the signal take its course (SIGINT and SIGTERM belong to ui.c, which calls back before it
 * leaves). Suspending puts them back too, and going on in the foreground takes up what was set before; going on in
 * the background waits with that for the next time. Handlers use only what signal-safety(7) allows: tcsetattr, write,
 * sigaction, raise. They are the reason for the file-scope state.
 */
#include "runtime/cli/chat/terminal.h"

#include "runtime/cli/ui.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static struct termios found, suspended;
static volatile sig_atomic_t is_open, paste_on, is_suspended, changed;

static const int ending[] = {SIGHUP, SIGQUIT, SIGPIPE, SIGABRT, SIGSEGV,
                             SIGBUS, SIGFPE,  SIGILL,  SIGXCPU, SIGXFSZ};
enum { N_ENDING = sizeof ending / sizeof *ending };

static void mark_paste(bool on)
{
    static const char text[2][9] = {"\033[?2004l", "\033[?2004h"};
    (void)!write(STDOUT_FILENO, text[on], 8);
}

static void restore(void)
{
    if (!is_open) {
        return;
    }
    if (paste_on) {
        mark_paste(false);
    }
    /* a program in the background may not touch the terminal, and would be stopped for trying */
    if (tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        tcsetattr(STDIN_FILENO, TCSANOW, &found);
    }
}

static void on_ending(int sig)
{
    restore();
    raise(sig); /* SA_RESETHAND: now with its usual effect, once this handler returns */
}

static void on_suspend(int sig)
{
    int keep = errno;
    is_suspended = tcgetattr(STDIN_FILENO, &suspended) == 0;
    restore();
    struct sigaction usual, own;
    memset(&usual, 0, sizeof usual);
    usual.sa_handler = SIG_DFL;
    sigaction(sig, &usual, &own);
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, sig);
    raise(sig);
    pthread_sigmask(SIG_UNBLOCK, &set, &before); /* here it stops */
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    sigaction(sig, &own, NULL);
    errno = keep;
}

static void on_continue(int sig)
{
    (void)sig;
    int keep = errno;
    if (is_suspended && tcgetpgrp(STDIN_FILENO) == getpgrp()) {
        is_suspended = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &suspended);
        if (paste_on) {
            mark_paste(true);
        }
        changed = 1;
    }
    errno = keep;
}

static void on_resize(int sig)
{
    (void)sig;
    changed = 1;
}

static void handle(int sig, void (*fn)(int), int flags)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = fn;
    sa.sa_flags = flags;
    sigemptyset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

void mox_term_open(void)
{
    if (is_open || tcgetattr(STDIN_FILENO, &found) != 0) {
        return;
    }
    is_open = 1;
    for (int i = 0; i < N_ENDING; i++) {
        handle(ending[i], on_ending, SA_RESETHAND);
    }
    handle(SIGTSTP, on_suspend, SA_RESTART);
    /* without SA_RESTART: the line editor's read comes back, and draws its line again */
    handle(SIGCONT, on_continue, 0);
    handle(SIGWINCH, on_resize, 0);
    mox_stop_before_exit(restore);
}

void mox_term_close(void)
{
    if (!is_open) {
        return;
    }
    restore();
    is_open = 0;
    mox_stop_before_exit(NULL);
    for (int i = 0; i < N_ENDING; i++) {
        handle(ending[i], SIG_DFL, 0);
    }
    handle(SIGTSTP, SIG_DFL, 0);
    handle(SIGCONT, SIG_DFL, 0);
    handle(SIGWINCH, SIG_DFL, 0);
}

void mox_term_busy(bool busy)
{
    if (!is_open) {
        return;
    }
    struct termios t = found;
    if (busy) {
        t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
        t.c_lflag |= NOFLSH; /* Ctrl-C stops the answer and leaves what was typed */
    }
    tcsetattr(STDIN_FILENO, TCSANOW, &t);
}

void mox_term_paste(bool on)
{
    if (on != (paste_on != 0)) {
        paste_on = on;
        mark_paste(on);
    }
}

bool mox_term_changed(void)
{
    bool was = changed != 0;
    changed = 0;
    return was;
}
