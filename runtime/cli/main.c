/* The program: finds the command, parses its options, runs it, turns its error into an exit code.
 *
 * A reader that leaves (`moxie run ... | head`) is no failure to be told about: the program ends without a word, with
 * the exit code that a shell shows for a program which SIGPIPE ended. The signal itself is ignored, so that a run
 * still ends in order, with its trace, and a reader of stderr that leaves does not end it at all.
 */
#include "runtime/cli/commands.h"
#include "runtime/cli/docs/docs.h"
#include "runtime/cli/near.h"
#include "runtime/cli/ui.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { READER_LEFT = 141 };

/* moxie help --man [COMMAND]: the manual page, in roff. */
static int manual(const char *command)
{
    const mox_command *cmd = command != NULL ? mox_command_find(command) : NULL;
    if (command != NULL && cmd == NULL) {
        return mox_ui_error();
    }
    mox_docs_man(stdout, cmd);
    return 0;
}

/* Nobody reads standard output any more, and something was to be written. */
static bool reader_left(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return ferror(stdout) && poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

/* A model that cannot be opened may be misspelt: the file beside it with the nearest name. */
static void suggest_file(const mox_opts *o)
{
    char near[1024];
    if (mox_err_last()->sys == ENOENT && o->cfg.model != NULL && access(o->cfg.model, F_OK) != 0 &&
        mox_near_file(o->cfg.model, near, sizeof near)) {
        mox_err_fix("did you mean %.200s?", near);
    }
}

static int dispatch(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--version") == 0) {
        printf("moxie %s\n", MOXIE_VERSION);
        return 0;
    }
    bool help = strcmp(word, "help") == 0;
    if (help && argc > 2 && strcmp(argv[2], "--man") == 0) {
        return manual(argc > 3 ? argv[3] : NULL);
    }
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || (help && argc == 2)) {
        mox_help_program();
        return 0;
    }
    const mox_command *cmd = mox_command_find(help ? argv[2] : word);
    if (cmd == NULL) {
        return mox_ui_error();
    }
    static mox_opts opts;
    if (cmd->run_form != NULL && argc > 2 + help && strcmp(argv[2 + help], "run") == 0) {
        cmd = cmd->run_form;
        argc--;
        argv++;
    }
    if (help) {
        mox_help_command(cmd, true);
        return 0;
    }
    if (mox_opts_parse(cmd, argc - 2, argv + 2, &opts) != MOX_OK) {
        return mox_ui_error();
    }
    if (opts.help || opts.help_all) {
        mox_help_command(cmd, opts.help_all);
        return 0;
    }
    mox_err err = cmd->run(&opts);
    if (err == MOX_E_OPEN) {
        suggest_file(&opts);
    }
    return err == MOX_OK ? mox_stop_requested() : reader_left() ? READER_LEFT : mox_ui_error();
}

/* What is opened later must not become standard output: a trace would then hold the text. */
static void keep_standard_files(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) == -1) {
            (void)!open("/dev/null", O_RDONLY); /* the lowest free one; writing to it fails, as it should */
        }
    }
}

int main(int argc, char **argv)
{
    /* A buffer of our own: stdio would allocate one at the first write, after "ready". */
    static char stdout_buffer[65536];
    keep_standard_files();
    setvbuf(stdout, stdout_buffer, _IOFBF, sizeof stdout_buffer);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error like a full disk */
    mox_stop_install();
    int code = dispatch(argc, argv);
    errno = 0;
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        (void)!MOX_FAIL_SYS(MOX_E_WRITE, errno, "standard output could not be written");
        code = reader_left() ? READER_LEFT : mox_ui_error();
    }
    return code;
}
