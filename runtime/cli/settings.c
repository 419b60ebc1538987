/* Files, then environment, into the options; each value with its rank, so that the order in which they are
 * looked at does not matter. Strings from files live as long as the program. */
#include "runtime/cli/settings.h"
#include "runtime/cli/config_file.h"
#include "runtime/cli/near.h"
#include "runtime/cli/open.h"
#include "runtime/cli/ui.h"

#include <errno.h>
#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

mox_err mox_config_paths(const char *config, mox_config_path out[MOX_CONFIG_PATHS])
{
    config = config != NULL ? config : getenv("MOXIE_CONFIG");
    out[0] = (mox_config_path){.what = "system", .rank = MOX_RANK_SYSTEM};
    out[1] = (mox_config_path){.what = "user", .rank = MOX_RANK_USER};
    out[2] = (mox_config_path){.what = "--config", .rank = MOX_RANK_FILE, .must_exist = true};
    if (config != NULL && strcmp(config, "none") == 0) {
        return MOX_OK;
    }
    snprintf(out[0].path, sizeof out[0].path, "%s/moxie/config", MOXIE_SYSCONFDIR);
    const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    int n = 0;
    if (xdg != NULL && xdg[0] == '/') { /* the specification: others are to be ignored */
        n = snprintf(out[1].path, sizeof out[1].path, "%s/moxie/config", xdg);
    } else if (home != NULL && home[0] == '/') {
        n = snprintf(out[1].path, sizeof out[1].path, "%s/.config/moxie/config", home);
    }
    if (n >= (int)sizeof out[1].path) {
        return MOX_FAIL(MOX_E_CONFIG, "the path of the user's configuration has %d bytes, the limit is %zu",
                        n, sizeof out[1].path - 1);
    }
    n = config != NULL ? snprintf(out[2].path, sizeof out[2].path, "%s", config) : 0;
    if (n >= (int)sizeof out[2].path) {
        return MOX_FAIL(MOX_E_CONFIG, "the path of --config has %d bytes, the limit is %zu", n,
                        sizeof out[2].path - 1);
    }
    return MOX_OK;
}

/* The record's message with the place of the setting in front; what would help stays. */
static mox_err at_place(const mox_setting *from, const char *name)
{
    char fix[sizeof mox_err_last()->fix];
    memcpy(fix, mox_err_last()->fix, sizeof fix);
    if (from->origin == MOX_FROM_ENV) {
        (void)!MOX_FAIL(MOX_E_CONFIG, "%s: %s", name, mox_err_last()->msg);
    } else {
        (void)!MOX_FAIL(MOX_E_CONFIG, "%.200s:%u: %s", from->file, from->line, mox_err_last()->msg);
    }
    return mox_err_fix("%s", fix);
}

