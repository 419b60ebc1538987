/* Parsing over the table of options: --name VALUE, --name=VALUE, -x VALUE, -xVALUE, flags, positional words.
 *
 * Why not getopt_long: the table carries kinds, ranges and defaults, and the errors here name the option, the
 * value, what is accepted and the nearest known name. The command line is walked twice: first for what decides
 * which configuration is read (--config, the model, --help), then, above the configuration and the
 * environment, for everything. Two options that exclude each other are an error when they come from the same
 * place; otherwise the place of higher rank wins.
 */
#include "runtime/cli/options.h"
#include "runtime/cli/near.h"
#include "runtime/cli/settings.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

bool mox_option_of(const mox_option *opt, const mox_command *cmd)
{
    return (opt->commands & cmd->bit) != 0 || (cmd->bit == MOX_CMD_CONFIG && !opt->once);
}

const mox_option *mox_option_key(const char *key, const char **nearest)
{
    mox_near near = {.typed = key};
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (!opt->once && strcmp(opt->name, key) == 0) {
            return opt;
        }
        if (!opt->once) {
            mox_near_try(&near, opt->name);
        }
    }
    *nearest = near.name;
    return NULL;
}

const char *mox_option_env(const mox_option *opt, char out[64])
{
    int n = snprintf(out, 64, "MOXIE_%s", opt->name);
    for (int i = 0; i < n; i++) {
        out[i] = out[i] == '-' ? '_' : (char)toupper((unsigned char)out[i]);
    }
    return out;
}

static mox_err unknown_option(const mox_command *cmd, const char *typed, size_t n)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)n, typed);
    mox_near near = {.typed = name};
    const mox_option *elsewhere = NULL;
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (mox_option_of(opt, cmd)) {
            mox_near_try(&near, opt->name);
        } else if (strcmp(opt->name, name) == 0) {
            elsewhere = opt;
        }
    }
    mox_err err;
    if (elsewhere != NULL) {
        err = MOX_FAIL(MOX_E_OPTION, "%s has no option --%s", cmd->name, name);
    } else if (near.name != NULL) {
        err = MOX_FAIL(MOX_E_OPTION, "unknown option --%s; did you mean --%s?", name, near.name);
    } else {
        err = MOX_FAIL(MOX_E_OPTION, "unknown option --%s", name);
    }
    mox_err_fix("moxie %s --help", cmd->name);
    return err;
}

const mox_command *mox_command_find(const char *name)
{
    mox_near near = {.typed = name};
    for (const mox_command *c = mox_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
        mox_near_try(&near, c->name);
    }
    size_t n = strlen(name);
    mox_err err;
    if (n > 5 && strcmp(name + n - 5, ".gguf") == 0) {
        err = MOX_FAIL(MOX_E_OPTION, "%.200s is a model, not a command", name);
        err = mox_err_fix("moxie run %.150s -p \"Once upon a time\"", name);
    } else if (near.name != NULL) {
        err = MOX_FAIL(MOX_E_OPTION, "unknown command %.60s; did you mean %s?", name, near.name);
        err = mox_err_fix("moxie --help");
    } else {
        err = MOX_FAIL(MOX_E_OPTION, "unknown command %.60s", name);
        err = mox_err_fix("moxie --help");
    }
    (void)err; /* the record says it; main reads it from there */
    return NULL;
}

mox_err mox_option_set(const mox_option *opt, const char *s, const mox_setting *from, mox_opts *o)
{
    mox_setting *at = &o->set[opt - mox_options];
    if (from->rank < at->rank) {
        static mox_opts checked; /* a wrong value is wrong even where another one wins */
        return mox_option_store(opt, s, &checked);
    }
    MOX_TRY(mox_option_store(opt, s, o));
    *at = *from;
    at->value = s;
    return MOX_OK;
}

static const mox_option *find_long(const mox_command *cmd, const char *name, size_t n)
{
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (mox_option_of(opt, cmd) && strlen(opt->name) == n && strncmp(opt->name, name, n) == 0) {
            return opt;
        }
    }
    return NULL;
}

static const mox_option *find_short(const mox_command *cmd, char letter)
{
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if ((opt->commands & cmd->bit) && letter != '\0' && opt->letter == letter) {
            return opt;
        }
    }
    return NULL;
}

