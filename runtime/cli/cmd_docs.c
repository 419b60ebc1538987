/* moxie completion SHELL: a script on stdout. moxie docs DIR: everything the program writes about itself, for
 * the build: manual pages, completion scripts, options.md. */
#include "runtime/cli/commands.h"
#include "runtime/cli/docs/docs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

mox_err mox_cmd_completion(mox_opts *o)
{
    for (int shell = 0; shell < MOX_SHELLS; shell++) {
        if (o->words[0] != NULL && strcmp(o->words[0], mox_shell_names[shell]) == 0) {
            mox_docs_completion(stdout, (mox_shell)shell);
            return MOX_OK;
        }
    }
    mox_err err = o->words[0] != NULL ? MOX_FAIL(MOX_E_OPTION, "no completion for %.60s", o->words[0])
                                      : MOX_FAIL(MOX_E_OPTION, "completion for which shell?");
    mox_err_fix("moxie completion bash|zsh|fish");
    return err;
}

typedef struct doc_file {
    FILE *f;
    char path[4200];
} doc_file;

static mox_err doc_open(doc_file *d, const char *dir, const char *name)
{
    snprintf(d->path, sizeof d->path, "%.4000s/%s", dir, name);
    d->f = fopen(d->path, "w");
    return d->f != NULL ? MOX_OK : MOX_FAIL_SYS(MOX_E_WRITE, errno, "%.300s cannot be created", d->path);
}

static mox_err doc_close(doc_file *d)
{
    bool failed = ferror(d->f) != 0;
    failed |= fclose(d->f) != 0;
    return failed ? MOX_FAIL(MOX_E_WRITE, "%.300s could not be written", d->path) : MOX_OK;
}

static mox_err write_man(const char *dir, const mox_command *cmd)
{
    char name[64];
    doc_file d;
    snprintf(name, sizeof name, "moxie%s%s.1", cmd != NULL ? "-" : "", cmd != NULL ? cmd->name : "");
    MOX_TRY(doc_open(&d, dir, name));
    mox_docs_man(d.f, cmd);
    return doc_close(&d);
}

mox_err mox_cmd_docs(mox_opts *o)
{
    /* where packages want them */
    static const char *const names[MOX_SHELLS] = {"moxie", "_moxie", "moxie.fish"};
    const char *dir = o->words[0];
    doc_file d;
    if (dir == NULL) {
        return MOX_FAIL(MOX_E_OPTION, "docs needs a folder to write into");
    }
    if (mkdir(dir, 0777) != 0 && errno != EEXIST) {
        return MOX_FAIL_SYS(MOX_E_WRITE, errno, "%.300s cannot be created", dir);
    }
    MOX_TRY(write_man(dir, NULL));
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (!cmd->hidden) {
            MOX_TRY(write_man(dir, cmd));
        }
    }
    for (int shell = 0; shell < MOX_SHELLS; shell++) {
        MOX_TRY(doc_open(&d, dir, names[shell]));
        mox_docs_completion(d.f, (mox_shell)shell);
        MOX_TRY(doc_close(&d));
    }
    MOX_TRY(doc_open(&d, dir, "options.md"));
    mox_docs_options(d.f);
    return doc_close(&d);
}
