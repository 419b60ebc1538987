/* Parsing over the table of options: --name VALUE, --name=VALUE, -x VALUE, -xVALUE, flags, one positional.
 *
 * Why not getopt_long: the table carries kinds, ranges and defaults, and the errors here name the option, the
 * value, what is accepted and the nearest known name. Every failure is MOX_E_OPTION (exit 2) except
 * --ram with --ram-experts, which is MOX_E_CONFLICT.
 */
#include "runtime/cli/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Edits between two names, both short: insert, delete, replace, swap neighbours. Three rows of the usual
 * table. */
static size_t distance(const char *a, const char *b)
{
    enum { MAX = 40 };
    size_t row[3][MAX + 1];
    size_t na = strlen(a), nb = strlen(b);
    if (na > MAX || nb > MAX) {
        return MAX;
    }
    for (size_t j = 0; j <= nb; j++) {
        row[0][j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        const size_t *last = row[(i - 1) % 3], *before = row[(i + 1) % 3];
        size_t *now = row[i % 3];
        now[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best) {
                best = before[j - 2] + 1;
            }
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

/* Keeps the nearer of *best and name; only names near enough to be a slip count. */
static void consider(const char *typed, const char *name, const char **best, size_t *best_d)
{
    size_t d = distance(typed, name);
    size_t n = strlen(typed);
    if (n >= 3 && strncmp(typed, name, n) == 0) {
        d = 1; /* an abbreviation */
    }
    size_t allowed = n <= 4 ? 1 : n <= 8 ? 2 : 3;
    if (d <= allowed && d < *best_d) {
        *best = name;
        *best_d = d;
    }
}

static mox_err unknown_option(const mox_command *cmd, const char *typed, size_t n)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)n, typed);
    const char *best = NULL;
    size_t best_d = SIZE_MAX;
    const mox_option *elsewhere = NULL;
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (opt->commands & cmd->bit) {
            consider(name, opt->name, &best, &best_d);
        } else if (strcmp(opt->name, name) == 0) {
            elsewhere = opt;
        }
    }
    mox_err err;
    if (elsewhere != NULL) {
        err = MOX_FAIL(MOX_E_OPTION, "%s has no option --%s", cmd->name, name);
    } else if (best != NULL) {
        err = MOX_FAIL(MOX_E_OPTION, "unknown option --%s; did you mean --%s?", name, best);
    } else {
        err = MOX_FAIL(MOX_E_OPTION, "unknown option --%s", name);
    }
    mox_err_fix("moxie %s --help", cmd->name);
    return err;
}

const mox_command *mox_command_find(const char *name)
{
    const char *best = NULL;
    size_t best_d = SIZE_MAX;
    for (const mox_command *c = mox_commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            return c;
        }
        consider(name, c->name, &best, &best_d);
    }
    size_t n = strlen(name);
    mox_err err;
    if (n > 5 && strcmp(name + n - 5, ".gguf") == 0) {
        err = MOX_FAIL(MOX_E_OPTION, "%.200s is a model, not a command", name);
        err = mox_err_fix("moxie run %.150s -p \"Once upon a time\"", name);
    } else if (best != NULL) {
        err = MOX_FAIL(MOX_E_OPTION, "unknown command %.60s; did you mean %s?", name, best);
        err = mox_err_fix("moxie --help");
    } else {
        err = MOX_FAIL(MOX_E_OPTION, "unknown command %.60s", name);
        err = mox_err_fix("moxie --help");
    }
    (void)err; /* the record says it; main reads it from there */
    return NULL;
}

static mox_err bad_value(const mox_option *opt, const char *value, const char *why)
{
    mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s %.80s: %s", opt->name, value, why);
    if (opt->argument != NULL) {
        mox_err_fix("--%s %s", opt->name, opt->argument);
    }
    return err;
}

mox_err mox_parse_size(const char *what, const char *s, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    double v = (s[0] >= '0' && s[0] <= '9') ? strtod(s, &end) : -1;
    if (v < 0 || !isfinite(v) || errno != 0) {
        return MOX_FAIL(MOX_E_OPTION, "--%s %.80s: not a size", what, s);
    }
    static const char units[] = "KMGTP";
    const char *unit = *end >= 'A' ? strchr(units, *end & ~0x20) : NULL;
    if (*end == '\0') {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s %.80s: bytes need a unit", what, s);
        mox_err_fix("--%s %.40sM   or   --%s %.40sG", what, s, what, s);
        return err;
    }
    if (unit == NULL || (end[1] != '\0' && strcmp(end + 1, "iB") != 0)) {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s %.80s: unknown unit %.20s", what, s, end);
        mox_err_fix("--%s 512M, 12G or 1.5GiB (K, M, G, T are powers of 1024)", what);
        return err;
    }
    double bytes = ldexp(v, 10 * (int)(unit - units + 1));
    if (bytes >= 9e18) {
        return MOX_FAIL(MOX_E_OPTION, "--%s %.80s: more than can be addressed", what, s);
    }
    *out = (uint64_t)bytes;
    return MOX_OK;
}

