/* --help, from the tables of options and commands: one screen, examples first. --help-all: every option.
 *
 * A command with few options shows them all at once; of one with many, --help shows those marked common.
 * Lines are broken at 80 columns, whatever the terminal: what is documented looks the same everywhere.
 */
#include "runtime/cli/options.h"

#include <stdio.h>
#include <string.h>

enum { COLUMNS = 80, LEFT = 29, FEW = 12 };

void mox_help_program(void)
{
    printf("moxie: run Mixture-of-Experts models that are bigger than memory\n"
           "  moxie run -p \"Once upon a time\"                  the built-in demo model\n"
           "  moxie run mixtral.gguf -p \"Why?\" --ram 12G       within 12 GiB of memory\n\n");
    for (const mox_command *c = mox_commands; c->name != NULL; c++) {
        if (!c->hidden) {
            printf("  %-11s %s\n", c->name, c->summary);
        }
    }
    printf("\nmoxie COMMAND --help: its usual options; --help-all: every one. moxie --version\n");
}

/* Words, broken before the right edge; each line begins at column `indent`, where the cursor stands. */
static void print_wrapped(const char *text, int indent)
{
    int column = indent;
    while (*text != '\0') {
        int n = (int)strcspn(text, " ");
        if (column > indent && column + 1 + n > COLUMNS) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", n, text);
        column += n;
        text += n + (text[n] == ' ');
    }
    printf("\n");
}

static void print_option(const mox_option *opt)
{
    char left[96], right[320], letter[8] = "";
    if (opt->letter != '\0') {
        snprintf(letter, sizeof letter, "-%c, ", opt->letter);
    }
    int n = snprintf(left, sizeof left, "  %s--%s%s%s", letter, opt->name, opt->argument ? " " : "",
                     opt->argument ? opt->argument : "");
    const char *shown = opt->shown != NULL ? opt->shown : opt->initial;
    if (shown != NULL) {
        snprintf(right, sizeof right, "%s [%s]", opt->help, shown);
    } else {
        snprintf(right, sizeof right, "%s", opt->help);
    }
    printf("%s", left);
    if (n + 1 > LEFT) {
        printf("\n");
        n = 0;
    }
    printf("%*s", LEFT - n, "");
    print_wrapped(right, LEFT);
}

void mox_help_command(const mox_command *cmd, bool all)
{
    uint32_t n = 0;
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        n += (opt->commands & cmd->bit) && !opt->hidden;
    }
    printf("%s\nmoxie %s %s\n", cmd->examples, cmd->name, cmd->usage);
    print_wrapped(cmd->summary, 0);
    if (all && cmd->about != NULL) {
        printf("\n");
        print_wrapped(cmd->about, 0);
    }
    printf("\n");
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if ((opt->commands & cmd->bit) && !opt->hidden && (all || opt->common || n <= FEW)) {
            print_option(opt);
        }
    }
}