static mox_err apply(const mox_command *cmd, const mox_option *opt, const char *name, const char *value,
                     const mox_setting *from, mox_opts *o)
{
    static mox_opts checked; /* settings of other commands' options are checked too */
    mox_err err = mox_option_of(opt, cmd) ? mox_option_set(opt, value, from, o)
                                          : mox_option_store(opt, value, &checked);
    return err == MOX_OK ? MOX_OK : at_place(from, name);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* [PATTERN] against the file name, with or without .gguf. */
static bool section_matches(const char *section, const char *model)
{
    char name[256];
    size_t n = (size_t)snprintf(name, sizeof name, "%s", base_name(model != NULL ? model : mox_cli_demo()));
    if (fnmatch(section, name, 0) == 0) {
        return true;
    }
    if (n > 5 && n < sizeof name && strcmp(name + n - 5, ".gguf") == 0) {
        name[n - 5] = '\0';
    }
    return fnmatch(section, name, 0) == 0;
}

static bool for_all(const mox_config_entry *e)
{
    return e->section[0] == '\0' || strcmp(e->section, "*") == 0;
}

/* The entries of one file: those for all models, or those for this one. */
static mox_err apply_file(const mox_command *cmd, const mox_config_path *at, const mox_config_file *file,
                          bool all, mox_opts *o)
{
    for (uint32_t i = 0; i < file->n; i++) {
        const mox_config_entry *e = &file->entries[i];
        mox_setting from = {.file = at->path, .line = e->line, .origin = MOX_FROM_CONFIG};
        from.rank = at->rank + !all;
        const char *nearest = NULL;
        const mox_option *opt = mox_option_key(e->key, &nearest);
        if (opt == NULL) {
            mox_err err =
                nearest != NULL
                    ? MOX_FAIL(MOX_E_CONFIG, "%.300s:%u: unknown key %.60s; did you mean %s?", at->path,
                               e->line, e->key, nearest)
                    : MOX_FAIL(MOX_E_CONFIG, "%.300s:%u: unknown key %.60s", at->path, e->line, e->key);
            mox_err_fix("moxie config show   lists the keys");
            return err;
        }
        if (for_all(e) != all || (!all && !section_matches(e->section, o->model))) {
            continue;
        }
        if (!all && opt->field == offsetof(mox_opts, model)) {
            return MOX_FAIL(MOX_E_CONFIG, "%.300s:%u: model belongs under [*]: the sections depend on it",
                            at->path, e->line);
        }
        MOX_TRY(apply(cmd, opt, e->key, e->value, &from, o));
    }
    return MOX_OK;
}

/* The option of an environment variable; NULL and the nearest if there is none. */
static const mox_option *option_of_env(const char *name, const mox_option **nearest)
{
    mox_near near = {.typed = name + strlen("MOXIE_")};
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        char env[64];
        if (opt->once) {
            continue;
        }
        if (strcmp(mox_option_env(opt, env), name) == 0) {
            return opt;
        }
        size_t before = near.name != NULL ? near.edits : SIZE_MAX;
        mox_near_try(&near, env + strlen("MOXIE_"));
        *nearest = near.name != NULL && near.edits < before ? opt : *nearest;
    }
    return NULL;
}

/* A variable that no option has is not an error, since other programs may own it, but it is said. */
static void unknown_variable(const char *name, const mox_option *nearest)
{
    char env[64];
    if (strcmp(name, "MOXIE_CONFIG") == 0) {
        return;
    }
    if (nearest != NULL) {
        mox_ui_line("warning: %s is not used by moxie; did you mean %s?", name, mox_option_env(nearest, env));
    } else {
        mox_ui_line("warning: %s is not used by moxie", name);
    }
}

static mox_err apply_environment(const mox_command *cmd, mox_opts *o)
{
    for (char **v = environ; *v != NULL; v++) {
        size_t n = strcspn(*v, "=");
        char name[64];
        if (strncmp(*v, "MOXIE_", 6) != 0 || (*v)[n] != '=' || n >= sizeof name) {
            continue;
        }
        memcpy(name, *v, n);
        name[n] = '\0';
        const mox_option *nearest = NULL, *opt = option_of_env(name, &nearest);
        mox_setting from = {.origin = MOX_FROM_ENV, .rank = MOX_RANK_ENV};
        if (opt != NULL) {
            MOX_TRY(apply(cmd, opt, name, *v + n + 1, &from, o));
        } else {
            unknown_variable(name, nearest);
        }
    }
    return MOX_OK;
}

/* Commands whose options belong to one call, such as `explain`, work whatever the configuration holds. */
static bool can_be_configured(const mox_command *cmd)
{
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (!opt->once && mox_option_of(opt, cmd)) {
            return true;
        }
    }
    return false;
}

mox_err mox_settings_load(const mox_command *cmd, mox_opts *o)
{
    static mox_config_path paths[MOX_CONFIG_PATHS];
    static mox_config_file files[MOX_CONFIG_PATHS];
    if (!can_be_configured(cmd)) {
        return MOX_OK;
    }
    MOX_TRY(mox_config_paths(o->config, paths));
    for (int i = 0; i < MOX_CONFIG_PATHS; i++) {
        if (paths[i].path[0] != '\0' && (paths[i].must_exist || access(paths[i].path, F_OK) == 0)) {
            MOX_TRY(mox_config_read(paths[i].path, &files[i]));
        }
        MOX_TRY(apply_file(cmd, &paths[i], &files[i], true, o));
    }
    MOX_TRY(apply_environment(cmd, o));
    /* the model is known now */
    for (int i = 0; i < MOX_CONFIG_PATHS; i++) {
        MOX_TRY(apply_file(cmd, &paths[i], &files[i], false, o));
    }
    return MOX_OK;
}