typedef struct args {
    const mox_command *cmd;
    int argc, i;
    char **argv;
    bool early; /* the first walk */
    uint32_t n_words, n_models, n_said;
    mox_opts *o;
} args;

/* What decides which configuration is read, beside the model. */
static bool is_early(const mox_option *opt)
{
    return opt->field == offsetof(mox_opts, config) || opt->field == offsetof(mox_opts, help) ||
           opt->field == offsetof(mox_opts, help_all);
}

/* Positional or --model, but not both. */
static mox_err take_model(args *a, const mox_option *opt, const char *value)
{
    if (a->n_models++ > 0) {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "%s takes one model; what is %.100s?", a->cmd->name, value);
        mox_err_fix("moxie %s %s", a->cmd->name, a->cmd->usage);
        return err;
    }
    mox_setting from = {.origin = MOX_FROM_ARGS, .rank = MOX_RANK_ARGS};
    return mox_option_set(opt, value, &from, a->o);
}

/* One argument that starts with a dash; advances a->i past its value. */
static mox_err parse_option(args *a)
{
    const char *arg = a->argv[a->i], *value = NULL;
    const mox_option *opt = NULL;
    if (arg[1] == '-') {
        size_t n = strcspn(arg + 2, "=");
        opt = find_long(a->cmd, arg + 2, n);
        if (opt == NULL) {
            return unknown_option(a->cmd, arg + 2, n);
        }
        value = arg[2 + n] == '=' ? arg + 3 + n : NULL;
    } else {
        opt = find_short(a->cmd, arg[1]);
        if (opt == NULL) {
            mox_err err = MOX_FAIL(MOX_E_OPTION, "unknown option %.40s", arg);
            mox_err_fix("moxie %s --help", a->cmd->name);
            return err;
        }
        value = arg[2] != '\0' ? arg + 2 : NULL;
    }
    if (value == NULL && opt->kind == MOX_OPT_FLAG) {
        value = "on";
    }
    if (value == NULL && a->i + 1 >= a->argc) {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s needs a value", opt->name);
        mox_err_fix("--%s %s", opt->name, opt->argument);
        return err;
    }
    value = value != NULL ? value : a->argv[++a->i];
    if (opt->field == offsetof(mox_opts, model)) {
        return take_model(a, opt, value);
    }
    mox_setting from = {.origin = MOX_FROM_ARGS, .rank = MOX_RANK_ARGS};
    return a->early && !is_early(opt) ? MOX_OK : mox_option_set(opt, value, &from, a->o);
}

/* Words after the model: the prompt. */
static mox_err take_said(args *a, const char *arg)
{
    if (a->n_said == sizeof a->o->said / sizeof *a->o->said) {
        MOX_FAIL(MOX_E_OPTION, "a prompt of more than %u words", a->n_said);
        return mox_err_fix("put quotes around it: moxie run MODEL \"...\"");
    }
    a->o->said[a->n_said++] = arg;
    a->o->n_said = a->n_said;
    return MOX_OK;
}

/* Is the first word one of those that the command knows? "show path" */
static mox_err check_word(const mox_command *cmd, const char *arg)
{
    char list[64], *rest = list;
    mox_near near = {.typed = arg};
    snprintf(list, sizeof list, "%s", cmd->words);
    for (char *word = strsep(&rest, " "); word != NULL; word = strsep(&rest, " ")) {
        if (strcmp(word, arg) == 0) {
            return MOX_OK;
        }
        mox_near_try(&near, word);
    }
    mox_err err = near.name != NULL
                      ? MOX_FAIL(MOX_E_OPTION, "unknown word %.60s; did you mean %s?", arg, near.name)
                      : MOX_FAIL(MOX_E_OPTION, "%s knows %s; what is %.60s?", cmd->name, cmd->words, arg);
    mox_err_fix("moxie %s %s", cmd->name, cmd->usage);
    return err;
}

