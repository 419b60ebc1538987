/* --help, from the tables of options and commands: one screen, examples first. */
#include "runtime/cli/options.h"

#include <stdio.h>
#include <string.h>

void mox_help_program(void)
{
    printf("moxie: run Mixture-of-Experts models that are bigger than the memory they should fit in\n\n"
           "  moxie run -p \"Once upon a time\"                    the built-in demo model\n"
           "  moxie run mixtral.Q4_K_M.gguf -p \"Why?\" --ram 12G   never more than 12 GiB of memory\n\n");
    for (const mox_command *c = mox_commands; c->name != NULL; c++) {
        if (!c->hidden) {
            printf("  %-11s %s\n", c->name, c->summary);
        }
    }
    printf("\nmoxie COMMAND --help shows a command's options; moxie --version the version.\n");
}

static void print_option(const mox_option *opt)
{
    char left[64];
    int n = 0;
    if (opt->letter != '\0') {
        n = snprintf(left, sizeof left, "-%c, ", opt->letter);
    } else {
        n = snprintf(left, sizeof left, "    ");
    }
    snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s", opt->name, opt->argument ? " " : "",
             opt->argument ? opt->argument : "");
    const char *shown = opt->shown != NULL ? opt->shown : opt->initial;
    printf("  %-38s %s", left, opt->help);
    if (shown != NULL) {
        printf(" [%s]", shown);
    }
    printf("\n");
}

void mox_help_command(const mox_command *cmd)
{
    printf("%s\nmoxie %s %s: %s\n\n", cmd->examples, cmd->name, cmd->usage, cmd->summary);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if ((opt->commands & cmd->bit) && !opt->hidden) {
            print_option(opt);
        }
    }
}
