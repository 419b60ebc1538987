/* What is written about the command line by the program itself, from its tables: manual pages, completion
 * scripts, the reference of settings. Made at build time by `moxie docs DIR`, so that none can fall behind. */
#ifndef MOX_CLI_DOCS_H
#define MOX_CLI_DOCS_H

#include "runtime/cli/options.h"

#include <stdio.h>

/* Exit codes of the program, in order; text == NULL ends the list. */
typedef struct mox_exit_code {
    int code;
    const char *text;
} mox_exit_code;
extern const mox_exit_code mox_exit_codes[];

typedef enum mox_shell { MOX_SHELL_BASH, MOX_SHELL_ZSH, MOX_SHELL_FISH, MOX_SHELLS } mox_shell;
extern const char *const mox_shell_names[MOX_SHELLS];

void mox_docs_man(FILE *out, const mox_command *cmd); /* roff; NULL: the program's page */
void mox_docs_completion(FILE *out, mox_shell shell);
void mox_docs_options(FILE *out); /* Markdown: docs/options.md */

/* Does an option's value name a file? Completion and manuals treat it so. */
bool mox_option_takes_file(const mox_option *opt);

#endif
