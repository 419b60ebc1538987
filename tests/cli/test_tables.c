/* The tables of commands and options, and everything that is written from them: help, manual pages, completion
 * scripts, docs/options.md and the keys of the configuration all name exactly the options of the table.
 */
#include "runtime/cli/docs/docs.h"
#include "runtime/cli/explain.h"
#include "runtime/cli/options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const mox_option *next_offered(const mox_option *opt, const mox_command *cmd)
{
    while (opt->name != NULL && (opt->hidden || !(opt->commands & cmd->bit))) {
        opt++;
    }
    return opt->name != NULL ? opt : NULL;
}

static uint32_t count_offered(const mox_command *cmd)
{
    uint32_t n = 0;
    for (const mox_option *o = next_offered(mox_options, cmd); o != NULL; o = next_offered(o + 1, cmd)) {
        n++;
    }
    return n;
}

static uint32_t occurrences(const char *text, const char *what)
{
    uint32_t n = 0;
    for (const char *at = strstr(text, what); at != NULL; at = strstr(at + 1, what)) {
        n++;
    }
    return n;
}

/* What fn writes, as a string that lives until the next call. */
static const char *written(void (*fn)(FILE *out, const void *arg), const void *arg)
{
    static char *text;
    size_t n = 0;
    free(text);
    FILE *f = open_memstream(&text, &n);
    fn(f, arg);
    fclose(f);
    return text;
}

static void man(FILE *out, const void *cmd)
{
    mox_docs_man(out, cmd);
}

static void completion(FILE *out, const void *shell)
{
    mox_docs_completion(out, *(const mox_shell *)shell);
}

static void options(FILE *out, const void *unused)
{
    (void)unused;
    mox_docs_options(out);
}

/* The part of text that begins at `from` and ends before the next `to`. */
static char *part(const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    cr_assert_not_null(at, "no %s", from);
    const char *end = strstr(at + strlen(from), to);
    cr_assert_not_null(end, "no %s behind %s", to, from);
    return strndup(at, (size_t)(end - at));
}

Test(cli_tables, rows_are_sound)
{
    uint32_t n = 0;
    for (const mox_option *a = mox_options; a->name != NULL; a++, n++) {
        cr_expect(a->commands != 0, "--%s belongs to no command", a->name);
        cr_expect((a->argument == NULL) == (a->kind == MOX_OPT_FLAG), "--%s: value and kind", a->name);
        cr_expect(a->help != NULL && a->help[0] != '\0' && a->help[strlen(a->help) - 1] != '.', "--%s: help",
                  a->name);
        cr_expect(a->lo <= a->hi, "--%s: range", a->name);
        for (const mox_option *b = a + 1; b->name != NULL; b++) {
            bool apart = (a->commands & b->commands) == 0;
            cr_expect(strcmp(a->name, b->name) != 0 || (apart && (a->once || b->once)), "--%s stands twice",
                      a->name);
            cr_expect(a->letter == '\0' || a->letter != b->letter || apart, "-%c is --%s and --%s", a->letter,
                      a->name, b->name);
        }
    }
    cr_expect_leq(n, MOX_MAX_OPTIONS);
    unsigned bits = 0;
    for (const mox_command *c = mox_commands; c->name != NULL; c++) {
        cr_expect(c->bit != 0 && (c->bit & bits) == 0 && (c->bit & (c->bit - 1)) == 0, "%s: bit", c->name);
        cr_expect(c->run != NULL && c->usage != NULL && c->summary != NULL && c->examples != NULL, "%s",
                  c->name);
        bits |= c->bit;
    }
}

/* Each option takes its own examples of values: the default, every choice. */
Test(cli_tables, defaults_and_choices_parse)
{
    static mox_opts o;
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (opt->initial != NULL) {
            cr_expect_eq(mox_option_store(opt, opt->initial, &o), MOX_OK, "--%s %s", opt->name, opt->initial);
        }
        for (const mox_choice *c = opt->choices; c != NULL && c->name != NULL; c++) {
            cr_expect_eq(mox_option_store(opt, c->name, &o), MOX_OK, "--%s %s", opt->name, c->name);
        }
    }
}

Test(cli_tables, manuals_have_every_option)
{
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (cmd->hidden) {
            continue;
        }
        const char *text = written(man, cmd);
        for (const mox_option *o = next_offered(mox_options, cmd); o != NULL; o = next_offered(o + 1, cmd)) {
            char name[80] = "\\fB\\-\\-";
            size_t n = strlen(name);
            for (const char *p = o->name; *p != '\0'; p++) {
                n += (size_t)snprintf(name + n, sizeof name - n, *p == '-' ? "\\%c" : "%c", *p);
            }
            snprintf(name + n, sizeof name - n, "\\fR");
            cr_expect_eq(occurrences(text, name), 1, "moxie-%s.1 and --%s", cmd->name, o->name);
        }
        cr_expect_eq(occurrences(text, "\\fB\\-\\-"), count_offered(cmd), "moxie-%s.1 has others", cmd->name);
        text = written(man, NULL);
        char see[80];
        snprintf(see, sizeof see, "moxie\\-%s (1)", cmd->name);
        cr_expect_not_null(strstr(text, see), "moxie.1 and %s", cmd->name);
    }
}

Test(cli_tables, the_program_manual_has_every_setting)
{
    const char *text = written(man, NULL);
    uint32_t n = 0;
    for (const mox_option *o = mox_options; o->name != NULL; o++) {
        char env[64], line[80];
        if (o->once) {
            continue;
        }
        snprintf(line, sizeof line, "\\fB%s\\fR", mox_option_env(o, env));
        cr_expect_eq(occurrences(text, line), o->hidden ? 0 : 1, "moxie.1 and %s", env);
        n += !o->hidden;
    }
    cr_expect_gt(n, 20);
}

