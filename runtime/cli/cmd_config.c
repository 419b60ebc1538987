/* moxie config: what is set, and where it comes from; which files are looked at. */
#include "runtime/cli/commands.h"
#include "runtime/cli/settings.h"
#include "runtime/cli/ui.h"

#include "profiler/report/json.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* "default", "FILE:LINE", "environment", "command line" */
static const char *origin_text(const mox_setting *set, const mox_option *opt, char out[1100])
{
    char env[64];
    switch (set->origin) {
    case MOX_FROM_CONFIG:
        snprintf(out, 1100, "%s:%u", set->file, set->line);
        break;
    case MOX_FROM_ENV:
        snprintf(out, 1100, "environment, %s", mox_option_env(opt, env));
        break;
    case MOX_FROM_ARGS:
        snprintf(out, 1100, "command line");
        break;
    case MOX_FROM_DEFAULT:
        snprintf(out, 1100, "default");
        break;
    }
    return out;
}

static const char *value_text(const mox_setting *set, const mox_option *opt)
{
    return set->value != NULL ? set->value : opt->kind == MOX_OPT_FLAG ? "off" : "";
}

/* --ram beside a --ram-experts of higher rank, and the other way: not used, and an error if both were read back. */
static bool excluded(const mox_opts *o, const mox_option *opt)
{
    size_t other = opt->field == offsetof(mox_opts, ram)            ? offsetof(mox_opts, ram_experts)
                   : opt->field == offsetof(mox_opts, ram_experts)  ? offsetof(mox_opts, ram)
                   : opt->field == offsetof(mox_opts, vram)         ? offsetof(mox_opts, vram_experts)
                   : opt->field == offsetof(mox_opts, vram_experts) ? offsetof(mox_opts, vram)
                                                                    : SIZE_MAX;
    for (const mox_option *b = mox_options; b->name != NULL; b++) {
        if (b->field == other) {
            return o->set[b - mox_options].rank > o->set[opt - mox_options].rank;
        }
    }
    return false;
}

/* Written so that it can be read back as a configuration file. */
static void show_text(const mox_opts *o)
{
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        const mox_setting *set = &o->set[opt - mox_options];
        const char *value = value_text(set, opt);
        char origin[1100], shown[1100];
        if (opt->once || opt->hidden) {
            continue;
        }
        int n = printf("%s%s = %s", value[0] == '\0' || excluded(o, opt) ? "; " : "", opt->name, value);
        if (o->origin) {
            printf("%*s ; %s", n < 36 ? 36 - n : 0, "",
                   mox_ui_shown(origin_text(set, opt, origin), shown, sizeof shown));
        }
        printf("\n");
    }
}

static void show_json(const mox_opts *o)
{
    mox_json j;
    mox_json_begin(&j, stdout);
    mox_json_object(&j, NULL);
    mox_json_string(&j, "schema", "moxie.config/1");
    mox_json_object(&j, "settings");
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        const mox_setting *set = &o->set[opt - mox_options];
        char origin[1100];
        if (opt->once || opt->hidden) {
            continue;
        }
        mox_json_object(&j, opt->name);
        mox_json_string(&j, "value", set->value);
        mox_json_string(&j, "origin", origin_text(set, opt, origin));
        mox_json_object_end(&j);
    }
    mox_json_object_end(&j);
    mox_json_object_end(&j);
    mox_json_end(&j);
}

static mox_err show_paths(const mox_opts *o)
{
    static mox_config_path paths[MOX_CONFIG_PATHS];
    MOX_TRY(mox_config_paths(o->config, paths));
    for (int i = 0; i < MOX_CONFIG_PATHS; i++) {
        if (paths[i].path[0] != '\0') {
            char shown[1100];
            printf("%-8s  %s%s\n", paths[i].what, mox_ui_shown(paths[i].path, shown, sizeof shown),
                   access(paths[i].path, F_OK) == 0 ? "" : "  (not there)");
        }
    }
    return MOX_OK;
}

mox_err mox_cmd_config(mox_opts *o)
{
    const char *what = o->words[0] != NULL ? o->words[0] : "show";
    if (strcmp(what, "path") == 0) {
        return show_paths(o);
    }
    if (o->json) {
        show_json(o);
    } else {
        show_text(o);
    }
    return MOX_OK;
}
