/* docs/options.md: every option, once, with its variable and its key. */
#include "runtime/cli/docs/docs.h"

#include <string.h>

bool mox_option_takes_file(const mox_option *opt)
{
    return opt->kind == MOX_OPT_TEXT && opt->argument != NULL &&
           (strncmp(opt->argument, "FILE", 4) == 0 || strncmp(opt->argument, "DIR", 3) == 0);
}

/* Cells of a table: a bar would end them. */
static void put(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        fprintf(out, *text == '|' ? "\\%c" : "%c", *text);
    }
}

static void put_commands(FILE *out, const mox_option *opt)
{
    uint32_t n = 0, all = 0;
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        all += !cmd->hidden;
        n += !cmd->hidden && (opt->commands & cmd->bit) != 0;
    }
    if (n == all) {
        fputs("all", out);
        return;
    }
    const char *comma = "";
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (!cmd->hidden && (opt->commands & cmd->bit) != 0) {
            fprintf(out, "%s%s", comma, cmd->name);
            comma = ", ";
        }
    }
}

static void put_row(FILE *out, const mox_option *opt)
{
    char env[64];
    const char *shown = opt->shown != NULL ? opt->shown : opt->initial;
    fputs("| ", out);
    if (opt->letter != '\0') {
        fprintf(out, "`-%c`, ", opt->letter);
    }
    fprintf(out, "`--%s%s", opt->name, opt->argument != NULL ? " " : "");
    put(out, opt->argument != NULL ? opt->argument : "");
    fputs("` | ", out);
    if (!opt->once) {
        fprintf(out, "`%s` | ", mox_option_env(opt, env));
    }
    put(out, shown != NULL ? shown : "");
    fputs(" | ", out);
    put_commands(out, opt);
    fputs(" | ", out);
    put(out, opt->help);
    fputs(" |\n", out);
}

void mox_docs_options(FILE *out)
{
    fputs(
        "# Options and settings\n\n"
        "Written by the program itself (`moxie docs DIR`); a test compares.\n\n"
        "## Settings\n\n"
        "Each may stand on the command line, in the environment, or in a configuration file, where its key "
        "is the "
        "option's\nname without the dashes. The command line wins over the environment, the environment over "
        "files, files over\ndefaults; `moxie config show --origin` shows each value and where it came from, "
        "`moxie config path` the files.\nFlags take `on` or `off` there.\n\n"
        "| option | variable | default | commands | meaning |\n|---|---|---|---|---|\n",
        out);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (!opt->once && !opt->hidden) {
            put_row(out, opt);
        }
    }
    fputs("\nA configuration file:\n\n"
          "    [*]                 ; all models; the same as before any section\n"
          "    ram = 12G\n\n"
          "    [mixtral*]          ; models whose file name matches, above the others\n"
          "    kv = q8_0\n\n"
          "Files, each above the one before: `SYSCONFDIR/moxie/config`, `$XDG_CONFIG_HOME/moxie/config` (or\n"
          "`~/.config/moxie/config`), and the one of `--config` or `MOXIE_CONFIG`. `--config none` reads "
          "none. An "
          "unknown key is\nan error, with its line.\n\n"
          "## Options of one call\n\n"
          "| option | default | commands | meaning |\n|---|---|---|---|\n",
          out);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (opt->once && !opt->hidden) {
            put_row(out, opt);
        }
    }
    fputs("\n## Exit codes\n\n| code | meaning |\n|---|---|\n", out);
    for (const mox_exit_code *e = mox_exit_codes; e->text != NULL; e++) {
        fprintf(out, "| %d | %s |\n", e->code, e->text);
    }
}
