/* One prompt, from one place. Standard input is read only where nothing else is the prompt: a program that inherited
 * an open pipe must not wait for it. */
#include "runtime/cli/chat/source.h"

#include "runtime/cli/open.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mox_err two_prompts(const mox_opts *o)
{
    const char *names[3];
    uint32_t n = 0;
    if (o->prompt != NULL) {
        names[n++] = "-p";
    }
    if (o->prompt_file != NULL) {
        names[n++] = "-f";
    }
    if (o->n_said > 0) {
        names[n++] = "the words after the model";
    }
    if (n < 2) {
        return MOX_OK;
    }
    MOX_FAIL(MOX_E_CONFLICT, "two prompts: %s and %s (%.80s)", names[0], names[1],
             o->n_said > 0 ? o->said[0] : o->prompt_file);
    return mox_err_fix("give one of them");
}

mox_err mox_source_choose(const mox_opts *o, mox_source_kind *out)
{
    MOX_TRY(two_prompts(o));
    if (o->raw && o->system != NULL) {
        MOX_FAIL(MOX_E_CONFLICT, "--raw and --system exclude each other: a raw text has no messages");
        return mox_err_fix("put the text of --system into the prompt");
    }
    if (o->prompt != NULL || o->n_said > 0) {
        *out = MOX_SOURCE_TEXT;
    } else if (o->prompt_file != NULL) {
        *out = strcmp(o->prompt_file, "-") == 0 ? MOX_SOURCE_STDIN : MOX_SOURCE_FILE;
    } else if (!isatty(STDIN_FILENO)) {
        *out = MOX_SOURCE_STDIN;
    } else if (!isatty(STDOUT_FILENO) || o->json || o->raw) {
        MOX_FAIL(MOX_E_OPTION, "run needs a text%s",
                 o->json  ? ": --json is one answer"
                 : o->raw ? " to continue: --raw is no chat"
                          : ": a chat needs a terminal on standard output too");
        return mox_err_fix("moxie run %.150s \"Why is the sky blue?\"",
                           o->cfg.model != NULL ? o->cfg.model : "-p");
    } else {
        *out = MOX_SOURCE_CHAT;
    }
    return MOX_OK;
}

static mox_err join_words(const mox_opts *o, char **text, size_t *n)
{
    size_t len = 1;
    for (uint32_t i = 0; i < o->n_said; i++) {
        len += strlen(o->said[i]) + 1;
    }
    char *s = malloc(len);
    if (s == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for a prompt of %zu bytes", len);
    }
    char *at = s;
    for (uint32_t i = 0; i < o->n_said; i++) {
        at = stpcpy(at, i > 0 ? " " : "");
        at = stpcpy(at, o->said[i]);
    }
    *at = '\0';
    *text = s;
    *n = (size_t)(at - s);
    return MOX_OK;
}

mox_err mox_source_read(const mox_opts *o, mox_source_kind kind, char **text, size_t *n)
{
    char *s = NULL;
    size_t len = 0;
    if (kind == MOX_SOURCE_TEXT && o->prompt == NULL) {
        MOX_TRY(join_words(o, &s, &len));
    } else if (kind == MOX_SOURCE_TEXT) {
        s = strdup(o->prompt);
        len = s != NULL ? strlen(s) : 0;
    } else {
        MOX_TRY(mox_cli_read_all(kind == MOX_SOURCE_STDIN ? "-" : o->prompt_file, &s, &len));
        len -= len > 0 && s[len - 1] == '\n';
        len -= len > 0 && s[len - 1] == '\r';
    }
    if (s == NULL) {
        return MOX_FAIL(MOX_E_NO_MEMORY, "no memory for the prompt");
    }
    if (len == 0) {
        free(s);
        MOX_FAIL(MOX_E_OPTION, kind == MOX_SOURCE_STDIN  ? "run needs a text: standard input is empty"
                               : kind == MOX_SOURCE_FILE ? "run needs a text: the file is empty"
                                                         : "run needs a text: the prompt is empty");
        return mox_err_fix("moxie run %.150s -p \"Why is the sky blue?\"",
                           o->cfg.model != NULL ? o->cfg.model : "");
    }
    *text = s;
    *n = len;
    return MOX_OK;
}