/* A percentage "40%": true and *pct set; false when s has no percent sign at its end. */
static bool parse_pct(const char *s, double *pct)
{
    char *end = NULL;
    if (s[0] < '0' || s[0] > '9') {
        return false;
    }
    *pct = strtod(s, &end);
    return end[0] == '%' && end[1] == '\0';
}

static mox_err parse_count(const mox_option *opt, const char *s, double lo, double hi, uint64_t *out)
{
    char *end = NULL;
    errno = 0;
    unsigned long long v = (s[0] >= '0' && s[0] <= '9') ? strtoull(s, &end, 10) : 0;
    if (end == NULL || *end != '\0' || errno != 0) {
        return bad_value(opt, s, "not a whole number");
    }
    if ((double)v < lo || (double)v > hi) {
        char why[96];
        snprintf(why, sizeof why, "outside %.0f .. %.0f", lo, hi);
        return bad_value(opt, s, why);
    }
    *out = v;
    return MOX_OK;
}

static mox_err parse_budget(const mox_option *opt, const char *s, mox_budget *out)
{
    mox_budget b = {.kind = MOX_BUDGET_BYTES};
    if (strcmp(s, "auto") == 0 || strcmp(s, "min") == 0) {
        b.kind = s[0] == 'a' ? MOX_BUDGET_AUTO : MOX_BUDGET_MIN;
    } else if (parse_pct(s, &b.pct)) {
        b.kind = MOX_BUDGET_PCT;
        if (!(b.pct > 0 && b.pct <= 100)) {
            return bad_value(opt, s, "outside 0 .. 100%");
        }
    } else {
        MOX_TRY(mox_parse_size(opt->name, s, &b.bytes));
    }
    *out = b;
    return MOX_OK;
}

static mox_err parse_experts(const mox_option *opt, const char *s, mox_budget *out)
{
    mox_budget b = {.kind = MOX_BUDGET_EXPERTS};
    if (parse_pct(s, &b.pct)) {
        b.kind = MOX_BUDGET_EXPERTS_PCT;
        if (b.pct > 100) {
            return bad_value(opt, s, "outside 0 .. 100%");
        }
    } else {
        uint64_t n = 0;
        MOX_TRY(parse_count(opt, s, 0, UINT32_MAX, &n));
        b.experts = (uint32_t)n;
    }
    *out = b;
    return MOX_OK;
}

static mox_err parse_counts(const mox_option *opt, const char *s, mox_counts *out)
{
    mox_counts list = {.n = 0};
    while (*s != '\0') {
        size_t n = strcspn(s, ",");
        char item[24];
        snprintf(item, sizeof item, "%.*s", (int)(n < sizeof item ? n : sizeof item - 1), s);
        uint64_t v = 0;
        MOX_TRY(parse_count(opt, item, opt->lo, opt->hi, &v));
        if (list.n == MOX_MAX_COUNTS) {
            return bad_value(opt, s, "more than 16 values");
        }
        list.v[list.n++] = (uint32_t)v;
        s += n + (s[n] == ',');
    }
    *out = list;
    return MOX_OK;
}

static const mox_choice *find_choice(const mox_option *opt, const char *s)
{
    for (const mox_choice *c = opt->choices; c != NULL && c->name != NULL; c++) {
        if (strcmp(c->name, s) == 0) {
            return c;
        }
    }
    return NULL;
}

static mox_err store(const mox_option *opt, const char *s, mox_opts *o)
{
    void *at = (char *)o + opt->field;
    const mox_choice *choice = find_choice(opt, s);
    uint64_t n = 0;
    switch (opt->kind) {
    case MOX_OPT_FLAG:
        *(bool *)at = true;
        return MOX_OK;
    case MOX_OPT_COUNT:
        if (choice == NULL) {
            MOX_TRY(parse_count(opt, s, opt->lo, opt->hi, &n));
        }
        *(uint32_t *)at = choice != NULL ? (uint32_t)choice->value : (uint32_t)n;
        return MOX_OK;
    case MOX_OPT_NUMBER:
        return parse_count(opt, s, 0, 1.8e19, (uint64_t *)at);
    case MOX_OPT_REAL: {
        char *end = NULL;
        double v = strtod(s, &end);
        if (end == s || *end != '\0' || !(v >= opt->lo && v <= opt->hi)) {
            char why[96];
            snprintf(why, sizeof why, "not a number in %g .. %g", opt->lo, opt->hi);
            return bad_value(opt, s, why);
        }
        *(float *)at = (float)v;
        return MOX_OK;
    }
    case MOX_OPT_TEXT:
        *(const char **)at = s;
        return MOX_OK;
    case MOX_OPT_NAME:
    case MOX_OPT_CHOICE:
    case MOX_OPT_SWITCH:
        if (choice == NULL) {
            return bad_value(opt, s, "not one of the choices");
        }
        if (opt->kind == MOX_OPT_NAME) {
            *(const char **)at = choice->name;
        } else if (opt->kind == MOX_OPT_SWITCH) {
            *(bool *)at = choice->value != 0;
        } else {
            memcpy(at, &choice->value, sizeof choice->value); /* an enum of int's size */
        }
        return MOX_OK;
    case MOX_OPT_SIZE:
        return mox_parse_size(opt->name, s, (uint64_t *)at);
    case MOX_OPT_BUDGET:
        return parse_budget(opt, s, (mox_budget *)at);
    case MOX_OPT_EXPERTS:
        return parse_experts(opt, s, (mox_budget *)at);
    case MOX_OPT_COUNTS:
        return parse_counts(opt, s, (mox_counts *)at);
    }
    return MOX_FAIL(MOX_E_INTERNAL, "option --%s has no parser", opt->name);
}