/* A positional argument: the command's words first, then the model. */
static mox_err take_word(args *a, const char *arg)
{
    if (a->n_words < a->cmd->n_words) {
        if (a->n_words == 0 && a->cmd->words != NULL) {
            MOX_TRY(check_word(a->cmd, arg));
        }
        a->o->words[a->n_words++] = arg;
        return MOX_OK;
    }
    if (a->cmd->no_model) {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "%s takes no model; what is %.100s?", a->cmd->name, arg);
        mox_err_fix("moxie %s %s", a->cmd->name, a->cmd->usage);
        return err;
    }
    if (a->cmd->prompt && a->n_models > 0) {
        return take_said(a, arg);
    }
    return take_model(a, find_long(a->cmd, "model", 5), arg);
}

static mox_err walk(args *a)
{
    bool only_names = false;
    a->n_words = a->n_models = a->n_said = 0;
    for (a->i = 0; a->i < a->argc; a->i++) {
        const char *arg = a->argv[a->i];
        if (!only_names && strcmp(arg, "--") == 0) {
            only_names = true;
        } else if (!only_names && arg[0] == '-' && arg[1] != '\0') {
            MOX_TRY(parse_option(a));
        } else {
            MOX_TRY(take_word(a, arg));
        }
    }
    return MOX_OK;
}

static const mox_setting *setting_of(const mox_opts *o, size_t field)
{
    const mox_option *opt = mox_options;
    while (opt->field != field) { /* only fields of the table are asked for */
        opt++;
    }
    return &o->set[opt - mox_options];
}

/* Two options that exclude each other: the one of higher rank. */
static mox_err choose_budget(mox_opts *o, size_t whole, size_t number, const char *conflict, mox_budget *out)
{
    const mox_setting *by_size = setting_of(o, whole), *by_number = setting_of(o, number);
    if (by_number->rank > 0 && by_number->rank == by_size->rank) {
        mox_err err = MOX_FAIL(MOX_E_CONFLICT, "%s", conflict);
        mox_err_fix("give one of the two");
        return err;
    }
    memcpy(out, (const char *)o + (by_number->rank > by_size->rank ? number : whole), sizeof *out);
    return MOX_OK;
}

static mox_err choose_budgets(mox_opts *o)
{
    MOX_TRY(choose_budget(o, offsetof(mox_opts, ram), offsetof(mox_opts, ram_experts),
                          "--ram and --ram-experts exclude each other: --ram bounds the whole process, "
                          "--ram-experts the experts alone",
                          &o->cfg.ram));
    return choose_budget(o, offsetof(mox_opts, vram), offsetof(mox_opts, vram_experts),
                         "--vram and --vram-experts exclude each other: --vram bounds a device's memory, "
                         "--vram-experts the experts alone",
                         &o->cfg.vram);
}

/* --gpu means GPUs that are there, and --device cpu none: what is said nearer counts. Both at one place: mox_open refuses. */
static void choose_device(mox_opts *o)
{
    const mox_setting *gpu = setting_of(o, offsetof(mox_opts, cfg.gpu));
    const mox_setting *device = setting_of(o, offsetof(mox_opts, cfg.device));
    if (!o->cfg.gpu || !o->cfg.device || strncmp(o->cfg.device, "cpu", 3) != 0) {
        return;
    }
    if (gpu->rank > device->rank) {
        o->cfg.device = "cuda";
    } else if (gpu->rank < device->rank) {
        o->cfg.gpu = NULL;
    }
}

mox_err mox_opts_settle(mox_opts *o)
{
    MOX_TRY(choose_budgets(o));
    choose_device(o);
    o->cfg.model = o->model;
    o->cfg.seed = o->seed;
    o->sampling.seed = o->seed;
    return MOX_OK;
}

mox_err mox_opts_parse(const mox_command *cmd, int argc, char **argv, mox_opts *o)
{
    *o = (mox_opts){0};
    mox_cfg_defaults(&o->cfg);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (opt->initial != NULL) {
            MOX_TRY(mox_option_set(opt, opt->initial, &(mox_setting){.origin = MOX_FROM_DEFAULT}, o));
        }
    }
    args a = {.cmd = cmd, .argc = argc, .argv = argv, .early = true, .o = o};
    MOX_TRY(walk(&a));
    if (o->help || o->help_all) {
        return MOX_OK; /* whatever the configuration holds, help comes */
    }
    MOX_TRY(mox_settings_load(cmd, o));
    a.early = false;
    MOX_TRY(walk(&a));
    return mox_opts_settle(o);
}
