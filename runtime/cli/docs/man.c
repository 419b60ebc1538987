/* Manual pages in roff's man macros: one of the program, with settings, files and exit codes, and one of each
 * command with its options. */
#include "runtime/cli/docs/docs.h"

#include <string.h>

const mox_exit_code mox_exit_codes[] = {
    {0, "done"},
    {1, "a failure while running"},
    {2, "wrong use: an option, a setting, an argument"},
    {3, "the model file is bad or not supported"},
    {4, "it does not fit in the given memory"},
    {5, "no usable device"},
    {6, "a file could not be opened, read or written"},
    {8, "a check failed"},
    {130, "stopped by Ctrl-C"},
    {141, "the reader of standard output left"},
    {143, "stopped by SIGTERM"},
    {0, NULL},
};

/* Text with roff's own characters escaped; lines that begin with a macro character too. */
static void put(FILE *out, const char *text)
{
    bool start = true;
    for (; *text != '\0'; text++) {
        if (start && (*text == '.' || *text == '\'')) {
            fputs("\\&", out);
        }
        if (*text == '\\') {
            fputs("\\e", out);
        } else if (*text == '-') {
            fputs("\\-", out);
        } else {
            fputc(*text, out);
        }
        start = *text == '\n';
    }
}

static void put_font(FILE *out, char font, const char *text)
{
    fprintf(out, "\\f%c", font);
    put(out, text);
    fputs("\\fR", out);
}

static void title(FILE *out, const char *command)
{
    fputs(".TH \"MOXIE", out);
    for (; *command != '\0'; command++) {
        fputc(*command >= 'a' && *command <= 'z' ? *command - 'a' + 'A' : *command, out);
    }
    fprintf(out, "\" \"1\" \"\" \"moxie %s\" \"User Commands\"\n", MOXIE_VERSION);
}

static void put_option(FILE *out, const mox_option *opt)
{
    char letter[3] = {'-', opt->letter, '\0'}, env[64];
    char name[80];
    fputs(".TP\n", out);
    if (opt->letter != '\0') {
        put_font(out, 'B', letter);
        fputs(", ", out);
    }
    snprintf(name, sizeof name, "--%s", opt->name);
    put_font(out, 'B', name);
    if (opt->argument != NULL) {
        fputc(' ', out);
        put_font(out, 'I', opt->argument);
    }
    fputc('\n', out);
    put(out, opt->help);
    fputs(".\n", out);
    const char *shown = opt->shown != NULL ? opt->shown : opt->initial;
    if (shown != NULL) {
        fputs("Default: ", out);
        put(out, shown);
        fputs(".\n", out);
    }
    if (!opt->once) {
        fputs("Variable: ", out);
        put_font(out, 'B', mox_option_env(opt, env));
        fputs(".\n", out);
    }
}

static void examples(FILE *out, const mox_command *cmd)
{
    fputs(".SH EXAMPLES\n.nf\n", out);
    put(out, cmd->examples);
    fputs(".fi\n", out);
}

static void exit_codes(FILE *out)
{
    fputs(".SH EXIT STATUS\n", out);
    for (const mox_exit_code *e = mox_exit_codes; e->text != NULL; e++) {
        fprintf(out, ".TP\n.B %d\n", e->code);
        put(out, e->text);
        fputs(".\n", out);
    }
    fputs(".PP\nErrors carry a number, [MX\\-nnnn]; \\fBmoxie explain\\fR \\fICODE\\fR says what it means.\n",
          out);
}

static void man_command(FILE *out, const mox_command *cmd)
{
    char name[40];
    snprintf(name, sizeof name, "-%s", cmd->name);
    title(out, name);
    fputs(".SH NAME\nmoxie", out);
    put(out, name);
    fputs(" \\- ", out);
    put(out, cmd->summary);
    fputs("\n.SH SYNOPSIS\n\\fBmoxie ", out);
    put(out, cmd->name);
    fputs("\\fR ", out);
    put(out, cmd->usage);
    fputc('\n', out);
    if (cmd->about != NULL) {
        fputs(".SH DESCRIPTION\n", out);
        put(out, cmd->about);
        fputc('\n', out);
    }
    examples(out, cmd);
    fputs(".SH OPTIONS\n", out);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if ((opt->commands & cmd->bit) && !opt->hidden) {
            put_option(out, opt);
        }
    }
    exit_codes(out);
    fputs(".SH SEE ALSO\n.BR moxie (1)\n", out);
}

/* Every setting with its variable, its key and where it applies. */
static void settings(FILE *out)
{
    fputs(".SH SETTINGS\nEach option of the list below may also be given as an environment variable, or as a "
          "key "
          "of a configuration file. The command line wins over the environment, the environment over files, "
          "files over defaults. \\fBmoxie config show \\-\\-origin\\fR shows each value and where it came "
          "from.\n",
          out);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        char env[64];
        if (opt->once || opt->hidden) {
            continue;
        }
        fputs(".TP\n", out);
        put_font(out, 'B', opt->name);
        fputs(", ", out);
        put_font(out, 'B', mox_option_env(opt, env));
        fputc('\n', out);
        put(out, opt->help);
        fputs(".\n", out);
    }
}

static void files(FILE *out)
{
    fputs(".SH FILES\n.TP\n.I ", out);
    put(out, MOXIE_SYSCONFDIR "/moxie/config");
    fputs(
        "\nsettings for everyone.\n.TP\n.I $XDG_CONFIG_HOME/moxie/config\nthe user\\(cqs settings; without "
        "that "
        "variable \\fI~/.config/moxie/config\\fR.\n.PP\nA third file may be named by \\fB\\-\\-config\\fR or "
        "\\fBMOXIE_CONFIG\\fR; each stands above the one before, and \\fInone\\fR leaves all of them out. "
        "Lines "
        "are \\fIkey = value\\fR; keys are names of options. Those at the beginning or under \\fB[*]\\fR are "
        "for "
        "all models, those under \\fB[PATTERN]\\fR for models whose file name matches the pattern, and stand "
        "above. A comment begins with ; or #. An unknown key is an error.\n.PP\n.nf\n"
        "[*]\nram = 12G\n\n[mixtral*]\nkv = q8_0\n.fi\n",
        out);
}

static void man_program(FILE *out)
{
    title(out, "");
    fputs(
        ".SH NAME\nmoxie \\- run Mixture\\-of\\-Experts models that are bigger than memory\n"
        ".SH SYNOPSIS\n\\fBmoxie\\fR \\fICOMMAND\\fR [\\fIMODEL\\fR] [\\fIoptions\\fR]\n"
        ".SH DESCRIPTION\nThe dense part of a model stays in memory; of its experts, as many as a byte "
        "budget "
        "allows are kept, and the others are read from the file ahead of their use. The answer is the same, "
        "to the bit, from any split.\n.SH COMMANDS\n",
        out);
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (!cmd->hidden) {
            fputs(".TP\n.BR moxie\\-", out);
            put(out, cmd->name);
            fputs(" (1)\n", out);
            put(out, cmd->summary);
            fputs(".\n", out);
        }
    }
    settings(out);
    files(out);
    exit_codes(out);
}

void mox_docs_man(FILE *out, const mox_command *cmd)
{
    if (cmd != NULL) {
        man_command(out, cmd);
    } else {
        man_program(out);
    }
}