static const mox_option *find_long(const mox_command *cmd, const char *name, size_t n)
{
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if ((opt->commands & cmd->bit) && strlen(opt->name) == n && strncmp(opt->name, name, n) == 0) {
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

/* One argument that starts with a dash; advances *i past its value. */
static mox_err parse_option(const mox_command *cmd, int argc, char **argv, int *i, mox_opts *o)
{
    const char *arg = argv[*i];
    const mox_option *opt = NULL;
    const char *value = NULL;
    if (arg[1] == '-') {
        size_t n = strcspn(arg + 2, "=");
        opt = find_long(cmd, arg + 2, n);
        if (opt == NULL) {
            return unknown_option(cmd, arg + 2, n);
        }
        value = arg[2 + n] == '=' ? arg + 3 + n : NULL;
        if (value != NULL && opt->kind == MOX_OPT_FLAG) {
            return bad_value(opt, value, "takes no value");
        }
    } else {
        opt = find_short(cmd, arg[1]);
        if (opt == NULL) {
            mox_err err = MOX_FAIL(MOX_E_OPTION, "unknown option %.40s", arg);
            mox_err_fix("moxie %s --help", cmd->name);
            return err;
        }
        value = arg[2] != '\0' ? arg + 2 : NULL;
        if (value != NULL && opt->kind == MOX_OPT_FLAG) {
            return bad_value(opt, value, "takes no value");
        }
    }
    if (opt->kind != MOX_OPT_FLAG && value == NULL) {
        if (*i + 1 >= argc) {
            mox_err err = MOX_FAIL(MOX_E_OPTION, "--%s needs a value", opt->name);
            mox_err_fix("--%s %s", opt->name, opt->argument);
            return err;
        }
        value = argv[++*i];
    }
    MOX_TRY(store(opt, value != NULL ? value : "", o));
    o->ram_set |= opt->kind == MOX_OPT_BUDGET;
    o->ram_experts_set |= opt->kind == MOX_OPT_EXPERTS;
    return MOX_OK;
}

/* A positional argument: the command's words first, then the model. */
static mox_err take_word(const mox_command *cmd, const char *arg, uint32_t *n_words, mox_opts *o)
{
    if (*n_words < cmd->n_words) {
        o->words[(*n_words)++] = arg;
    } else if (!cmd->no_model && o->model == NULL) {
        o->model = arg;
    } else {
        mox_err err = MOX_FAIL(MOX_E_OPTION, "%s takes %s; what is %.100s?", cmd->name,
                               cmd->no_model ? "no model" : "one model", arg);
        mox_err_fix("moxie %s %s", cmd->name, cmd->usage);
        return err;
    }
    return MOX_OK;
}

mox_err mox_opts_parse(const mox_command *cmd, int argc, char **argv, mox_opts *o)
{
    *o = (mox_opts){0};
    mox_cfg_defaults(&o->cfg);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (opt->initial != NULL) {
            MOX_TRY(store(opt, opt->initial, o));
        }
    }
    bool only_names = false;
    uint32_t n_words = 0;
    for (int i = 0; i < argc; i++) {
        const char *arg = argv[i];
        if (!only_names && strcmp(arg, "--") == 0) {
            only_names = true;
        } else if (!only_names && arg[0] == '-' && arg[1] != '\0') {
            MOX_TRY(parse_option(cmd, argc, argv, &i, o));
        } else {
            MOX_TRY(take_word(cmd, arg, &n_words, o));
        }
    }
    if (o->ram_set && o->ram_experts_set) {
        mox_err err = MOX_FAIL(MOX_E_CONFLICT, "--ram and --ram-experts exclude each other: --ram bounds the "
                                               "whole process, --ram-experts the experts alone");
        mox_err_fix("give one of the two");
        return err;
    }
    o->cfg.ram = o->ram_experts_set ? o->ram_experts : o->ram;
    o->cfg.model = o->model;
    o->cfg.seed = o->seed;
    o->sampling.seed = o->seed;
    return MOX_OK;
}
