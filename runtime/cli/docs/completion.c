/* Completion scripts. What is offered: commands, their options, the choices of an option's value, file names
 * where a file is meant, model files elsewhere. */
#include "runtime/cli/docs/docs.h"

#include <string.h>

const char *const mox_shell_names[MOX_SHELLS] = {"bash", "zsh", "fish"};

/* Text inside single quotes; `also` is a set of characters that get a backslash. */
static void put_quoted(FILE *out, const char *text, const char *also)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'') {
            fputs("'\\''", out);
        } else if (strchr(also, *text) != NULL) {
            fprintf(out, "\\%c", *text);
        } else {
            fputc(*text, out);
        }
    }
}

/* The choices that an option or a command's first word has; false: none. */
static bool put_choices(FILE *out, const mox_option *opt)
{
    const char *space = "";
    for (const mox_choice *c = opt->choices; c != NULL && c->name != NULL; c++) {
        fprintf(out, "%s%s", space, c->name);
        space = " ";
    }
    if (opt->kind == MOX_OPT_BUDGET) {
        fputs("auto min", out);
        return true;
    }
    return opt->choices != NULL;
}

static bool offered(const mox_option *opt, const mox_command *cmd)
{
    return (opt->commands & cmd->bit) != 0 && !opt->hidden;
}

static bool has_choices(const mox_option *opt)
{
    return opt->choices != NULL || opt->kind == MOX_OPT_BUDGET;
}

static void bash_command(FILE *out, const mox_command *cmd)
{
    fprintf(out, "    %s)\n        options=\"", cmd->name);
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (offered(opt, cmd)) {
            fprintf(out, "--%s ", opt->name);
        }
    }
    fprintf(out, "\"\n        words=\"%s\"\n        case $prev in\n", cmd->words != NULL ? cmd->words : "");
    for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
        if (!offered(opt, cmd) || opt->kind == MOX_OPT_FLAG) {
            continue;
        }
        fprintf(out, "        --%s", opt->name);
        if (opt->letter != '\0') {
            fprintf(out, " | -%c", opt->letter);
        }
        fputs(") ", out);
        if (has_choices(opt)) {
            fputs("values=\"", out);
            put_choices(out, opt);
            fputs("\" ;;\n", out);
        } else {
            fprintf(out, "files=%s ;;\n", mox_option_takes_file(opt) ? "all" : "none");
        }
    }
    fprintf(out, "        esac\n        %s;;\n",
            cmd->no_model ? "[ -n \"$files\" ] || files=none\n        " : "");
}

static void bash(FILE *out)
{
    fputs("# bash completion of moxie; written by `moxie completion bash`\n"
          "_moxie() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local options= words= values= files=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W \"",
          out);
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (!cmd->hidden) {
            fprintf(out, "%s ", cmd->name);
        }
    }
    fputs("help --help --version\" -- \"$cur\"))\n"
          "        return\n"
          "    fi\n"
          "    case ${COMP_WORDS[1]} in\n",
          out);
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (!cmd->hidden) {
            bash_command(out, cmd);
        }
    }
    fputs("    esac\n"
          "    if [ -n \"$values\" ]; then\n"
          "        COMPREPLY=($(compgen -W \"$values\" -- \"$cur\"))\n"
          "    elif [ \"$files\" = all ]; then\n"
          "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
          "    elif [[ $cur == -* ]]; then\n"
          "        COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
          "    elif [ -n \"$words\" ] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
          "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
          "    elif [ \"$files\" != none ]; then\n"
          "        COMPREPLY=($(compgen -f -X '!*.gguf' -- \"$cur\") $(compgen -d -- \"$cur\"))\n"
          "    fi\n"
          "}\n"
          "complete -o filenames -F _moxie moxie\n",
          out);
}

static void zsh_option(FILE *out, const mox_option *opt)
{
    fputs("            ", out);
    if (opt->letter != '\0') {
        fprintf(out, "'(-%c --%s)'{-%c,--%s}'[", opt->letter, opt->name, opt->letter, opt->name);
    } else {
        fprintf(out, "'--%s[", opt->name);
    }
    put_quoted(out, opt->help, "[]:\\");
    fputc(']', out);
    if (opt->kind != MOX_OPT_FLAG) {
        fputc(':', out);
        put_quoted(out, opt->argument, "[]:\\");
        fputc(':', out);
        if (has_choices(opt)) {
            fputc('(', out);
            put_choices(out, opt);
            fputc(')', out);
        } else if (mox_option_takes_file(opt)) {
            fputs("_files", out);
        }
    }
    fputs("' \\\n", out);
}

static void zsh(FILE *out)
{
    fputs("#compdef moxie\n# zsh completion of moxie; written by `moxie completion zsh`\n"
          "_moxie() {\n    local -a commands=(\n",
          out);
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (!cmd->hidden) {
            fprintf(out, "        '%s:", cmd->name);
            put_quoted(out, cmd->summary, ":\\");
            fputs("'\n", out);
        }
    }
    fputs("    )\n"
          "    if (( CURRENT == 2 )); then\n        _describe command commands\n        return\n    fi\n"
          "    local command=$words[2]\n    shift words\n    (( CURRENT-- ))\n    case $command in\n",
          out);
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (cmd->hidden) {
            continue;
        }
        fprintf(out, "    %s)\n        _arguments \\\n", cmd->name);
        for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
            if (offered(opt, cmd)) {
                zsh_option(out, opt);
            }
        }
        if (cmd->words != NULL) {
            fprintf(out, "            '1:what:(%s)' \\\n", cmd->words);
        }
        fputs(cmd->no_model ? "            && return\n" : "            '*:model:_files -g \"*.gguf\"'\n",
              out);
        fputs("        ;;\n", out);
    }
    fputs("    esac\n}\n_moxie \"$@\"\n", out);
}

static void fish(FILE *out)
{
    fputs("# fish completion of moxie; written by `moxie completion fish`\n", out);
    for (const mox_command *cmd = mox_commands; cmd->name != NULL; cmd++) {
        if (cmd->hidden) {
            continue;
        }
        fprintf(out, "complete -c moxie -f -n __fish_use_subcommand -a %s -d '", cmd->name);
        put_quoted(out, cmd->summary, "");
        fputs("'\n", out);
        if (cmd->words != NULL) {
            fprintf(out, "complete -c moxie -f -n '__fish_seen_subcommand_from %s' -a '%s'\n", cmd->name,
                    cmd->words);
        }
        for (const mox_option *opt = mox_options; opt->name != NULL; opt++) {
            if (!offered(opt, cmd)) {
                continue;
            }
            fprintf(out, "complete -c moxie -n '__fish_seen_subcommand_from %s' -l %s", cmd->name, opt->name);
            if (opt->letter != '\0') {
                fprintf(out, " -s %c", opt->letter);
            }
            if (has_choices(opt)) {
                fputs(" -x -a '", out);
                put_choices(out, opt);
                fputc('\'', out);
            } else if (opt->kind != MOX_OPT_FLAG) {
                fputs(mox_option_takes_file(opt) ? " -r" : " -x", out);
            }
            fputs(" -d '", out);
            put_quoted(out, opt->help, "");
            fputs("'\n", out);
        }
    }
}

void mox_docs_completion(FILE *out, mox_shell shell)
{
    void (*const writers[MOX_SHELLS])(FILE *) = {bash, zsh, fish};
    writers[shell](out);
}
