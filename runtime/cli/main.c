/* The program: finds the command, parses its options, runs it, turns its error into an exit code. */
#include "runtime/cli/commands.h"
#include "runtime/cli/docs.h"
#include "runtime/cli/ui.h"

#include <stdio.h>
#include <string.h>

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
    if (cmd->run(&opts) != MOX_OK) {
        return mox_ui_error();
    }
    return mox_stop_requested();
}

int main(int argc, char **argv)
{
    /* A buffer of our own: stdio would allocate one at the first write, after "ready". */
    static char stdout_buffer[65536];
    setvbuf(stdout, stdout_buffer, _IOFBF, sizeof stdout_buffer);
    mox_stop_install();
    int code = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        (void)!MOX_FAIL(MOX_E_WRITE, "standard output could not be written");
        code = mox_ui_error();
    }
    return code;
}