Test(cli_tables, completion_has_every_option)
{
    for (mox_shell shell = 0; shell < MOX_SHELLS; shell++) {
        for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
            const char *text = written(completion, &shell);
            char key[64], name[80];
            if (cmd->hidden) {
                snprintf(key, sizeof key, "    %s)\n", cmd->name);
                cr_expect_null(strstr(text, key), "hidden: %s", cmd->name);
                continue;
            }
            char *section = NULL;
            if (shell != MOX_SHELL_FISH) {
                snprintf(key, sizeof key, "\n    %s)\n", cmd->name);
                section = part(text, key, ";;\n    ");
            }
            uint32_t n = 0;
            snprintf(key, sizeof key, "__fish_seen_subcommand_from %s' -l ", cmd->name);
            for (const mox_option *o = next_offered(mox_options, cmd); o; o = next_offered(o + 1, cmd), n++) {
                snprintf(name, sizeof name, shell == MOX_SHELL_BASH ? "--%s " : "--%s", o->name);
                if (shell == MOX_SHELL_FISH) {
                    snprintf(name, sizeof name, "%s%s ", key, o->name);
                }
                cr_expect_not_null(strstr(section != NULL ? section : text, name), "%s: %s --%s",
                                   mox_shell_names[shell], cmd->name, o->name);
            }
            if (shell == MOX_SHELL_FISH) {
                cr_expect_eq(occurrences(text, key), n, "fish: %s has others", cmd->name);
            } else if (shell == MOX_SHELL_BASH) {
                char *list = part(section, "options=\"", "\"\n");
                cr_expect_eq(occurrences(list, "--"), n, "bash: %s has others", cmd->name);
                free(list);
            }
            free(section);
        }
    }
}

Test(cli_tables, options_md_is_what_the_program_writes)
{
    const char *text = written(options, NULL);
    for (const mox_option *o = mox_options; o->name != NULL; o++) {
        char name[80], env[64];
        snprintf(name, sizeof name, "`--%s%s", o->name, o->argument != NULL ? " " : "`");
        cr_expect_geq(occurrences(text, name), o->hidden ? 0 : 1, "docs/options.md and --%s", o->name);
        snprintf(name, sizeof name, "| `%s` |", mox_option_env(o, env));
        cr_expect(o->once || occurrences(text, name) == !o->hidden, "docs/options.md and %s", env);
    }
    FILE *f = fopen(MOX_OPTIONS_MD, "r");
    cr_assert_not_null(f);
    char *have = calloc(1, 1 << 16);
    size_t n = fread(have, 1, (1 << 16) - 1, f);
    fclose(f);
    cr_expect(n == strlen(text) && memcmp(have, text, n) == 0,
              "docs/options.md is old: moxie docs DIR, then copy DIR/options.md over it");
    free(have);
}

/* --help-all prints every option, each on a line of its own; --help some of them, in the same words. */
static char *help_of(const mox_command *cmd, bool all)
{
    FILE *f = tmpfile();
    int saved = dup(STDOUT_FILENO);
    fflush(stdout);
    dup2(fileno(f), STDOUT_FILENO);
    mox_help_command(cmd, all);
    fflush(stdout);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    char *text = calloc(1, 1 << 16);
    rewind(f);
    size_t n = fread(text, 1, (1 << 16) - 1, f);
    fclose(f);
    cr_assert_gt(n, 0);
    return text;
}

Test(cli_tables, help_has_every_option)
{
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        char *all = help_of(cmd, true), *usual = help_of(cmd, false);
        uint32_t n_usual = 0;
        for (const mox_option *o = next_offered(mox_options, cmd); o != NULL; o = next_offered(o + 1, cmd)) {
            char line[64];
            if (o->letter != '\0') {
                snprintf(line, sizeof line, "\n  -%c, --%s%s", o->letter, o->name, o->argument ? " " : "");
            } else {
                snprintf(line, sizeof line, "\n  --%s%s", o->name, o->argument ? " " : "");
            }
            cr_expect_not_null(strstr(all, line), "%s --help-all: --%s", cmd->name, o->name);
            n_usual += strstr(usual, line) != NULL;
        }
        cr_expect_gt(n_usual, 0, "%s --help", cmd->name);
        cr_expect_not_null(strstr(usual, "--help-all"), "%s --help names --help-all", cmd->name);
        free(all);
        free(usual);
    }
}

/* Every code of the table of errors is explained once, in its order, with causes and a remedy. */
Test(cli_tables, every_error_code_is_explained)
{
    static const mox_err codes[] = {
#define X(name, number, exit_code, text) MOX_E_##name,
        MOX_ERRORS(X)
#undef X
    };
    const mox_explanation *e = mox_explanations;
    for (size_t i = 1; i < sizeof codes / sizeof *codes; i++, e++) { /* the first is OK */
        cr_assert(e->means != NULL && e->code == codes[i], "MX-%d has no explanation at its place",
                  -codes[i]);
        size_t n = strlen(e->means);
        cr_expect(n > 20 && e->means[n - 1] == '.', "MX-%d: whole sentences", -e->code);
        cr_expect(strlen(e->causes) > 5 && e->causes[strlen(e->causes) - 1] == '\n', "MX-%d: causes",
                  -e->code);
        cr_expect(strlen(e->remedy) > 5 && e->remedy[strlen(e->remedy) - 1] == '\n', "MX-%d: remedy",
                  -e->code);
    }
    cr_expect_null(e->means, "MX-%d is explained and does not exist", -e->code);
}
