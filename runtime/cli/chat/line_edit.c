/* Reading a line with libedit, which is used in this file alone.
 *
 * Two things are done differently from libedit's own way. Keys that would be signals (Ctrl-C, Ctrl-Z, Ctrl-\) arrive as
 * characters while a line is edited, so that they are handled between two keystrokes and never in the middle of
 * drawing. And characters are read here, as UTF-8 whatever the locale, because libedit would decode by the locale and
 * because a read that was interrupted must draw the line again (another window size, back from being suspended).
 * Pasted text comes between two marks (bracketed paste) and goes into the line whole: a newline in it does not send it.
 */
#include "runtime/cli/chat/history.h"
#include "runtime/cli/chat/line.h"
#include "runtime/cli/chat/terminal.h"
#include "runtime/gguf/utf8.h"

#include <errno.h>
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mox_line {
    EditLine *el;
    History *history;
    char *history_path; /* NULL: nothing is kept */
    const char *prompt;
    bool interrupted;
    size_t n_at_interrupt;
    char *text; /* of the last read */
    size_t text_cap;
    char *last; /* entry of the history */
};

static mox_line *of(EditLine *el)
{
    mox_line *line = NULL;
    el_get(el, EL_CLIENTDATA, &line);
    return line;
}

static char *show_prompt(EditLine *el)
{
    static char prompt[32];
    snprintf(prompt, sizeof prompt, "%s", of(el)->prompt);
    return prompt;
}

/* One byte; false at the end of input. Draws the line again where the terminal has changed. */
static bool next_byte(EditLine *el, uint8_t *byte)
{
    for (;;) {
        ssize_t n = read(STDIN_FILENO, byte, 1);
        if (n == 1) {
            return true;
        }
        if (n == 0 || errno != EINTR) {
            return false;
        }
        if (mox_term_changed()) {
            /* where the line's rows went is not known: it is drawn again from this one */
            fputs("\r\033[J", stdout);
            el_resize(el);
            el_set(el, EL_REFRESH);
        }
    }
}

static int next_char(EditLine *el, wchar_t *out)
{
    uint8_t bytes[MOX_UTF8_MAX];
    size_t n = 0, len = 0;
    while (n < MOX_UTF8_MAX && next_byte(el, &bytes[n])) {
        mox_utf8_state state = mox_utf8_step(bytes, ++n, &len);
        if (state == MOX_UTF8_PARTIAL) {
            continue;
        }
        uint32_t cp = 0xFFFD;
        if (state == MOX_UTF8_CHAR) {
            mox_utf8_next(bytes, n, &cp);
        }
        *out = (wchar_t)cp;
        return 1;
    }
    return 0;
}

/* Behind the last row of what stands there; returns by how much the cursor moved. */
static int go_below(EditLine *el, const char *text)
{
    const LineInfoW *info = el_wline(el);
    int n = (int)(info->lastchar - info->cursor);
    el_cursor(el, n);
    el_set(el, EL_REFRESH);
    fputs(text, stdout);
    fflush(stdout);
    return n;
}

static unsigned char on_interrupt(EditLine *el, int ch)
{
    (void)ch;
    mox_line *line = of(el);
    const LineInfo *info = el_line(el);
    line->interrupted = true;
    line->n_at_interrupt = (size_t)(info->lastchar - info->buffer);
    go_below(el, "^C\n");
    return CC_EOF;
}

static unsigned char on_suspend(EditLine *el, int ch)
{
    (void)ch;
    int moved = go_below(el, "\n");
    raise(SIGTSTP); /* the handler puts the terminal back, stops, and takes it up again */
    mox_term_changed();
    el_cursor(el, -moved);
    el_set(el, EL_REFRESH); /* all of it, from here */
    return CC_NORM;
}

static unsigned char on_quit(EditLine *el, int ch)
{
    (void)el;
    (void)ch;
    raise(SIGQUIT);
    return CC_NORM;
}

static unsigned char on_newline(EditLine *el, int ch)
{
    (void)ch;
    el_insertstr(el, "\n");
    return CC_REFRESH;
}

/* Everything up to the closing mark; carriage returns are newlines, other control characters are left out. Ctrl-C ends
 * it too, for terminals that lose the mark. */
static unsigned char on_paste(EditLine *el, int ch)
{
    (void)ch;
    static const wchar_t mark[] = L"\033[201~";
    enum { N_MARK = 6 };
    size_t n = 0, cap = 4096;
    wchar_t *text = malloc((cap + 1) * sizeof *text), c = 0, before = 0;
    while (text != NULL && el_wgetc(el, &c) == 1 && c != 3) {
        if (n == cap) {
            wchar_t *more = realloc(text, (2 * cap + 1) * sizeof *text);
            if (more == NULL) {
                break;
            }
            text = more;
            cap *= 2;
        }
        if (c != L'\n' || before != L'\r') {
            text[n++] = c == L'\r' ? L'\n' : c;
        }
        before = c;
        if (n >= N_MARK && wmemcmp(text + n - N_MARK, mark, N_MARK) == 0) {
            n -= N_MARK;
            break;
        }
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if ((text[i] >= 32 && text[i] != 127) || text[i] == L'\n' || text[i] == L'\t') {
            text[kept++] = text[i];
        }
    }
    if (text != NULL && kept > 0) {
        text[kept] = L'\0';
        el_winsertstr(el, text);
    }
    free(text);
    return CC_REFRESH;
}

static void bind_keys(EditLine *el)
{
    static const char *const keys[][2] = {
        {"^C", "mox-interrupt"},      {"^Z", "mox-suspend"},
        {"^\\", "mox-quit"},          {"\\e\\r", "mox-newline"},
        {"\\e\\n", "mox-newline"},    {"\\e[200~", "mox-paste"},
        {"^R", "em-inc-search-prev"}, {"\\e[3~", "ed-delete-next-char"},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        el_set(el, EL_BIND, keys[i][0], keys[i][1], NULL);
    }
}

static void from_file(void *arg, const char *entry)
{
    mox_line *line = arg;
    HistEvent ev;
    history(line->history, &ev, H_ENTER, entry);
}

mox_err mox_line_create(mox_line **out, const char *history_path)
{
    /* libedit writes wide characters by the locale; text is UTF-8 here */
    if (setlocale(LC_CTYPE, "") == NULL || strcmp(nl_langinfo(CODESET), "UTF-8") != 0) {
        setlocale(LC_CTYPE, "C.UTF-8");
    }
    mox_line *line = calloc(1, sizeof *line);
    if (line == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory to read lines");
    }
    HistEvent ev;
    line->prompt = "";
    line->el = el_init("moxie", stdin, stdout, stderr);
    line->history = history_init();
    line->history_path = history_path != NULL ? strdup(history_path) : NULL;
    if (line->el == NULL || line->history == NULL) {
        mox_line_destroy(&line);
        return MOX_FAIL(MOX_E_NO_MEMORY, "the line editor cannot be started");
    }
    EditLine *el = line->el;
    history(line->history, &ev, H_SETSIZE, MOX_HISTORY_MAX);
    history(line->history, &ev, H_SETUNIQUE, 1);
    el_set(el, EL_CLIENTDATA, line);
    el_set(el, EL_PROMPT, show_prompt);
    el_set(el, EL_EDITOR, "emacs");
    el_set(el, EL_SIGNAL, 0);
    el_set(el, EL_HIST, history, line->history);
    el_set(el, EL_GETCFN, next_char);
    el_set(el, EL_SETTY, "-d", "-isig", NULL);
    el_set(el, EL_ADDFN, "mox-interrupt", "drop the line", on_interrupt);
    el_set(el, EL_ADDFN, "mox-suspend", "suspend the program", on_suspend);
    el_set(el, EL_ADDFN, "mox-quit", "end the program", on_quit);
    el_set(el, EL_ADDFN, "mox-newline", "a new line in the text", on_newline);
    el_set(el, EL_ADDFN, "mox-paste", "pasted text", on_paste);
    bind_keys(el);
    mox_err err = history_path != NULL ? mox_history_load(history_path, from_file, line) : MOX_OK;
    if (err != MOX_OK) {
        mox_line_destroy(&line);
        return err;
    }
    *out = line;
    return MOX_OK;
}

void mox_line_destroy(mox_line **out)
{
    mox_line *line = *out;
    if (line == NULL) {
        return;
    }
    if (line->history != NULL) {
        history_end(line->history);
    }
    if (line->el != NULL) {
        el_end(line->el);
    }
    free(line->history_path);
    free(line->text);
    free(line->last);
    free(line);
    *out = NULL;
}

static bool keep_text(mox_line *line, const char *text, size_t n)
{
    if (n + 1 > line->text_cap) {
        char *more = realloc(line->text, n + 1);
        if (more == NULL) {
            return false;
        }
        line->text = more;
        line->text_cap = n + 1;
    }
    memcpy(line->text, text, n);
    line->text[n] = '\0';
    return true;
}

mox_line_result mox_line_read(mox_line *line, const char *prompt, const char **text, size_t *n)
{
    int count = 0;
    line->prompt = prompt;
    line->interrupted = false;
    bind_keys(line->el); /* libedit binds the terminal's own control characters when they change */
    mox_term_changed();
    mox_term_paste(true);
    const char *got = el_gets(line->el, &count);
    mox_term_paste(false);
    if (line->interrupted) {
        *n = line->n_at_interrupt;
        return MOX_LINE_INTERRUPT;
    }
    if (got == NULL || count <= 0) {
        fputc('\n', stdout);
        fflush(stdout);
        return MOX_LINE_END;
    }
    size_t len = strlen(got);
    len -= len > 0 && got[len - 1] == '\n';
    if (!keep_text(line, got, len)) {
        return MOX_LINE_END;
    }
    *text = line->text;
    *n = len;
    return MOX_LINE_TEXT;
}

mox_err mox_line_remember(mox_line *line, const char *text)
{
    HistEvent ev;
    if (text[0] == '\0' || text[0] == ' ' || (line->last != NULL && strcmp(line->last, text) == 0)) {
        return MOX_OK;
    }
    free(line->last);
    line->last = strdup(text);
    history(line->history, &ev, H_ENTER, text);
    mox_err err = line->history_path != NULL ? mox_history_add(line->history_path, text) : MOX_OK;
    if (err != MOX_OK) {
        free(line->history_path); /* said once; the chat goes on without */
        line->history_path = NULL;
    }
    return err;
}
